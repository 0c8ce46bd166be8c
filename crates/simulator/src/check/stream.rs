//! What came from clients: in order, once, whole, and not after the end.

use heartring_core::{Cause, FrameKind, Instant};
use heartring_sim::Harm;

use crate::record::{Act, Entry, Told};

use super::lives::is_silence;
use super::story::{Stories, Story};

/// The data frames of a connection are told as 0, 1, 2..., late ones among them. Exact.
pub(super) fn frames_come_in_order_and_once(stories: &Stories<'_>) -> Result<(), String> {
    for story in &stories.all {
        for (expected, (entry, number)) in (0..).zip(story.told_data()) {
            if number != Some(expected) {
                return Err(format!("{story}: {:?} at {} instead of {expected}", entry.told, entry.at));
            }
        }
    }
    Ok(())
}

/// No frame is told before its last byte has arrived. Exact.
pub(super) fn nothing_comes_before_it_was_sent(stories: &Stories<'_>) -> Result<(), String> {
    for story in &stories.all {
        for (entry, number) in story.told_data() {
            if number.is_some_and(|number| number >= story.data_by(entry.at)) {
                return Err(format!("{story}: {:?} at {}, before it was there", entry.told, entry.at));
            }
        }
    }
    Ok(())
}

/// What has arrived is told: all of it if the peer's own words ended the stream (a FIN, a goodbye, bytes that are no frame), since
/// they lie behind it, and that is exact; otherwise what had arrived long enough before the end to have been read. Left
/// out is what ended for us before: see `is_cut_short`.
pub(super) fn no_byte_is_lost(stories: &Stories<'_>) -> Result<(), String> {
    for story in &stories.all {
        let (Some(end), Some((_, closed_at, _))) = (story.end(), story.closed) else { continue };
        let told = story.told_data().count() as u32;
        if is_cut_short(story) {
            continue;
        }
        let due = if let Some(at) = spoken_end(story, &end.cause) {
            story.data_by(at)
        } else {
            let read = |number: &u32| {
                let mut data = story.client.frames.iter().filter(|frame| frame.kind == FrameKind::Data);
                let arrived = data.find(|frame| frame.number == *number).and_then(|frame| frame.arrived_at);
                let arrived = arrived.map(|at| at.max(story.opened_at));
                arrived.is_some_and(|at| stories.patience.told_by(story.conn.shard, at) < closed_at)
            };
            told + (told..story.data_by(closed_at)).take_while(read).count() as u32
        };
        if told < due {
            return Err(format!("{story}: {told} data frames told by {closed_at} of {due} that were there"));
        }
    }
    Ok(())
}

/// Whether its stream ended for us before it was read: it follows a claim that was never granted, a recv that our own kernel failed,
/// or a frame on which the handler closed.
fn is_cut_short(story: &Story<'_>) -> bool {
    let undecided = story.claims.is_some() && story.claimed.is_none();
    let failed = matches!(story.client.harm, Some(Harm::RecvFailed(_)));
    let last_told = story.told_data().last().map(|(entry, _)| entry.at);
    let closes =
        |(_, entry): &(usize, &Entry)| matches!(entry.told, Told::Closes) && Some(entry.at) == last_told;
    undecided || failed || story.entries.iter().any(closes)
}

/// When the peer's own words ended its stream, if it was they.
fn spoken_end(story: &Story<'_>, cause: &Cause) -> Option<Instant> {
    let ends: fn(&Act) -> bool = match cause {
        Cause::PeerClosed => |act| matches!(act, Act::Fin | Act::Closed),
        Cause::Protocol(_) => |act| matches!(act, Act::Garbage | Act::TooLarge),
        Cause::TooLarge => |act| matches!(act, Act::TooLarge),
        Cause::PeerReset
        | Cause::HeartbeatMissed
        | Cause::HelloMissed
        | Cause::FrameStalled
        | Cause::PathDead(_)
        | Cause::PeerStuck
        | Cause::SlowConsumer
        | Cause::Superseded { .. }
        | Cause::Refused(_)
        | Cause::Draining
        | Cause::Local
        | Cause::Os(_) => return None,
    };
    let act = story.client.acts.iter().find(|(_, act)| ends(act)).map(|(at, _)| *at);
    let goodbye = story.client.frames.iter().find(|frame| frame.kind == FrameKind::Goodbye);
    let goodbye = goodbye.filter(|_| *cause == Cause::PeerClosed).and_then(|frame| frame.arrived_at);
    [act, goodbye].into_iter().flatten().min()
}

/// A frame is told as late between the announcement of a missed heartbeat and its close, and nowhere else, and not at all
/// without a grace period. Exact.
pub(super) fn late_is_told_in_grace_only(stories: &Stories<'_>) -> Result<(), String> {
    let has_grace = !stories.record.plan.liveness.grace.is_zero();
    for story in &stories.all {
        let late = story.entries.iter().find(|(_, entry)| matches!(entry.told, Told::Late { .. }));
        let Some((place, entry)) = late else { continue };
        let after = story.closing.is_some_and(|(closing, _, end)| closing < *place && is_silence(&end.cause));
        if !after || !has_grace {
            return Err(format!("{story}: {:?} at {} outside of grace", entry.told, entry.at));
        }
    }
    Ok(())
}

/// `closed` counts the bytes of the late frames that were told. Exact.
pub(super) fn late_bytes_are_counted(stories: &Stories<'_>) -> Result<(), String> {
    for story in &stories.all {
        let Some((_, _, closed)) = story.closed else { continue };
        let bytes = |told: &Told| if let Told::Late { bytes, .. } = told { u64::from(*bytes) } else { 0 };
        let told: u64 = story.entries.iter().map(|(_, entry)| bytes(&entry.told)).sum();
        if told != closed.late_bytes {
            return Err(format!("{story}: {told} late bytes told and {} counted", closed.late_bytes));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::handmade::{Made, at};
    use super::*;

    #[test]
    fn a_frame_told_twice_or_left_out_is_found() {
        let mut made = Made::whole();
        let conn = made.peer_closed(&[at(100)], at(300));
        made.insert(conn, 2, at(100), Told::Received { number: Some(0) });
        made.breaks("frames_come_in_order_and_once");
        let mut made = Made::whole();
        let conn = made.peer_closed(&[at(100), at(200)], at(300));
        made.remove(conn, 1);
        made.breaks_first("frames_come_in_order_and_once");
    }

    #[test]
    fn a_frame_from_the_future_is_found() {
        let mut made = Made::whole();
        let conn = made.peer_closed(&[at(100), at(200)], at(300));
        made.client_of(conn).frames[1].arrived_at = Some(at(201));
        made.breaks("nothing_comes_before_it_was_sent");
    }

    #[test]
    fn a_frame_before_the_fin_that_is_not_told_is_found() {
        let mut made = Made::whole();
        let conn = made.peer_closed(&[at(100), at(200)], at(300));
        made.remove(conn, 2);
        made.breaks("no_byte_is_lost");
    }

    #[test]
    fn a_frame_that_comes_in_grace_and_is_not_told_is_found() {
        let mut made = Made::whole();
        made.missed(at(100), Some(at(1_200)));
        made.keeps_all();
        let mut made = Made::whole();
        let conn = made.missed(at(100), Some(at(1_200)));
        let late = made.place(conn, |told| matches!(told, Told::Late { .. }));
        made.remove(conn, late);
        made.change_end(conn, |closed| closed.late_bytes = 0);
        made.breaks("no_byte_is_lost");
    }

    #[test]
    fn a_late_frame_outside_of_grace_is_found() {
        let mut made = Made::whole();
        let conn = made.peer_closed(&[at(100)], at(300));
        made.replace(conn, 1, Told::Late { number: Some(0), bytes: 0 });
        made.breaks("late_is_told_in_grace_only");
    }

    #[test]
    fn miscounted_late_bytes_are_found() {
        let mut made = Made::whole();
        let conn = made.missed(at(100), Some(at(1_200)));
        made.change_end(conn, |closed| closed.late_bytes += 1);
        made.breaks("late_bytes_are_counted");
    }
}
