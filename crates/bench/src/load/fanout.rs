//! Devices that are sent a picture of the game again and again: when each has it, and when the last one.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::fleet::Fleet;
use super::window::Window;
use super::{Link, LoadPlan};
use crate::clock;
use crate::picture::{self, STAMPED};
use crate::workload::Workload;

const EVENTS_MAX: usize = 512;

/// How long the generator sleeps at most, so that it hears the suite even when the server is silent.
const TURN_NS_MAX: u64 = 50_000_000;

/// Ticks that are still on their way to somebody. Older ones went out before all were connected.
const TICKS_MAX: usize = 64;

/// Room for all that a socket can hold of pictures that the generator is late for.
const BUFFER_BYTES: usize = 256 * 1024;

/// What a device has of the picture that is arriving.
#[derive(Clone, Copy, Default)]
struct Arriving {
    bytes: u32,
    front: [u8; STAMPED],
}

struct Audience<'a> {
    fleet: &'a Fleet,
    epoll: OwnedFd,
    arriving: Vec<Arriving>,
    picture_bytes: u32,
    /// When each was taken, and how many have it.
    ticks: VecDeque<(u64, usize)>,
}

pub(super) fn drive(plan: &LoadPlan, fleet: &Fleet, link: &mut Link<'_>) -> Result<(), String> {
    let Workload::Fanout { bytes, .. } = plan.workload else { return Err("not a fan-out".into()) };
    let mut audience = Audience::new(fleet, bytes).map_err(|e| format!("generator: {e}"))?;
    let mut window = Window::new(plan, clock::now_ns());
    let mut events: Vec<Event> = Vec::with_capacity(EVENTS_MAX);
    let mut buffer = vec![0; BUFFER_BYTES];
    while window.turn(clock::now_ns(), link).is_continue() {
        events.clear();
        match epoll::wait(&audience.epoll, spare_capacity(&mut events), Some(&clock::timespec(TURN_NS_MAX))) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(format!("generator: {error}")),
        }
        for event in &events {
            audience.collect(event.data.u64() as usize, &mut buffer, &mut window)?;
        }
    }
    Ok(())
}

impl Audience<'_> {
    fn new(fleet: &Fleet, picture_bytes: u32) -> Result<Audience<'_>, Errno> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        for index in 0..fleet.len() {
            // One edge per arrival at least, and a read that takes all there is.
            let interest = EventFlags::IN | EventFlags::RDHUP | EventFlags::ET;
            epoll::add(&epoll, fleet.conn(index), EventData::new_u64(index as u64), interest)?;
        }
        let (arriving, ticks) = (vec![Arriving::default(); fleet.len()], VecDeque::new());
        Ok(Audience { fleet, epoll, arriving, picture_bytes, ticks })
    }

    fn collect(&mut self, device: usize, buffer: &mut [u8], window: &mut Window) -> Result<(), String> {
        match recv(self.fleet.conn(device), &mut buffer[..], RecvFlags::empty()) {
            Ok((0, _)) => Err(format!("the server closed connection {device}")),
            Ok((count, _)) => {
                let now = clock::now_ns();
                let mut bytes = &buffer[..count];
                while let Some(taken_at) = self.arrive(device, &mut bytes) {
                    window.answered(now.saturating_sub(taken_at));
                    self.count(taken_at, now, window);
                }
                Ok(())
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(()),
            Err(error) => Err(format!("connection {device}: recv: {error}")),
        }
    }

    /// Takes bytes from the front, up to the end of a picture; then, when that was taken.
    fn arrive(&mut self, device: usize, bytes: &mut &[u8]) -> Option<u64> {
        let arriving = &mut self.arriving[device];
        let have = arriving.bytes as usize;
        let count = bytes.len().min(self.picture_bytes as usize - have);
        if count == 0 {
            return None;
        }
        let (now, later) = bytes.split_at(count);
        *bytes = later;
        for (to, from) in arriving.front.iter_mut().skip(have).zip(now) {
            *to = *from;
        }
        arriving.bytes += count as u32;
        if arriving.bytes < self.picture_bytes {
            return None;
        }
        arriving.bytes = 0;
        picture::taken_at(&arriving.front)
    }

    fn count(&mut self, taken_at: u64, now: u64, window: &mut Window) {
        let place = self.ticks.iter().position(|(tick, _)| *tick == taken_at);
        let place = place.unwrap_or_else(|| {
            if self.ticks.len() == TICKS_MAX {
                self.ticks.pop_front();
            }
            self.ticks.push_back((taken_at, 0));
            self.ticks.len() - 1
        });
        self.ticks[place].1 += 1;
        if self.ticks[place].1 == self.fleet.len() {
            window.wave_served(now.saturating_sub(taken_at));
            self.ticks.remove(place);
        }
    }
}
