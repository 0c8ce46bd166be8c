//! Busy devices on epoll, where io_uring is forbidden: each sends a message, waits for its echo, and sends the
//! next.

use std::os::fd::OwnedFd;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::conversation::Conversation;
use super::fleet::Fleet;
use super::window::Window;
use super::{Link, LoadPlan};
use crate::clock;

const EVENTS_MAX: usize = 512;

/// How long the generator sleeps at most, so that it hears the suite even when the server is silent.
const TURN_NS_MAX: u64 = 50_000_000;

struct Devices<'a> {
    fleet: &'a Fleet,
    epoll: OwnedFd,
    conversation: Conversation,
    message: Vec<u8>,
    received: Vec<u8>,
}

pub(super) fn drive(plan: &LoadPlan, fleet: &Fleet, link: &mut Link<'_>) -> Result<(), String> {
    let message = plan.workload.message();
    let mut devices = Devices::new(fleet, message).map_err(|e| format!("generator: {e}"))?;
    let mut window = Window::new(plan, clock::now_ns());
    let mut events = Vec::with_capacity(EVENTS_MAX);
    while window.turn(clock::now_ns(), link).is_continue() {
        devices.wait(&mut events)?;
        for event in &events {
            devices.collect(event.data.u64() as usize, &mut window)?;
        }
    }
    Ok(())
}

impl Devices<'_> {
    fn new(fleet: &Fleet, message: Vec<u8>) -> Result<Devices<'_>, Errno> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        for index in 0..fleet.len() {
            let interest = EventFlags::IN | EventFlags::RDHUP | EventFlags::ET;
            epoll::add(&epoll, fleet.conn(index), EventData::new_u64(index as u64), interest)?;
        }
        let conversation = Conversation::new(fleet.len(), message.len());
        let received = vec![0; message.len()];
        Ok(Devices { fleet, epoll, conversation, message, received })
    }

    fn wait(&self, events: &mut Vec<Event>) -> Result<(), String> {
        events.clear();
        match epoll::wait(&self.epoll, spare_capacity(events), Some(&clock::timespec(TURN_NS_MAX))) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(format!("generator: {error}")),
        }
    }

    fn ask(&mut self, device: usize) -> Result<(), String> {
        self.conversation.ask(device);
        match send(self.fleet.conn(device), &self.message, SendFlags::NOSIGNAL) {
            Ok(count) if count == self.message.len() => Ok(()),
            Ok(count) => Err(format!("connection {device} took {count} bytes of a message only")),
            Err(error) => Err(format!("connection {device}: send: {error}")),
        }
    }

    /// Takes what came back, and asks again when the echo is complete. Never reads more than one echo, so with
    /// one message under way a complete echo has emptied the socket.
    fn collect(&mut self, device: usize, window: &mut Window) -> Result<(), String> {
        let missing = self.conversation.missing(device);
        match recv(self.fleet.conn(device), &mut self.received[..missing], RecvFlags::empty()) {
            Ok((0, _)) => Err(format!("the server closed connection {device}")),
            Ok((count, _)) => {
                if self.conversation.hear(device, count, window)? {
                    self.ask(device)?;
                }
                Ok(())
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(()),
            Err(error) => Err(format!("connection {device}: recv: {error}")),
        }
    }
}
