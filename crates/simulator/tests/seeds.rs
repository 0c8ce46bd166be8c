//! Seeds, each a whole gateway and its clients: every rule holds, and the faults that are meant to happen do.
//!
//! `HEARTRING_SEED=...` plays one seed, `HEARTRING_SEEDS=...` so many instead of the usual few.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use heartring_core::Cause;
use heartring_sim::Fault;
use heartring_simulator::{Mishap, Outcome, replay, simulate};

/// How many seeds a usual run plays.
const SEEDS: u64 = 200;

fn number_from(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}

/// Plays seeds on all cores.
fn play(seeds: &[u64]) -> Vec<Outcome> {
    let (next, outcomes) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                    let outcome = simulate(*seed);
                    outcomes.lock().expect("no thread panics").push(outcome);
                }
            });
        }
    });
    outcomes.into_inner().expect("no thread panics")
}

fn assert_clean(outcomes: &[Outcome]) {
    for Outcome { seed, violation, .. } in outcomes {
        if let Some(violation) = violation {
            let end = seed + 1;
            panic!("{violation}\nreplay it with: heartring simulate --seeds {seed}..{end} --replay");
        }
    }
}

#[test]
fn whatever_goes_wrong_every_rule_holds() {
    let seeds: Vec<u64> = match number_from("HEARTRING_SEED") {
        Some(seed) => vec![seed],
        None => (0..number_from("HEARTRING_SEEDS").unwrap_or(SEEDS)).collect(),
    };
    let outcomes = play(&seeds);
    assert_clean(&outcomes);
    if seeds.len() >= SEEDS as usize {
        enough_happens(&outcomes);
    }
}

/// Without this, rules would hold because nothing ever happens.
fn enough_happens(outcomes: &[Outcome]) {
    let (seeds, mut faults, mut causes) = (outcomes.len() as u64, BTreeMap::new(), BTreeMap::new());
    let (mut connections, mut kinds) = (0, 0);
    for outcome in outcomes {
        connections += outcome.connections;
        kinds += outcome.faults.len() as u64;
        for (name, count) in &outcome.faults {
            *faults.entry(*name).or_insert(0) += count;
        }
        for (name, count) in &outcome.causes {
            *causes.entry(*name).or_insert(0) += count;
        }
    }
    assert!(connections >= 500 * seeds, "{connections} connections in {seeds} seeds");
    assert!(kinds >= 20 * seeds, "{kinds} kinds of fault in {seeds} seeds");
    let all =
        Fault::ALL.iter().map(|fault| fault.name()).chain(Mishap::ALL.iter().map(|mishap| mishap.name()));
    let never: Vec<&str> = all.filter(|name| !faults.contains_key(name)).collect();
    assert!(never.is_empty(), "these never happen: {never:?}");
    let never: Vec<&str> = Cause::NAMES.into_iter().filter(|name| !causes.contains_key(name)).collect();
    assert!(never.is_empty(), "nothing ends so: {never:?}");
}

/// Seeds that found something once. What a seed plays changes with the simulator: the lasting record of a find is the test that
/// stands beside each.
#[test]
fn seeds_that_found_something_once_find_nothing_now() {
    let text = include_str!("../regressions.txt");
    let seeds = text.lines().filter_map(|line| line.split('#').next()).map(str::trim);
    let seeds: Vec<u64> =
        seeds.filter(|seed| !seed.is_empty()).map(|seed| seed.parse().expect("a seed")).collect();
    assert!(!seeds.is_empty());
    assert_clean(&play(&seeds));
}

#[test]
fn a_seed_plays_the_same_each_time() {
    for seed in 0..4 {
        let (one, other) = (simulate(seed), simulate(seed));
        assert_eq!(one.digest, other.digest, "seed {seed}");
        assert_eq!(
            (one.turns, one.connections, &one.faults),
            (other.turns, other.connections, &other.faults)
        );
    }
    assert_ne!(simulate(0).digest, simulate(1).digest);
}

#[test]
fn a_replay_plays_the_same_and_writes_down_each_step() {
    let mut text = Vec::new();
    let replayed = replay(5, &mut text).expect("memory takes everything");
    assert_eq!(replayed.digest, simulate(5).digest);
    let text = String::from_utf8(text).expect("text");
    for step in
        ["connects to shard", "is told Accepted", "submits Recv", "has arrived: ", "Received {", "Closed("]
    {
        assert!(text.contains(step), "{step}");
    }
}
