//! Devices that reconnect in waves: each connects anew and claims its identity while its former connection is still open, and
//! waits for the answer. It never closes a connection that lives: that is the server's part, and a server that does not do
//! it fails the measurement.
//!
//! A wave is a closed loop of its own: the next one begins when the last device is served. The generator pays for both ends
//! of every handshake, since loopback runs the server's TCP input inside its own system calls.

use std::os::fd::{AsFd, OwnedFd};
use std::{io, mem};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use socket2::Socket;

use super::fleet;
use super::window::Window;
use super::{Link, LoadPlan};
use crate::clock;
use crate::workload::{GRANTED, claim_of};

const EVENTS_MAX: usize = 512;

/// How long the generator sleeps at most, so that it hears the suite even when the server is silent.
const TURN_NS_MAX: u64 = 50_000_000;

/// How many devices connect between two looks at who was answered: often enough that a wait is not measured much longer
/// than it was.
const CONNECTS_PER_LOOK: u32 = 8;

/// How long a wave may take. No server is that slow.
const WAVE_NS_MAX: u64 = 10_000_000_000;

/// How long a server may take to evict the former connection after it has answered the new one.
const EVICTION_NS_MAX: u64 = 1_000_000_000;

/// One device.
#[derive(Default)]
struct Device {
    present: Option<Socket>,
    /// Open, silent, and to be ended by the server.
    former: Option<Socket>,
    asked_at: u64,
}

struct Devices<'a> {
    plan: &'a LoadPlan,
    epoll: OwnedFd,
    events: Vec<Event>,
    list: Vec<Device>,
    /// Devices that wait for their answer.
    waiting: u32,
}

pub(super) fn drive(
    plan: &LoadPlan,
    identities: u32,
    at_once: u32,
    link: &mut Link<'_>,
) -> Result<(), String> {
    let mut devices = Devices::new(plan, identities).map_err(|e| format!("generator: {e}"))?;
    let mut window = Window::new(plan, clock::now_ns());
    let mut turn = (0..identities).cycle();
    loop {
        let began = clock::now_ns();
        for (nth, device) in (0..at_once).zip(&mut turn) {
            devices.reconnect(device, &mut window)?;
            if nth % CONNECTS_PER_LOOK == 0 {
                devices.collect(0, &mut window)?;
            }
        }
        while devices.waiting > 0 {
            devices.collect(TURN_NS_MAX, &mut window)?;
            if clock::now_ns() > began + WAVE_NS_MAX {
                return Err(format!("{} devices were not served within 10 s", devices.waiting));
            }
            if window.turn(clock::now_ns(), link).is_break() {
                return Ok(());
            }
        }
        let now = clock::now_ns();
        window.wave_served(now - began);
        if window.turn(now, link).is_break() {
            return Ok(());
        }
    }
}

impl Devices<'_> {
    fn new(plan: &LoadPlan, identities: u32) -> Result<Devices<'_>, Errno> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let list = (0..identities).map(|_| Device::default()).collect();
        Ok(Devices { plan, epoll, events: Vec::with_capacity(EVENTS_MAX), list, waiting: 0 })
    }

    fn reconnect(&mut self, number: u32, window: &mut Window) -> Result<(), String> {
        let device = &mut self.list[number as usize];
        if let Some(former) = mem::take(&mut device.former) {
            see_end(&former).map_err(|e| format!("device {number}: its former connection: {e}"))?;
        }
        device.former = device.present.take();
        device.asked_at = clock::now_ns();
        match fleet::connect(self.plan, number, &claim_of(number)) {
            Ok(conn) => {
                // One event each: what happens to it after its answer is seen when it is discarded.
                let interest = EventFlags::IN | EventFlags::RDHUP | EventFlags::ONESHOT;
                epoll::add(&self.epoll, &conn, EventData::new_u64(number.into()), interest)
                    .map_err(|e| format!("generator: {e}"))?;
                self.list[number as usize].present = Some(conn);
                self.waiting += 1;
                Ok(())
            }
            // It was reset before it could say anything.
            Err(error) if self.plan.hangs_up && is_end(&error) => {
                window.answered(clock::now_ns().saturating_sub(device.asked_at));
                Ok(())
            }
            Err(error) => Err(format!("device {number}: {error}")),
        }
    }

    /// Takes the answers that are there, or waits for one.
    fn collect(&mut self, wait_ns: u64, window: &mut Window) -> Result<(), String> {
        let mut events = mem::take(&mut self.events);
        events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&clock::timespec(wait_ns))) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(format!("generator: {error}")),
        }
        for event in &events {
            self.answered(event.data.u64() as usize, window)?;
        }
        self.events = events;
        Ok(())
    }

    fn answered(&mut self, number: usize, window: &mut Window) -> Result<(), String> {
        let device = &mut self.list[number];
        let Some(conn) = &device.present else { return Ok(()) };
        let mut answer = [0; GRANTED.len()];
        match (recv(conn, &mut answer[..], RecvFlags::empty()), self.plan.hangs_up) {
            (Ok((count, _)), false) if &answer[..count] == GRANTED => {}
            (Ok((0, _)) | Err(Errno::CONNRESET), true) => device.present = None,
            (Ok((count, _)), _) => {
                return Err(format!("device {number} is told '{}'", answer[..count].escape_ascii()));
            }
            (Err(error), _) => return Err(format!("device {number}: recv: {error}")),
        }
        self.waiting -= 1;
        window.answered(clock::now_ns().saturating_sub(device.asked_at));
        Ok(())
    }
}

/// Makes sure that the server has ended a connection.
fn see_end(conn: &Socket) -> Result<(), String> {
    let mut nothing = [0];
    loop {
        match recv(conn, &mut nothing[..], RecvFlags::empty()) {
            Ok((0, _)) | Err(Errno::CONNRESET) => return Ok(()),
            Ok(_) => return Err("the server speaks to it".into()),
            Err(Errno::AGAIN) => {}
            Err(error) => return Err(error.to_string()),
        }
        let mut fds = [PollFd::from_borrowed_fd(conn.as_fd(), PollFlags::IN)];
        match poll(&mut fds, Some(&clock::timespec(EVICTION_NS_MAX))) {
            Ok(0) => return Err("the server has not ended it within 1 s".into()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
}

fn is_end(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}
