//! Generational slots: the dense table in which a shard keeps its connections.
//!
//! A slot has a head of sixteen bytes, four to a cache line, and a record, which is large and cold. A heartbeat of an ordinary
//! connection touches the head and nothing else: at 20 000 connections whose beats come seconds apart, every further line is
//! a wait for memory. The deadlines are in the heads, where a sweep finds them.
//!
//! A freed slot is reused at once, the most recently freed first (its cache lines are warm), under a new generation, so
//! that an id outlives its connection without ever naming another.
//!
//! Invariant: a head says that its connection is ordinary only while nobody has had the record to change it since that was
//! found out.

use crate::deadlines::{Bound, CHUNK, Tick, Ticks};
use crate::id::ConnId;
use crate::time::Instant;

/// A bounded table of `T`, addressed by [`ConnId`].
#[derive(Debug)]
pub struct Slots<T> {
    /// Whole chunks, for the sweep.
    heads: Vec<Head>,
    records: Vec<Option<T>>,
    /// No deadline of the kind is earlier, as far as this table watches it.
    bounds: [Bound; 2],
    /// Freed slots, the last freed on top.
    free: Vec<u32>,
    capacity: u32,
}

/// Which deadline of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deadline {
    /// When the next beat is too late: the hello deadline in Greeting, overdue in Live, dead in Overdue.
    Beat = 0,
    /// Everything else that runs out: partial frames, stalled sends, undecided claims, grace, drain.
    Stall = 1,
}

/// What is asked most often of a slot.
#[derive(Clone, Copy, Debug)]
#[repr(align(16))]
struct Head {
    generation: u32,
    deadlines: [Option<Tick>; 2],
    pace: Pace,
}

/// Silence after which a beat is overdue, and in the top bit, which no [`Ticks`] needs, whether the connection is ordinary.
#[derive(Clone, Copy, Debug)]
struct Pace(u32);

impl Pace {
    const ORDINARY: u32 = 1 << 31;

    const fn overdue_after(self) -> Ticks {
        Ticks::from_bits(self.0 & !Self::ORDINARY)
    }

    const fn is_ordinary(self) -> bool {
        self.0 & Self::ORDINARY != 0
    }
}

impl Head {
    const FREE: Self = Self { generation: 0, deadlines: [None; 2], pace: Pace(0) };
}

impl<T> Slots<T> {
    /// Slots for which memory is set aside at once: more than a ring serves well, and a few megabytes of addresses.
    const SET_ASIDE_MAX: u32 = 1 << 15;

    /// An empty table for at most `capacity` values. Memory grows with use: it is set aside for most tables at once, but the kernel
    /// gives it page by page, where a table that grows by being copied leaves its former places behind.
    ///
    /// # Panics
    ///
    /// If `capacity` exceeds what a [`ConnId`] can name.
    pub fn new(capacity: u32) -> Self {
        assert!(capacity <= ConnId::SLOT_MAX, "a slot number has 24 bits");
        let aside = capacity.min(Self::SET_ASIDE_MAX) as usize;
        Self {
            heads: Vec::with_capacity(aside.next_multiple_of(CHUNK)),
            records: Vec::with_capacity(aside),
            bounds: [Bound::default(); 2],
            free: Vec::new(),
            capacity,
        }
    }

    /// Puts `value` into a free slot, without deadlines; gives it back if there is none.
    ///
    /// # Errors
    ///
    /// `value`, when all slots are taken.
    pub fn insert(&mut self, value: T, overdue_after: Ticks) -> Result<ConnId, T> {
        let slot = if let Some(slot) = self.free.pop() {
            slot
        } else if self.records.len() < self.capacity as usize {
            self.records.push(None);
            if self.heads.len() < self.records.len() {
                self.heads.resize(self.heads.len() + CHUNK, Head::FREE);
            }
            self.high_water() - 1
        } else {
            return Err(value);
        };
        let record = &mut self.records[slot as usize];
        assert!(record.is_none(), "a slot on the free list is empty");
        *record = Some(value);
        let head = &mut self.heads[slot as usize];
        head.pace = Pace(overdue_after.bits());
        Ok(ConnId::new(slot, head.generation))
    }

    /// The value that `id` names, unless it was removed.
    pub fn get(&self, id: ConnId) -> Option<&T> {
        let head = self.heads.get(id.slot() as usize)?;
        if head.generation == id.generation() { self.records[id.slot() as usize].as_ref() } else { None }
    }

    /// The value that `id` names, unless it was removed. It is not ordinary any more, until somebody has looked.
    pub fn get_mut(&mut self, id: ConnId) -> Option<&mut T> {
        let head = self.heads.get_mut(id.slot() as usize)?;
        if head.generation != id.generation() {
            return None;
        }
        head.pace.0 &= !Pace::ORDINARY;
        self.records[id.slot() as usize].as_mut()
    }

    /// Takes the value out, and its deadlines away; `id` never names anything again.
    pub fn remove(&mut self, id: ConnId) -> Option<T> {
        let head = self.heads.get_mut(id.slot() as usize)?;
        if head.generation != id.generation() {
            return None;
        }
        let value = self.records[id.slot() as usize].take()?;
        *head = Head { generation: head.generation.wrapping_add(1), ..Head::FREE };
        self.free.push(id.slot());
        Some(value)
    }

    /// The id of the present occupant of `slot`.
    pub fn id_of(&self, slot: u32) -> Option<ConnId> {
        self.records.get(slot as usize)?.as_ref()?;
        Some(ConnId::new(slot, self.heads[slot as usize].generation))
    }

    /// All occupants, by slot.
    pub fn iter(&self) -> impl Iterator<Item = (ConnId, &T)> {
        let slots = (0..).zip(&self.heads).zip(&self.records);
        slots
            .filter_map(|((slot, head), record)| Some((ConnId::new(slot, head.generation), record.as_ref()?)))
    }

    /// All occupants, by slot, to be changed.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.heads.iter_mut().for_each(|head| head.pace.0 &= !Pace::ORDINARY);
        self.records.iter_mut().flatten()
    }

    /// Slots that were ever in use: all ids lie below.
    pub fn high_water(&self) -> u32 {
        self.records.len() as u32
    }

    /// Occupied slots.
    pub fn len(&self) -> usize {
        self.records.len() - self.free.len()
    }

    /// Whether no slot is occupied.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What the heads say, and what is done without the records.
impl<T> Slots<T> {
    /// Whether the connection exists and is ordinary: its record was found to be such that a frame means what it always means.
    pub fn is_ordinary(&self, id: ConnId) -> bool {
        let head = self.heads.get(id.slot() as usize);
        head.is_some_and(|head| head.generation == id.generation() && head.pace.is_ordinary())
    }

    /// Notes that somebody has looked, and found it ordinary. It is so until [`Slots::get_mut`].
    pub fn note_ordinary(&mut self, id: ConnId) {
        let head = &mut self.heads[id.slot() as usize];
        assert_eq!(head.generation, id.generation(), "{id} does not exist");
        head.pace.0 |= Pace::ORDINARY;
    }

    /// Moves the beat deadline of an ordinary connection; false, and nothing is done, if it is not one. This is what a heartbeat
    /// costs.
    pub fn beat_if_ordinary(&mut self, id: ConnId, now: Tick) -> bool {
        let Some(head) = self.heads.get_mut(id.slot() as usize) else { return false };
        let is_ordinary = head.generation == id.generation() && head.pace.is_ordinary();
        if is_ordinary {
            head.deadlines[Deadline::Beat as usize] = Some(now.plus(head.pace.overdue_after()));
        }
        is_ordinary
    }

    /// Silence after which a beat of the occupant of `slot` is overdue.
    pub fn overdue_after(&self, slot: u32) -> Ticks {
        self.heads[slot as usize].pace.overdue_after()
    }

    /// Changes it. Returns what it was.
    pub fn set_overdue_after(&mut self, slot: u32, overdue_after: Ticks) -> Ticks {
        let pace = &mut self.heads[slot as usize].pace;
        let before = pace.overdue_after();
        pace.0 = overdue_after.bits() | (pace.0 & Pace::ORDINARY);
        before
    }

    /// Sets a deadline of `slot`, earlier or later than before.
    pub fn set(&mut self, which: Deadline, slot: u32, due: Tick) {
        self.touch(which, slot, due);
        self.bounds[which as usize].include(due);
    }

    /// Moves a deadline of `slot` without looking at the bound: for one that moves later, or that somebody else watches.
    pub fn touch(&mut self, which: Deadline, slot: u32, due: Tick) {
        self.heads[slot as usize].deadlines[which as usize] = Some(due);
    }

    /// Takes a deadline of `slot` away.
    pub fn clear(&mut self, which: Deadline, slot: u32) {
        self.heads[slot as usize].deadlines[which as usize] = None;
    }

    /// A deadline of `slot`.
    pub fn due(&self, which: Deadline, slot: u32) -> Option<Tick> {
        self.heads.get(slot as usize)?.deadlines[which as usize]
    }

    /// Until when nothing of the kind can be due.
    pub fn bound(&self, which: Deadline, now: Instant) -> Option<Instant> {
        self.bounds[which as usize].near(now)
    }

    /// Appends to `due` the slots whose deadline has come, at most `max` of them, and finds the next bound. Deadlines stay
    /// as they are: whoever handles a slot sets or clears it, or it is found again. Returns whether the heads were walked:
    /// they are not, before the bound.
    pub fn sweep(&mut self, which: Deadline, now: Instant, max: usize, due: &mut Vec<u32>) -> bool {
        let bound = &mut self.bounds[which as usize];
        // One loop for each, so that the place in the head is known to the compiler.
        match which {
            Deadline::Beat => bound.sweep(&self.heads, |head| head.deadlines[0], now, max, due),
            Deadline::Stall => bound.sweep(&self.heads, |head| head.deadlines[1], now, max, due),
        }
    }

    /// Moves every deadline that lies before `oldest` up to it. All lie within a day of `now`.
    pub(crate) fn pull_up(&mut self, oldest: Instant, now: Instant) {
        let deadlines = self.heads.iter_mut().flat_map(|head| head.deadlines.iter_mut().flatten());
        for tick in deadlines.chain(self.bounds.iter_mut().filter_map(Bound::tick_mut)) {
            *tick = tick.not_before(oldest, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const PACE: Ticks = Ticks::from_bits(7);

    #[test]
    fn a_reused_slot_does_not_answer_to_its_old_id() {
        let mut slots = Slots::new(2);
        let first = slots.insert('a', PACE).unwrap();
        assert_eq!(slots.remove(first), Some('a'));
        let second = slots.insert('b', PACE).unwrap();
        assert_eq!(second.slot(), first.slot());
        assert_ne!(second, first);
        assert_eq!(slots.get(first), None);
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.get(second), Some(&'b'));
    }

    #[test]
    fn a_full_table_gives_the_value_back() {
        let mut slots = Slots::new(1);
        let only = slots.insert(1, PACE).unwrap();
        assert_eq!(slots.insert(2, PACE), Err(2));
        slots.remove(only);
        assert!(slots.insert(2, PACE).is_ok());
        assert_eq!(slots.len(), 1);
    }

    #[test]
    fn a_generation_wraps_without_a_panic() {
        let mut slots = Slots::new(1);
        slots.insert((), PACE).unwrap();
        slots.heads[0].generation = u32::MAX;
        let last = slots.id_of(0).unwrap();
        assert_eq!(slots.remove(last), Some(()));
        assert_eq!(slots.insert((), PACE).unwrap().generation(), 0);
    }

    #[test]
    fn whoever_may_have_changed_a_record_ends_its_being_ordinary() {
        let mut slots = Slots::new(1);
        let id = slots.insert('a', PACE).unwrap();
        let now = Tick::at_or_after(Instant::from_nanos(1 << 40));
        assert!(!slots.beat_if_ordinary(id, now) && slots.due(Deadline::Beat, 0).is_none());
        slots.note_ordinary(id);
        slots.set_overdue_after(0, Ticks::of(Duration::from_secs(1)));
        assert!(slots.beat_if_ordinary(id, now), "another pace is nothing extraordinary");
        assert_eq!(slots.due(Deadline::Beat, 0), Some(now.plus(Ticks::of(Duration::from_secs(1)))));
        slots.get_mut(id);
        assert!(!slots.is_ordinary(id));
        slots.note_ordinary(id);
        assert_eq!(slots.values_mut().count(), 1);
        assert!(!slots.is_ordinary(id));
        slots.note_ordinary(id);
        slots.remove(id);
        assert!(!slots.is_ordinary(id) && !slots.beat_if_ordinary(id, now));
        assert!(slots.due(Deadline::Beat, 0).is_none(), "the next occupant inherits nothing");
    }

    #[test]
    fn a_head_is_a_quarter_of_a_cache_line() {
        assert_eq!(size_of::<Head>(), 16);
        assert!(Ticks::of(Duration::MAX).bits() < Pace::ORDINARY);
    }
}
