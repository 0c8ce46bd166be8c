//! What happened to each connection of a script, without the times, and where two such tales differ.

use std::fmt;

use heartring_core::Cause;
use heartring_tests::End;

use super::script::Due;

/// How much of a long line is printed.
const SHOWN_BYTES: usize = 40;

/// One thing that happened to a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The handler was told. Frames, not slices: how bytes come in pieces is the kernel's affair.
    Opened,
    Received(Vec<u8>),
    /// The handler asked for something and core said no.
    Declined,
    Overdue,
    Claimed(u64),
    Closing(Cause),
    Late(Vec<u8>),
    Writable,
    Closed {
        cause: Cause,
        late_bytes: u64,
    },
    /// All that the peer has read, in one: it too comes in pieces.
    PeerRead(Vec<u8>),
    /// How its stream ended. It comes after everything that the handler was told, since the two ends share no clock.
    PeerSaw(End),
}

/// What happened to the connections of one script.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tale {
    pub(crate) conns: Vec<Vec<Event>>,
    pub(crate) stuck: Option<Stuck>,
}

/// A step whose consequences did not all come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stuck {
    /// Which, counted from one.
    pub(crate) step: usize,
    /// What came instead of what was due.
    pub(crate) came: Due,
    /// Bytes that the backend reported as sent.
    pub(crate) sent: usize,
}

impl Tale {
    /// Replaces epochs by their rank. They are counted for a whole partition, so the scripts that run at the same time have a
    /// part in them; within a script the claims come in its order.
    pub(crate) fn rank_epochs(&mut self) {
        let mut epochs: Vec<u64> =
            self.conns.iter_mut().flatten().filter_map(epoch).map(|epoch| *epoch).collect();
        epochs.sort_unstable();
        epochs.dedup();
        for epoch in self.conns.iter_mut().flatten().filter_map(epoch) {
            *epoch = 1 + epochs.binary_search(epoch).expect("it was collected") as u64;
        }
    }

    /// The first connection whose sequences differ, and at which event.
    pub(crate) fn first_difference(&self, other: &Self) -> Option<(usize, usize)> {
        let conns = self.conns.len().max(other.conns.len());
        (0..conns).find_map(|conn| Some((conn, self.difference_in(conn, other)?)))
    }

    /// The first event of a connection in which the two differ.
    pub(crate) fn difference_in(&self, conn: usize, other: &Self) -> Option<usize> {
        let (mine, theirs) = (self.events(conn), other.events(conn));
        let same = mine.iter().zip(theirs).take_while(|(mine, theirs)| mine == theirs).count();
        (same < mine.len().max(theirs.len())).then_some(same)
    }

    /// The names of the causes for which a connection was closed: one, unless something is wrong.
    pub(crate) fn causes(&self, conn: usize) -> Vec<&'static str> {
        let cause =
            |event: &Event| if let Event::Closed { cause, .. } = event { Some(cause.name()) } else { None };
        self.events(conn).iter().filter_map(cause).collect()
    }

    /// The same of all connections.
    pub(crate) fn all_causes(&self) -> Vec<&'static str> {
        (0..self.conns.len()).flat_map(|conn| self.causes(conn)).collect()
    }

    pub(crate) fn events(&self, conn: usize) -> &[Event] {
        self.conns.get(conn).map_or(&[], Vec::as_slice)
    }
}

fn epoch(event: &mut Event) -> Option<&mut u64> {
    if let Event::Claimed(epoch)
    | Event::Closing(Cause::Superseded { by: epoch })
    | Event::Closed { cause: Cause::Superseded { by: epoch }, .. } = event
    {
        return Some(epoch);
    }
    None
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opened => f.write_str("opened"),
            Self::Received(line) => write!(f, "received {}", shown(line)),
            Self::Declined => f.write_str("declined"),
            Self::Overdue => f.write_str("overdue"),
            Self::Claimed(epoch) => write!(f, "claimed (epoch {epoch})"),
            Self::Closing(cause) => write!(f, "closing: {}", named(cause)),
            Self::Late(line) => write!(f, "late {}", shown(line)),
            Self::Writable => f.write_str("writable"),
            Self::Closed { cause, late_bytes } => write!(f, "closed: {}, {late_bytes} B late", named(cause)),
            Self::PeerRead(bytes) => write!(f, "peer read {}", shown(bytes)),
            Self::PeerSaw(end) => write!(f, "peer saw {end:?}"),
        }
    }
}

fn named(cause: &Cause) -> String {
    let name = cause.name();
    if let Cause::Superseded { by } = cause { format!("{name} by {by}") } else { name.to_owned() }
}

/// Bytes for a person: the beginning of what is long, and a sum that tells two of one length apart.
pub(crate) fn shown(bytes: &[u8]) -> String {
    if bytes.len() <= SHOWN_BYTES {
        return format!("\"{}\"", bytes.escape_ascii());
    }
    let sum = bytes.iter().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(*byte)));
    format!("\"{}…\" ({} B, {sum:08x})", bytes[..SHOWN_BYTES / 2].escape_ascii(), bytes.len())
}
