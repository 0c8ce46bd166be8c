//! Plays many scripts at once on one backend.

use std::time::Duration;

use heartring_core::{Backend, DeadlineStrategy};
use heartring_tests::{Dice, Rig};

use super::machine::Machine;
use super::script::Script;
use super::tale::Tale;
use super::troupe::Troupe;

/// How long the connections that are left may take to end: more than the longest grace and drain together.
const DRAINED_WITHIN: Duration = Duration::from_secs(20);

/// One turn in so many is stalled, where stalls are wanted...
const STALL_EVERY: u64 = 24;

/// ...for less than this: more than `stall_tolerance`, less than any slack.
const STALL_MS: u64 = 150;

/// What a run brought.
pub(crate) struct Play {
    pub(crate) tales: Vec<Tale>,
    /// For how long the thread was kept away at most.
    pub(crate) away_max: Duration,
    /// Verdicts that waited because the thread had been away.
    pub(crate) postponed: u64,
}

/// Plays the scripts, all at the same time; if there are dice, with stalls of the thread.
pub(crate) fn play<R: Rig>(strategy: DeadlineStrategy, scripts: &[Script], mut stalls: Option<Dice>) -> Play {
    let conns = scripts.iter().map(|script| script.conns).sum();
    let mut machine = Machine::<R>::start(strategy, conns);
    let mut first = 0;
    let mut troupes = Vec::with_capacity(scripts.len());
    for script in scripts {
        troupes.push(Troupe::new(script, first));
        first += script.conns;
    }
    loop {
        let at_work = troupes.iter_mut().filter_map(|troupe| troupe.play(&mut machine).then_some(())).count();
        if at_work == 0 {
            break;
        }
        if let Some(dice) = &mut stalls
            && dice.below(STALL_EVERY) == 0
        {
            machine.rig.stall(Duration::from_millis(dice.below(STALL_MS)));
        }
        machine.turn();
    }
    clear(&mut machine, &mut troupes);
    let tales = troupes.into_iter().map(|troupe| troupe.tell(&mut machine)).collect();
    let postponed = machine.shard.stats().postponed;
    Play { tales, away_max: machine.away_max, postponed }
}

/// Ends what is left, and expects that nothing is.
fn clear<R: Rig>(machine: &mut Machine<R>, troupes: &mut [Troupe<'_, R::Peer>]) {
    let now = machine.rig.backend().now();
    machine.shard.drain(now);
    let give_up_at = machine.rig.clock() + DRAINED_WITHIN;
    while !machine.is_empty() {
        let ledger = machine.rig.backend().ledger();
        assert!(machine.rig.clock() < give_up_at, "{}: the drain does not end: {ledger}", R::NAME);
        troupes.iter_mut().for_each(Troupe::disperse);
        machine.turn();
    }
    troupes.iter_mut().for_each(Troupe::disperse);
    assert_eq!(machine.shard.open_total(), 0, "{}: the shard's books", R::NAME);
    assert_eq!(machine.shard.stats().early, 0, "{}: a verdict came before its deadline", R::NAME);
}
