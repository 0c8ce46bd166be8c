//! Devices that beat three times per deadline, each from its own connect on, until they are let die. An open loop: a beat is
//! due when it is due.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::net::{SendFlags, send};
use socket2::Socket;

use super::{LoadPlan, fleet};
use crate::clock;

/// Beats per deadline.
const BEATS: u32 = 3;

/// Where a device is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Beating,
    /// Silent since its last beat, with its connection open: to the server it is dead from its deadline on.
    Dead,
    /// Its connection was ended.
    Ended,
}

/// What the end of a connection says of the server.
pub(super) enum Sight {
    /// The device had died, and its deadline had passed by so many nanoseconds.
    Late(u64),
    /// The device had died, but its deadline had not passed.
    Early,
    /// The device beat in time.
    False,
}

struct Device {
    conn: Socket,
    life: Life,
    beat_at: u64,
}

pub(super) struct Herd {
    devices: Vec<Device>,
    /// Who beats next, and when. Periods are equal, so the order is that of the last beats.
    due: VecDeque<(u64, u32)>,
    period_ns: u64,
    dead_within_ns: u64,
    message: Vec<u8>,
}

impl Herd {
    pub(super) fn new(plan: &LoadPlan) -> Herd {
        Herd {
            devices: Vec::new(),
            due: VecDeque::new(),
            period_ns: period(plan.dead_within).as_nanos() as u64,
            dead_within_ns: plan.dead_within.as_nanos() as u64,
            message: plan.workload.message(),
        }
    }

    pub(super) fn len(&self) -> u32 {
        self.devices.len() as u32
    }

    /// Connects one more device, which beats at once. `index` is its number in the whole fleet.
    pub(super) fn connect(&mut self, plan: &LoadPlan, index: u32) -> Result<u32, String> {
        let beat_at = clock::now_ns();
        let conn = fleet::connect(plan, index, &self.message)
            .map_err(|e| format!("connection {}: {e}", index + 1))?;
        let device = self.len();
        self.devices.push(Device { conn, life: Life::Beating, beat_at });
        self.due.push_back((beat_at + self.period_ns, device));
        Ok(device)
    }

    /// Spreads the next beats evenly over one period: devices that connected together would beat, and die, together.
    pub(super) fn spread(&mut self, now: u64) {
        let total = self.due.len() as u64;
        for ((due, _), place) in self.due.iter_mut().zip(0..) {
            *due = now + self.period_ns * place / total;
        }
    }

    pub(super) fn conn(&self, device: u32) -> BorrowedFd<'_> {
        self.devices[device as usize].conn.as_fd()
    }

    /// When the next beat is due.
    pub(super) fn next_due(&self) -> Option<u64> {
        self.due.front().map(|(due, _)| *due)
    }

    /// Sends what is due.
    pub(super) fn beat_due(&mut self, now: u64) {
        while let Some(&(due, device)) = self.due.front().filter(|(due, _)| *due <= now) {
            self.due.pop_front();
            if self.devices[device as usize].life == Life::Beating {
                self.beat(device);
                self.due.push_back((due.max(now.saturating_sub(self.period_ns)) + self.period_ns, device));
            }
        }
    }

    /// Beats now, whether due or not. The time is that before the beat: the server cannot have heard it earlier.
    pub(super) fn beat(&mut self, device: u32) {
        let device = &mut self.devices[device as usize];
        device.beat_at = clock::now_ns();
        // A connection that has ended says so by itself.
        let _ = send(&device.conn, &self.message, SendFlags::NOSIGNAL);
    }

    /// From here on it is silent.
    pub(super) fn die(&mut self, device: u32) {
        let device = &mut self.devices[device as usize];
        if device.life == Life::Beating {
            device.life = Life::Dead;
        }
    }

    /// Its connection was ended; what that says, when it is seen first.
    pub(super) fn ended(&mut self, device: u32, now: u64) -> Option<Sight> {
        let device = &mut self.devices[device as usize];
        match std::mem::replace(&mut device.life, Life::Ended) {
            Life::Beating => Some(Sight::False),
            Life::Dead => {
                let late_ns = now.checked_sub(device.beat_at + self.dead_within_ns);
                Some(late_ns.map_or(Sight::Early, Sight::Late))
            }
            Life::Ended => None,
        }
    }
}

/// How often devices beat.
pub(super) fn period(dead_within: Duration) -> Duration {
    dead_within / BEATS
}
