//! Late within the bound: by when what must be noticed has been.
//!
//! The bound is the deadline and what `patience` allows: nothing but what the record says was late. The end of a connection, for
//! whatever cause, is all that is asked for here.

use std::time::Duration;

use heartring_core::{FrameKind, Instant};

use crate::record::Act;

use super::lives::is_silence;
use super::story::{Stories, Story};

/// After the grace period core looks once more for what lies unread, for 10 ms.
const LAST_LOOK: Duration = Duration::from_millis(10);

/// Says so if a story had not ended by `bound`.
fn ended_by(story: &Story<'_>, bound: Instant, what: &str) -> Result<(), String> {
    match story.closing {
        Some((_, at, _)) if at <= bound => Ok(()),
        Some(_) => Err(format!("{story}: {what} should have ended it by {bound}")),
        None => Ok(()), // That it never ended is told elsewhere.
    }
}

/// Whoever proves nothing more is convicted: `dead_within` after the last complete valid frame, or `hello_within` after the accept.
/// A claim that is not decided puts both off, and ends itself after `hello_within`.
pub(super) fn the_silent_are_found_in_time(stories: &Stories<'_>) -> Result<(), String> {
    let plan = &stories.record.plan;
    let hello_within = plan.liveness.hello_within;
    for story in &stories.all {
        let shard = story.conn.shard;
        let over = story.closing.map_or(stories.record.ended_at, |(_, at, _)| at);
        if let Some((_, at, _)) = story.claims
            && story.claimed.is_none()
        {
            // A send that has failed meanwhile waits for the recv to say why, for as long as a last look.
            let bound = stories.patience.judged_by(shard, at + hello_within + LAST_LOOK);
            ended_by(story, bound, "an undecided claim")?;
            continue;
        }
        let greeted = !plan.config.claim_required || story.claimed.is_some();
        let last = story.frames_by(over).last().filter(|_| greeted).and_then(|frame| frame.arrived_at);
        let granted = story.claimed.map(|(_, at, _)| at);
        let told = last.map(|at| stories.patience.told_by(shard, at.max(story.opened_at)));
        let judged_by = |due| {
            if is_heard_after(story, last.unwrap_or(story.client.connected_at)) {
                stories.patience.judged_at_last_by(shard, due)
            } else {
                stories.patience.judged_by(shard, due)
            }
        };
        let Some(proved) = told.into_iter().chain(granted).max() else {
            ended_by(story, judged_by(story.opened_at + hello_within), "the missing hello")?;
            continue;
        };
        let in_force = story.dead_withins(plan.liveness.dead_within, proved.min(over), over);
        let dead_within = in_force.max().unwrap_or(plan.liveness.dead_within);
        ended_by(story, judged_by(proved + dead_within), "silence")?;
    }
    Ok(())
}

/// Whether anything of it came after `instant` that may have lain unread: bytes, or the end of its stream.
fn is_heard_after(story: &Story<'_>, instant: Instant) -> bool {
    let parts =
        story.begun_frames().any(|(began, whole)| began > instant || whole.is_none_or(|at| at > instant));
    let frames = story.client.frames.iter().any(|frame| frame.arrived_at.is_some_and(|at| at > instant));
    parts || frames || story.client.acts.iter().any(|(at, act)| *at > instant && ends_at_once(*act))
}

/// Whoever does not complete a frame is convicted `frame_within` after its first byte was read, or after its claim was granted.
pub(super) fn stalled_frames_are_found_in_time(stories: &Stories<'_>) -> Result<(), String> {
    let frame_within = stories.record.plan.liveness.frame_within;
    for story in &stories.all {
        if story.claims.is_some() && story.claimed.is_none() {
            continue;
        }
        let granted = story.claimed.map_or(story.opened_at, |(_, at, _)| at);
        for (began, whole) in story.begun_frames() {
            let read = stories.patience.told_by(story.conn.shard, began.max(granted));
            let bound = stories.patience.judged_at_last_by(story.conn.shard, read + frame_within);
            if whole.is_none_or(|at| at > bound) {
                ended_by(story, bound, "a frame begun and not completed")?;
            }
        }
    }
    Ok(())
}

/// What ends a connection at once does so once it has been read: a FIN, an RST, a goodbye, bytes that are no frame, a path that our
/// kernel has given up. An undecided claim holds it back.
pub(super) fn ends_are_noticed_in_time(stories: &Stories<'_>) -> Result<(), String> {
    for story in &stories.all {
        if story.claims.is_some() && story.claimed.is_none() {
            continue;
        }
        let granted = story.claimed.map_or(story.opened_at, |(_, at, _)| at);
        let goodbye = story.client.frames.iter().filter(|frame| frame.kind == FrameKind::Goodbye);
        let goodbye = goodbye.filter_map(|frame| frame.arrived_at);
        let ends = story.client.acts.iter().filter(|(_, act)| ends_at_once(*act)).map(|(at, _)| *at);
        if let Some(first) = goodbye.chain(ends).min() {
            let read = stories.patience.told_by(story.conn.shard, first.max(granted));
            ended_by(story, stories.patience.judged_at_last_by(story.conn.shard, read), "what came")?;
        }
    }
    Ok(())
}

/// Whether an act ends its connection at once.
fn ends_at_once(act: Act) -> bool {
    match act {
        Act::Fin | Act::Closed | Act::Reset | Act::PathFailed(_) | Act::Garbage | Act::TooLarge => true,
        Act::Vanished
        | Act::Hung
        | Act::Cut
        | Act::Mended
        | Act::BeganFrame
        | Act::StoppedReading
        | Act::Reads
        | Act::OrderedClosed => false,
    }
}

/// `closed` follows `closing` at once, and after a missed heartbeat within the grace period and one last look.
pub(super) fn grace_and_drain_end_in_time(stories: &Stories<'_>) -> Result<(), String> {
    let grace = stories.record.plan.liveness.grace;
    for story in &stories.all {
        let (Some((_, closing, end)), Some((_, closed, _))) = (story.closing, story.closed) else { continue };
        let bound = if is_silence(&end.cause) && !grace.is_zero() {
            stories.patience.judged_by(story.conn.shard, closing + grace + LAST_LOOK)
        } else {
            closing
        };
        if closed > bound {
            return Err(format!(
                "{story}: closed at {closed}, announced at {closing}, by {bound} at the latest"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::handmade::{Made, at};

    #[test]
    fn a_verdict_a_second_late_is_found() {
        let mut made = Made::whole();
        let conn = made.missed(at(100), None);
        made.retime_verdict(conn, at(2_100));
        made.breaks("the_silent_are_found_in_time");
        let mut made = Made::whole();
        let conn = made.missed(at(100), None);
        made.retime_verdict(conn, at(2_100));
        made.record.shards[0].absences.push((at(1_090), at(2_100)));
        made.breaks("an_absence_gives_everybody_another_beat");
        made.retime_verdict(conn, at(2_433) + Duration::from_micros(500));
        made.keeps_all();
    }

    #[test]
    fn a_hello_missed_late_is_found() {
        let mut made = Made::whole();
        let conn = made.hello_missed(at(1_000));
        made.retime_verdict(conn, at(2_000));
        made.breaks("the_silent_are_found_in_time");
    }

    #[test]
    fn an_undecided_claim_that_outlasts_its_time_is_found() {
        let mut made = Made::whole();
        let conn = made.claimed(0, at(100), at(2_000), 1);
        made.leaves(conn, at(2_100));
        let granted = made.place(conn, |told| matches!(told, crate::record::Told::Claimed { .. }));
        made.remove(conn, granted);
        made.breaks("the_silent_are_found_in_time");
    }

    #[test]
    fn a_frame_that_stalls_for_too_long_is_found() {
        let mut made = Made::whole();
        let conn = made.frame_stalled(at(100), at(600));
        made.retime_verdict(conn, at(800));
        made.breaks("stalled_frames_are_found_in_time");
    }

    #[test]
    fn a_fin_that_is_noticed_late_is_found() {
        let mut made = Made::whole();
        let conn = made.peer_closed(&[at(100)], at(300));
        made.record.clients[conn].acts[0].0 = at(200);
        made.breaks("ends_are_noticed_in_time");
    }

    #[test]
    fn a_grace_that_does_not_end_is_found() {
        let mut made = Made::whole();
        let conn = made.missed(at(100), None);
        let last = made.place(conn, |told| matches!(told, crate::record::Told::Closed(_)));
        made.retime(conn, last, at(1_700));
        made.breaks("grace_and_drain_end_in_time");
        let mut made = Made::whole();
        let conn = made.peer_closed(&[at(100)], at(300));
        made.retime(conn, 3, at(301));
        made.breaks("grace_and_drain_end_in_time");
    }
}
