//! What the handlers of all shards were told, in one order.
//!
//! Every entry has a number from one counter, which each handler draws from with `fetch_add(SeqCst)` on its own shard's
//! thread. All draws from one atomic are in one total order, and that order contains happens-before: an entry that was
//! written because another shard had said something has the larger number. It is also no mere guess between entries of
//! different shards: an entry that has the larger number was drawn after the other, and a draw is an acquire and a release,
//! so that everything which the handler did before the smaller number happened before everything that the other did after
//! the larger one. Therefore `claimed` draws its number first and every other call draws it last. If the number of the old
//! holder's `closed` is below that of its successor's `claimed`, the first call was over when the second began, and if it is
//! above, the gateway has let the two overlap.

use std::collections::BTreeMap;

use heartring::{Cause, ConnAt, Identity};

/// What a client announces with its claim, so that the history itself knows what must come of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Promise {
    pub(crate) manner: Manner,
    /// How many lines it sends in the same segment as the claim.
    pub(crate) lines: u32,
}

/// How a client goes on after its claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Until it is superseded it does not leave, unless it is the last of its identity.
    Stays,
    /// It sends a FIN behind what it has announced.
    Leaves,
    /// It sends an RST, soon.
    Resets,
    /// It misses its heartbeats, and says something when it may be too late.
    FallsSilent,
}

/// What a handler was told, or did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Opened,
    /// It claimed its identity for the connection.
    Asked(Promise),
    Claimed {
        epoch: u64,
    },
    /// A line, by its number: each client counts its lines from one.
    Received(u32),
    Late(u32),
    Overdue,
    Closing(Cause),
    Closed(Cause),
}

/// One entry.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) order: u64,
    pub(crate) at: ConnAt,
    pub(crate) identity: Option<Identity>,
    pub(crate) event: Event,
}

/// One connection, from its first entry to its last.
#[derive(Clone, Debug)]
pub(crate) struct Life {
    pub(crate) at: ConnAt,
    pub(crate) identity: Option<Identity>,
    pub(crate) events: Vec<(u64, Event)>,
}

/// All of it.
#[derive(Debug)]
pub(crate) struct History {
    /// By shard and name.
    pub(crate) lives: Vec<Life>,
}

impl History {
    /// From what each handler wrote down.
    pub(crate) fn new(mut entries: Vec<Entry>) -> Self {
        entries.sort_unstable_by_key(|entry| entry.order);
        let mut lives: BTreeMap<ConnAt, Life> = BTreeMap::new();
        for Entry { order, at, identity, event } in entries {
            let life = lives.entry(at).or_insert_with(|| Life { at, identity: None, events: Vec::new() });
            life.identity = life.identity.take().or(identity);
            life.events.push((order, event));
        }
        Self { lives: lives.into_values().collect() }
    }

    /// Every identity with the lives that have asked for it.
    pub(crate) fn askers(&self) -> BTreeMap<&Identity, Vec<&Life>> {
        let mut askers: BTreeMap<&Identity, Vec<&Life>> = BTreeMap::new();
        for life in &self.lives {
            if let Some(identity) = &life.identity {
                askers.entry(identity).or_default().push(life);
            }
        }
        askers
    }

    /// Every identity with those that have held it, in the order in which it was granted.
    pub(crate) fn holders(&self) -> BTreeMap<&Identity, Vec<&Life>> {
        let mut holders = self.askers();
        for lives in holders.values_mut() {
            lives.retain(|life| life.claimed().is_some());
            lives.sort_unstable_by_key(|life| life.claimed());
        }
        holders
    }

    /// How many events of a kind there are.
    pub(crate) fn count(&self, is_it: impl Fn(&Event) -> bool) -> u64 {
        self.lives.iter().flat_map(|life| &life.events).filter(|(_, event)| is_it(event)).count() as u64
    }
}

impl Life {
    /// When it asked for its identity, and what it announced.
    pub(crate) fn asked(&self) -> Option<(u64, Promise)> {
        self.find(|event| if let Event::Asked(promise) = event { Some(promise) } else { None })
    }

    /// When it was granted, and the epoch.
    pub(crate) fn claimed(&self) -> Option<(u64, u64)> {
        self.find(|event| if let Event::Claimed { epoch } = event { Some(epoch) } else { None })
    }

    /// When it ended, and why.
    pub(crate) fn closed(&self) -> Option<(u64, Cause)> {
        self.find(|event| if let Event::Closed(cause) = event { Some(cause) } else { None })
    }

    /// The epoch that replaced it, if it was superseded.
    pub(crate) fn superseded_by(&self) -> Option<u64> {
        if let Some((_, Cause::Superseded { by })) = self.closed() { Some(by) } else { None }
    }

    /// Whether it has announced that it goes on in this manner.
    pub(crate) fn is(&self, manner: Manner) -> bool {
        self.asked().is_some_and(|(_, promise)| promise.manner == manner)
    }

    /// The numbers of its lines, in the order in which they were delivered.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (u64, u32)> {
        self.events.iter().filter_map(|&(order, event)| match event {
            Event::Received(line) | Event::Late(line) => Some((order, line)),
            Event::Opened
            | Event::Asked(_)
            | Event::Claimed { .. }
            | Event::Overdue
            | Event::Closing(_)
            | Event::Closed(_) => None,
        })
    }

    fn find<T>(&self, what: impl Fn(Event) -> Option<T>) -> Option<(u64, T)> {
        self.events.iter().find_map(|&(order, event)| Some((order, what(event)?)))
    }
}
