//! Each cause, and what must have been true in the world for it at the instant of the decision.
//!
//! All of these are exact: an act counts from the instant at which it reached our kernel, which is not after core was told.

use heartring_core::{Cause, Errno, FrameKind, Instant, PathDeath, PeerNews, Refusal};
use heartring_sim::Harm;

use crate::record::{Act, Told};

use super::lives::acted;
use super::silence::{dead_within, deadline_of, overdue_after};
use super::story::{Stories, Story};

/// Says so if `holds` is not true of a story.
fn must(story: &Story<'_>, holds: bool, what: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(format!("{story}: {what}")) }
}

/// Its FIN or its goodbye had arrived.
pub(super) fn peer_closed_is_warranted(stories: &Stories<'_>) -> Result<(), String> {
    stories.ended(|cause| *cause == Cause::PeerClosed).try_for_each(|(story, end)| {
        let said = story.frames_by(end.decided_at).iter().any(|frame| frame.kind == FrameKind::Goodbye);
        let fin = acted(story, |act| matches!(act, Act::Fin | Act::Closed));
        must(story, said || fin, "neither FIN nor goodbye was there")
    })
}

/// Its RST had arrived: its own, or the answer of its kernel to what we sent after it had closed. A send that meets the end of the
/// connection before the recv is told why learns only EPIPE: then the path may have failed as well.
pub(super) fn peer_reset_is_warranted(stories: &Stories<'_>) -> Result<(), String> {
    stories.ended(|cause| *cause == Cause::PeerReset).try_for_each(|(story, end)| {
        let broken_pipe = end.evidence.errno == Some(Errno::EPIPE);
        let reset = |act: &Act| match act {
            Act::Reset | Act::Closed => true,
            Act::PathFailed(errno) => broken_pipe || errno.peer_news() == PeerNews::Reset,
            Act::Fin
            | Act::Vanished
            | Act::Hung
            | Act::Cut
            | Act::Mended
            | Act::Garbage
            | Act::TooLarge
            | Act::BeganFrame
            | Act::StoppedReading
            | Act::Reads
            | Act::OrderedClosed => false,
        };
        let mut acts = story.client.acts.iter().filter(|(at, _)| *at <= end.decided_at);
        must(story, acts.any(|(_, act)| reset(act)), "no RST was there")
    })
}

/// Our kernel had given up on it, with an errno that means this. A time-out with bytes unacknowledged is the user timeout's.
pub(super) fn path_dead_is_warranted(stories: &Stories<'_>) -> Result<(), String> {
    stories.ended(|cause| matches!(cause, Cause::PathDead(_))).try_for_each(|(story, end)| {
        let Cause::PathDead(death) = end.cause else { return Ok(()) };
        let news = match death {
            PathDeath::Unreachable => PeerNews::Unreachable,
            PathDeath::Keepalive | PathDeath::UserTimeout => PeerNews::TimedOut,
        };
        let mut acts = story.client.acts.iter().filter(|(at, _)| *at <= end.decided_at);
        let failed = acts.any(|(_, act)| match act {
            Act::PathFailed(errno) => errno.peer_news() == news && end.evidence.errno == Some(*errno),
            Act::Fin
            | Act::Closed
            | Act::Reset
            | Act::Vanished
            | Act::Hung
            | Act::Cut
            | Act::Mended
            | Act::Garbage
            | Act::TooLarge
            | Act::BeganFrame
            | Act::StoppedReading
            | Act::Reads
            | Act::OrderedClosed => false,
        });
        let unsent = end.evidence.socket.unsent.is_some_and(|bytes| bytes > 0);
        let fits = unsent == (death == PathDeath::UserTimeout) || death == PathDeath::Unreachable;
        must(story, failed && fits, "the path had not failed like this")
    })
}

/// Its kernel could still be reached at some time after its beat was overdue: what we asked then was acknowledged.
pub(super) fn peer_stuck_is_warranted(stories: &Stories<'_>) -> Result<(), String> {
    stories.ended(|cause| *cause == Cause::PeerStuck).try_for_each(|(story, end)| {
        let proved = end.decided_at - end.evidence.silence;
        let overdue_at = proved + overdue_after(stories, dead_within(stories, story));
        let mut reached_at = Some(Instant::ZERO);
        let mut reached = false;
        for (at, act) in story.client.acts.iter().filter(|(at, _)| *at <= end.decided_at) {
            match act {
                Act::Vanished | Act::Cut => reached_at = None,
                Act::Mended => reached_at = Some(*at),
                Act::Fin
                | Act::Closed
                | Act::Reset
                | Act::Hung
                | Act::PathFailed(_)
                | Act::Garbage
                | Act::TooLarge
                | Act::BeganFrame
                | Act::StoppedReading
                | Act::Reads
                | Act::OrderedClosed => {}
            }
            reached |= *at >= overdue_at && matches!(act, Act::Vanished | Act::Cut);
        }
        must(story, reached || reached_at.is_some(), "nothing reached it while it was overdue")
    })
}

/// It had taken nothing for `send_stall_within`: it did not read, or could not be reached, over all that time, the kernel's own
/// delays at both ends aside.
pub(super) fn slow_consumer_is_warranted(stories: &Stories<'_>) -> Result<(), String> {
    let within = stories.record.plan.liveness.send_stall_within;
    stories.ended(|cause| *cause == Cause::SlowConsumer).try_for_each(|(story, end)| {
        let Some(due) = deadline_of(end) else { return must(story, false, "no lateness is given") };
        let slack = stories.patience.sending();
        let (from, to) = (due - within + slack, due - slack);
        let sent = story.entries.iter().any(|(_, entry)| entry.at + within <= end.decided_at);
        must(story, sent && (from >= to || is_deaf(story, from, to)), "it was there to read")
    })
}

/// Whether nothing that we send was taken by the client from `from` to `to`.
fn is_deaf(story: &Story<'_>, from: Instant, to: Instant) -> bool {
    let (mut stopped, mut cut, mut gone) = (false, false, false);
    for (at, act) in story.client.acts.iter().filter(|(at, _)| *at < to) {
        if *at > from && !(stopped || cut || gone) {
            return false;
        }
        match act {
            Act::StoppedReading => stopped = true,
            Act::Reads => stopped = false,
            Act::Cut => cut = true,
            Act::Mended => cut = false,
            Act::Vanished | Act::Hung => gone = true,
            Act::Fin
            | Act::Closed
            | Act::Reset
            | Act::PathFailed(_)
            | Act::Garbage
            | Act::TooLarge
            | Act::BeganFrame
            | Act::OrderedClosed => {}
        }
    }
    stopped || cut || gone
}

/// Bytes that are no frame, or the head of one above the limit, had arrived. What is above the limit and has arrived whole may be no
/// frame either: the decoder sees it first.
pub(super) fn protocol_and_size_are_warranted(stories: &Stories<'_>) -> Result<(), String> {
    let is = |cause: &Cause| matches!(cause, Cause::Protocol(_) | Cause::TooLarge);
    stories.ended(is).try_for_each(|(story, end)| {
        let there = if end.cause == Cause::TooLarge {
            acted(story, |act| matches!(act, Act::TooLarge))
        } else {
            acted(story, |act| matches!(act, Act::Garbage | Act::TooLarge))
        };
        must(story, there, "nothing like that had arrived")
    })
}

/// A refusal after the accept concerns a claim, or room for what was sent: a claim that was not decided for `hello_within` or
/// could not be asked, one that flaps under a guard, bytes held back while it was undecided.
pub(super) fn a_refusal_is_warranted(stories: &Stories<'_>) -> Result<(), String> {
    stories.ended(|cause| matches!(cause, Cause::Refused(_))).try_for_each(|(story, end)| {
        let Cause::Refused(refusal) = end.cause else { return Ok(()) };
        let undecided = story.is_undecided_at(end.decided_at) && story.claimed.is_none();
        let sent = !story.frames_by(end.decided_at).is_empty() || story.begun_frames().next().is_some();
        let warranted = match refusal {
            Refusal::ConnsMax | Refusal::SourceMax => false,
            Refusal::PartialBytesMax => sent || !story.client.acts.is_empty(),
            Refusal::HeldBytesMax => undecided && sent,
            Refusal::ClaimUndecided => undecided && has_waited(stories, story, end.decided_at),
            Refusal::Flapping { retry_after } => {
                let guard = stories.record.plan.config.flap_guard;
                undecided && guard.is_some_and(|guard| retry_after <= guard.cool_down)
            }
        };
        must(story, warranted, "the refusal has no reason")
    })
}

/// Whether a claim had waited for `hello_within`, or had just been made and could not leave the shard.
fn has_waited(stories: &Stories<'_>, story: &Story<'_>, until: Instant) -> bool {
    let hello_within = stories.record.plan.liveness.hello_within;
    let could_not_leave = stories.record.shards.len() > 1;
    story.claims.is_some_and(|(_, at, _)| at + hello_within <= until || (could_not_leave && at == until))
}

/// The handler or a letter had asked for the close; the shard had been told to drain at this very instant.
pub(super) fn our_own_closes_are_warranted(stories: &Stories<'_>) -> Result<(), String> {
    let is = |cause: &Cause| matches!(cause, Cause::Local | Cause::Draining);
    stories.ended(is).try_for_each(|(story, end)| {
        if end.cause == Cause::Draining {
            let drained_at = stories.record.shards[usize::from(story.conn.shard.0)].drained_at;
            return must(story, drained_at == Some(end.decided_at), "it was not drained at that instant");
        }
        let closes = story.entries.iter().any(|(_, entry)| matches!(entry.told, Told::Closes));
        let ordered = acted(story, |act| matches!(act, Act::OrderedClosed));
        must(story, closes || ordered, "nobody had asked for it")
    })?;
    drained_means_ended(stories)
}

/// Whoever was there when its shard was told to drain has ended, or its end was announced, by that instant. Exact.
fn drained_means_ended(stories: &Stories<'_>) -> Result<(), String> {
    stories.all.iter().try_for_each(|story| {
        let drained_at = stories.record.shards[usize::from(story.conn.shard.0)].drained_at;
        let Some(drained_at) = drained_at else { return Ok(()) };
        let ended = story.closed.is_some_and(|(_, at, _)| at <= drained_at);
        must(story, ended, "it outlived the drain")
    })
}

/// Our own kernel had failed a recv or a send of this connection, with this errno.
pub(super) fn os_is_warranted(stories: &Stories<'_>) -> Result<(), String> {
    stories.ended(|cause| matches!(cause, Cause::Os(_))).try_for_each(|(story, end)| {
        let failed = match story.client.harm {
            Some(Harm::RecvFailed(errno) | Harm::SendFailed(errno)) => end.cause == Cause::Os(errno),
            Some(Harm::LostInAccept) | None => false,
        };
        must(story, failed, "nothing of it had failed")
    })
}

#[cfg(test)]
mod tests {
    use super::super::handmade::{Made, at};
    use super::*;

    /// A connection that ends for a cause without a reason is found by the rule, and with the reason it is not.
    fn needs(cause: Cause, reason: Act, rule: &str) {
        let mut made = Made::whole();
        let client = made.client(at(0));
        let conn = made.open(client, at(0));
        made.ends(conn, at(500), cause);
        made.record.clients[client as usize].acts.push((at(501), reason));
        made.breaks(rule);
        made.record.clients[client as usize].acts[0].0 = at(500);
        made.keeps_all();
    }

    #[test]
    fn each_cause_needs_its_reason() {
        needs(Cause::PeerClosed, Act::Fin, "peer_closed_is_warranted");
        needs(Cause::PeerReset, Act::Reset, "peer_reset_is_warranted");
        needs(Cause::Protocol("no"), Act::Garbage, "protocol_and_size_are_warranted");
        needs(Cause::TooLarge, Act::TooLarge, "protocol_and_size_are_warranted");
        needs(Cause::Local, Act::OrderedClosed, "our_own_closes_are_warranted");
        let death = Cause::PathDead(PathDeath::Unreachable);
        needs(death, Act::PathFailed(Errno::EHOSTUNREACH), "path_dead_is_warranted");
    }

    #[test]
    fn a_time_out_is_not_laid_to_a_router() {
        let mut made = Made::whole();
        let client = made.client(at(0));
        let conn = made.open(client, at(0));
        made.record.clients[client as usize].acts.push((at(500), Act::PathFailed(Errno::ETIMEDOUT)));
        made.ends(conn, at(500), Cause::PathDead(PathDeath::Unreachable));
        made.breaks("path_dead_is_warranted");
    }

    #[test]
    fn who_vanished_before_it_was_overdue_is_not_stuck() {
        let mut made = Made::whole();
        let conn = made.missed(at(100), None);
        made.record.clients[conn].acts = vec![(at(650), Act::Vanished)];
        made.change_cause(conn, Cause::PeerStuck);
        made.keeps_all();
        made.record.clients[conn].acts = vec![(at(550), Act::Vanished)];
        made.breaks("peer_stuck_is_warranted");
    }

    #[test]
    fn a_client_that_reads_is_no_slow_consumer() {
        let mut made = Made::whole();
        let conn = made.slow_consumer(at(100), at(1_100));
        made.keeps_all();
        made.record.clients[conn].acts.push((at(500), Act::Reads));
        made.record.clients[conn].acts.push((at(600), Act::StoppedReading));
        made.breaks("slow_consumer_is_warranted");
    }

    #[test]
    fn a_refusal_without_a_claim_is_found() {
        let mut made = Made::whole();
        let client = made.client(at(0));
        let conn = made.open(client, at(0));
        made.ends(conn, at(100), Cause::Refused(Refusal::HeldBytesMax));
        made.breaks("a_refusal_is_warranted");
    }

    #[test]
    fn an_os_error_that_never_was_is_found() {
        let mut made = Made::whole();
        let client = made.client(at(0));
        let conn = made.open(client, at(0));
        made.ends(conn, at(100), Cause::Os(Errno::ENOMEM));
        made.breaks("os_is_warranted");
        made.record.clients[client as usize].harm = Some(Harm::RecvFailed(Errno::ENOMEM));
        made.keeps_all();
    }

    #[test]
    fn who_outlives_the_drain_is_found() {
        let mut made = Made::whole();
        let conn = made.peer_closed(&[at(100)], at(300));
        made.record.shards[0].drained_at = Some(at(200));
        made.breaks("our_own_closes_are_warranted");
        made.change_cause(conn, Cause::Draining);
        made.breaks("our_own_closes_are_warranted");
    }
}
