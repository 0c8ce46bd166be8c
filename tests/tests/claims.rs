//! Who holds which identity, checked over whole histories: thousands of clients on several shards that claim the same few
//! identities, and go, break off, fall silent or talk on whenever their dice say so.
//!
//! What a client does follows from a seed, which every run prints: `HEARTRING_SEED=... cargo test --test claims`.

mod claims {
    mod bad_histories;
    pub(crate) mod crowd;
    pub(crate) mod fight;
    pub(crate) mod history;
    pub(crate) mod invariants;
    pub(crate) mod trial;
    pub(crate) mod witness;
}

use std::collections::BTreeSet;

use claims::crowd::Crowd;
use claims::fight::two_that_fight_are_damped;
use claims::history::{Event, Manner};
use claims::trial::{Trial, seed};
use heartring::Cause;
use heartring_tests::On;

/// Shards do not share one core evenly, and neither do clients: more threads than cores make more interleavings.
const THREADS: u64 = 5;

macro_rules! on_each_backend {
    ($($name:ident)*) => {
        mod uring {
            $(#[test]
            fn $name() {
                let backend = heartring::BackendChoice::Uring;
                heartring_tests::On { backend, deadlines: None, module: "uring" }.run(super::$name);
            })*
        }

        mod epoll {
            $(#[test]
            fn $name() {
                let backend = heartring::BackendChoice::Epoll;
                heartring_tests::On { backend, deadlines: None, module: "epoll" }.run(super::$name);
            })*
        }
    };
}

on_each_backend! {
    an_identity_has_one_holder_whatever_clients_do
    every_successor_supersedes_who_stays
    two_that_fight_are_damped
}

fn an_identity_has_one_holder_whatever_clients_do(on: On) {
    let seed = seed();
    let mut trial = Trial::begin(on, None);
    let gateway = trial.gateway();
    let crowd = Crowd { gateway, seed, threads: THREADS, claims_per_thread: 2000, everybody_stays: false };
    let remnant = crowd.play();
    let conns = remnant.connected;
    // Nobody is let go before every claim is decided, so that no claim is decided by its end.
    trial.wait_decided(conns);
    remnant.leave();
    trial.wait_closed(conns);
    let outcome = trial.end(seed);
    println!("{}", outcome.describe());
    let history = &outcome.history;
    assert_eq!(history.lives.len() as u64, conns, "seed {seed}");
    // The crowd has met what it is meant to meet.
    let happened = |what: &str, is_it: &dyn Fn(&Event) -> bool| {
        assert!(history.count(is_it) > 0, "{what} never happened, seed {seed}");
    };
    happened("a takeover", &|event| matches!(event, Event::Closed(Cause::Superseded { .. })));
    happened("an end in order", &|event| matches!(event, Event::Closed(Cause::PeerClosed)));
    happened("a reset", &|event| matches!(event, Event::Closed(Cause::PeerReset)));
    happened("a missed heartbeat", &|event| matches!(event, Event::Closed(Cause::HeartbeatMissed)));
    happened("a late line", &|event| matches!(event, Event::Late(_)));
    let shards: BTreeSet<u16> = history.lives.iter().map(|life| life.at.shard.0).collect();
    assert_eq!(shards.len(), 4, "seed {seed}");
}

/// Where nobody leaves, every claim but the first of each identity found a holder, or somebody who waited to be one.
fn every_successor_supersedes_who_stays(on: On) {
    let seed = seed();
    let mut trial = Trial::begin(on, None);
    let gateway = trial.gateway();
    let crowd = Crowd { gateway, seed, threads: THREADS, claims_per_thread: 400, everybody_stays: true };
    let remnant = crowd.play();
    let conns = remnant.connected;
    trial.wait_decided(conns);
    remnant.leave();
    trial.wait_closed(conns);
    let outcome = trial.end(seed);
    println!("{}", outcome.describe());
    let stay = outcome.history.lives.iter().filter(|life| life.is(Manner::Stays)).count() as u64;
    let identities = outcome.history.askers().len() as u64;
    assert_eq!(stay, conns, "seed {seed}");
    assert_eq!(outcome.summary.stats.closed("superseded"), conns - identities, "seed {seed}");
}
