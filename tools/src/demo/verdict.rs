//! The demo judges itself: what every device knows about its own end, against what the gateway reported.
//!
//! The two accounts come from different processes. They share the plan, the seed and the kernel's monotonic clock, and no
//! code of the library.

use std::collections::{BTreeMap, HashMap};

use heartring::{Instant, Lateness};

use super::account::{Ending, Truth};
use super::expectation::{Outcome, compare, is_cut_short, is_deadline_verdict, was_turned_away};
use super::plan::{Fate, Plan};

/// Mismatches that are explained one by one; the rest is only counted.
const EXAMPLES_MAX: usize = 5;

/// Both accounts of a run.
pub(crate) struct Evidence<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) truths: &'a [Truth],
    pub(crate) endings: &'a [Ending],
    /// Peers that the gateway turned away at a limit, by its own count.
    pub(crate) refused: u64,
    /// How many it may turn away: the devices above its limit.
    pub(crate) refused_max: u64,
    /// When the gateway was told to stop.
    pub(crate) stopped_at: Instant,
    pub(crate) ledger_open: u64,
    /// The run was cut short: devices that had not met their fate were drained.
    pub(crate) interrupted: bool,
}

/// One line of the summary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) fate: Fate,
    pub(crate) devices: u64,
    /// Endings that were reported as the fate demands.
    pub(crate) reported: u64,
    pub(crate) mismatches: u64,
}

/// What the comparison found.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    pub(crate) rows: [Row; Fate::ALL.len()],
    pub(crate) mismatches: u64,
    /// Healthy devices that were closed before the stop.
    pub(crate) false_closes: u64,
    pub(crate) late_bytes_sent: u64,
    pub(crate) late_bytes_delivered: u64,
    pub(crate) late_bytes_lost: u64,
    /// Deadline verdicts before the device's last beat plus `dead_within`.
    pub(crate) early: u64,
    /// From the same instant to the verdict: the gateway's lateness by the devices' account.
    pub(crate) lateness: Lateness,
    pub(crate) refused: u64,
    pub(crate) closed: BTreeMap<&'static str, u64>,
    pub(crate) ledger_open: u64,
    /// The first few mismatches, in words.
    pub(crate) examples: Vec<String>,
}

impl Verdict {
    pub(crate) fn new(evidence: &Evidence<'_>) -> Self {
        let mut verdict = Self::empty(evidence);
        let mut endings: HashMap<u32, Vec<&Ending>> = HashMap::new();
        for ending in evidence.endings {
            *verdict.closed.entry(ending.cause.name()).or_default() += 1;
            match ending.device {
                Some(device) => endings.entry(device).or_default().push(ending),
                None => {
                    verdict.mismatch(None, format!("a connection ended before its hello: {}", ending.cause));
                }
            }
        }
        let truths: HashMap<u32, &Truth> =
            evidence.truths.iter().map(|truth| (truth.device, truth)).collect();
        for device in 0..evidence.plan.devices {
            let endings = endings.remove(&device).unwrap_or_default();
            verdict.judge(evidence, device, truths.get(&device).copied(), &endings);
        }
        for stranger in endings.keys() {
            verdict.mismatch(None, format!("there is no device {stranger}"));
        }
        verdict.judge_refusals(evidence);
        verdict
    }

    fn empty(evidence: &Evidence<'_>) -> Self {
        Self {
            rows: Fate::ALL.map(|fate| Row { fate, devices: 0, reported: 0, mismatches: 0 }),
            mismatches: 0,
            false_closes: 0,
            late_bytes_sent: 0,
            late_bytes_delivered: 0,
            late_bytes_lost: 0,
            early: 0,
            lateness: Lateness::default(),
            refused: 0,
            closed: BTreeMap::new(),
            ledger_open: evidence.ledger_open,
            examples: Vec::new(),
        }
    }

    fn judge(&mut self, evidence: &Evidence<'_>, device: u32, truth: Option<&Truth>, endings: &[&Ending]) {
        let fate = evidence.plan.script(device).fate;
        let refused = endings.is_empty() && truth.is_some_and(was_turned_away);
        if refused {
            self.refused += 1;
            return;
        }
        self.rows[fate as usize].devices += 1;
        if let (Some(truth), &[ending]) = (truth, endings) {
            self.weigh(evidence, truth, ending);
        }
        match compare(evidence.interrupted, fate, truth, endings) {
            Outcome::AsExpected => self.rows[fate as usize].reported += 1,
            Outcome::CutShort => {}
            Outcome::Differs(what) => {
                self.mismatch(Some(fate), format!("device {device} (to {}): {what}", fate.describe()));
            }
        }
    }

    /// What is counted for each device whose two accounts are there.
    fn weigh(&mut self, evidence: &Evidence<'_>, truth: &Truth, ending: &Ending) {
        self.false_closes +=
            u64::from(truth.fate == Fate::Healthy && ending.decided_at < evidence.stopped_at);
        if is_deadline_verdict(ending.cause) {
            let due = truth.last_beat() + evidence.plan.timetable.dead_within;
            self.early += u64::from(ending.decided_at < due);
            self.lateness.record(ending.decided_at.saturating_since(due));
        }
        if !(evidence.interrupted && is_cut_short(truth, ending)) {
            self.late_bytes_sent += truth.late_bytes;
            self.late_bytes_delivered += ending.late.count;
            self.late_bytes_lost += truth.late_bytes.saturating_sub(ending.late.count);
        }
    }

    /// Every device that was turned away must be one that the gateway counts, and it may only turn away what is too many.
    fn judge_refusals(&mut self, evidence: &Evidence<'_>) {
        if evidence.refused > 0 {
            *self.closed.entry("refused").or_default() += evidence.refused;
        }
        if self.refused != evidence.refused {
            let counted = evidence.refused;
            self.mismatch(
                None,
                format!("{} devices were turned away, the gateway counts {counted}", self.refused),
            );
        }
        if self.refused > evidence.refused_max {
            let max = evidence.refused_max;
            self.mismatch(None, format!("{} devices were turned away, {max} were too many", self.refused));
        }
    }

    fn mismatch(&mut self, fate: Option<Fate>, what: String) {
        self.mismatches += 1;
        if let Some(fate) = fate {
            self.rows[fate as usize].mismatches += 1;
        }
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(what);
        }
    }

    /// Why the demo fails; empty if it does not.
    pub(crate) fn objections(&self) -> Vec<String> {
        let counts = [
            (self.mismatches, "ends misreported"),
            (self.false_closes, "healthy devices closed"),
            (self.late_bytes_lost, "late bytes lost"),
            (self.early, "closed before their deadline"),
            (self.ledger_open, "operations or sockets left open"),
        ];
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use heartring::Cause;

    use super::super::account::{End, LateBytes};
    use super::super::expectation::expected_cause;
    use super::super::plan::Timetable;
    use super::*;

    const DEAD_WITHIN: Duration = Duration::from_secs(3);
    const LATE_BYTES: u64 = 548;

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    /// A run in which everything went well, to be spoilt by each test.
    struct Run {
        plan: Plan,
        truths: Vec<Truth>,
        endings: Vec<Ending>,
        refused: u64,
        refused_max: u64,
        ledger_open: u64,
        interrupted: bool,
    }

    impl Run {
        fn new() -> Self {
            let liveness = heartring::Liveness::from_dead_within(DEAD_WITHIN).unwrap();
            let timetable = Timetable::new(&liveness, 100, None).unwrap();
            let plan = Plan { seed: 1, devices: 100, timetable };
            let fates = (0..plan.devices).map(|device| (device, plan.script(device).fate));
            let (truths, endings) =
                fates.map(|(device, fate)| (truth(device, fate), ending(device, fate))).unzip();
            Self { plan, truths, endings, refused: 0, refused_max: 0, ledger_open: 0, interrupted: false }
        }

        fn first(&self, fate: Fate) -> usize {
            self.truths.iter().position(|truth| truth.fate == fate).unwrap()
        }

        fn judge(&self) -> Verdict {
            Verdict::new(&Evidence {
                plan: &self.plan,
                truths: &self.truths,
                endings: &self.endings,
                refused: self.refused,
                refused_max: self.refused_max,
                stopped_at: at(12),
                ledger_open: self.ledger_open,
                interrupted: self.interrupted,
            })
        }

        /// Spoils the run and returns what is objected to.
        fn objections(mut self, spoil: impl FnOnce(&mut Self)) -> Vec<String> {
            spoil(&mut self);
            self.judge().objections()
        }
    }

    fn truth(device: u32, fate: Fate) -> Truth {
        let mut truth = Truth::new(device, fate);
        truth.beat(at(if fate == Fate::Healthy { 11 } else { 5 }));
        truth.carried_out = fate != Fate::Healthy;
        truth.late_bytes = if fate == Fate::Late { LATE_BYTES } else { 0 };
        truth.end = match fate {
            Fate::Healthy => End::SawFin,
            Fate::Closes | Fate::Resets | Fate::Late => End::Own,
            Fate::Silent => End::SawReset,
        };
        truth
    }

    fn ending(device: u32, fate: Fate) -> Ending {
        let count = if fate == Fate::Late { LATE_BYTES } else { 0 };
        Ending {
            device: Some(device),
            cause: expected_cause(fate),
            decided_at: if fate == Fate::Healthy { at(12) } else { at(8) },
            lateness: None,
            late: LateBytes { count, ..LateBytes::default() },
        }
    }

    #[test]
    fn a_good_run_is_not_objected_to() {
        let verdict = Run::new().judge();
        assert_eq!(verdict.objections(), Vec::<String>::new());
        assert!(verdict.rows.iter().all(|row| row.devices > 0 && row.reported == row.devices));
        assert_eq!(verdict.closed.values().sum::<u64>(), 100);
        assert!(verdict.late_bytes_sent > 0 && verdict.late_bytes_delivered == verdict.late_bytes_sent);
    }

    #[test]
    fn a_wrong_cause_is_a_mismatch_of_its_row() {
        let mut run = Run::new();
        let victim = run.first(Fate::Resets);
        run.endings[victim].cause = Cause::PeerClosed;
        let verdict = run.judge();
        assert_eq!((verdict.mismatches, verdict.rows[Fate::Resets as usize].mismatches), (1, 1));
        assert!(
            verdict.examples[0].ends_with("expected peer_reset, reported peer_closed"),
            "{:?}",
            verdict.examples
        );
    }

    #[test]
    fn a_healthy_device_that_is_closed_before_the_stop_is_a_false_close() {
        let objections = Run::new().objections(|run| {
            let victim = run.first(Fate::Healthy);
            run.endings[victim].decided_at = at(9);
        });
        assert_eq!(objections, ["1 healthy devices closed"]);
    }

    #[test]
    fn a_late_byte_that_is_lost_changed_or_invented_is_found() {
        let spoilt = |spoil: fn(&mut LateBytes)| {
            Run::new().objections(|run| {
                let victim = run.first(Fate::Late);
                spoil(&mut run.endings[victim].late);
            })
        };
        assert_eq!(spoilt(|late| late.count -= 68), ["68 late bytes lost"]);
        assert_eq!(spoilt(|late| late.garbled = true), ["1 ends misreported"]);
        assert_eq!(spoilt(|late| late.count += 1), ["1 ends misreported"]);
    }

    #[test]
    fn a_verdict_before_the_deadline_is_early_by_the_devices_own_clock() {
        let objections = Run::new().objections(|run| {
            let victim = run.first(Fate::Silent);
            run.endings[victim].decided_at = Instant::from_nanos(at(8).as_nanos() - 1);
        });
        assert_eq!(objections, ["1 closed before their deadline"]);
    }

    #[test]
    fn an_open_ledger_is_objected_to() {
        assert_eq!(Run::new().objections(|run| run.ledger_open = 2), ["2 operations or sockets left open"]);
    }

    #[test]
    fn a_silent_device_must_have_been_cut_and_a_late_one_heard_out() {
        for (fate, spoil) in [
            (Fate::Silent, (|truth| truth.end = End::SawFin) as fn(&mut Truth)),
            (Fate::Silent, |truth| truth.end = End::Open),
            (Fate::Late, |truth| truth.carried_out = false),
        ] {
            let objections = Run::new().objections(|run| {
                let victim = run.first(fate);
                spoil(&mut run.truths[victim]);
            });
            assert_eq!(objections, ["1 ends misreported"], "{fate:?}");
        }
    }

    #[test]
    fn every_device_has_one_end_and_every_end_a_device() {
        let spoilt = |spoil: fn(&mut Run)| Run::new().objections(spoil);
        let one = ["1 ends misreported"];
        assert_eq!(spoilt(|run| run.endings.push(run.endings[0])), one);
        assert_eq!(spoilt(|run| run.truths.truncate(99)), one);
        let nobody = Ending { device: None, ..ending(0, Fate::Closes) };
        assert_eq!(Run::new().objections(|run| run.endings.push(nobody)), one);
    }

    #[test]
    fn devices_beyond_the_limit_may_be_turned_away_if_the_gateway_counts_them() {
        let turn_away = |run: &mut Run, refused| {
            let victim = run.first(Fate::Healthy);
            run.endings.remove(victim);
            run.refused = refused;
        };
        let permitted = Run { refused_max: 1, ..Run::new() };
        assert_eq!(permitted.objections(|run| turn_away(run, 1)), Vec::<String>::new());
        let uncounted = Run { refused_max: 1, ..Run::new() };
        assert_eq!(uncounted.objections(|run| turn_away(run, 0)), ["1 ends misreported"]);
        let without_need = Run::new();
        assert_eq!(without_need.objections(|run| turn_away(run, 1)), ["1 ends misreported"]);
    }

    #[test]
    fn an_interrupt_excuses_devices_that_were_drained_before_their_fate() {
        let drain = |run: &mut Run| {
            for fate in [Fate::Late, Fate::Silent] {
                let victim = run.first(fate);
                run.endings[victim].cause = Cause::Draining;
                run.endings[victim].late = LateBytes::default();
            }
        };
        assert_eq!(Run::new().objections(drain).len(), 2);
        let mut interrupted = Run { interrupted: true, ..Run::new() };
        drain(&mut interrupted);
        let verdict = interrupted.judge();
        assert_eq!(verdict.objections(), Vec::<String>::new());
        let silent = verdict.rows[Fate::Silent as usize];
        assert_eq!(silent.reported, silent.devices - 1, "what was cut short is not claimed either");
    }
}
