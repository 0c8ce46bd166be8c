//! What clients read: what was sent to them, and nothing of another's.

use std::collections::{HashMap, HashSet};

use heartring_core::Cause;
use heartring_sim::Saw;

use crate::record::Told;

use super::story::{Stories, Story};

/// What a client read is a prefix of what its handler queued, except that a state may have given way to a newer one, which then
/// stands in its place; and all of it, the last state included, if its stream ended in order (after a missed heartbeat the queue is
/// dropped: that is no orderly end). Exact.
pub(super) fn the_client_reads_what_was_sent(stories: &Stories<'_>) -> Result<(), String> {
    for story in &stories.all {
        if let Some(what) = &story.client.misread {
            return Err(format!("{story}: the client read {what}"));
        }
        let (plain, states) = sent(story);
        let (mut next_plain, mut last_state) = (plain.iter(), None);
        for number in &story.client.read {
            let in_order = if states.binary_search(number).is_ok() {
                last_state.replace(number).is_none_or(|last| last < number)
            } else {
                next_plain.next() == Some(number)
            };
            if !in_order {
                return Err(format!(
                    "{story}: the client read {number} out of turn: {:?}",
                    story.client.read
                ));
            }
        }
        let whole = next_plain.as_slice().is_empty() && last_state == states.last();
        if story.client.saw == Saw::Eof && story.ended_for(is_orderly) && !whole {
            let (left, read) = (next_plain.as_slice(), story.client.read.len());
            return Err(format!("{story}: the client read {read} frames and its end, and never {left:?}"));
        }
    }
    Ok(())
}

/// The numbers of the frames that were queued, and of the states.
fn sent(story: &Story<'_>) -> (Vec<u32>, Vec<u32>) {
    let (mut plain, mut states) = (Vec::new(), Vec::new());
    for (_, entry) in &story.entries {
        if let Told::Sends { number, state, to_identity: None } = entry.told {
            if state { &mut states } else { &mut plain }.push(number);
        }
    }
    (plain, states)
}

/// Whether what is queued is sent before the end.
fn is_orderly(cause: &Cause) -> bool {
    match cause {
        Cause::PeerClosed | Cause::Draining | Cause::Local | Cause::Protocol(_) | Cause::TooLarge => true,
        Cause::PeerReset
        | Cause::HeartbeatMissed
        | Cause::HelloMissed
        | Cause::FrameStalled
        | Cause::PathDead(_)
        | Cause::PeerStuck
        | Cause::SlowConsumer
        | Cause::Superseded { .. }
        | Cause::Refused(_)
        | Cause::Os(_) => false,
    }
}

/// What is sent to an identity is read only by a client that was granted it, each frame by one client and once, and those of one
/// sender in their order. Exact.
pub(super) fn what_is_for_an_identity_reaches_its_holder(stories: &Stories<'_>) -> Result<(), String> {
    if stories.all.iter().all(|story| story.client.read_for_identity.is_empty()) {
        return Ok(());
    }
    let addressed = addressed(stories);
    let mut read = HashSet::new();
    for story in &stories.all {
        let granted = story.claims.filter(|_| story.claimed.is_some()).map(|(_, _, identity)| identity);
        let mut last: HashMap<u32, u32> = HashMap::new();
        for &(by, number) in &story.client.read_for_identity {
            let is_its = by == OUTSIDE || addressed.get(&(by, number)).copied() == granted;
            let in_order = by == OUTSIDE || last.insert(by, number).is_none_or(|last| last < number);
            if granted.is_none() || !is_its || !in_order || !read.insert((by, number)) {
                return Err(format!("{story} of {granted:?} read frame {number} of client {by}"));
            }
        }
    }
    Ok(())
}

/// Who sends to identities by letters from outside: to any shard, so that they come in any order.
const OUTSIDE: u32 = u32::MAX;

/// For which identity each frame was: by the sender's client and the number.
fn addressed(stories: &Stories<'_>) -> HashMap<(u32, u32), u32> {
    let mut addressed = HashMap::new();
    for story in &stories.all {
        for (_, entry) in &story.entries {
            if let Told::Sends { number, to_identity: Some(identity), .. } = entry.told {
                addressed.insert((story.number, number), identity);
            }
        }
    }
    addressed
}

#[cfg(test)]
mod tests {
    use super::super::handmade::{Made, at};
    use super::*;

    fn sends(number: u32, state: bool) -> Told {
        Told::Sends { number, state, to_identity: None }
    }

    fn reader(read: &[u32]) -> Made {
        let mut made = Made::whole();
        let conn = made.peer_closed(&[at(100)], at(300));
        for (place, told) in (2..).zip([sends(0, false), sends(1, true), sends(2, true), sends(3, false)]) {
            made.insert(conn, place, at(100), told);
        }
        made.record.clients[conn].read = read.to_vec();
        made
    }

    #[test]
    fn a_state_gives_way_to_a_newer_one_and_nothing_else_does() {
        reader(&[0, 1, 2, 3]).keeps_all();
        reader(&[0, 2, 3]).keeps_all();
        for wrong in [&[0, 2, 1, 3][..], &[2, 3], &[0, 1, 3], &[0, 2], &[0, 2, 2, 3], &[0, 2, 3, 4]] {
            reader(wrong).breaks("the_client_reads_what_was_sent");
        }
    }

    #[test]
    fn a_stream_that_is_cut_short_by_a_reset_is_a_prefix() {
        let mut made = reader(&[0]);
        made.record.clients[0].saw = Saw::Reset;
        made.keeps_all();
        made.record.clients[0].misread = Some("rubbish".to_owned());
        made.breaks("the_client_reads_what_was_sent");
    }

    #[test]
    fn what_is_for_an_identity_and_read_by_another_or_twice_is_found() {
        for (read, right) in [(vec![(0, 0)], true), (vec![(0, 1)], false), (vec![(0, 0), (0, 0)], false)] {
            let mut made = Made::whole();
            let sender = made.peer_closed(&[at(100)], at(300));
            for (place, identity) in [(2, 5), (3, 6)] {
                let told =
                    Told::Sends { number: place as u32 - 2, state: false, to_identity: Some(identity) };
                made.insert(sender, place, at(100), told);
            }
            let holder = made.claimed(5, at(50), at(50), 1);
            made.leaves(holder, at(400));
            made.record.clients[holder].read_for_identity = read;
            if right {
                made.keeps_all();
            } else {
                made.breaks("what_is_for_an_identity_reaches_its_holder");
            }
        }
    }
}
