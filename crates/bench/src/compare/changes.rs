//! The comparison as data; its JSON form is what `compare --json` prints.

use serde::Serialize;

use super::differences::{self, Difference};
use crate::contender::Contender;
use crate::machine::Machine;
use crate::metric::Metric;
use crate::report::{Report, Section};
use crate::statistics::Spread;
use crate::workload::columns;

/// How likely two equals may be told apart.
const CHANCE_MAX: f64 = 0.05;

#[derive(Debug, Serialize)]
pub(super) struct Comparison {
    pub(super) before: Side,
    pub(super) after: Side,
    pub(super) differences: Vec<Difference>,
    pub(super) changes: Vec<Change>,
    pub(super) ratios: Vec<RatioChange>,
    /// Titles and workloads of what both have, for whoever prints it.
    #[serde(skip)]
    pub(super) sections: Vec<(Option<String>, String)>,
}

/// One of the two runs.
#[derive(Debug, Serialize)]
pub(super) struct Side {
    pub(super) workload: String,
    pub(super) version: String,
    pub(super) machine: Machine,
}

/// A contender's metric.
#[derive(Debug, Serialize)]
pub(super) struct Change {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) part: Option<String>,
    pub(super) contender: Contender,
    pub(super) metric: Metric,
    pub(super) before: Spread,
    pub(super) after: Spread,
    /// Of the medians; null where there was nothing before.
    #[serde(rename = "change")]
    pub(super) percent: Option<f64>,
    pub(super) verdict: Verdict,
}

/// What may be said of an absolute figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) enum Verdict {
    #[serde(rename = "better")]
    Better,
    #[serde(rename = "worse")]
    Worse,
    /// The ranges touch: no claim.
    #[serde(rename = "within the spread")]
    Within,
    /// Ranges of so few rounds are apart by chance too often: no claim.
    #[serde(rename = "too few rounds")]
    TooFew,
    /// Machine or sizes differ: no claim.
    #[serde(rename = "does not compare")]
    Incomparable,
}

/// A ratio that both runs have.
#[derive(Debug, Serialize)]
pub(super) struct RatioChange {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) part: Option<String>,
    pub(super) metric: Metric,
    pub(super) of: Contender,
    pub(super) to: Contender,
    pub(super) before: Median,
    pub(super) after: Median,
    pub(super) verdict: RatioVerdict,
}

/// A median and the interval that it lies in.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Median {
    pub(super) median: f64,
    pub(super) interval: Option<(f64, f64)>,
}

/// What may be said of a ratio.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) enum RatioVerdict {
    #[serde(rename = "changed")]
    Changed,
    /// The intervals touch: no claim.
    #[serde(rename = "within the intervals")]
    Within,
    #[serde(rename = "too few rounds")]
    TooFew,
}

impl Comparison {
    /// Of two reports of one workload.
    pub(super) fn of(before: &Report, after: &Report) -> Comparison {
        let machines = differences::of_machines(before, after);
        let same_machine = !machines.iter().any(|difference| difference.disqualifies);
        let mut comparison = Comparison {
            before: Side::of(before),
            after: Side::of(after),
            differences: machines,
            changes: Vec::new(),
            ratios: Vec::new(),
            sections: Vec::new(),
        };
        let (befores, afters) = (before.sections(), after.sections());
        for section in &befores {
            match afters.iter().find(|other| other.title == section.title) {
                Some(other) => comparison.add(section, other, same_machine),
                None => comparison.differences.push(differences::of_absent(section, true)),
            }
        }
        let new = afters.iter().filter(|section| befores.iter().all(|other| other.title != section.title));
        comparison.differences.extend(new.map(|section| differences::of_absent(section, false)));
        comparison
    }

    fn add(&mut self, before: &Section<'_>, after: &Section<'_>, same_machine: bool) {
        let differences = differences::of_sections(before, after);
        let comparable = same_machine && !differences.iter().any(|difference| difference.disqualifies);
        self.differences.extend(differences);
        self.sections.push((before.title.map(String::from), before.workload.into()));
        self.changes.extend(changes(before, after, comparable));
        self.ratios.extend(ratios(before, after));
    }

    /// One JSON object, ending with a newline.
    pub(super) fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("a comparison is plain data");
        text.push('\n');
        text
    }
}

impl Side {
    fn of(report: &Report) -> Side {
        Side {
            workload: report.workload.clone(),
            version: report.machine.version.clone(),
            machine: report.machine.clone(),
        }
    }
}

fn changes(before: &Section<'_>, after: &Section<'_>, comparable: bool) -> Vec<Change> {
    let enough = is_enough(rounds(before), rounds(after));
    let mut changes = Vec::new();
    for row in &before.rows {
        // How many died was asked for, not found.
        for &metric in columns(before.workload).iter().filter(|metric| **metric != Metric::Deaths) {
            let (Some(&before), Some(after)) =
                (row.metrics.get(&metric), after.spread(row.contender, metric))
            else {
                continue;
            };
            let percent = (before.median != 0.0).then(|| (after.median / before.median - 1.0) * 100.0);
            changes.push(Change {
                part: row.part.clone(),
                contender: row.contender,
                metric,
                before,
                after,
                percent,
                verdict: verdict(metric, before, after, enough, comparable),
            });
        }
    }
    changes
}

fn rounds(section: &Section<'_>) -> u32 {
    section.number("rounds").map_or(0, |rounds| rounds as u32)
}

/// Whether disjoint ranges mean anything. Of equals, all of `n` and `m` values are on different sides in 2 of the
/// `n + m` over `n` ways to deal them out.
fn is_enough(n: u32, m: u32) -> bool {
    let ways = (1..=n).fold(1.0, |ways, k| ways * f64::from(m + k) / f64::from(k));
    n > 0 && m > 0 && 2.0 / ways <= CHANCE_MAX
}

fn verdict(metric: Metric, before: Spread, after: Spread, enough: bool, comparable: bool) -> Verdict {
    // What is counted has no noise: one death unnoticed is one too many, however few the rounds.
    let counted =
        matches!(metric, Metric::Early | Metric::FalseCloses | Metric::Undetected | Metric::Connections);
    let (less, more) = (after.max < before.min, after.min > before.max);
    match (comparable, less || more) {
        (false, _) => Verdict::Incomparable,
        (true, false) => Verdict::Within,
        (true, true) if !enough && !counted => Verdict::TooFew,
        (true, true) if more == metric.more_is_better() => Verdict::Better,
        (true, true) => Verdict::Worse,
    }
}

fn ratios(before: &Section<'_>, after: &Section<'_>) -> Vec<RatioChange> {
    let pairs = before.ratios.iter().filter_map(|ratio| {
        let same = after
            .ratios
            .iter()
            .find(|other| (other.metric, other.of, other.to) == (ratio.metric, ratio.of, ratio.to));
        Some((ratio, same?))
    });
    let change = pairs.map(|(before, after)| RatioChange {
        part: before.part.clone(),
        metric: before.metric,
        of: before.of,
        to: before.to,
        before: Median { median: before.spread.median, interval: before.interval },
        after: Median { median: after.spread.median, interval: after.interval },
        verdict: ratio_verdict(before.interval, after.interval),
    });
    change.collect()
}

fn ratio_verdict(before: Option<(f64, f64)>, after: Option<(f64, f64)>) -> RatioVerdict {
    match (before, after) {
        (Some(before), Some(after)) if before.1 < after.0 || after.1 < before.0 => RatioVerdict::Changed,
        (Some(_), Some(_)) => RatioVerdict::Within,
        (None, _) | (_, None) => RatioVerdict::TooFew,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contender::Server;
    use crate::page::specimen;

    fn scaled(mut report: Report, contender: Contender, metric: Metric, factor: f64) -> Report {
        for row in report.rows.iter_mut().filter(|row| row.contender == contender) {
            if let Some(spread) = row.metrics.get_mut(&metric) {
                let Spread { median, min, max } = *spread;
                *spread = Spread { median: median * factor, min: min * factor, max: max * factor };
            }
        }
        report
    }

    fn found(
        comparison: &Comparison,
        part: &str,
        contender: Contender,
        metric: Metric,
    ) -> (Option<f64>, Verdict) {
        let wanted = |change: &&Change| {
            change.part.as_deref() == Some(part) && change.contender == contender && change.metric == metric
        };
        let change = comparison.changes.iter().find(wanted).unwrap();
        (change.percent.map(f64::round), change.verdict)
    }

    #[test]
    fn less_cost_is_better_and_less_throughput_is_worse() {
        let (mio, report) = (Server::Mio.usual(), specimen::all());
        let after = scaled(report.clone(), mio, Metric::CpuNsPerMessage, 0.5);
        let after = scaled(after, mio, Metric::MessagesPerS, 0.5);
        let comparison = Comparison::of(&report, &after);
        let found = |metric| found(&comparison, "echo", mio, metric);
        assert_eq!(found(Metric::CpuNsPerMessage), (Some(-50.0), Verdict::Better));
        assert_eq!(found(Metric::MessagesPerS), (Some(-50.0), Verdict::Worse));
        assert_eq!(found(Metric::LatencyP50Us), (Some(0.0), Verdict::Within));
    }

    #[test]
    fn ranges_that_touch_prove_nothing() {
        let (mio, report) = (Server::Mio.usual(), specimen::all());
        let after = scaled(report.clone(), mio, Metric::CpuNsPerMessage, 1.03);
        let comparison = Comparison::of(&report, &after);
        assert_eq!(found(&comparison, "echo", mio, Metric::CpuNsPerMessage), (Some(3.0), Verdict::Within));
    }

    #[test]
    fn few_rounds_prove_nothing_but_broken_promises_do() {
        let heartring = Server::HeartringUring.usual();
        let report = specimen::all();
        let mut after = scaled(report.clone(), heartring, Metric::LatenessP99Us, 3.0);
        for row in after.rows.iter_mut().filter(|row| row.part.as_deref() == Some("detect, single")) {
            row.metrics.insert(Metric::Early, Spread { median: 1.0, min: 1.0, max: 2.0 });
        }
        let comparison = Comparison::of(&report, &after);
        let found = |metric| found(&comparison, "detect, single", heartring, metric);
        assert_eq!(found(Metric::LatenessP99Us), (Some(200.0), Verdict::TooFew));
        assert_eq!(found(Metric::Early), (None, Verdict::Worse));
        assert!(is_enough(4, 4) && !is_enough(3, 3) && !is_enough(0, 9) && is_enough(3, 6));
    }

    #[test]
    fn another_machine_allows_no_claim_of_absolute_figures_but_of_ratios() {
        let mut after = specimen::all();
        let before = after.clone();
        after.machine.kernel = "7.0.0".into();
        for ratio in after.ratios.iter_mut().filter(|ratio| ratio.to == Server::BareUring.usual()) {
            ratio.interval = ratio.interval.map(|(low, high)| (low * 2.0, high * 2.0));
        }
        let comparison = Comparison::of(&before, &after);
        assert!(comparison.changes.iter().all(|change| change.verdict == Verdict::Incomparable));
        let changed = comparison.ratios.iter().filter(|ratio| ratio.verdict == RatioVerdict::Changed);
        let changed: Vec<_> = changed.map(|ratio| ratio.to).collect();
        assert!(!changed.is_empty() && changed.iter().all(|to| *to == Server::BareUring.usual()));
    }

    #[test]
    fn other_sizes_spoil_their_part_only_and_another_version_or_more_rounds_nothing() {
        let mut after = specimen::all();
        let before = after.clone();
        after.machine.version = "0.2.0".into();
        after.parts[0].params.insert("rounds".into(), 24.into());
        after.parts[1].params.insert("rate".into(), 1.into());
        let comparison = Comparison::of(&before, &after);
        let incomparable = comparison.changes.iter().filter(|change| change.verdict == Verdict::Incomparable);
        let parts: Vec<_> = incomparable.map(|change| change.part.clone()).collect();
        assert!(!parts.is_empty() && parts.iter().all(|part| part.as_deref() == Some("beats")));
        let whats: Vec<_> =
            comparison.differences.iter().map(|difference| difference.what.as_str()).collect();
        assert_eq!(whats, ["version", "rounds", "rate"]);
    }

    #[test]
    fn what_only_one_of_them_has_is_listed() {
        let mut after = specimen::all();
        let before = after.clone();
        after.parts.retain(|part| part.part != "storm");
        after.rows.retain(|row| row.contender != Server::Mio.usual() || row.part.as_deref() != Some("echo"));
        let comparison = Comparison::of(&before, &after);
        let told: Vec<_> = comparison.differences.iter().map(|it| (it.what.as_str(), &it.before)).collect();
        assert_eq!(told, [("contender", &"mio".into()), ("part", &"storm".into())]);
    }
}
