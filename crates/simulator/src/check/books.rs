//! What is counted: ops, what is open, messages, and core's own statistics against what was told.

use heartring_core::{Cause, OpKind, ShardId};

use crate::record::Told;

use super::story::{Stories, Story};

/// No bound was seen broken. Exact.
pub(super) fn every_bound_is_respected(stories: &Stories<'_>) -> Result<(), String> {
    match stories.record.bounds_broken.first() {
        Some(broken) => Err(broken.clone()),
        None => Ok(()),
    }
}

/// As many terminal completions as ops, for each kind. Exact once nothing is in flight; that none comes twice is also asserted by
/// core and backend as it comes.
pub(super) fn each_op_ends_once(stories: &Stories<'_>) -> Result<(), String> {
    for (nth, shard) in stories.record.shards.iter().enumerate() {
        for kind in OpKind::ALL {
            let (submitted, ended) = (shard.ops_submitted[kind as usize], shard.ops_ended[kind as usize]);
            if submitted != ended {
                return Err(format!("shard {nth}: {submitted} {kind:?} submitted, {ended} ended"));
            }
        }
    }
    Ok(())
}

/// Everything comes to an end. Exact.
pub(super) fn quiescence_is_reached(stories: &Stories<'_>) -> Result<(), String> {
    if stories.record.quiescent { Ok(()) } else { Err(format!("at {}", stories.record.ended_at)) }
}

/// Every slot, buffer, op, socket, listener, letter and identity is given back. Exact.
pub(super) fn nothing_is_left_open(stories: &Stories<'_>) -> Result<(), String> {
    for (nth, shard) in stories.record.shards.iter().enumerate() {
        if shard.open_total != 0 || shard.ledger.open_total() != 0 {
            return Err(format!(
                "shard {nth}: {} in core, and in the kernel {}",
                shard.open_total, shard.ledger
            ));
        }
    }
    Ok(())
}

/// The messages of one handler to another come in the order in which they were posted, each once, and all. Exact.
pub(super) fn messages_come_in_order_and_once(stories: &Stories<'_>) -> Result<(), String> {
    let shards = stories.record.shards.len();
    let by_pair = |messages: &[(ShardId, ShardId, u64)]| {
        let mut pairs = vec![Vec::new(); shards * shards];
        for (from, to, number) in messages {
            pairs[usize::from(from.0) * shards + usize::from(to.0)].push(*number);
        }
        pairs
    };
    let (posted, come) = (by_pair(&stories.record.messages_posted), by_pair(&stories.record.messages_come));
    for (pair, (posted, come)) in posted.iter().zip(&come).enumerate() {
        if posted != come {
            let (from, to) = (pair / shards, pair % shards);
            return Err(format!("from shard {from} to {to}: posted {posted:?}, come {come:?}"));
        }
    }
    Ok(())
}

/// Core's statistics are what was told: who was opened, ended by each cause, told overdue or late, claimed and granted. Who was
/// accepted and not opened was refused at the door. No verdict was early by its own count either. Exact.
pub(super) fn the_books_agree(stories: &Stories<'_>) -> Result<(), String> {
    let mut tallies: Vec<Tally> = stories.record.shards.iter().map(|_| Tally::default()).collect();
    for story in &stories.all {
        tallies[usize::from(story.conn.shard.0)].add(story);
    }
    for (nth, (shard, tally)) in stories.record.shards.iter().zip(&tallies).enumerate() {
        let stats = &shard.stats;
        let at_the_door = stats.refused("conns_max") + stats.refused("source_max");
        let drained_at_the_door = stats.closed("draining").saturating_sub(tally.closed_for("draining"));
        let refused = at_the_door + drained_at_the_door;
        let pairs = [
            ("accepted", stats.accepted, tally.opened + refused),
            ("overdue", stats.overdue, tally.overdue),
            ("late frames", stats.late_frames, tally.late),
            ("late bytes", stats.late_bytes, tally.late_bytes),
            ("claims", stats.claims, tally.claims),
            ("grants", stats.grants, tally.grants),
            ("verdicts", stats.lateness.count(), tally.measured),
            ("early verdicts", stats.early, 0),
            ("data frames at the least", stats.frames.min(tally.frames), tally.frames),
        ];
        let by_cause = Cause::NAMES.into_iter().map(|name| {
            let beyond = match name {
                "refused" => at_the_door,
                "draining" => drained_at_the_door,
                _ => 0,
            };
            (name, stats.closed(name), tally.closed_for(name) + beyond)
        });
        for (what, counted, told) in pairs.into_iter().chain(by_cause) {
            if counted != told {
                return Err(format!("shard {nth}: {what}: counted {counted}, told {told}"));
            }
        }
    }
    Ok(())
}

/// What was told of the connections of one shard.
#[derive(Default)]
struct Tally {
    opened: u64,
    overdue: u64,
    late: u64,
    late_bytes: u64,
    claims: u64,
    grants: u64,
    measured: u64,
    frames: u64,
    causes: Vec<&'static str>,
}

impl Tally {
    fn add(&mut self, story: &Story<'_>) {
        self.opened += 1;
        for (_, entry) in &story.entries {
            match &entry.told {
                Told::Overdue => self.overdue += 1,
                Told::Late { bytes, .. } => {
                    self.late += 1;
                    self.frames += 1;
                    self.late_bytes += u64::from(*bytes);
                }
                Told::Received { .. } => self.frames += 1,
                Told::Claims { .. } => self.claims += 1,
                Told::Claimed { .. } => self.grants += 1,
                Told::Closing(closed) => self.measured += u64::from(closed.lateness.is_some()),
                Told::Closed(closed) => self.causes.push(closed.cause.name()),
                Told::Opened { .. }
                | Told::Writable
                | Told::Sends { .. }
                | Told::Closes
                | Told::Negotiates(_) => {}
            }
        }
    }

    fn closed_for(&self, name: &str) -> u64 {
        self.causes.iter().filter(|cause| **cause == name).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::super::handmade::{Made, at};
    use super::*;

    #[test]
    fn each_thing_that_is_left_over_is_found() {
        type Breaks = (&'static str, fn(&mut Made));
        let broken: [Breaks; 6] = [
            ("every_bound_is_respected", |made| made.record.bounds_broken.push("too many".to_owned())),
            ("each_op_ends_once", |made| made.record.shards[0].ops_submitted[OpKind::Send as usize] += 1),
            ("each_op_ends_once", |made| made.record.shards[0].ops_ended[OpKind::Recv as usize] += 1),
            ("quiescence_is_reached", |made| made.record.quiescent = false),
            ("nothing_is_left_open", |made| made.record.shards[0].open_total = 1),
            ("nothing_is_left_open", |made| made.record.shards[0].ledger.sockets = 1),
        ];
        for (rule, breaks) in broken {
            let mut made = Made::whole();
            breaks(&mut made);
            made.breaks(rule);
        }
    }

    #[test]
    fn a_message_lost_doubled_or_overtaken_is_found() {
        let messages = [(ShardId(0), ShardId(0), 0), (ShardId(0), ShardId(0), 1)];
        for come in [vec![messages[0]], vec![messages[1], messages[0]], vec![messages[0]; 3]] {
            let mut made = Made::whole();
            made.record.messages_posted = messages.to_vec();
            made.record.messages_come = messages.to_vec();
            made.keeps_all();
            made.record.messages_come = come;
            made.breaks("messages_come_in_order_and_once");
        }
    }

    #[test]
    fn statistics_that_do_not_agree_are_found() {
        let wrong: [fn(&mut heartring_core::Stats); 5] = [
            |stats| stats.accepted += 1,
            |stats| stats.overdue += 1,
            |stats| stats.late_frames += 1,
            |stats| stats.grants += 1,
            |stats| stats.early += 1,
        ];
        for change in wrong {
            let mut made = Made::whole();
            made.peer_closed(&[at(100)], at(300));
            change(&mut made.record.shards[0].stats);
            made.breaks("the_books_agree");
        }
    }
}
