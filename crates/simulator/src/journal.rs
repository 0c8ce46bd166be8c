//! What is written down while it happens: what handlers were told, what went wrong, and, if somebody wants to see it, each step.

use std::collections::HashMap;
use std::fmt::Arguments;
use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use heartring_core::{ConnAt, Instant, ShardId};

use crate::mishap::{Mishap, MishapCounts};
use crate::record::{Entry, Told};

/// A client, as the handlers know it when it connects.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    pub(crate) number: u32,
    pub(crate) identity: Option<u32>,
    /// The handler claims for it before it has said anything.
    pub(crate) claims_when_opened: bool,
}

/// See the module's own text.
#[derive(Default)]
pub(crate) struct Journal {
    pub(crate) entries: Vec<Entry>,
    pub(crate) clients: HashMap<SocketAddr, Known>,
    pub(crate) mishaps: MishapCounts,
    pub(crate) bounds_broken: Vec<String>,
    pub(crate) messages_posted: Vec<(ShardId, ShardId, u64)>,
    pub(crate) messages_come: Vec<(ShardId, ShardId, u64)>,
    /// How much longer the present turn takes, since a handler takes its time.
    pub(crate) pause: Duration,
    /// The steps, as text; `None` if nobody wants to see them.
    pub(crate) trace: Option<Vec<u8>>,
}

impl Journal {
    /// Writes down what a handler was told, or has done.
    pub(crate) fn note(&mut self, at: Instant, conn: ConnAt, told: Told) {
        self.step(at, format_args!("{conn} {told:?}"));
        self.entries.push(Entry { at, conn, told });
    }

    pub(crate) fn count(&mut self, mishap: Mishap) {
        self.mishaps.count(mishap);
    }

    /// Writes down a bound that does not hold; the first few say enough.
    pub(crate) fn broken(&mut self, what: String) {
        if self.bounds_broken.len() < 10 {
            self.bounds_broken.push(what);
        }
    }

    /// Writes down a step.
    pub(crate) fn step(&mut self, at: Instant, what: Arguments<'_>) {
        if let Some(trace) = &mut self.trace {
            writeln!(trace, "{at} {what}").expect("memory takes everything");
        }
    }
}

/// A number that differs when anything was told in another way or at another time.
pub(crate) fn digest(entries: &[Entry]) -> u64 {
    let mut digest = Digest::default();
    for Entry { at, conn, told } in entries {
        let (slot, generation) = (u64::from(conn.conn.slot()), u64::from(conn.conn.generation()));
        digest.add(&[at.as_nanos(), u64::from(conn.shard.0), slot, generation]);
        digest.add(&numbers_of(told));
    }
    digest.0
}

/// FNV-1a over words.
struct Digest(u64);

impl Default for Digest {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Digest {
    fn add(&mut self, words: &[u64]) {
        for word in words {
            self.0 = (self.0 ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(29);
        }
    }
}

/// What tells entries apart.
fn numbers_of(told: &Told) -> [u64; 3] {
    let plus_one = |number: Option<u32>| number.map_or(0, |number| u64::from(number) + 1);
    match told {
        Told::Opened { client } => [1, u64::from(*client), 0],
        Told::Received { number } => [2, plus_one(*number), 0],
        Told::Overdue => [3, 0, 0],
        Told::Late { number, bytes } => [4, plus_one(*number), u64::from(*bytes)],
        Told::Claimed { epoch } => [5, *epoch, 0],
        Told::Writable => [6, 0, 0],
        Told::Closing(closed) => [7, closed.cause.name().len() as u64, closed.decided_at.as_nanos()],
        Told::Closed(closed) => [8, closed.late_bytes, closed.decided_at.as_nanos()],
        Told::Claims { identity } => [9, u64::from(*identity), 0],
        Told::Sends { number, state, to_identity } => {
            [10, u64::from(*number) << 1 | u64::from(*state), plus_one(*to_identity)]
        }
        Told::Closes => [11, 0, 0],
        Told::Negotiates(dead_within) => [12, dead_within.as_nanos() as u64, 0],
    }
}
