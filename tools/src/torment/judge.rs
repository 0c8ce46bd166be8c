//! Whether what a gateway reported of a device is what befell it. It compares three accounts: the order of the parent
//! ([`Fate`]), the device's own ([`Truth`]) and what the handler was told ([`Ending`]).

use std::time::Duration;

use super::checks::{Checks, Promise};
use super::words::{Beat, Ending, Truth};
use crate::duration::show;
use crate::system;

/// A span on `CLOCK_MONOTONIC`, in nanoseconds: something happened after its beginning and before its end.
pub(super) type Span = (u64, u64);

/// What becomes of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It lives on.
    Lives,
    /// Nothing of it arrives any more: since it acted, or since a span in which everybody was cut off.
    FallsSilent { since: Option<Span> },
    /// Of what it sends some is lost, so that the deadline may pass. Who dies was silent, by what TCP acknowledged.
    MayFallSilent,
    /// It does something that ends it after a time, counted from its act; `slack` if that begins a little later.
    Ends { cause: &'static str, after: Duration, slack: Duration },
    /// It is ended at once, since its own act or a span.
    EndsAtOnce { causes: &'static [&'static str], since: Option<Span> },
}

/// What judging needs to know beside the accounts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measure {
    pub(super) dead_within: Duration,
    pub(super) allowance: Duration,
}

impl Fate {
    /// Whether the gateway must report an end.
    pub(super) const fn ends(self) -> bool {
        match self {
            Self::Lives | Self::MayFallSilent => false,
            Self::FallsSilent { .. } | Self::Ends { .. } | Self::EndsAtOnce { .. } => true,
        }
    }

    fn warrants(self, cause: &str) -> bool {
        match self {
            Self::Lives => false,
            Self::FallsSilent { .. } | Self::MayFallSilent => {
                ["heartbeat_missed", "peer_stuck"].contains(&cause)
            }
            Self::Ends { cause: only, .. } => cause == only,
            Self::EndsAtOnce { causes, .. } => causes.contains(&cause),
        }
    }

    /// When a verdict is due, at the earliest and, before the allowance, at the latest.
    fn due(self, truth: &Truth, decided_at: u64, dead_within: Duration) -> Option<Span> {
        let silence = |(from, to): Span| {
            Some((
                after(last_beat(truth, from)?.at, dead_within),
                after(last_beat(truth, to)?.at, dead_within),
            ))
        };
        match self {
            Self::Lives => None,
            Self::FallsSilent { since } => silence(since.or(truth.acted)?),
            Self::MayFallSilent => {
                let arrived = last_arrived(truth, decided_at)?;
                Some((after(arrived.at, dead_within), u64::MAX))
            }
            Self::Ends { after: time, slack, .. } => {
                let (from, to) = truth.acted?;
                Some((after(from, time), after(to, time + slack)))
            }
            Self::EndsAtOnce { since, .. } => since.or(truth.acted),
        }
    }
}

/// Judges one device. Returns how late the verdict was, if there was one that was due.
pub(super) fn judge(
    checks: &mut Checks,
    fate: Fate,
    truth: &Truth,
    endings: &[Ending],
    measure: Measure,
) -> Option<Duration> {
    let device = truth.device;
    if fate == Fate::Lives {
        checks.look(Promise::HealthyKept, endings.is_empty() && truth.end == super::words::End::Open, || {
            let causes: Vec<_> = endings.iter().map(|ending| ending.cause.as_str()).collect();
            let at = endings.first().map_or_else(|| system::now().as_nanos(), |ending| ending.decided_at);
            let (end, beats) = (truth.end, history(truth, at));
            format!("device {device} was to live: reported {causes:?}, saw {end:?}; its beats{beats}")
        });
        return None;
    }
    let needed = usize::from(fate.ends());
    checks.look(Promise::ReportedOnce, (needed..=1).contains(&endings.len()), || {
        format!("device {device} was reported {} times; it saw {:?}", endings.len(), truth.end)
    });
    let ending = endings.first()?;
    checks.look(Promise::CauseFits, fate.warrants(&ending.cause), || {
        format!("device {device} was reported as {}, but {fate:?}", ending.cause)
    });
    // Who was ended from outside was asked before, and may have sent more since.
    let told_all = !matches!(fate, Fate::EndsAtOnce { since: Some(_), .. });
    check_bytes(checks, truth, ending, if told_all { truth.frames } else { u32::MAX });
    let (earliest, latest) = fate.due(truth, ending.decided_at, measure.dead_within)?;
    checks.look(Promise::NeverEarly, ending.decided_at >= earliest, || {
        let by = Duration::from_nanos(earliest - ending.decided_at);
        format!("device {device}, {}, was reported {} early", ending.cause, show(by))
    });
    let lateness = Duration::from_nanos(ending.decided_at.saturating_sub(latest));
    checks.look(Promise::InTime, lateness <= measure.allowance, || {
        let (late, allowed) = (show(lateness), show(measure.allowance));
        format!("device {device}, {}, was reported {late} late, of {allowed} allowed", ending.cause)
    });
    Some(lateness)
}

/// What TCP had acknowledged before the verdict came to the handler, each frame once and in order. Who closes in order has
/// had everything acknowledged.
fn check_bytes(checks: &mut Checks, truth: &Truth, ending: &Ending, frames_max: u32) {
    let acked = last_beat(truth, ending.decided_at).map_or(0, |beat| beat.acked);
    let owed = if ending.cause == "peer_closed" { truth.frames } else { acked };
    let whole = ending.garbled == 0 && (owed..=frames_max).contains(&ending.frames);
    checks.look(Promise::NoByteLost, whole, || {
        format!(
            "device {}, {}, sent {} frames, of which {owed} had to arrive: {} did, and {} that were not the next one",
            truth.device, ending.cause, truth.frames, ending.frames, ending.garbled
        )
    });
}

/// How long before an instant it sent its last beats, and how many of all that it had sent were acknowledged by then.
fn history(truth: &Truth, at: u64) -> String {
    let one = |beat: &Beat| {
        let age = Duration::from_nanos(at.saturating_sub(beat.at));
        format!(", {} before ({} of {} acknowledged)", show(age), beat.acked, beat.frame)
    };
    truth.beats.iter().map(one).collect()
}

fn after(at: u64, time: Duration) -> u64 {
    at + time.as_nanos() as u64
}

/// The last beat that a device sent before an instant.
fn last_beat(truth: &Truth, before: u64) -> Option<Beat> {
    truth.beats.iter().rev().find(|beat| beat.at <= before).copied()
}

/// The last beat of which a device knew, before an instant, that it had arrived.
fn last_arrived(truth: &Truth, before: u64) -> Option<Beat> {
    let acked = last_beat(truth, before)?.acked;
    truth.beats.iter().rev().find(|beat| beat.frame < acked).copied()
}

/// Whether a device was silent for longer than the deadline before an instant, by its own clock: then the machine did not let
/// it beat, and nobody else is to blame.
pub(super) fn was_silent(truth: &Truth, before: u64, dead_within: Duration) -> bool {
    last_beat(truth, before).is_none_or(|beat| before >= after(beat.at, dead_within))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEASURE: Measure =
        Measure { dead_within: Duration::from_nanos(100), allowance: Duration::from_nanos(10) };

    /// It beat at 0, 30 and 60, and acted at 60.
    fn truth() -> Truth {
        let beats = (0..3).map(|n| Beat { at: u64::from(n) * 30, frame: n, acked: n }).collect();
        Truth { device: 7, beats, frames: 3, acted: Some((60, 60)), ..Truth::default() }
    }

    fn ending(cause: &str, decided_at: u64) -> Ending {
        Ending { device: Some(7), cause: cause.to_owned(), decided_at, frames: 3, garbled: 0 }
    }

    /// The promises that are broken.
    fn broken(fate: Fate, truth: &Truth, endings: &[Ending]) -> Vec<&'static str> {
        let mut checks = Checks::default();
        judge(&mut checks, fate, truth, endings, MEASURE);
        checks.all().filter(|(_, check)| check.violated > 0).map(|(promise, _)| promise.name()).collect()
    }

    #[test]
    fn silence_is_reported_once_in_time_and_never_early() {
        let fate = Fate::FallsSilent { since: None };
        let missed = |at| ending("heartbeat_missed", at);
        assert!(broken(fate, &truth(), &[missed(160)]).is_empty());
        assert_eq!(broken(fate, &truth(), &[missed(159)]), ["never_early"]);
        assert_eq!(broken(fate, &truth(), &[missed(171)]), ["in_time"]);
        assert_eq!(broken(fate, &truth(), &[]), ["reported_once"]);
        assert_eq!(broken(fate, &truth(), &[missed(160), missed(160)]), ["reported_once"]);
        assert_eq!(broken(fate, &truth(), &[ending("peer_reset", 160)]), ["cause_fits"]);
    }

    #[test]
    fn who_is_cut_off_counts_from_the_last_beat_before_the_cut() {
        let fate = Fate::FallsSilent { since: Some((20, 40)) };
        assert!(broken(fate, &truth(), &[ending("heartbeat_missed", 100)]).is_empty());
        assert_eq!(broken(fate, &truth(), &[ending("heartbeat_missed", 99)]), ["never_early"]);
        assert_eq!(broken(fate, &truth(), &[ending("heartbeat_missed", 141)]), ["in_time"]);
    }

    #[test]
    fn who_loses_packets_may_die_but_not_before_the_last_beat_that_arrived_is_old() {
        assert!(broken(Fate::MayFallSilent, &truth(), &[]).is_empty());
        assert!(broken(Fate::MayFallSilent, &truth(), &[ending("heartbeat_missed", 130)]).is_empty());
        assert_eq!(
            broken(Fate::MayFallSilent, &truth(), &[ending("heartbeat_missed", 129)]),
            ["never_early"]
        );
    }

    #[test]
    fn a_frame_that_was_acknowledged_must_have_come() {
        let fate = Fate::FallsSilent { since: None };
        let with = |frames, garbled| Ending { frames, garbled, ..ending("heartbeat_missed", 160) };
        assert!(broken(fate, &truth(), &[with(2, 0)]).is_empty(), "the last one may be on its way");
        assert_eq!(broken(fate, &truth(), &[with(1, 0)]), ["no_byte_lost"]);
        assert_eq!(broken(fate, &truth(), &[with(4, 0)]), ["no_byte_lost"], "nobody sent that");
        assert_eq!(broken(fate, &truth(), &[with(3, 1)]), ["no_byte_lost"]);
        let closes = Fate::EndsAtOnce { causes: &["peer_closed"], since: None };
        let closed = Ending { frames: 2, ..ending("peer_closed", 61) };
        assert_eq!(broken(closes, &truth(), &[closed]), ["no_byte_lost"], "all that came before the FIN");
    }

    #[test]
    fn a_healthy_device_that_is_reported_is_a_false_close_unless_it_was_silent_itself() {
        assert!(broken(Fate::Lives, &truth(), &[]).is_empty());
        assert_eq!(broken(Fate::Lives, &truth(), &[ending("heartbeat_missed", 150)]), ["healthy_kept"]);
        assert!(!was_silent(&truth(), 159, MEASURE.dead_within));
        assert!(was_silent(&truth(), 160, MEASURE.dead_within));
    }
}
