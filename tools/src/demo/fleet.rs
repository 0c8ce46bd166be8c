//! The fleet: a process that plays thousands of devices on one thread and one epoll.
//!
//! When its lifeline ends, the fleet stops and reports: one JSON line per device on stdout.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, BufWriter, Write};
use std::net::SocketAddr;
use std::time::Duration;

use heartring::Instant;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::device::{Device, World};
use super::plan::Plan;
use crate::system;

/// Timers that fire between two looks at the sockets.
const TIMERS_PER_TURN: usize = 256;
/// After the lifeline is cut: the sockets are read until nothing has come for this long …
const LAST_WORDS: Duration = Duration::from_millis(50);
/// … but not for longer than this.
const LAST_WORDS_MAX: Duration = Duration::from_secs(1);
/// How epoll knows the lifeline; devices are known by their number.
const LIFELINE: u64 = u64::MAX;

/// What such a process is told.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct FleetOrders {
    pub(super) plan: Plan,
    pub(super) gateway: SocketAddr,
    /// `CLOCK_MONOTONIC` at the start of the plan.
    pub(super) start_ns: u64,
    /// The devices that this process plays.
    pub(super) device_first: u32,
    pub(super) device_count: u32,
}

/// Plays until every device is done or the lifeline ends, and reports.
pub(super) fn play(orders: &FleetOrders) -> io::Result<()> {
    let mut fleet = Fleet::new(orders)?;
    let mut events = Vec::with_capacity(1024);
    while fleet.devices_open > 0 && fleet.lifeline_held {
        fleet.fire_timers();
        fleet.wait(&mut events, fleet.timeout())?;
    }
    let until = system::now() + LAST_WORDS_MAX;
    while system::now() < until && fleet.wait(&mut events, Some(LAST_WORDS))? > 0 {}
    fleet.report()
}

struct Fleet {
    world: World,
    device_first: u32,
    devices: Vec<Device>,
    devices_open: usize,
    timers: BinaryHeap<Reverse<(Instant, u32)>>,
    lifeline_held: bool,
}

impl Fleet {
    fn new(orders: &FleetOrders) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, io::stdin(), epoll::EventData::new_u64(LIFELINE), epoll::EventFlags::RDHUP)?;
        let start = Instant::from_nanos(orders.start_ns);
        let world = World { epoll, gateway: orders.gateway, timetable: orders.plan.timetable.clone(), start };
        let numbers = orders.device_first..orders.device_first + orders.device_count;
        let devices: Vec<_> = numbers.map(|number| Device::new(number, orders.plan.script(number))).collect();
        let timers = (0..)
            .zip(&devices)
            .map(|(index, device)| Reverse((start + device.connect_at(), index)))
            .collect();
        let devices_open = devices.len();
        Ok(Self {
            world,
            device_first: orders.device_first,
            devices,
            devices_open,
            timers,
            lifeline_held: true,
        })
    }

    fn fire_timers(&mut self) {
        let now = system::now();
        for _ in 0..TIMERS_PER_TURN {
            match self.timers.peek() {
                Some(&Reverse((due, index))) if due <= now => {
                    self.timers.pop();
                    self.act(index, |device, world| device.timer(world, now));
                }
                Some(_) | None => break,
            }
        }
    }

    /// Lets a device act, and keeps the books: its next timer, and whether it is done.
    fn act(&mut self, index: u32, action: impl FnOnce(&mut Device, &World) -> Option<Instant>) {
        let device = &mut self.devices[index as usize];
        if device.is_done() {
            return;
        }
        if let Some(due) = action(device, &self.world) {
            self.timers.push(Reverse((due, index)));
        }
        self.devices_open -= usize::from(device.is_done());
    }

    fn timeout(&self) -> Option<Duration> {
        let Reverse((due, _)) = self.timers.peek()?;
        Some(due.saturating_since(system::now()))
    }

    /// Waits for the sockets and lets their devices react. Returns how many had something to say.
    fn wait(&mut self, events: &mut Vec<epoll::Event>, timeout: Option<Duration>) -> io::Result<usize> {
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        events.clear();
        match epoll::wait(&self.world.epoll, rustix::buffer::spare_capacity(events), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let now = system::now();
        for event in events.iter() {
            match event.data.u64() {
                LIFELINE => self.cut_lifeline()?,
                number => {
                    let index = number as u32 - self.device_first;
                    self.act(index, |device, world| device.ready(world, event.flags, now));
                }
            }
        }
        Ok(events.len())
    }

    fn cut_lifeline(&mut self) -> io::Result<()> {
        self.lifeline_held = false;
        Ok(epoll::delete(&self.world.epoll, io::stdin())?)
    }

    fn report(&self) -> io::Result<()> {
        let mut out = BufWriter::new(io::stdout().lock());
        for device in &self.devices {
            serde_json::to_writer(&mut out, device.truth())?;
            out.write_all(b"\n")?;
        }
        out.flush()
    }
}
