//! What the driver does to the shards, whatever they are about.

use std::time::Duration;

use heartring_core::{Instant, ShardId};
use heartring_sim::Dice;

use crate::plan::{Plan, up_to};

/// Something that the driver does to the shards.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Whim {
    /// A thread is away.
    Absence(Duration),
    /// A thread is woken for nothing.
    Wake,
    /// A letter comes from outside.
    Letter,
    /// Many clients of a shard are gone at once.
    MassDeath,
    /// A shard is drained.
    Drain,
}

/// All that it will do, the last first.
pub(crate) fn whims_of(plan: &Plan, dice: &mut Dice) -> Vec<(Instant, ShardId, Whim)> {
    let mut whims = Vec::new();
    let mut add = |dice: &mut Dice, whim: Whim| {
        let at = plan.starts_at + up_to(dice, plan.span);
        whims.push((at, ShardId(dice.below(usize::from(plan.shards)) as u16), whim));
    };
    for _ in 0..plan.absences {
        let long = dice.one_in(2);
        let most = if long { plan.absence_max } else { plan.liveness.stall_tolerance };
        let absence = Whim::Absence(up_to(dice, most));
        add(dice, absence);
    }
    (0..plan.wakes).for_each(|_| add(dice, Whim::Wake));
    (0..plan.letters_from_outside).for_each(|_| add(dice, Whim::Letter));
    if plan.mass_death {
        add(dice, Whim::MassDeath);
    }
    if plan.drains_early {
        add(dice, Whim::Drain);
    }
    whims.sort_by_key(|(at, _, _)| std::cmp::Reverse(*at));
    whims
}
