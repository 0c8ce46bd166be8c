//! The classical way to keep deadlines: a timing wheel in user space, in which every message moves its connection.
//!
//! One revolution is two deadlines, so that no entry ever waits for a second one, nor is put behind a hand that has stood still
//! for a while. Lists are linked through an array by connection: to move one is six stores, most of them to cold cache lines.

use std::io;
use std::time::Duration;

use super::keepers::Keeper;
use crate::clock;
use crate::plan::ServePlan;
use crate::ring_unsafe::{Completion, Ring};

/// Spokes per deadline: verdicts are late by a hundredth of it at most.
const SPOKES_PER_DEADLINE: u64 = 100;
const SPOKES: usize = SPOKES_PER_DEADLINE as usize * 2 + 2;
const NONE: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Link {
    next: u32,
    previous: u32,
    spoke: u32,
}

const UNLINKED: Link = Link { next: NONE, previous: NONE, spoke: NONE };

pub(crate) struct Wheel {
    heads: [u32; SPOKES],
    links: Vec<Link>,
    spoke_ns: u64,
    started: u64,
    /// Spokes passed since the start; everything up to it has expired.
    passed: u64,
    now: u64,
}

impl Wheel {
    fn with_spokes_of(spoke_ns: u64, now: u64) -> Wheel {
        Wheel { heads: [NONE; SPOKES], links: Vec::new(), spoke_ns, started: now, passed: 0, now }
    }

    fn unlink(&mut self, slot: u32) {
        let link = std::mem::replace(&mut self.links[slot as usize], UNLINKED);
        if link.spoke == NONE {
            return;
        }
        match link.previous {
            NONE => self.heads[link.spoke as usize] = link.next,
            previous => self.links[previous as usize].next = link.next,
        }
        if link.next != NONE {
            self.links[link.next as usize].previous = link.previous;
        }
    }

    fn link(&mut self, slot: u32) {
        // The spoke of the deadline, and one more, so that nobody is early.
        let spokes = (self.now - self.started) / self.spoke_ns + SPOKES_PER_DEADLINE + 1;
        let spoke = spokes as usize % SPOKES;
        let next = std::mem::replace(&mut self.heads[spoke], slot);
        if next != NONE {
            self.links[next as usize].previous = slot;
        }
        self.links[slot as usize] = Link { next, previous: NONE, spoke: spoke as u32 };
    }

    /// Until the next spoke.
    fn rest_ns(&self) -> u64 {
        (self.started + (self.passed + 1) * self.spoke_ns).saturating_sub(self.now)
    }
}

impl Keeper for Wheel {
    fn new(plan: &ServePlan) -> Self {
        let spoke_ns = (plan.dead_within.as_nanos() as u64 / SPOKES_PER_DEADLINE).max(1);
        Wheel::with_spokes_of(spoke_ns, clock::now_ns())
    }

    fn receive(&mut self, ring: &mut Ring, slot: u32) -> io::Result<()> {
        if self.links.len() <= slot as usize {
            self.links.resize(slot as usize + 1, UNLINKED);
        }
        self.heard(slot);
        ring.receive(slot)
    }

    fn heard(&mut self, slot: u32) {
        self.unlink(slot);
        self.link(slot);
    }

    fn forget(&mut self, slot: u32) {
        self.unlink(slot);
    }

    fn wait(&mut self, ring: &mut Ring, _batch: Duration, into: &mut Vec<Completion>) -> io::Result<()> {
        ring.wait_at_most(Duration::from_nanos(self.rest_ns()), into)?;
        self.now = clock::now_ns();
        Ok(())
    }

    fn expired(&mut self) -> Option<u32> {
        let due = (self.now - self.started) / self.spoke_ns;
        loop {
            let slot = self.heads[self.passed as usize % SPOKES];
            if slot != NONE {
                self.unlink(slot);
                return Some(slot);
            }
            if self.passed >= due {
                return None;
            }
            self.passed += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who expires when time has come to `now`.
    fn expired_at(wheel: &mut Wheel, now: u64) -> Vec<u32> {
        wheel.now = now;
        std::iter::from_fn(|| wheel.expired()).collect()
    }

    #[test]
    fn each_expires_once_after_its_deadline_and_never_before() {
        let mut wheel = Wheel::with_spokes_of(10, 0);
        wheel.links = vec![UNLINKED; 3];
        for (slot, heard_at) in [(0, 5), (1, 105), (2, 5)] {
            wheel.now = heard_at;
            wheel.heard(slot);
        }
        wheel.now = 300;
        wheel.heard(2);
        let mut found = Vec::new();
        for now in (300..3000).step_by(7) {
            found.extend(expired_at(&mut wheel, now).into_iter().map(|slot| (slot, now)));
        }
        let slots: Vec<u32> = found.iter().map(|(slot, _)| *slot).collect();
        assert_eq!(slots, [0, 1, 2]);
        for (slot, at) in found {
            let due = [5, 105, 300][slot as usize] + 1000;
            assert!((due..=due + 40).contains(&at), "{slot} at {at}, due {due}");
        }
    }

    #[test]
    fn who_is_forgotten_does_not_expire() {
        let mut wheel = Wheel::with_spokes_of(10, 0);
        wheel.links = vec![UNLINKED; 2];
        wheel.heard(0);
        wheel.heard(1);
        wheel.forget(0);
        assert_eq!(expired_at(&mut wheel, 2000), [1]);
    }
}
