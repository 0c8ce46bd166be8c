//! The deadlines that epoll knows nothing of: watches and leases, in user space.
//!
//! They exist for overdue connections, or under the lease strategy for all. A binary heap that knows the place of each
//! entry: the earliest is at hand, and one that is no longer needed is taken out instead of lying there until it is due,
//! so the heap holds at most two entries per slot. (A BTreeSet does the same in about a microsecond per operation at a
//! million entries; facts.md, D. With a constant lease a new entry belongs at the heap's end, where it starts.)

use heartring_core::Instant;

/// What a deadline ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Timer {
    /// An `Op::Watch`.
    Watch = 0,
    /// An `Op::Recv` with a deadline.
    Lease = 1,
}

#[derive(Clone, Copy)]
struct Entry {
    at: Instant,
    slot: u32,
    timer: Timer,
}

/// At most one deadline per slot and [`Timer`].
#[derive(Default)]
pub(crate) struct Deadlines {
    heap: Vec<Entry>,
    /// By slot and timer: where in `heap` it is, or [`NOWHERE`]. It reaches to the highest slot that ever had one.
    places: Vec<[u32; 2]>,
}

const NOWHERE: u32 = u32::MAX;

impl Deadlines {
    /// The earliest of them.
    pub(crate) fn first(&self) -> Option<Instant> {
        self.heap.first().map(|entry| entry.at)
    }

    /// Sets a deadline for `slot`, which must have none for this `timer`.
    pub(crate) fn insert(&mut self, at: Instant, slot: u32, timer: Timer) {
        if self.places.len() <= slot as usize {
            self.places.resize(slot as usize + 1, [NOWHERE; 2]);
        }
        let place = self.places[slot as usize][timer as usize];
        assert_eq!(place, NOWHERE, "one deadline per op");
        self.heap.push(Entry { at, slot, timer });
        self.rise(self.heap.len() - 1);
    }

    /// Takes the deadline of `slot` back, if it has one.
    pub(crate) fn remove(&mut self, slot: u32, timer: Timer) {
        let place = self.places.get(slot as usize).map_or(NOWHERE, |places| places[timer as usize]);
        if place != NOWHERE {
            self.take(place as usize);
        }
    }

    /// Takes the earliest deadline out, if it has come.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<(u32, Timer)> {
        let first = *self.heap.first().filter(|entry| entry.at <= now)?;
        self.take(0);
        Some((first.slot, first.timer))
    }

    fn take(&mut self, index: usize) {
        let taken = self.heap.swap_remove(index);
        self.places[taken.slot as usize][taken.timer as usize] = NOWHERE;
        if index < self.heap.len() {
            // What came from the end may belong on either side of this place.
            self.rise(index);
            self.sink(index);
        }
    }

    fn rise(&mut self, mut index: usize) {
        while index > 0 && self.heap[index].at < self.heap[(index - 1) / 2].at {
            self.swap(index, (index - 1) / 2);
            index = (index - 1) / 2;
        }
        self.note_place(index);
    }

    fn sink(&mut self, mut index: usize) {
        while let Some(child) = self.earlier_child(index) {
            if self.heap[index].at <= self.heap[child].at {
                break;
            }
            self.swap(index, child);
            index = child;
        }
        self.note_place(index);
    }

    fn earlier_child(&self, index: usize) -> Option<usize> {
        let (left, right) = (2 * index + 1, 2 * index + 2);
        if right < self.heap.len() && self.heap[right].at < self.heap[left].at {
            return Some(right);
        }
        (left < self.heap.len()).then_some(left)
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.heap.swap(a, b);
        self.note_place(a);
        self.note_place(b);
    }

    fn note_place(&mut self, index: usize) {
        let entry = self.heap[index];
        self.places[entry.slot as usize][entry.timer as usize] = index as u32;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Knuth's MMIX generator: the low bits of it are poor, the high ones suffice here.
    fn random(state: &mut u64, below: u64) -> u64 {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*state >> 33) % below
    }

    #[test]
    fn it_agrees_with_a_sorted_set() {
        let (mut state, mut deadlines, mut model) = (1, Deadlines::default(), BTreeSet::new());
        for step in 0..50_000 {
            let slot = random(&mut state, 60) as u32;
            let timer = if random(&mut state, 2) == 0 { Timer::Watch } else { Timer::Lease };
            let known = model.iter().find(|&&(_, s, t)| (s, t) == (slot, timer)).copied();
            if let Some(entry) = known {
                deadlines.remove(slot, timer);
                model.remove(&entry);
            } else {
                let at = Instant::from_nanos(step + random(&mut state, 500));
                deadlines.insert(at, slot, timer);
                model.insert((at, slot, timer));
            }
            let now = Instant::from_nanos(step);
            while let Some((slot, timer)) = deadlines.pop_due(now) {
                let due = model.iter().find(|&&(_, s, t)| (s, t) == (slot, timer)).copied().unwrap();
                assert!(due.0 <= now && due.0 == model.first().unwrap().0);
                model.remove(&due);
            }
            assert_eq!(deadlines.first(), model.first().map(|entry| entry.0), "step {step}");
        }
    }

    #[test]
    fn removing_what_is_not_there_does_nothing() {
        let mut deadlines = Deadlines::default();
        deadlines.remove(7, Timer::Lease);
        deadlines.insert(Instant::ZERO, 7, Timer::Watch);
        deadlines.remove(7, Timer::Lease);
        assert_eq!(deadlines.pop_due(Instant::ZERO), Some((7, Timer::Watch)));
        assert_eq!(deadlines.pop_due(Instant::ZERO), None);
    }
}
