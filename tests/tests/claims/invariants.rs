//! What must hold of every history, whatever the clients did. Each function looks for violations of one sentence and says
//! which one it found.

use std::collections::BTreeSet;

use heartring::{Cause, Refusal, Stats};

use super::history::{Event, History, Life, Manner};

type Verdict = Result<(), String>;

/// One sentence about a history, by its name.
type Invariant = (&'static str, fn(&History) -> Verdict);

/// Every invariant that needs nothing but the history.
pub(crate) const ALL: [Invariant; 9] = [
    ("lives_are_whole", lives_are_whole),
    ("one_holder_at_a_time", one_holder_at_a_time),
    ("epochs_grow", epochs_grow),
    ("nothing_after_the_successor", nothing_after_the_successor),
    ("claims_are_decided", claims_are_decided),
    ("superseded_names_the_successor", superseded_names_the_successor),
    ("who_stays_is_superseded", who_stays_is_superseded),
    ("who_leaves_is_not_missed", who_leaves_is_not_missed),
    ("lines_come_once_and_in_order", lines_come_once_and_in_order),
];

/// A connection is opened first, then closed once and last, and between the decision and the end only late lines come.
pub(crate) fn lives_are_whole(history: &History) -> Verdict {
    for life in &history.lives {
        let events: Vec<Event> = life.events.iter().map(|&(_, event)| event).collect();
        let (Some(Event::Opened), Some(&Event::Closed(cause))) = (events.first(), events.last()) else {
            return violated(life, "is not whole");
        };
        let middle = &events[1..events.len() - 1];
        let decided = middle.iter().position(|event| matches!(event, Event::Closing(_)));
        let (before, after) = middle.split_at(decided.unwrap_or(middle.len()));
        if after.first() != Some(&Event::Closing(cause)) {
            return violated(life, "was not told its cause before it was closed for it");
        }
        if !after[1..].iter().all(|event| matches!(event, Event::Late(_))) {
            return violated(life, "goes on after its end was decided");
        }
        if after.len() > 1 && !matches!(cause, Cause::HeartbeatMissed | Cause::PeerStuck) {
            return violated(life, "has late lines, but missed no heartbeat");
        }
        let odd = |event: &Event| matches!(event, Event::Opened | Event::Late(_) | Event::Closed(_));
        let asked = before.iter().filter(|event| matches!(event, Event::Asked(_))).count();
        let claimed = before.iter().filter(|event| matches!(event, Event::Claimed { .. })).count();
        if before.iter().any(odd) || asked > 1 || claimed > asked {
            return violated(life, "is told twice, late or without having asked");
        }
    }
    Ok(())
}

/// At most one connection holds an identity: from its `claimed` to its `closed` no other is granted it.
pub(crate) fn one_holder_at_a_time(history: &History) -> Verdict {
    each_pair(history, |old, new| {
        let ended = old.closed().map_or(u64::MAX, |(order, _)| order);
        if new.claimed().is_some_and(|(order, _)| order < ended) {
            return violated(old, &format!("still held its identity when {} was granted it", new.at));
        }
        Ok(())
    })
}

/// The epochs of an identity strictly grow from holder to holder.
pub(crate) fn epochs_grow(history: &History) -> Verdict {
    each_pair(history, |old, new| {
        let epoch = |life: &Life| life.claimed().map(|(_, epoch)| epoch);
        if epoch(old) >= epoch(new) {
            return violated(new, &format!("has no larger epoch than {} before it", old.at));
        }
        Ok(())
    })
}

/// Of whoever held an identity, nothing at all is told after its successor's `claimed`.
pub(crate) fn nothing_after_the_successor(history: &History) -> Verdict {
    each_pair(history, |old, new| {
        let granted = new.claimed().map_or(0, |(order, _)| order);
        match old.events.iter().find(|&&(order, _)| order > granted) {
            Some((_, event)) => violated(old, &format!("is told {event:?} after {} was claimed", new.at)),
            None => Ok(()),
        }
    })
}

/// A claim is granted or its connection ends, and not because nobody had decided.
pub(crate) fn claims_are_decided(history: &History) -> Verdict {
    for life in history.lives.iter().filter(|life| life.asked().is_some() && life.claimed().is_none()) {
        match life.closed() {
            None => return violated(life, "waits for its claim for ever"),
            Some((
                _,
                Cause::Draining
                | Cause::HelloMissed
                | Cause::HeartbeatMissed
                | Cause::PeerStuck
                | Cause::Refused(Refusal::ClaimUndecided),
            )) => return violated(life, "ended because its claim was not decided"),
            Some(_) => {}
        }
    }
    Ok(())
}

/// The epoch in `Superseded` is that of the next holder. If nobody holds it by that epoch, the successor left before its
/// grant came. No epoch ends two holders.
pub(crate) fn superseded_names_the_successor(history: &History) -> Verdict {
    let askers = history.askers();
    for (identity, holders) in &history.holders() {
        let mut named = BTreeSet::new();
        for life in &askers[identity] {
            let Some(by) = life.superseded_by() else { continue };
            // Whoever only waited can have left room for the same successor as the holder.
            if life.claimed().is_some() && !named.insert(by) {
                return violated(life, "was superseded by an epoch that had ended another holder already");
            }
            check_successor(life, by, holders, &askers[identity])?;
        }
    }
    Ok(())
}

fn check_successor(life: &Life, by: u64, holders: &[&Life], askers: &[&Life]) -> Verdict {
    let ended = life.closed().map_or(0, |(order, _)| order);
    let holds = holders.iter().filter_map(|holder| holder.claimed()).any(|(_, epoch)| epoch == by);
    let mut others = askers.iter().filter(|other| other.at != life.at && other.claimed().is_none());
    if !holds && !others.any(|other| other.asked().is_some_and(|(asked, _)| asked < ended)) {
        return violated(life, "was superseded by nobody");
    }
    let Some((since, own)) = life.claimed() else { return Ok(()) };
    if by <= own {
        return violated(life, "was superseded by an epoch that is not larger than its own");
    }
    let mut later = holders.iter().filter_map(|holder| holder.claimed()).filter(|&(order, _)| order > since);
    match later.next().map(|(_, epoch)| epoch) {
        next if holds && next != Some(by) => violated(life, "names another than the next holder"),
        Some(next) if next < by => violated(life, "names one that came after the next holder"),
        Some(_) | None => Ok(()),
    }
}

/// A client that stays ends by being superseded; only the last holder of an identity may leave, when the test lets it go. So
/// every successor that found such a client made one `Superseded`.
pub(crate) fn who_stays_is_superseded(history: &History) -> Verdict {
    let holders = history.holders();
    for life in history.lives.iter().filter(|life| life.is(Manner::Stays)) {
        let last = life.identity.as_ref().and_then(|identity| holders[identity].last());
        let is_last = last.is_some_and(|last| last.at == life.at);
        match life.closed() {
            Some((_, Cause::Superseded { .. })) => {}
            Some((_, Cause::PeerClosed)) if is_last => {}
            Some((_, Cause::Refused(Refusal::Flapping { .. }))) if life.claimed().is_none() => {}
            Some(_) | None => return violated(life, "stayed and was not superseded"),
        }
    }
    Ok(())
}

/// Whoever closes behind its claim is known to have gone, even if the end came while the claim was undecided: its beat is not
/// waited for.
pub(crate) fn who_leaves_is_not_missed(history: &History) -> Verdict {
    let leaves = |life: &&Life| life.is(Manner::Leaves) || life.is(Manner::Resets);
    for life in history.lives.iter().filter(leaves) {
        if life.events.iter().any(|(_, event)| *event == Event::Overdue) {
            return violated(life, "has left, and its beat was waited for");
        }
    }
    Ok(())
}

/// Lines are delivered after the claim is granted, each once, in order, and all of them if the stream ended in order.
pub(crate) fn lines_come_once_and_in_order(history: &History) -> Verdict {
    for life in &history.lives {
        let granted = life.claimed().map_or(u64::MAX, |(order, _)| order);
        let mut count = 0;
        for (order, line) in life.lines() {
            if order < granted {
                return violated(life, "is delivered a line without holding its identity");
            }
            count += 1;
            if line != count {
                return violated(life, &format!("is delivered line {line} as its {count}th"));
            }
        }
        let announced = life.asked().filter(|_| life.is(Manner::Leaves)).map(|(_, promise)| promise.lines);
        let ended_in_order = life.closed().is_some_and(|(_, cause)| cause == Cause::PeerClosed);
        if ended_in_order && announced.is_some_and(|lines| lines != count) {
            return violated(life, &format!("ended in order, but only {count} lines came"));
        }
    }
    Ok(())
}

/// What the shards have counted is what their handlers were told.
pub(crate) fn counts_agree(history: &History, stats: &Stats) -> Verdict {
    let superseded = |event: &Event| matches!(event, Event::Closed(Cause::Superseded { .. }));
    let pairs = [
        ("claims", stats.claims, history.count(|event| matches!(event, Event::Asked(_)))),
        ("grants", stats.grants, history.count(|event| matches!(event, Event::Claimed { .. }))),
        ("superseded", stats.closed("superseded"), history.count(superseded)),
        ("closed", stats.closed_total(), history.count(|event| matches!(event, Event::Closed(_)))),
        ("late", stats.late_frames, history.count(|event| matches!(event, Event::Late(_)))),
    ];
    for (what, counted, told) in pairs {
        if counted != told {
            return Err(format!("{what}: {counted} were counted, {told} were told"));
        }
    }
    Ok(())
}

/// Looks at each holder of an identity and the next one.
fn each_pair(history: &History, look: impl Fn(&Life, &Life) -> Verdict) -> Verdict {
    for holders in history.holders().values() {
        for pair in holders.windows(2) {
            look(pair[0], pair[1])?;
        }
    }
    Ok(())
}

fn violated(life: &Life, what: &str) -> Verdict {
    let events: Vec<String> = life.events.iter().map(|(order, event)| format!("{order} {event:?}")).collect();
    let identity = life.identity.as_ref().map_or_else(|| "nobody".into(), ToString::to_string);
    Err(format!("{} ({identity}) {what}: {}", life.at, events.join(", ")))
}
