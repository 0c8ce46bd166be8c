//! The record, sorted by connection.

use std::fmt;
use std::time::Duration;

use heartring_core::{Cause, Closed, ConnAt, ConnId, FrameKind, Instant};

use crate::record::{Client, Entry, Frame, Record, Told};

use super::patience::Patience;

/// Everything that was told of one connection.
pub(super) struct Story<'r> {
    pub(super) conn: ConnAt,
    /// Its client, by its number.
    pub(super) number: u32,
    pub(super) client: &'r Client,
    pub(super) opened_at: Instant,
    /// Its entries with their places among all.
    pub(super) entries: Vec<(usize, &'r Entry)>,
    /// The place and the instant of the claim, and the identity.
    pub(super) claims: Option<(usize, Instant, u32)>,
    /// The place and the instant of the grant, and the epoch.
    pub(super) claimed: Option<(usize, Instant, u64)>,
    /// The place and the instant of `closing`, and what it said.
    pub(super) closing: Option<(usize, Instant, &'r Closed)>,
    /// The same of `closed`.
    pub(super) closed: Option<(usize, Instant, &'r Closed)>,
}

/// The record, sorted by connection.
pub(super) struct Stories<'r> {
    pub(super) record: &'r Record,
    pub(super) patience: Patience<'r>,
    /// One for each `opened`, in their order.
    pub(super) all: Vec<Story<'r>>,
    /// Entries of connections that were not opened, or that a newer one in their slot has replaced.
    pub(super) strays: Vec<usize>,
}

impl<'r> Stories<'r> {
    pub(super) fn of(record: &'r Record) -> Self {
        let mut stories =
            Self { record, patience: Patience::of(record), all: Vec::new(), strays: Vec::new() };
        let mut occupants: Vec<Vec<Option<(ConnId, usize)>>> = vec![Vec::new(); record.shards.len()];
        for (place, entry) in record.entries.iter().enumerate() {
            let slots = &mut occupants[usize::from(entry.conn.shard.0)];
            let slot = entry.conn.conn.slot() as usize;
            if slots.len() <= slot {
                slots.resize(slot + 1, None);
            }
            let known = slots[slot].filter(|(conn, _)| *conn == entry.conn.conn).map(|(_, story)| story);
            match (known, &entry.told) {
                (Some(story), _) => stories.all[story].add(place, entry),
                (None, Told::Opened { client }) => {
                    slots[slot] = Some((entry.conn.conn, stories.all.len()));
                    stories.all.push(Story::begin(record, place, entry, *client));
                }
                (None, _) => stories.strays.push(place),
            }
        }
        stories
    }

    /// Those that ended for a cause of which `is` says yes, with what was said about it.
    pub(super) fn ended<'s>(
        &'s self,
        is: fn(&Cause) -> bool,
    ) -> impl Iterator<Item = (&'s Story<'r>, &'r Closed)> {
        self.all.iter().filter_map(move |story| {
            let end = story.end().filter(|end| is(&end.cause))?;
            Some((story, end))
        })
    }
}

impl<'r> Story<'r> {
    fn begin(record: &'r Record, place: usize, entry: &'r Entry, number: u32) -> Self {
        Self {
            conn: entry.conn,
            number,
            client: &record.clients[number as usize],
            opened_at: entry.at,
            entries: vec![(place, entry)],
            claims: None,
            claimed: None,
            closing: None,
            closed: None,
        }
    }

    /// Takes note of an entry. Of what comes twice the first counts here; that it came twice is seen elsewhere.
    fn add(&mut self, place: usize, entry: &'r Entry) {
        self.entries.push((place, entry));
        match &entry.told {
            Told::Claims { identity } => _ = self.claims.get_or_insert((place, entry.at, *identity)),
            Told::Claimed { epoch } => _ = self.claimed.get_or_insert((place, entry.at, *epoch)),
            Told::Closing(closed) => _ = self.closing.get_or_insert((place, entry.at, closed)),
            Told::Closed(closed) => _ = self.closed.get_or_insert((place, entry.at, closed)),
            Told::Opened { .. }
            | Told::Received { .. }
            | Told::Overdue
            | Told::Late { .. }
            | Told::Writable
            | Told::Sends { .. }
            | Told::Closes
            | Told::Negotiates(_) => {}
        }
    }

    /// How it ended.
    pub(super) fn end(&self) -> Option<&'r Closed> {
        self.closing.or(self.closed).map(|(_, _, closed)| closed)
    }

    /// Whether it ended for this cause.
    pub(super) fn ended_for(&self, is: fn(&Cause) -> bool) -> bool {
        self.end().is_some_and(|end| is(&end.cause))
    }

    /// Whether it has claimed and was not granted it before `instant`.
    pub(super) fn is_undecided_at(&self, instant: Instant) -> bool {
        let asked = self.claims.is_some_and(|(_, at, _)| at <= instant);
        asked && self.claimed.is_none_or(|(_, at, _)| at > instant)
    }

    /// The place of the last entry.
    pub(super) fn last_place(&self) -> usize {
        self.entries.last().map_or(0, |(place, _)| *place)
    }

    /// The deadline in force before the entry at `place`.
    pub(super) fn dead_within_at(&self, configured: Duration, place: usize) -> Duration {
        let earlier = self.entries.iter().rev().filter(|(other, _)| *other < place);
        let mut negotiated = earlier.filter_map(|(_, entry)| {
            if let Told::Negotiates(dead_within) = entry.told { Some(dead_within) } else { None }
        });
        negotiated.next().unwrap_or(configured)
    }

    /// The deadlines in force at some time from `from` to `to`, the configured one included if it was.
    pub(super) fn dead_withins(
        &self,
        configured: Duration,
        from: Instant,
        to: Instant,
    ) -> impl Iterator<Item = Duration> {
        let mut in_force = configured;
        let mut within = Vec::new();
        for (_, entry) in &self.entries {
            let Told::Negotiates(dead_within) = entry.told else { continue };
            if entry.at > to {
                break;
            }
            if entry.at >= from {
                within.push(in_force);
            }
            in_force = dead_within;
        }
        within.push(in_force);
        within.into_iter()
    }

    /// The client's complete valid frames that had arrived by `instant`.
    pub(super) fn frames_by(&self, instant: Instant) -> &'r [Frame] {
        let frames = &self.client.frames;
        &frames[..frames.partition_point(|frame| frame.arrived_at.is_some_and(|at| at <= instant))]
    }

    /// How many of those are for the handler.
    pub(super) fn data_by(&self, instant: Instant) -> u32 {
        let is_data = |frame: &&Frame| frame.kind == FrameKind::Data;
        self.frames_by(instant).iter().rev().find(is_data).map_or(0, |frame| frame.number + 1)
    }

    /// Frames that were begun, and what looked like one, with when they were whole.
    pub(super) fn begun_frames(&self) -> impl Iterator<Item = (Instant, Option<Instant>)> {
        self.client.in_parts.iter().copied()
    }

    /// Data frames that were told, late ones included.
    pub(super) fn told_data(&self) -> impl Iterator<Item = (&'r Entry, Option<u32>)> {
        self.entries.iter().filter_map(|(_, entry)| match entry.told {
            Told::Received { number } => Some((*entry, number)),
            Told::Late { number: Some(number), .. } => Some((*entry, Some(number))),
            Told::Late { number: None, .. }
            | Told::Opened { .. }
            | Told::Overdue
            | Told::Claimed { .. }
            | Told::Writable
            | Told::Closing(_)
            | Told::Closed(_)
            | Told::Claims { .. }
            | Told::Sends { .. }
            | Told::Closes
            | Told::Negotiates(_) => None,
        })
    }

    /// The last instant before its end at which it proved to a handler that it lives: a frame, or its grant.
    pub(super) fn last_proof_told(&self) -> Option<Instant> {
        let proves = |told: &Told| matches!(told, Told::Received { .. } | Told::Claimed { .. });
        self.entries.iter().rev().find(|(_, entry)| proves(&entry.told)).map(|(_, entry)| entry.at)
    }
}

impl fmt::Display for Story<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (client {})", self.conn, self.number)?;
        match self.end() {
            Some(end) => write!(f, ", ended at {} as {:?}", end.decided_at, end.cause),
            None => f.write_str(", which never ended"),
        }
    }
}
