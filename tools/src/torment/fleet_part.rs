//! A fleet: a process that plays thousands of devices on one thread and one epoll. Each order gets one answer.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io::{self, BufWriter, Write};
use std::time::Duration;

use heartring::Instant;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

use super::device::{Device, World};
use super::words::{Act, Counts, FleetOrder, FleetPart, FleetWord};
use crate::random::Random;
use crate::system;

/// Timers that fire between two looks at the sockets.
const TIMERS_PER_TURN: usize = 256;
/// How epoll knows the lifeline; devices are known by their number.
const LIFELINE: u64 = u64::MAX;

/// Plays until the lifeline ends.
pub(super) fn play(part: &FleetPart) -> io::Result<()> {
    let mut fleet = Fleet::new(part)?;
    let mut events = Vec::with_capacity(1024);
    while fleet.lifeline_held {
        fleet.fire_timers();
        fleet.wait(&mut events)?;
    }
    Ok(())
}

struct Fleet {
    world: World,
    devices: BTreeMap<u32, Device>,
    /// Of those that a device has had set, the one that is its `due` counts.
    timers: BinaryHeap<Reverse<(Instant, u32)>>,
    orders: Vec<u8>,
    lifeline_held: bool,
}

impl Fleet {
    fn new(part: &FleetPart) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, io::stdin(), epoll::EventData::new_u64(LIFELINE), epoll::EventFlags::IN)?;
        Ok(Self {
            world: World {
                epoll,
                gateway: part.gateway,
                beat_every: part.beat_every,
                random: Random::new(part.seed, 0),
            },
            devices: BTreeMap::new(),
            timers: BinaryHeap::new(),
            orders: Vec::new(),
            lifeline_held: true,
        })
    }

    fn fire_timers(&mut self) {
        let now = system::now();
        for _ in 0..TIMERS_PER_TURN {
            match self.timers.peek() {
                Some(&Reverse((due, number))) if due <= now => {
                    self.timers.pop();
                    let current = self.devices.get(&number).is_some_and(|device| device.due == Some(due));
                    if current {
                        self.with(number, |device, world| device.timer(world));
                    }
                }
                Some(_) | None => break,
            }
        }
    }

    /// Lets a device act and sets its next timer.
    fn with(&mut self, number: u32, action: impl FnOnce(&mut Device, &mut World)) {
        let Some(device) = self.devices.get_mut(&number) else { return };
        let before = device.due;
        action(device, &mut self.world);
        if let Some(due) = device.due.filter(|due| Some(*due) != before) {
            self.timers.push(Reverse((due, number)));
        }
    }

    /// Waits for the sockets and for orders.
    fn wait(&mut self, events: &mut Vec<epoll::Event>) -> io::Result<()> {
        let timeout = self.timers.peek().map(|Reverse((due, _))| due.saturating_since(system::now()));
        let timeout = timeout.and_then(|timeout: Duration| Timespec::try_from(timeout).ok());
        events.clear();
        match epoll::wait(&self.world.epoll, rustix::buffer::spare_capacity(events), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        for event in events.iter() {
            match event.data.u64() {
                LIFELINE => self.take_orders()?,
                number => self.with(number as u32, |device, world| device.ready(world, event.flags)),
            }
        }
        Ok(())
    }

    fn take_orders(&mut self) -> io::Result<()> {
        let mut bytes = [0; 4096];
        let read = rustix::io::read(io::stdin(), &mut bytes)?;
        self.lifeline_held = read > 0;
        self.orders.extend_from_slice(&bytes[..read]);
        while let Some(end) = self.orders.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.orders.drain(..=end).collect();
            let word = self.obey(serde_json::from_slice(&line)?);
            let mut out = BufWriter::new(io::stdout().lock());
            serde_json::to_writer(&mut out, &word)?;
            out.write_all(b"\n")?;
            out.flush()?;
        }
        Ok(())
    }

    fn obey(&mut self, FleetOrder { first, count, act }: FleetOrder) -> FleetWord {
        let meant = first..first + count;
        match act {
            Act::Connect { small } => {
                for number in meant {
                    self.devices.insert(number, Device::connect(&self.world, number, small));
                }
            }
            Act::Count => {
                let counts = self.devices.range(meant).map(|(_, device)| device.counts());
                return FleetWord::Counted(counts.fold(Counts::default(), Counts::plus));
            }
            Act::Tell => {
                let truths = self.devices.range(meant).map(|(_, device)| device.truth().clone());
                return FleetWord::Told(truths.collect());
            }
            Act::Forget => {
                for number in meant {
                    self.devices.remove(&number);
                }
            }
            Act::Close
            | Act::Reset
            | Act::Vanish
            | Act::Flood { .. }
            | Act::Ask { .. }
            | Act::Drip
            | Act::Garbage => {
                meant.for_each(|number| self.with(number, |device, world| device.act(world, act)));
            }
        }
        FleetWord::Done
    }
}
