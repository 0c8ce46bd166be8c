//! What is said about an end, and what the client saw of it.

use heartring_core::{Cause, Closed};
use heartring_sim::Saw;

use crate::record::{Act, Client};

use super::lives::{is_out_of_reach, is_silence};
use super::silence::dead_within;
use super::story::{Stories, Story};

/// The evidence fits: the accept's instant; lateness for deadlines and for nothing else, and not beyond what the connection has
/// lived; a silence that reaches back to no later than the last proof that was told, and for a missed heartbeat at least
/// `dead_within`; an errno where an errno is the cause. Exact.
pub(super) fn evidence_is_sane(stories: &Stories<'_>) -> Result<(), String> {
    for story in &stories.all {
        let Some(end) = story.end() else { continue };
        if let Some(wrong) = wrong_evidence(stories, story, end) {
            return Err(format!("{story}: {wrong}: {end:?}"));
        }
    }
    Ok(())
}

fn wrong_evidence(stories: &Stories<'_>, story: &Story<'_>, end: &Closed) -> Option<&'static str> {
    if end.opened_at != story.opened_at || end.decided_at < story.opened_at {
        return Some("it was not opened then");
    }
    let lived = end.decided_at.saturating_since(story.opened_at);
    if end.lateness.is_some() != is_measured(&end.cause) || end.lateness > Some(lived) {
        return Some("lateness belongs to deadlines");
    }
    let silence = end.evidence.silence;
    let greeted = !stories.record.plan.config.claim_required || story.claimed.is_some();
    let proved = story.last_proof_told().filter(|_| greeted).unwrap_or(story.opened_at);
    if silence > end.decided_at.saturating_since(proved) {
        return Some("it was not silent for so long");
    }
    if is_silence(&end.cause) && silence < dead_within(stories, story) {
        return Some("it was silent for a shorter time than it has");
    }
    let errno = match end.cause {
        Cause::Os(errno) => end.evidence.errno == Some(errno),
        Cause::PathDead(_) => end.evidence.errno.is_some(),
        Cause::PeerReset => end.evidence.errno.is_some_and(|errno| Cause::from_errno(errno) == end.cause),
        Cause::PeerClosed
        | Cause::HeartbeatMissed
        | Cause::HelloMissed
        | Cause::FrameStalled
        | Cause::PeerStuck
        | Cause::SlowConsumer
        | Cause::Superseded { .. }
        | Cause::Protocol(_)
        | Cause::TooLarge
        | Cause::Refused(_)
        | Cause::Draining
        | Cause::Local => true,
    };
    (!errno).then_some("the errno does not fit")
}

/// Whether it is a deadline that is measured.
fn is_measured(cause: &Cause) -> bool {
    is_silence(cause) || matches!(cause, Cause::HelloMissed | Cause::FrameStalled | Cause::SlowConsumer)
}

/// Who was closed abortively never saw an orderly end; who could be reached and read on saw an end. Exact: a FIN is sent only by
/// an orderly close and by a grace period, and every socket is closed when the run is over.
pub(super) fn the_client_saw_what_the_cause_says(stories: &Stories<'_>) -> Result<(), String> {
    let has_grace = !stories.record.plan.liveness.grace.is_zero();
    for story in &stories.all {
        let Some(end) = story.end() else { continue };
        let orderly = match end.cause {
            Cause::PeerClosed | Cause::Draining | Cause::Local | Cause::Protocol(_) | Cause::TooLarge => true,
            Cause::HeartbeatMissed | Cause::PeerStuck => has_grace,
            Cause::PeerReset
            | Cause::HelloMissed
            | Cause::FrameStalled
            | Cause::PathDead(_)
            | Cause::SlowConsumer
            | Cause::Superseded { .. }
            | Cause::Refused(_)
            | Cause::Os(_) => false,
        };
        let saw = story.client.saw;
        let blind = is_out_of_reach(story.client) || is_deaf_at_the_end(story.client);
        if (saw == Saw::Eof && !orderly) || (saw == Saw::Open && !blind) {
            return Err(format!("{story}: the client saw {saw:?}"));
        }
    }
    Ok(())
}

/// Whether it had stopped reading when it ended: a FIN waits behind what it has not read.
fn is_deaf_at_the_end(client: &Client) -> bool {
    let reading = client.acts.iter().rev().find_map(|(_, act)| match act {
        Act::StoppedReading | Act::Hung => Some(false),
        Act::Reads => Some(true),
        Act::Fin
        | Act::Closed
        | Act::Reset
        | Act::Vanished
        | Act::Cut
        | Act::Mended
        | Act::PathFailed(_)
        | Act::Garbage
        | Act::TooLarge
        | Act::BeganFrame
        | Act::OrderedClosed => None,
    });
    reading == Some(false)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::handmade::{Made, at, millis};
    use super::*;

    #[test]
    fn evidence_that_does_not_fit_is_found() {
        let wrong: [fn(&mut Closed); 4] = [
            |closed| closed.opened_at = at(1),
            |closed| closed.lateness = None,
            |closed| closed.evidence.silence = millis(1_101),
            |closed| closed.evidence.silence = millis(999),
        ];
        for change in wrong {
            let mut made = Made::whole();
            let conn = made.missed(at(100), None);
            made.change_ends(conn, change);
            made.breaks("evidence_is_sane");
        }
    }

    #[test]
    fn lateness_of_an_end_that_has_no_deadline_is_found() {
        let mut made = Made::whole();
        let conn = made.peer_closed(&[at(100)], at(300));
        made.change_ends(conn, |closed| closed.lateness = Some(Duration::ZERO));
        made.breaks("evidence_is_sane");
    }

    #[test]
    fn an_end_that_the_client_did_not_see_is_found() {
        let mut made = Made::whole();
        let conn = made.peer_closed(&[at(100)], at(300));
        made.record.clients[conn].saw = Saw::Open;
        made.breaks("the_client_saw_what_the_cause_says");
        let mut made = Made::whole();
        let conn = made.hello_missed(at(1_000));
        made.record.clients[conn].saw = Saw::Eof;
        made.breaks("the_client_saw_what_the_cause_says");
    }
}
