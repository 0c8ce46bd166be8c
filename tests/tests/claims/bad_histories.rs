//! Histories made by hand, each with one violation: a checker that finds nothing is worth something only if it can find.

use heartring::{Cause, ConnAt, ConnId, Identity, Refusal, ShardId, Stats};

use super::history::{Entry, Event, History, Manner, Promise};
use super::invariants;

const GONE: Cause = Cause::PeerClosed;

/// An entry of connection `slot`, of the only identity.
type Line = (u32, Event);

fn history(lines: &[Line]) -> History {
    let entry = |(order, &(slot, event)): (usize, &Line)| Entry {
        order: order as u64,
        at: ConnAt { shard: ShardId((slot % 2) as u16), conn: ConnId::new(slot, 1) },
        identity: (event != Event::Opened).then(|| Identity::from("pump")),
        event,
    };
    History::new(lines.iter().enumerate().map(entry).collect())
}

fn asks(slot: u32, manner: Manner, lines: u32) -> [Line; 2] {
    [(slot, Event::Opened), (slot, Event::Asked(Promise { manner, lines }))]
}

fn claimed(slot: u32, epoch: u64) -> [Line; 1] {
    [(slot, Event::Claimed { epoch })]
}

fn ends(slot: u32, cause: Cause) -> [Line; 2] {
    [(slot, Event::Closing(cause)), (slot, Event::Closed(cause))]
}

fn by(epoch: u64) -> Cause {
    Cause::Superseded { by: epoch }
}

/// Only `name` finds something, and it says `what`.
fn caught(name: &str, what: &str, lines: &[Line]) {
    let history = history(lines);
    for (invariant, holds) in invariants::ALL {
        match holds(&history) {
            Ok(()) => assert_ne!(invariant, name, "it holds"),
            Err(violation) => {
                assert_eq!(invariant, name, "{violation}");
                assert!(violation.contains(what), "{violation}");
            }
        }
    }
}

#[test]
fn a_good_history_is_not_accused() {
    let lines = [
        &asks(1, Manner::Stays, 1)[..],
        &claimed(1, 1),
        &[(1, Event::Received(1))],
        &asks(2, Manner::FallsSilent, 0),
        &asks(3, Manner::Leaves, 2),
        &ends(1, by(2)),
        &claimed(2, 2),
        &[(2, Event::Overdue), (2, Event::Closing(Cause::HeartbeatMissed)), (2, Event::Late(1))],
        &[(2, Event::Closed(Cause::HeartbeatMissed))],
        &claimed(3, 3),
        &[(3, Event::Received(1)), (3, Event::Received(2))],
        &ends(3, GONE),
    ];
    let history = history(&lines.concat());
    for (name, holds) in invariants::ALL {
        assert_eq!(holds(&history), Ok(()), "{name}");
    }
}

#[test]
fn a_successor_that_left_before_its_grant_is_not_missed() {
    let lines = [
        &asks(1, Manner::Stays, 0)[..],
        &claimed(1, 1),
        &asks(2, Manner::Resets, 0),
        &asks(3, Manner::Stays, 0),
        &ends(1, by(2)),
        &ends(2, Cause::PeerReset),
        &claimed(3, 3),
        &ends(3, GONE),
    ];
    let history = history(&lines.concat());
    for (name, holds) in invariants::ALL {
        assert_eq!(holds(&history), Ok(()), "{name}");
    }
}

#[test]
fn two_holders_at_a_time_are_caught() {
    let lines = [
        &asks(1, Manner::Resets, 0)[..],
        &claimed(1, 1),
        &asks(2, Manner::Resets, 0),
        &claimed(2, 2),
        &ends(1, by(2)),
        &ends(2, Cause::PeerReset),
    ];
    let history = history(&lines.concat());
    let violation = invariants::one_holder_at_a_time(&history).unwrap_err();
    assert!(violation.contains("still held"), "{violation}");
}

#[test]
fn an_epoch_that_does_not_grow_is_caught() {
    let lines = [
        &asks(1, Manner::Leaves, 0)[..],
        &claimed(1, 7),
        &ends(1, GONE),
        &asks(2, Manner::Leaves, 0),
        &claimed(2, 7),
        &ends(2, GONE),
    ];
    caught("epochs_grow", "no larger epoch", &lines.concat());
}

#[test]
fn a_word_of_the_former_holder_after_the_grant_is_caught() {
    let mut lines = [&asks(1, Manner::Resets, 0)[..], &claimed(1, 1), &ends(1, by(2))].concat();
    lines.extend([&asks(2, Manner::Resets, 0)[..], &claimed(2, 2)].concat());
    lines.push((1, Event::Received(1)));
    lines.extend(ends(2, Cause::PeerReset));
    let violation = invariants::nothing_after_the_successor(&history(&lines)).unwrap_err();
    assert!(violation.contains("is told Received(1) after 0/2.1 was claimed"), "{violation}");
    // It is also an event after the end.
    assert!(invariants::lives_are_whole(&history(&lines)).is_err());
}

#[test]
fn a_life_that_is_not_whole_is_caught() {
    let whole = [&asks(1, Manner::FallsSilent, 0)[..], &claimed(1, 1), &ends(1, Cause::PeerReset)].concat();
    let with = |place: usize, event: Event| {
        let mut lines = whole.clone();
        lines.insert(place, (1, event));
        lines
    };
    let name = "lives_are_whole";
    caught(name, "is not whole", &with(5, Event::Overdue));
    caught(name, "not told its cause", &with(3, Event::Closing(GONE)));
    caught(name, "goes on", &with(4, Event::Overdue));
    caught(name, "missed no heartbeat", &with(4, Event::Late(1)));
    caught(name, "told twice", &with(1, Event::Opened));
    caught(name, "told twice", &with(3, Event::Claimed { epoch: 2 }));
}

#[test]
fn a_claim_without_an_answer_is_caught() {
    for cause in [Cause::Draining, Cause::HelloMissed, Cause::Refused(Refusal::ClaimUndecided)] {
        let lines = [asks(1, Manner::Resets, 0), ends(1, cause)].concat();
        caught("claims_are_decided", "was not decided", &lines);
    }
    let violation = invariants::claims_are_decided(&history(&asks(1, Manner::Resets, 0))).unwrap_err();
    assert!(violation.contains("for ever"), "{violation}");
}

#[test]
fn a_wrong_successor_is_caught() {
    let with = |cause: Cause| {
        let parts = [
            &asks(1, Manner::Stays, 0)[..],
            &claimed(1, 4),
            &asks(2, Manner::Resets, 0),
            &asks(3, Manner::Resets, 0),
            &ends(1, cause),
            &claimed(2, 5),
            &ends(2, Cause::PeerReset),
            &ends(3, Cause::PeerReset),
        ];
        parts.concat()
    };
    let name = "superseded_names_the_successor";
    caught(name, "not larger", &with(by(4)));
    caught(name, "came after", &with(by(6)));
    let alone = [&asks(1, Manner::Stays, 0)[..], &claimed(1, 1), &ends(1, by(2))].concat();
    caught(name, "by nobody", &alone);
}

#[test]
fn an_epoch_that_ends_two_holders_is_caught() {
    let lines = [
        &asks(1, Manner::Stays, 0)[..],
        &claimed(1, 1),
        &asks(2, Manner::Stays, 0),
        &asks(3, Manner::Resets, 0),
        &ends(1, by(3)),
        &claimed(2, 2),
        &ends(2, by(3)),
        &claimed(3, 3),
        &ends(3, Cause::PeerReset),
    ];
    let violation = invariants::superseded_names_the_successor(&history(&lines.concat())).unwrap_err();
    assert!(violation.contains("ended another holder already"), "{violation}");
}

#[test]
fn a_holder_that_stayed_and_was_not_superseded_is_caught() {
    let lines = [
        &asks(1, Manner::Stays, 0)[..],
        &claimed(1, 1),
        &ends(1, GONE),
        &asks(2, Manner::Stays, 0),
        &claimed(2, 2),
        &ends(2, GONE),
    ];
    caught("who_stays_is_superseded", "stayed and was not", &lines.concat());
}

#[test]
fn an_end_that_is_forgotten_is_caught() {
    let lines =
        [&asks(1, Manner::Leaves, 0)[..], &claimed(1, 1), &[(1, Event::Overdue)], &ends(1, GONE)].concat();
    caught("who_leaves_is_not_missed", "was waited for", &lines);
}

#[test]
fn lines_that_are_early_lost_doubled_or_out_of_order_are_caught() {
    let with = |received: &[u32]| {
        let mut lines = [&asks(1, Manner::Leaves, 3)[..], &claimed(1, 1)].concat();
        lines.extend(received.iter().map(|&line| (1, Event::Received(line))));
        lines.extend(ends(1, GONE));
        lines
    };
    let name = "lines_come_once_and_in_order";
    caught(name, "only 2 lines", &with(&[1, 2]));
    caught(name, "line 2 as its 3th", &with(&[1, 2, 2]));
    caught(name, "line 3 as its 2th", &with(&[1, 3, 2]));
    let mut early = with(&[1, 2, 3]);
    early.swap(2, 3);
    caught(name, "without holding", &early);
}

#[test]
fn a_count_that_is_off_is_caught() {
    let lines = [&asks(1, Manner::Leaves, 0)[..], &claimed(1, 1), &ends(1, GONE)].concat();
    let violation = invariants::counts_agree(&history(&lines), &Stats::default()).unwrap_err();
    assert_eq!(violation, "claims: 0 were counted, 1 were told");
}
