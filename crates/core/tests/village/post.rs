//! Letters between shards: in order from one shard to another, late by what the dice say, and in mailboxes that are full at
//! times.

use std::collections::VecDeque;
use std::time::Duration;

use heartring_core::{Instant, Letter, ShardId};

use crate::dice::Dice;

/// What the post is like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Habits {
    /// How long a letter takes at the most.
    pub(crate) delay_max: Duration,
    /// Letters that lie before one shard at the most; then its mailbox is full.
    pub(crate) letters_max: usize,
    /// One call in so many finds a mailbox that takes nothing for a while.
    pub(crate) strike_in: u64,
    /// For how long, at the most.
    pub(crate) strike_max: Duration,
}

/// See the module's own text.
pub(crate) struct Post {
    habits: Habits,
    /// By sender and receiver.
    under_way: Vec<Vec<VecDeque<(Instant, Letter)>>>,
    closed_until: Vec<Instant>,
    pub(crate) carried: u64,
    pub(crate) given_back: u64,
}

impl Post {
    pub(crate) fn new(shards: usize, habits: Habits) -> Self {
        let under_way = (0..shards).map(|_| (0..shards).map(|_| VecDeque::new()).collect()).collect();
        Self { habits, under_way, closed_until: vec![Instant::ZERO; shards], carried: 0, given_back: 0 }
    }

    /// From now on mailboxes take everything, and letters are fast.
    pub(crate) fn mend(&mut self) {
        self.habits = Habits {
            letters_max: usize::MAX,
            strike_in: u64::MAX,
            delay_max: Duration::from_millis(1),
            ..self.habits
        };
        self.closed_until.fill(Instant::ZERO);
    }

    /// Takes a letter, or gives it back.
    pub(crate) fn take(
        &mut self,
        dice: &mut Dice,
        now: Instant,
        from: ShardId,
        to: ShardId,
        letter: Letter,
    ) -> Result<(), Letter> {
        let (from, to) = (usize::from(from.0), usize::from(to.0));
        if now >= self.closed_until[to] && dice.one_in(self.habits.strike_in) {
            let strike = Duration::from_nanos(dice.between(0, self.habits.strike_max.as_nanos() as u64));
            self.closed_until[to] = now + strike;
        }
        let before = self.under_way.iter().map(|queues| queues[to].len()).sum::<usize>();
        if now < self.closed_until[to] || before >= self.habits.letters_max {
            self.given_back += 1;
            return Err(letter);
        }
        let delay = Duration::from_nanos(dice.between(0, self.habits.delay_max.as_nanos() as u64));
        let queue = &mut self.under_way[from][to];
        let after_the_last = queue.back().map_or(Instant::ZERO, |(arrives_at, _)| *arrives_at);
        queue.push_back(((now + delay).max(after_the_last), letter));
        self.carried += 1;
        Ok(())
    }

    /// The next letter that has arrived at a shard, from any of the others.
    pub(crate) fn arrived(&mut self, dice: &mut Dice, now: Instant, to: ShardId) -> Option<Letter> {
        let to = usize::from(to.0);
        let is_due = |queues: &Vec<VecDeque<_>>| queues[to].front().is_some_and(|(at, _)| *at <= now);
        let from: Vec<usize> =
            (0..self.under_way.len()).filter(|&from| is_due(&self.under_way[from])).collect();
        if from.is_empty() {
            return None;
        }
        self.under_way[*dice.pick(&from)][to].pop_front().map(|(_, letter)| letter)
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.under_way.iter().flatten().all(VecDeque::is_empty)
    }
}
