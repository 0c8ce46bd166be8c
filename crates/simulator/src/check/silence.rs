//! Never early, and nobody who was there: the verdicts of deadlines, against what had arrived at our kernel.

use std::time::Duration;

use heartring_core::{Cause, Closed, Instant};

use crate::record::Told;

use super::lives::is_silence;
use super::story::{Stories, Story};

/// Nobody is convicted of silence before `dead_within`, as negotiated, has passed since the last proof of life that was told to
/// the handler, and never without having been told overdue. Exact: core counts from the turn in which it is told of a frame,
/// which is the instant of its entry. (Beats are not told; theirs is `no_healthy_peer_is_convicted`.)
pub(super) fn silence_is_never_judged_early(stories: &Stories<'_>) -> Result<(), String> {
    for (story, end) in stories.ended(is_silence) {
        let proved = story.last_proof_told().unwrap_or(story.opened_at);
        let dead_within = dead_within(stories, story);
        if end.decided_at < proved + dead_within {
            return Err(format!("{story}: it had proved its life at {proved}, and has {dead_within:?}"));
        }
        let is_overdue = |told: &Told| matches!(told, Told::Overdue);
        let overdue = story.entries.iter().rev().find(|(_, entry)| is_overdue(&entry.told));
        if overdue.is_none_or(|(_, entry)| entry.at < proved) {
            return Err(format!("{story}: it was not overdue after {proved}"));
        }
    }
    Ok(())
}

/// Nobody misses the hello deadline before it has passed since the accept; and with a claim, its decision is awaited. Exact.
pub(super) fn hello_is_never_missed_early(stories: &Stories<'_>) -> Result<(), String> {
    let hello_within = stories.record.plan.liveness.hello_within;
    for (story, end) in stories.ended(|cause| *cause == Cause::HelloMissed) {
        if end.decided_at < story.opened_at + hello_within || story.claims.is_some() {
            let claims = story.claims;
            return Err(format!(
                "{story}: opened at {}, claims {claims:?}, it has {hello_within:?}",
                story.opened_at
            ));
        }
    }
    Ok(())
}

/// Whoever is convicted of a stalled frame had begun one, which was not whole within `frame_within`. Exact: core counts from when
/// it is told of the frame's first byte, which is not before it arrived.
pub(super) fn a_frame_is_never_stalled_early(stories: &Stories<'_>) -> Result<(), String> {
    let frame_within = stories.record.plan.liveness.frame_within;
    for (story, end) in stories.ended(|cause| *cause == Cause::FrameStalled) {
        let stalled = |began: Instant, arrived: Option<Instant>| {
            let due = began + frame_within;
            due <= end.decided_at && arrived.is_none_or(|at| at > due)
        };
        if !story.begun_frames().any(|(began, arrived)| stalled(began, arrived)) {
            return Err(format!("{story}: no frame of it was late by {frame_within:?}"));
        }
    }
    Ok(())
}

/// A client whose complete valid frame was at our kernel before its deadline is not convicted, whether it has been read or not:
/// bytes that lie unread acquit. Exact for the deadline of the heartbeat, which the verdict states; for the hello deadline if a
/// frame is enough to be greeted.
pub(super) fn no_healthy_peer_is_convicted(stories: &Stories<'_>) -> Result<(), String> {
    let plan = &stories.record.plan;
    for (story, end) in stories.ended(|cause| is_silence(cause) || *cause == Cause::HelloMissed) {
        let (deadline, since) = if is_silence(&end.cause) {
            let Some(deadline) = deadline_of(end) else { continue };
            (deadline, deadline - dead_within(stories, story))
        } else if plan.config.claim_required {
            continue;
        } else {
            (story.opened_at + plan.liveness.hello_within, Instant::ZERO)
        };
        let frame = story.frames_by(deadline).last().and_then(|frame| frame.arrived_at);
        if let Some(arrived) = frame.filter(|arrived| *arrived > since) {
            return Err(format!("{story}: a frame was there at {arrived}, and the deadline was {deadline}"));
        }
    }
    Ok(())
}

/// When the thread was away for longer than `stall_tolerance`, nobody whose deadline passed meanwhile is convicted before
/// another `beat_every`. Those whose deadline passed within the tolerance at the end of the absence are left out: that much lateness
/// is what is tolerated. Frames, sends and claims that an absence has put off already are not put off again by one that lies within
/// that amnesty: nothing was to wake the thread for them.
pub(super) fn an_absence_gives_everybody_another_beat(stories: &Stories<'_>) -> Result<(), String> {
    let liveness = &stories.record.plan.liveness;
    for (story, end) in stories.ended(is_a_deadline) {
        let due = match (deadline_of(end), story.claims) {
            (Some(due), _) => due,
            // Rounded up to ticks of 65.5 µs, twice; lateness is measured from ticks.
            (None, Some((_, at, _))) => at + liveness.hello_within + Duration::from_micros(132),
            (None, None) => continue,
        };
        let verdict = end.decided_at;
        let absences = stories.patience.long_absences(story.conn.shard);
        let before = stories.patience.long_absences(story.conn.shard);
        let is_put_off = |from: Instant| {
            let amnesty = |(_, to): (Instant, Instant)| to < from && from < to + liveness.beat_every;
            !is_silence(&end.cause) && before.clone().any(amnesty)
        };
        let spared = absences
            .filter(|(from, _)| !is_put_off(*from))
            .filter(|(from, to)| *from < due && due + liveness.stall_tolerance < *to)
            .find(|(_, to)| *to <= verdict && verdict < *to + liveness.beat_every);
        if let Some((from, to)) = spared {
            return Err(format!("{story}: due at {due}, while the thread was away from {from} to {to}"));
        }
    }
    Ok(())
}

/// The thread does not call itself away when it was not. Exact where the kernel is never late by as much as `stall_tolerance`:
/// a timeout that is told so late looks the same.
pub(super) fn amnesty_has_a_reason(stories: &Stories<'_>) -> Result<(), String> {
    if stories.patience.kernel_looks_away() {
        return Ok(());
    }
    for (nth, shard) in (0..).zip(&stories.record.shards) {
        let reasons = stories.patience.long_absences(heartring_core::ShardId(nth)).count() as u64;
        if shard.stats.stalls > reasons {
            return Err(format!("shard {nth} was away {reasons} times and counts {}", shard.stats.stalls));
        }
    }
    Ok(())
}

/// Overdue is not told before the time for it has passed since the last frame that was told (exact), nor when a frame had arrived
/// since so long ago that it has been read.
pub(super) fn overdue_is_told_in_time(stories: &Stories<'_>) -> Result<(), String> {
    let configured = stories.record.plan.liveness.dead_within;
    for story in &stories.all {
        let mut proved = story.opened_at;
        for (place, entry) in &story.entries {
            match entry.told {
                Told::Received { .. } | Told::Claimed { .. } => proved = entry.at,
                Told::Overdue => {
                    let overdue_after = overdue_after(stories, story.dead_within_at(configured, *place));
                    if entry.at < proved + overdue_after {
                        return Err(format!("{story}: overdue at {}, proved at {proved}", entry.at));
                    }
                    let frame = story.frames_by(entry.at).last().and_then(|frame| frame.arrived_at);
                    let Some(arrived) = frame.filter(|arrived| *arrived + overdue_after > entry.at) else {
                        continue;
                    };
                    let arrived = arrived.max(story.opened_at);
                    if stories.patience.told_by(story.conn.shard, arrived) < entry.at
                        && arrived + overdue_after > entry.at
                    {
                        return Err(format!("{story}: overdue at {}, a frame came at {arrived}", entry.at));
                    }
                }
                Told::Opened { .. }
                | Told::Late { .. }
                | Told::Writable
                | Told::Closing(_)
                | Told::Closed(_)
                | Told::Claims { .. }
                | Told::Sends { .. }
                | Told::Closes
                | Told::Negotiates(_) => {}
            }
        }
    }
    Ok(())
}

/// Whether it is the verdict of a deadline.
fn is_a_deadline(cause: &Cause) -> bool {
    is_silence(cause)
        || matches!(cause, Cause::HelloMissed | Cause::FrameStalled | Cause::SlowConsumer)
        || matches!(cause, Cause::Refused(heartring_core::Refusal::ClaimUndecided))
}

/// The deadline that was missed.
pub(super) fn deadline_of(end: &Closed) -> Option<Instant> {
    end.lateness.map(|lateness| end.decided_at - lateness)
}

/// The deadline that a silent connection was measured by: the one in force when it was told overdue, since what is negotiated later
/// counts from the next beat.
pub(super) fn dead_within(stories: &Stories<'_>, story: &Story<'_>) -> Duration {
    let overdue = story.entries.iter().rev().find(|(_, entry)| matches!(entry.told, Told::Overdue));
    let place = overdue.map_or(usize::MAX, |(place, _)| *place);
    story.dead_within_at(stories.record.plan.liveness.dead_within, place)
}

/// When a beat is overdue, for a negotiated deadline: in the same proportion.
pub(super) fn overdue_after(stories: &Stories<'_>, dead_within: Duration) -> Duration {
    let liveness = &stories.record.plan.liveness;
    liveness.overdue_after.mul_f64(dead_within.as_secs_f64() / liveness.dead_within.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::super::handmade::{Made, at, millis};
    use super::*;

    #[test]
    fn a_verdict_one_nanosecond_early_is_found() {
        let mut made = Made::whole();
        let conn = made.missed(at(100), None);
        made.keeps_all();
        made.retime_verdict(conn, at(1_100) - Duration::from_nanos(1));
        made.breaks_first("silence_is_never_judged_early");
    }

    #[test]
    fn a_negotiated_deadline_counts() {
        let mut made = Made::whole();
        let conn = made.missed(at(100), None);
        made.insert(conn, 2, at(100), Told::Negotiates(millis(1_500)));
        made.breaks_first("silence_is_never_judged_early");
    }

    #[test]
    fn a_verdict_without_overdue_is_found() {
        let mut made = Made::whole();
        let conn = made.missed(at(100), None);
        let overdue = made.place(conn, |told| matches!(told, Told::Overdue));
        made.remove(conn, overdue);
        made.breaks("silence_is_never_judged_early");
    }

    #[test]
    fn a_hello_that_is_missed_early_is_found() {
        let mut made = Made::whole();
        let conn = made.hello_missed(at(1_000));
        made.keeps_all();
        made.retime_verdict(conn, at(999));
        made.breaks("hello_is_never_missed_early");
    }

    #[test]
    fn a_frame_that_is_stalled_early_or_was_whole_is_found() {
        let mut made = Made::whole();
        let conn = made.frame_stalled(at(100), at(600));
        made.keeps_all();
        made.retime_verdict(conn, at(599));
        made.breaks("a_frame_is_never_stalled_early");
    }

    #[test]
    fn an_unread_beat_that_does_not_acquit_is_found() {
        let mut made = Made::whole();
        let conn = made.missed(at(100), None);
        made.beat(conn, at(1_099));
        made.breaks("no_healthy_peer_is_convicted");
        let mut made = Made::whole();
        let conn = made.hello_missed(at(1_000));
        made.beat(conn, at(900));
        made.breaks("no_healthy_peer_is_convicted");
    }

    #[test]
    fn a_verdict_right_after_a_long_absence_is_found() {
        let mut made = Made::whole();
        let conn = made.missed(at(100), None);
        made.record.shards[0].absences.push((at(1_000), at(1_400)));
        made.retime_verdict(conn, at(1_410));
        made.breaks("an_absence_gives_everybody_another_beat");
        let mut made = Made::whole();
        let conn = made.missed(at(100), None);
        made.record.shards[0].absences.push((at(1_000), at(1_400)));
        made.retime_verdict(conn, at(1_733) + Duration::from_micros(500));
        made.keeps_all();
    }

    #[test]
    fn an_amnesty_without_a_reason_is_found() {
        let mut made = Made::whole();
        made.record.shards[0].stats.stalls = 1;
        made.breaks("amnesty_has_a_reason");
    }

    #[test]
    fn overdue_too_early_or_for_one_that_beats_is_found() {
        let mut made = Made::whole();
        let conn = made.missed(at(100), None);
        let overdue = made.place(conn, |told| matches!(told, Told::Overdue));
        made.retime(conn, overdue, at(599));
        made.breaks("overdue_is_told_in_time");
        let mut made = Made::whole();
        let conn = made.peer_closed(&[at(100)], at(900));
        made.insert(conn, 2, at(600), Told::Overdue);
        made.keeps_all();
        made.beat(conn, at(300));
        made.breaks("overdue_is_told_in_time");
    }
}
