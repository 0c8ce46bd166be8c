//! What goes wrong on purpose: what a test has scripted, used up in the order of events, and what the dice say.
//!
//! A fault is drawn where it can happen, in the order of events, so that a seed repeats a run exactly. Where its odds are
//! zero no dice are rolled.

use std::collections::VecDeque;
use std::time::Duration;

use heartring_core::Errno;

use crate::dice::Dice;
use crate::fault::{Fault, FaultCounts};
use crate::odds::FaultOdds;

/// The faults that are still to come.
pub(crate) struct Faults {
    /// The next accepts fail with these.
    pub(crate) accept_errnos: VecDeque<Errno>,
    /// No send takes more than this.
    pub(crate) send_bytes_max: Option<usize>,
    /// So many calls of `wait` return at once, with nothing done.
    pub(crate) early_returns: u32,
    /// Those by chance.
    dice: Dice,
    odds: FaultOdds,
    counts: FaultCounts,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            accept_errnos: VecDeque::new(),
            send_bytes_max: None,
            early_returns: 0,
            dice: Dice::new(0),
            odds: FaultOdds::NONE,
            counts: FaultCounts::default(),
        }
    }
}

impl Faults {
    /// Whether this `wait` is to return with nothing, as a test has asked for.
    pub(crate) fn take_early_return(&mut self) -> bool {
        let early = self.early_returns > 0;
        self.early_returns -= u32::from(early);
        early
    }

    pub(crate) fn inject(&mut self, seed: u64, odds: FaultOdds) {
        (self.dice, self.odds) = (Dice::new(seed), odds);
    }

    pub(crate) fn counts(&self) -> &FaultCounts {
        &self.counts
    }

    /// Whether `fault`, which can happen now, does; it is counted.
    pub(crate) fn strikes(&mut self, fault: Fault) -> bool {
        let per_million = self.odds.get(fault);
        let strikes = per_million > 0 && self.dice.chance(per_million);
        if strikes {
            self.counts.count(fault);
        }
        strikes
    }

    /// How late something is that is late. Never zero.
    pub(crate) fn delay(&mut self) -> Duration {
        let max = self.delay_max().as_nanos() as u64 >> self.dice.below(8);
        Duration::from_nanos(self.dice.between(1, max.max(1)))
    }

    pub(crate) fn delay_max(&self) -> Duration {
        self.odds.delay_max
    }

    /// How long the thread is kept away before a `wait`, if it is.
    pub(crate) fn absence(&mut self) -> Option<Duration> {
        if self.strikes(Fault::Stall) {
            let (least, most) = (self.odds.delay_max, self.odds.stall_max.max(self.odds.delay_max));
            let nanos = self.dice.between(least.as_nanos() as u64, most.as_nanos() as u64);
            return Some(Duration::from_nanos(nanos));
        }
        self.strikes(Fault::Absence).then(|| self.delay())
    }

    /// A part of `max`, at least one: small parts as often as large ones.
    pub(crate) fn part(&mut self, max: usize) -> usize {
        let most = max >> self.dice.below(max.ilog2() as usize + 1);
        1 + self.dice.below(most)
    }

    /// Which way a fault happens that has two.
    pub(crate) fn coin(&mut self) -> bool {
        self.dice.one_in(2)
    }

    pub(crate) fn dice(&mut self) -> &mut Dice {
        &mut self.dice
    }
}
