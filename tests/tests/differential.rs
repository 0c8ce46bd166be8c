//! The same script of what peers do gives the same sequence of events per connection on every backend and with every deadline
//! strategy, times aside.
//!
//! What is under test is a core `Shard` with one handler, on the simulator in virtual time, and on epoll and io_uring in real time
//! over loopback. Scripts come from seeds, and by hand for what must not depend on chance; many are played at once on one shard. Every
//! play is compared with that of the simulator and its sweep.
//!
//! A cause that comes from the network itself (`path_dead`, `os`) or from a limit of the whole shard (`refused`) is not here: the
//! former need a network that fails, the latter do not depend on one connection's script.
//!
//! `HEARTRING_SEED=17 cargo test -p heartring-tests --test differential` plays one seed, `HEARTRING_SEEDS=500` so many.

mod differential {
    pub(crate) mod author;
    pub(crate) mod by_hand;
    pub(crate) mod chance;
    pub(crate) mod clerk;
    pub(crate) mod machine;
    pub(crate) mod report;
    pub(crate) mod script;
    pub(crate) mod setting;
    pub(crate) mod stage;
    pub(crate) mod tale;
    pub(crate) mod talk;
    pub(crate) mod troupe;
}

use std::collections::BTreeSet;
use std::env;
use std::time::Duration;

use differential::author::Author;
use differential::report::compare;
use differential::script::{Leave, Script};
use differential::stage::{Play, play};
use differential::tale::{Event, Tale};
use differential::{by_hand, chance, setting};
use heartring_core::{Cause, DeadlineStrategy};
use heartring_tests::{Dice, End, Rig, SimRig, skip};

/// Seeds that are played unless others are asked for.
const SEEDS: u64 = 24;

/// Seeds that have found something. 928: a device that was not asked was called stuck, when the thread was away between the
/// examination and the verdict.
const SEEDS_KEPT: [u64; 1] = [928];

/// Scripts that are played at once: all that are written by hand and the usual seeds, which have some two hundred connections.
const BATCH: usize = 60;

/// A run during which the thread was kept away for longer than this is not judged: the slack of every step is more than twice
/// that, but it may be away several times.
const AWAY_MAX: Duration = Duration::from_millis(400);

/// Runs that are not judged, before the machine is called unfit.
const RUNS_MAX: u32 = 5;

const REFERENCE: &str = "sim, sweep";

macro_rules! on_each_strategy {
    ($($name:ident: $rig:ty;)*) => {
        $(mod $name {
            use heartring_core::DeadlineStrategy;

            #[test]
            fn linked_plays_as_in_virtual_time() {
                super::plays_as_in_virtual_time::<$rig>(DeadlineStrategy::Linked);
            }

            #[test]
            fn lease_plays_as_in_virtual_time() {
                super::plays_as_in_virtual_time::<$rig>(DeadlineStrategy::Lease);
            }

            #[test]
            fn sweep_plays_as_in_virtual_time() {
                super::plays_as_in_virtual_time::<$rig>(DeadlineStrategy::Sweep);
            }
        })*
    };
}

on_each_strategy! {
    sim: heartring_tests::SimRig;
    epoll: heartring_tests::TcpRig<heartring_tests::Epoll>;
    uring: heartring_tests::TcpRig<heartring_tests::Uring>;
    uring_plain: heartring_tests::TcpRig<heartring_tests::UringPlain>;
}

fn plays_as_in_virtual_time<R: Rig>(strategy: DeadlineStrategy) {
    if let Err(reason) = R::open(&setting::backend_config()) {
        return skip(R::NAME, &reason);
    }
    for scripts in batches() {
        let expected = play::<SimRig>(DeadlineStrategy::Sweep, &scripts, None);
        judge::<R>(strategy, &scripts, &expected, None);
    }
}

/// Stalls make core doubt and postpone its verdicts; they do not change what happens. Each script has a world of its own, so that the
/// stalls follow from its seed as well.
#[test]
fn a_stalled_thread_changes_no_sequence() {
    let scripts = batches().concat();
    let mut postponed = 0;
    for scripts in scripts.chunks(1) {
        let expected = play::<SimRig>(DeadlineStrategy::Sweep, scripts, None);
        let dice = Dice::new(scripts[0].seed.unwrap_or(0));
        for strategy in [DeadlineStrategy::Linked, DeadlineStrategy::Lease, DeadlineStrategy::Sweep] {
            postponed += judge::<SimRig>(strategy, scripts, &expected, Some(&dice));
        }
    }
    assert!(postponed > 0 || scripts.len() == 1, "no verdict was ever postponed");
}

/// The causes that peers and handlers bring about.
const CAUSES: [&str; 12] = [
    "peer_closed",
    "peer_reset",
    "heartbeat_missed",
    "hello_missed",
    "frame_stalled",
    "peer_stuck",
    "slow_consumer",
    "superseded",
    "protocol",
    "too_large",
    "draining",
    "local",
];

#[test]
fn scripts_by_hand_end_as_their_names_say_and_meet_every_cause() {
    let scripts = by_hand::all();
    let tales = play::<SimRig>(DeadlineStrategy::Sweep, &scripts, None).tales;
    for (script, tale) in scripts.iter().zip(&tales) {
        if let Some(cause) = CAUSES.into_iter().find(|cause| script.name.starts_with(cause)) {
            assert_eq!(tale.causes(0), [cause], "{}", script.name);
        }
    }
    let met: BTreeSet<&str> = tales.iter().flat_map(Tale::all_causes).collect();
    assert_eq!(met, BTreeSet::from(CAUSES));
}

#[test]
fn scripts_by_chance_meet_every_cause_as_well() {
    let scripts: Vec<Script> = (1..=SEEDS).map(chance::script).collect();
    let tales = play::<SimRig>(DeadlineStrategy::Sweep, &scripts, None).tales;
    let met: BTreeSet<&str> = tales.iter().flat_map(Tale::all_causes).collect();
    assert_eq!(met, BTreeSet::from(CAUSES));
}

#[test]
fn every_change_of_a_sequence_is_found() {
    let tales = play::<SimRig>(DeadlineStrategy::Sweep, &by_hand::all(), None).tales;
    for tale in &tales {
        for (conn, events) in tale.conns.iter().enumerate() {
            for at in 0..events.len() {
                for changed in changes(tale, conn, at) {
                    let (found_in, _) = tale.first_difference(&changed).expect("they differ");
                    assert_eq!(found_in, conn, "{events:?}\n{:?}", changed.conns[conn]);
                }
            }
        }
    }
}

/// The tale with one event lost, told twice, told too early, or told wrongly.
fn changes(tale: &Tale, conn: usize, at: usize) -> Vec<Tale> {
    let change = |change: &dyn Fn(&mut Vec<Event>)| {
        let mut changed = tale.clone();
        change(&mut changed.conns[conn]);
        changed
    };
    let mut changes = vec![
        change(&|events| drop(events.remove(at))),
        change(&|events| events.insert(at, events[at].clone())),
        change(&|events| events[at] = another(&events[at])),
    ];
    if at > 0 && tale.conns[conn][at - 1] != tale.conns[conn][at] {
        changes.push(change(&|events| events.swap(at - 1, at)));
    }
    changes
}

/// An event of the same kind with another content; where it has none, of another kind.
fn another(event: &Event) -> Event {
    let longer = |bytes: &[u8]| [bytes, b"x"].concat();
    match event {
        Event::Opened | Event::Declined | Event::Writable => Event::Overdue,
        Event::Overdue => Event::Writable,
        Event::Received(line) => Event::Received(longer(line)),
        Event::Late(line) => Event::Late(longer(line)),
        Event::PeerRead(bytes) => Event::PeerRead(longer(bytes)),
        Event::Claimed(epoch) => Event::Claimed(epoch + 1),
        Event::Closing(Cause::Superseded { by }) => Event::Closing(Cause::Superseded { by: by + 1 }),
        Event::Closing(_) => Event::Closing(Cause::Superseded { by: 1 }),
        Event::Closed { cause, late_bytes } => Event::Closed { cause: *cause, late_bytes: late_bytes + 1 },
        Event::PeerSaw(End::Open | End::Eof) => Event::PeerSaw(End::Reset),
        Event::PeerSaw(End::Reset) => Event::PeerSaw(End::Eof),
    }
}

#[test]
fn a_difference_is_shown_with_its_script_both_sequences_and_the_replay() {
    let mut author = Author::new("a script", Some(17));
    let conn = author.connect();
    author.lines(conn, &["hello"]);
    author.leave(conn, &[], Leave::Fin);
    let scripts = [author.finish()];
    let expected = &play::<SimRig>(DeadlineStrategy::Sweep, &scripts, None).tales[0];
    let mut actual = expected.clone();
    actual.conns[conn].remove(1);
    let text = compare(&scripts[0], (REFERENCE, expected), ("epoll, lease", &actual)).unwrap_err();
    for part in [
        "a script: epoll, lease differs from sim, sweep",
        "2. A writes \"hello\\n\"",
        "==> received \"hello\"",
        "| closing: peer_closed",
        "HEARTRING_SEED=17 cargo test -p heartring-tests --test differential",
    ] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
    assert_eq!(compare(&scripts[0], (REFERENCE, expected), (REFERENCE, expected)), Ok(()));
}

/// A backend that never tells what is due is found although it tells nothing wrong.
#[test]
fn a_step_that_is_never_over_is_a_difference() {
    let mut author = Author::new("a script", None);
    let conn = author.connect();
    author.lines(conn, &["hello"]);
    author.silent_until_overdue(conn);
    let scripts = [author.finish()];
    let tale = &play::<SimRig>(DeadlineStrategy::Sweep, &scripts, None).tales[0];
    let text = compare(&scripts[0], (REFERENCE, tale), ("epoll, lease", tale)).unwrap_err();
    assert!(text.contains("on epoll, lease step 3 led only to: told 2"), "{text}");
}

/// Plays the scripts on a backend and compares. Returns how many verdicts were postponed.
fn judge<R: Rig>(
    strategy: DeadlineStrategy,
    scripts: &[Script],
    expected: &Play,
    stalls: Option<&Dice>,
) -> u64 {
    let label = format!("{}, {}", R::NAME, strategy.name());
    for _ in 0..RUNS_MAX {
        let actual = play::<R>(strategy, scripts, stalls.cloned());
        let pairs = scripts.iter().zip(expected.tales.iter().zip(&actual.tales));
        let differences: Vec<String> = pairs
            .filter_map(|(script, (expected, actual))| {
                compare(script, (REFERENCE, expected), (&label, actual)).err()
            })
            .collect();
        if differences.is_empty() {
            return actual.postponed;
        }
        let text = differences.join("\n");
        assert!(actual.away_max > AWAY_MAX, "{text}");
        println!("{label}: the thread was away for {:?}; not judged, played again:\n{text}", actual.away_max);
    }
    panic!("{label}: this machine keeps threads away for too long to judge anything on it");
}

/// The scripts that are played, in the batches in which they are played.
fn batches() -> Vec<Vec<Script>> {
    let number = |name: &str| env::var(name).ok().map(|value| value.parse().expect("a number"));
    if let Some(seed) = number("HEARTRING_SEED") {
        return vec![vec![chance::script(seed)]];
    }
    let mut scripts = by_hand::all();
    let seeds = 1..=number("HEARTRING_SEEDS").unwrap_or(SEEDS);
    scripts.extend(SEEDS_KEPT.into_iter().chain(seeds).map(chance::script));
    scripts.chunks(BATCH).map(<[Script]>::to_vec).collect()
}
