//! Records made by hand: good ones, and what is needed to break them in one place.
//!
//! One shard without faults, a deadline of one second: a beat is overdue after 500 ms, the grace period lasts 333 ms. A connection
//! is called by its slot, and clients are numbered in the order in which they come.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use heartring_core::{
    Cause, Closed, Config, ConnAt, ConnId, Errno, Evidence, FrameKind, Instant, Ledger, OpKind, ShardId,
    Stats,
};
use heartring_sim::{FaultCounts, FaultOdds, Saw};

use crate::mishap::MishapCounts;
use crate::plan::Plan;
use crate::record::{Act, Client, Entry, Frame, Record, ShardRecord, Told};

use super::story::Stories;
use super::{RULES, check};

/// An instant, in milliseconds.
pub(super) fn at(ms: u64) -> Instant {
    Instant::from_nanos(ms * 1_000_000)
}

pub(super) const fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A record in the making.
pub(super) struct Made {
    pub(super) record: Record,
    opened: u32,
}

impl Made {
    /// Nobody came.
    pub(super) fn whole() -> Self {
        let mut config = Config { dead_within: millis(1_000), ..Config::default() };
        config.overrides.stall_tolerance = Some(millis(10));
        let liveness = config.liveness().unwrap();
        let plan = Plan { config, liveness, shards: 1, odds: FaultOdds::NONE, ..Plan::new(0) };
        let shard = ShardRecord {
            drained_at: None,
            absences: Vec::new(),
            open_total: 0,
            ledger: Ledger::default(),
            ops_submitted: [5; OpKind::COUNT],
            ops_ended: [5; OpKind::COUNT],
            stats: Stats::default(),
            faults: FaultCounts::default(),
            turns: 0,
        };
        let record = Record {
            plan,
            clients: Vec::new(),
            entries: Vec::new(),
            shards: vec![shard],
            bounds_broken: Vec::new(),
            holders_lost: Vec::new(),
            messages_posted: Vec::new(),
            messages_come: Vec::new(),
            ended_at: at(10_000),
            quiescent: true,
            mishaps: MishapCounts::default(),
        };
        Self { record, opened: 0 }
    }

    /// Nothing is broken.
    pub(super) fn keeps_all(&self) {
        assert_eq!(check(&self.record), Ok(()));
    }

    /// This rule is broken, and no other.
    pub(super) fn breaks(&self, rule: &str) {
        let stories = Stories::of(&self.record);
        let broken: BTreeSet<&str> =
            RULES.iter().filter(|(_, holds)| holds(&stories).is_err()).map(|(name, _)| *name).collect();
        assert_eq!(broken, BTreeSet::from([rule]), "{:?}", check(&self.record));
    }

    /// This rule is the first that is broken. Others are too: what it says is also in what they say.
    pub(super) fn breaks_first(&self, rule: &str) {
        assert_eq!(check(&self.record).unwrap_err().invariant, rule);
    }

    // Whole lives.

    /// A client connects.
    pub(super) fn client(&mut self, connected_at: Instant) -> u32 {
        let number = self.record.clients.len() as u32;
        self.record.clients.push(Client {
            shard: ShardId(0),
            addr: SocketAddr::from(([10, 0, 0, number as u8], 1)),
            connected_at,
            identity: None,
            frames: Vec::new(),
            in_parts: Vec::new(),
            acts: Vec::new(),
            read: Vec::new(),
            read_for_identity: Vec::new(),
            misread: None,
            saw: Saw::Open,
            harm: None,
        });
        number
    }

    /// It is accepted.
    pub(super) fn open(&mut self, client: u32, opened_at: Instant) -> usize {
        let conn = self.opened as usize;
        self.opened += 1;
        self.tell(conn, opened_at, Told::Opened { client });
        conn
    }

    /// A connection ends at once, with what its client sees of it.
    pub(super) fn ends(&mut self, conn: usize, decided_at: Instant, cause: Cause) {
        self.announce(conn, decided_at, cause);
        let closed = Told::Closed(self.ends_as(conn));
        self.tell(conn, decided_at, closed);
        let orderly = matches!(cause, Cause::PeerClosed | Cause::Draining | Cause::Local);
        self.client_of(conn).saw = if orderly { Saw::Eof } else { Saw::Reset };
    }

    /// A client sends data at some instants, each received at once, and then its FIN.
    pub(super) fn peer_closed(&mut self, sends_at: &[Instant], fin_at: Instant) -> usize {
        let client = self.client(at(0));
        let conn = self.open(client, at(0));
        for (number, &when) in (0..).zip(sends_at) {
            self.data(conn, when);
            self.tell(conn, when, Told::Received { number: Some(number) });
        }
        self.leaves(conn, fin_at);
        conn
    }

    /// A client sends its FIN.
    pub(super) fn leaves(&mut self, conn: usize, fin_at: Instant) {
        self.client_of(conn).acts.push((fin_at, Act::Fin));
        self.ends(conn, fin_at, Cause::PeerClosed);
    }

    /// A client sends one data frame, is overdue and misses its deadline; it has vanished, or sends another frame in grace.
    pub(super) fn missed(&mut self, sent_at: Instant, late_at: Option<Instant>) -> usize {
        let client = self.client(at(0));
        let conn = self.open(client, at(0));
        self.data(conn, sent_at);
        self.tell(conn, sent_at, Told::Received { number: Some(0) });
        self.tell(conn, sent_at + millis(500), Told::Overdue);
        self.announce(conn, sent_at + millis(1_000), Cause::HeartbeatMissed);
        let mut closed = self.ends_as(conn);
        if let Some(late_at) = late_at {
            self.data(conn, late_at);
            self.tell(conn, late_at, Told::Late { number: Some(1), bytes: 13 });
            closed.late_bytes = 13;
            self.client_of(conn).saw = Saw::Reset;
        } else {
            self.client_of(conn).acts.push((sent_at + millis(50), Act::Vanished));
        }
        self.tell(conn, sent_at + millis(1_334), Told::Closed(closed));
        conn
    }

    /// A client says nothing.
    pub(super) fn hello_missed(&mut self, decided_at: Instant) -> usize {
        let client = self.client(at(0));
        let conn = self.open(client, at(0));
        self.ends(conn, decided_at, Cause::HelloMissed);
        conn
    }

    /// A client begins a frame and does not go on.
    pub(super) fn frame_stalled(&mut self, began_at: Instant, decided_at: Instant) -> usize {
        let client = self.client(at(0));
        let conn = self.open(client, at(0));
        self.client_of(conn).in_parts.push((began_at, None));
        self.ends(conn, decided_at, Cause::FrameStalled);
        conn
    }

    /// A client beats, and does not read what it is sent.
    pub(super) fn slow_consumer(&mut self, sent_at: Instant, decided_at: Instant) -> usize {
        let client = self.client(at(0));
        let conn = self.open(client, at(0));
        self.data(conn, sent_at);
        self.tell(conn, sent_at, Told::Received { number: Some(0) });
        self.tell(conn, sent_at, Told::Sends { number: 0, state: false, to_identity: None });
        self.client_of(conn).acts.push((at(0), Act::StoppedReading));
        for beat in [400, 700, 1_000] {
            self.beat(conn, at(beat));
        }
        self.ends(conn, decided_at, Cause::SlowConsumer);
        conn
    }

    /// A client claims an identity and is granted it.
    pub(super) fn claimed(&mut self, identity: u32, asked: Instant, granted: Instant, epoch: u64) -> usize {
        let client = self.client(at(0));
        let conn = self.open(client, at(0));
        self.data(conn, asked);
        self.tell(conn, asked, Told::Received { number: Some(0) });
        self.tell(conn, asked, Told::Claims { identity });
        self.tell(conn, granted, Told::Claimed { epoch });
        conn
    }

    // What clients do.

    pub(super) fn client_of(&mut self, conn: usize) -> &mut Client {
        let opened = self.told(conn).find_map(|(_, told)| {
            if let Told::Opened { client } = told { Some(*client as usize) } else { None }
        });
        &mut self.record.clients[opened.expect("it was opened")]
    }

    /// A data frame arrives.
    pub(super) fn data(&mut self, conn: usize, arrived: Instant) {
        let frames = &mut self.client_of(conn).frames;
        let number = frames.iter().filter(|frame| frame.kind == FrameKind::Data).count() as u32;
        let (kind, arrived) = (FrameKind::Data, Some(arrived));
        frames.push(Frame { kind, number, began_at: arrived, arrived_at: arrived });
    }

    /// A heartbeat arrives.
    pub(super) fn beat(&mut self, conn: usize, arrived: Instant) {
        let (kind, arrived) = (FrameKind::Beat, Some(arrived));
        let frames = &mut self.client_of(conn).frames;
        frames.push(Frame { kind, number: 0, began_at: arrived, arrived_at: arrived });
        frames.sort_by_key(|frame| frame.arrived_at);
    }

    // What is told.

    pub(super) fn tell(&mut self, conn: usize, when: Instant, told: Told) {
        self.record.entries.push(Entry { at: when, conn: name(conn), told });
        self.recount();
    }

    /// The same, before the `place`-th entry of the connection.
    pub(super) fn insert(&mut self, conn: usize, place: usize, when: Instant, told: Told) {
        let among_all = self.among_all(conn, place);
        self.record.entries.insert(among_all, Entry { at: when, conn: name(conn), told });
        self.recount();
    }

    pub(super) fn remove(&mut self, conn: usize, place: usize) {
        let among_all = self.among_all(conn, place);
        self.record.entries.remove(among_all);
        self.recount();
    }

    pub(super) fn replace(&mut self, conn: usize, place: usize, told: Told) {
        let among_all = self.among_all(conn, place);
        self.record.entries[among_all].told = told;
        self.recount();
    }

    pub(super) fn retime(&mut self, conn: usize, place: usize, when: Instant) {
        let among_all = self.among_all(conn, place);
        self.record.entries[among_all].at = when;
    }

    /// The place of the first such entry of the connection.
    pub(super) fn place(&self, conn: usize, is: fn(&Told) -> bool) -> usize {
        self.told(conn).position(|(_, told)| is(told)).expect("it was told")
    }

    pub(super) fn told_last(&self, conn: usize) -> Told {
        self.told(conn).last().expect("it was opened").1.clone()
    }

    /// Changes what `closed` said.
    pub(super) fn change_end(&mut self, conn: usize, change: impl Fn(&mut Closed)) {
        for entry in self.record.entries.iter_mut().filter(|entry| entry.conn == name(conn)) {
            if let Told::Closed(closed) = &mut entry.told {
                change(closed);
            }
        }
        self.recount();
    }

    /// Changes what `closing` and `closed` said.
    pub(super) fn change_ends(&mut self, conn: usize, change: impl Fn(&mut Closed)) {
        self.change_end(conn, &change);
        for entry in self.record.entries.iter_mut().filter(|entry| entry.conn == name(conn)) {
            if let Told::Closing(closed) = &mut entry.told {
                change(closed);
            }
        }
        self.recount();
    }

    pub(super) fn change_cause(&mut self, conn: usize, cause: Cause) {
        self.change_ends(conn, |closed| closed.cause = cause);
    }

    /// The verdict comes at another time, and all that follows with it.
    pub(super) fn retime_verdict(&mut self, conn: usize, when: Instant) {
        let before = self.ends_as(conn).decided_at;
        self.change_ends(conn, |closed| {
            let due = closed.lateness.map(|lateness| closed.decided_at - lateness);
            let proved = closed.decided_at - closed.evidence.silence;
            closed.lateness = due.map(|due| when.saturating_since(due));
            closed.evidence.silence = when.saturating_since(proved);
            closed.decided_at = when;
        });
        for entry in self.record.entries.iter_mut().filter(|entry| entry.conn == name(conn)) {
            if entry.at >= before {
                entry.at = when + entry.at.saturating_since(before);
            }
        }
    }

    fn announce(&mut self, conn: usize, decided_at: Instant, cause: Cause) {
        let errno = if let Cause::Os(errno) = cause {
            Some(errno)
        } else if cause == Cause::PeerReset {
            Some(Errno::ECONNRESET)
        } else {
            matches!(cause, Cause::PathDead(_)).then_some(Errno::EHOSTUNREACH)
        };
        let proves =
            |told: &Told| matches!(told, Told::Opened { .. } | Told::Received { .. } | Told::Claimed { .. });
        let proved = self.told(conn).filter(|(_, told)| proves(told)).last().expect("it was opened").0;
        let measured = [Cause::HeartbeatMissed, Cause::HelloMissed, Cause::FrameStalled, Cause::SlowConsumer];
        let evidence =
            Evidence { silence: decided_at.saturating_since(proved), errno, ..Evidence::default() };
        let opened_at = self.told(conn).next().expect("it was opened").0;
        let lateness = measured.contains(&cause).then_some(Duration::ZERO);
        let closed = Closed { cause, evidence, opened_at, decided_at, lateness, late_bytes: 0 };
        self.tell(conn, decided_at, Told::Closing(closed));
    }

    fn ends_as(&self, conn: usize) -> Closed {
        let ends =
            |(_, told): (Instant, &Told)| if let Told::Closing(closed) = told { Some(*closed) } else { None };
        self.told(conn).find_map(ends).expect("its end was announced")
    }

    fn told(&self, conn: usize) -> impl Iterator<Item = (Instant, &Told)> {
        let of_it = self.record.entries.iter().filter(move |entry| entry.conn == name(conn));
        of_it.map(|entry| (entry.at, &entry.told))
    }

    fn among_all(&self, conn: usize, place: usize) -> usize {
        let of_it = self.record.entries.iter().enumerate().filter(|(_, entry)| entry.conn == name(conn));
        of_it.map(|(among_all, _)| among_all).nth(place).expect("so many entries")
    }

    /// Makes the statistics what is told.
    fn recount(&mut self) {
        let mut stats = Stats::default();
        for entry in &self.record.entries {
            match &entry.told {
                Told::Opened { .. } => stats.accepted += 1,
                Told::Received { .. } => stats.frames += 1,
                Told::Overdue => stats.overdue += 1,
                Told::Late { bytes, .. } => {
                    stats.frames += 1;
                    stats.late_frames += 1;
                    stats.late_bytes += u64::from(*bytes);
                }
                Told::Claims { .. } => stats.claims += 1,
                Told::Claimed { .. } => stats.grants += 1,
                Told::Closing(closed) => {
                    closed.lateness.into_iter().for_each(|late| stats.lateness.record(late));
                }
                Told::Closed(closed) => stats.count_closed(&closed.cause),
                Told::Writable | Told::Sends { .. } | Told::Closes | Told::Negotiates(_) => {}
            }
        }
        self.record.shards[0].stats = stats;
    }
}

/// The name of a connection.
fn name(conn: usize) -> ConnAt {
    ConnAt { shard: ShardId(0), conn: ConnId::new(conn as u32, 1) }
}
