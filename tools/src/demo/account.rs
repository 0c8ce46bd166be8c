//! The two accounts of an end: what the device knows ([`Truth`], one JSON line per device) and what the gateway's handler was
//! told ([`Ending`]). The verdict compares them.

use std::time::Duration;

use heartring::{Cause, Instant};
use serde::{Deserialize, Serialize};

use super::plan::Fate;
use crate::wire::PREFIX_BYTES;

/// A device's own account. Instants are nanoseconds on `CLOCK_MONOTONIC`, which both processes read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Truth {
    pub(crate) device: u32,
    pub(crate) fate: Fate,
    /// The device reached its fate and did all that belongs to it.
    pub(crate) carried_out: bool,
    /// Read just before the system call that sent the last beat in time (at first: the hello).
    last_beat_ns: u64,
    /// Bytes that our kernel took after the deadline had passed.
    pub(crate) late_bytes: u64,
    pub(crate) end: End,
}

/// How a connection ended, as its device saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum End {
    /// It did not: nothing came from the gateway and the device did nothing.
    Open,
    /// The device ended it.
    Own,
    /// The gateway sent a FIN.
    SawFin,
    /// The gateway sent an RST.
    SawReset,
    /// There never was a connection: the errno says why.
    NotConnected(i32),
}

impl Truth {
    pub(crate) fn new(device: u32, fate: Fate) -> Self {
        Self { device, fate, carried_out: false, last_beat_ns: 0, late_bytes: 0, end: End::Open }
    }

    pub(crate) fn beat(&mut self, at: Instant) {
        self.last_beat_ns = at.as_nanos();
    }

    pub(crate) fn last_beat(&self) -> Instant {
        Instant::from_nanos(self.last_beat_ns)
    }
}

/// The end of one connection, as the gateway's handler was told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    /// From the connection's hello; `None` if it never came.
    pub(crate) device: Option<u32>,
    pub(crate) cause: Cause,
    pub(crate) decided_at: Instant,
    pub(crate) lateness: Option<Duration>,
    pub(crate) late: LateBytes,
}

/// What came during grace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LateBytes {
    pub(crate) count: u64,
    pub(crate) frames: u32,
    /// A frame was not the next one that the device had sent.
    pub(crate) garbled: bool,
}

impl LateBytes {
    /// Counts a frame of `body_bytes` whose content was as expected, or not.
    pub(crate) fn add(&mut self, body_bytes: usize, expected: bool) {
        self.count += (PREFIX_BYTES + body_bytes) as u64;
        self.frames += 1;
        self.garbled |= !expected;
    }
}
