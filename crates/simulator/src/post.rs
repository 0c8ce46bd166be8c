//! Letters between shards: in order from one shard to another, late by what the dice say, and in mailboxes that are full at
//! times.

use std::collections::VecDeque;
use std::time::Duration;

use heartring_core::{Instant, Letter, ShardId};
use heartring_sim::Dice;

use crate::mishap::{Mishap, MishapCounts};
use crate::plan::up_to;

/// What the post is like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Habits {
    /// How long a letter takes at the most.
    pub delay_max: Duration,
    /// Letters that lie before one shard at the most; then its mailbox is full.
    pub letters_max: usize,
    /// One letter in so many finds a mailbox that takes nothing for a while.
    pub strike_in: u64,
    /// For how long, at the most.
    pub strike_max: Duration,
}

/// See the module's own text.
pub(crate) struct Post {
    habits: Habits,
    dice: Dice,
    /// By receiver and sender.
    under_way: Vec<Vec<VecDeque<(Instant, Letter)>>>,
    lying: Vec<usize>,
    closed_until: Vec<Instant>,
}

impl Post {
    pub(crate) fn new(shards: u16, habits: Habits, dice: Dice) -> Self {
        let shards = usize::from(shards);
        let queues = || (0..shards).map(|_| VecDeque::new()).collect();
        Self {
            habits,
            dice,
            under_way: (0..shards).map(|_| queues()).collect(),
            lying: vec![0; shards],
            closed_until: vec![Instant::ZERO; shards],
        }
    }

    /// From now on mailboxes take everything, and letters are fast.
    pub(crate) fn mend(&mut self) {
        self.habits = Habits {
            letters_max: usize::MAX,
            strike_in: u64::MAX,
            delay_max: self.habits.delay_max.min(Duration::from_millis(1)),
            ..self.habits
        };
        self.closed_until.fill(Instant::ZERO);
    }

    /// Takes a letter, or gives it back.
    pub(crate) fn take(
        &mut self,
        now: Instant,
        from: ShardId,
        to: ShardId,
        letter: Letter,
        mishaps: &mut MishapCounts,
    ) -> Result<(), Letter> {
        let (from, to) = (usize::from(from.0), usize::from(to.0));
        if now >= self.closed_until[to] && self.dice.one_in(self.habits.strike_in) {
            self.closed_until[to] = now + up_to(&mut self.dice, self.habits.strike_max);
        }
        if now < self.closed_until[to] || self.lying[to] >= self.habits.letters_max {
            mishaps.count(Mishap::MailboxFull);
            return Err(letter);
        }
        let delay = up_to(&mut self.dice, self.habits.delay_max);
        if !delay.is_zero() {
            mishaps.count(Mishap::LetterDelayed);
        }
        let queue = &mut self.under_way[to][from];
        let after_the_last = queue.back().map_or(Instant::ZERO, |(arrives_at, _)| *arrives_at);
        queue.push_back(((now + delay).max(after_the_last), letter));
        self.lying[to] += 1;
        Ok(())
    }

    /// The next letter that has arrived at a shard, from any of the others.
    pub(crate) fn arrived(&mut self, now: Instant, to: ShardId) -> Option<Letter> {
        let queues = &mut self.under_way[usize::from(to.0)];
        let is_due = |queue: &VecDeque<_>| queue.front().is_some_and(|(at, _)| *at <= now);
        let due = queues.iter().filter(|queue| is_due(queue)).count();
        if due == 0 {
            return None;
        }
        let nth = self.dice.below(due);
        let queue = queues.iter_mut().filter(|queue| is_due(queue)).nth(nth)?;
        self.lying[usize::from(to.0)] -= 1;
        queue.pop_front().map(|(_, letter)| letter)
    }

    /// When the next letter is at a shard.
    pub(crate) fn next_at(&self, to: ShardId) -> Option<Instant> {
        let queues = &self.under_way[usize::from(to.0)];
        queues.iter().filter_map(|queue| queue.front().map(|(at, _)| *at)).min()
    }

    /// When it is worth while to offer again what was given back, `soon` at the earliest.
    pub(crate) fn offer_at(&self, soon: Instant) -> Instant {
        let opens_at = self.closed_until.iter().copied().filter(|at| *at > soon).min();
        if self.lying.iter().any(|letters| *letters >= self.habits.letters_max) {
            return soon;
        }
        opens_at.unwrap_or(soon)
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.lying.iter().all(|letters| *letters == 0)
    }
}
