//! What must hold, whatever is done to a gateway: each promise a named check, with how often it was looked at and what broke it.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

use serde::Serialize;

/// Violations that are told in words. Where there are more, these will do.
const TOLD_MAX: usize = 5;

/// A promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Promise {
    /// The gateway runs, and answers.
    StaysUp,
    /// No healthy device was closed, or saw an end.
    HealthyKept,
    /// Each victim was reported once.
    ReportedOnce,
    /// With the cause that its fate warrants.
    CauseFits,
    /// No verdict before its time, by the device's own clock.
    NeverEarly,
    /// Every verdict within the bound.
    InTime,
    /// No frame that the gateway's kernel had acknowledged before a verdict was lost, doubled or changed.
    NoByteLost,
    /// Whoever connects after the fault is served.
    ServedAgain,
    /// The gateway has counted what devices and handlers saw, and nothing early.
    CountersAgree,
    /// After an orderly stop nothing is open.
    LedgerZero,
    /// Connections, ops, sockets of the kernel, descriptors and locked memory are back to the start.
    NothingLeft,
    /// Memory does not grow from episode to episode.
    NoLeak,
}

impl Promise {
    pub(super) const ALL: [Self; 12] = [
        Self::StaysUp,
        Self::HealthyKept,
        Self::ReportedOnce,
        Self::CauseFits,
        Self::NeverEarly,
        Self::InTime,
        Self::NoByteLost,
        Self::ServedAgain,
        Self::CountersAgree,
        Self::LedgerZero,
        Self::NothingLeft,
        Self::NoLeak,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::StaysUp => "stays_up",
            Self::HealthyKept => "healthy_kept",
            Self::ReportedOnce => "reported_once",
            Self::CauseFits => "cause_fits",
            Self::NeverEarly => "never_early",
            Self::InTime => "in_time",
            Self::NoByteLost => "no_byte_lost",
            Self::ServedAgain => "served_again",
            Self::CountersAgree => "counters_agree",
            Self::LedgerZero => "ledger_zero",
            Self::NothingLeft => "nothing_left",
            Self::NoLeak => "no_leak",
        }
    }
}

/// How a promise was kept.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Check {
    pub(super) looked: u64,
    pub(super) violated: u64,
    /// The first violations, in words.
    pub(super) violations: Vec<String>,
}

/// All checks of a gateway, or of one episode.
#[derive(Clone, Debug, Default)]
pub(super) struct Checks(BTreeMap<Promise, Check>);

impl Checks {
    /// Looks once. `why` is asked for only if the promise is broken.
    pub(super) fn look<W: Display>(&mut self, promise: Promise, kept: bool, why: impl FnOnce() -> W) {
        let check = self.0.entry(promise).or_default();
        check.looked += 1;
        if !kept {
            check.violated += 1;
            if check.violations.len() < TOLD_MAX {
                check.violations.push(why().to_string());
            }
        }
    }

    /// Adds those of an episode, whose name goes before the violations.
    pub(super) fn add(&mut self, episode: &str, others: &Self) {
        for (promise, other) in &others.0 {
            let check = self.0.entry(*promise).or_default();
            check.looked += other.looked;
            check.violated += other.violated;
            let room = TOLD_MAX.saturating_sub(check.violations.len());
            check
                .violations
                .extend(other.violations.iter().take(room).map(|why| format!("{episode}: {why}")));
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (Promise, Check)> {
        Promise::ALL.into_iter().map(|promise| (promise, self.0.get(&promise).cloned().unwrap_or_default()))
    }

    pub(super) fn violated(&self) -> u64 {
        self.0.values().map(|check| check.violated).sum()
    }

    pub(super) fn violated_of(&self, promise: Promise) -> u64 {
        self.0.get(&promise).map_or(0, |check| check.violated)
    }
}

/// By how much a verdict may come after its time.
///
/// Three things enter it. Verdicts are work: a victim costs an examination and a close, 100 µs with room to spare. The machine
/// has noise: a thread that wants nothing but to wake was that late in this episode, and a verdict takes a few wake-ups, of the
/// device, of its kernel and of the shard. And a shard that was away (`stalls`) gives everybody another beat, each time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Allowance {
    pub(super) victims: u32,
    pub(super) noise: Duration,
    pub(super) stalls: u64,
    pub(super) beat_every: Duration,
}

impl Allowance {
    const ALWAYS: Duration = Duration::from_millis(250);
    const PER_VICTIM: Duration = Duration::from_micros(100);
    const WAKE_UPS: u32 = 4;
    /// A shard cannot be away often enough for more than this within one deadline.
    const STALLS_MAX: u64 = 4;

    pub(super) fn total(self) -> Duration {
        Self::ALWAYS
            + Self::PER_VICTIM * self.victims
            + self.noise * Self::WAKE_UPS
            + self.beat_every * self.stalls.min(Self::STALLS_MAX) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_promise_is_counted_and_told_in_words() {
        let mut episode = Checks::default();
        episode.look(Promise::CauseFits, true, || "kept");
        for device in 0..7 {
            episode.look(Promise::CauseFits, false, || format!("device {device}"));
        }
        let mut all = Checks::default();
        all.add("rst_storm", &episode);
        let (_, check) = all.all().find(|(promise, _)| *promise == Promise::CauseFits).unwrap();
        assert_eq!((check.looked, check.violated, check.violations.len()), (8, 7, TOLD_MAX));
        assert_eq!(check.violations[0], "rst_storm: device 0");
        assert_eq!((all.violated(), all.violated_of(Promise::InTime)), (7, 0));
    }

    #[test]
    fn noise_and_stalls_widen_the_bound_and_stalls_not_without_end() {
        let quiet = Allowance { victims: 100, beat_every: Duration::from_secs(1), ..Allowance::default() };
        assert_eq!(quiet.total(), Duration::from_millis(260));
        assert_eq!(
            Allowance { noise: Duration::from_millis(10), ..quiet }.total(),
            Duration::from_millis(300)
        );
        assert_eq!(Allowance { stalls: 900, ..quiet }.total(), Duration::from_millis(4260));
    }
}
