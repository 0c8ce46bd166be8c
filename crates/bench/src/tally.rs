//! From what all rounds found to the report: medians, paired ratios, pooled distributions.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::contender::{Contender, Server};
use crate::machine::Machine;
use crate::metric::{Curve, Metric};
use crate::report::{Failure, Part, Ratio, Report, Row};
use crate::roster;
use crate::statistics::{paired_ratios, spread};
use crate::suite::{Results, Setup};
use crate::verdict;
use crate::workload::Workload;

/// The quantiles of a curve: dense where a log axis of their complement is.
const NINES: u32 = 5;
const POINTS_PER_NINE: u32 = 6;

impl Report {
    /// Of one workload.
    pub(crate) fn of_one(setup: &Setup, results: Results) -> Report {
        let mut report = Report {
            workload: setup.workload.name().into(),
            machine: setup.machine.clone(),
            params: params(setup),
            parts: Vec::new(),
            rows: Vec::new(),
            ratios: Vec::new(),
            failures: Vec::new(),
        };
        report.add(setup, results);
        report
    }

    /// Of several under one name.
    pub(crate) fn of_several(workload: &str, machine: Machine, parts: Vec<(Setup, Results)>) -> Report {
        let mut report = Report {
            workload: workload.into(),
            machine,
            params: Map::new(),
            parts: Vec::new(),
            rows: Vec::new(),
            ratios: Vec::new(),
            failures: Vec::new(),
        };
        for (setup, results) in parts {
            let part = setup.part.clone().expect("one of several has a title");
            report.parts.push(Part { part, workload: setup.workload.name().into(), params: params(&setup) });
            report.add(&setup, results);
        }
        report
    }

    fn add(&mut self, setup: &Setup, mut results: Results) {
        attribute_kernel_bytes(&mut results);
        let measured = setup.contenders.iter().filter(|contender| results.samples.contains_key(contender));
        self.rows.extend(measured.map(|&contender| row(setup, &results, contender)));
        self.ratios.extend(ratios(setup, &results));
        let failures = results.failures.into_iter();
        self.failures.extend(failures.map(|(contender, why)| Failure {
            part: setup.part.clone(),
            contender,
            why,
        }));
    }
}

/// The kernel's share of a server's end: what both ends take less half of what a pair of plain sockets takes, since the
/// clients' end is a plain socket with every contender.
fn attribute_kernel_bytes(results: &mut Results) {
    let pairs = results.values(Server::BareSockets.usual(), Metric::KernelBytesBothEnds);
    let pairs: Vec<f64> = pairs.into_iter().flatten().collect();
    let Some(pair) = spread(&pairs) else { return };
    for sample in results.samples.values_mut().flatten() {
        if let Some(&both) = sample.values.get(&Metric::KernelBytesBothEnds) {
            sample.extend([(Metric::KernelBytes, both - pair.median / 2.0)]);
        }
    }
}

fn params(setup: &Setup) -> Map<String, Value> {
    let params = json!({
        "rounds": setup.rounds,
        "seconds": setup.window.as_secs_f64(),
        "warmup_seconds": setup.warmup().as_secs_f64(),
        "batch_within_us": setup.batch_within.as_micros() as u64,
        "dead_within_s": setup.dead_within.as_secs_f64(),
        "rps": setup.rps,
    });
    let Value::Object(mut params) = params else { unreachable!("made as an object") };
    let workload = serde_json::to_value(setup.workload).expect("a workload is plain data");
    if let Some(Value::Object(sizes)) = workload.get(setup.workload.name()) {
        params.extend(sizes.clone());
    }
    if let Workload::Detect { .. } | Workload::Scale { .. } | Workload::Memory { .. } = setup.workload {
        // They last as long as they must.
        params.remove("seconds");
        params.remove("warmup_seconds");
    }
    params
}

fn row(setup: &Setup, results: &Results, contender: Contender) -> Row {
    let samples = &results.samples[&contender];
    let measured = samples.iter().flat_map(|sample| sample.values.keys().copied());
    let metrics = measured.filter_map(|metric| {
        let values: Vec<f64> = results.values(contender, metric).into_iter().flatten().collect();
        Some((metric, spread(&values)?))
    });
    let mut pooled: BTreeMap<Curve, BTreeMap<u64, u64>> = BTreeMap::new();
    for (&curve, histogram) in samples.iter().flat_map(|sample| &sample.histograms) {
        let pool = pooled.entry(curve).or_default();
        for &(value, count) in histogram {
            *pool.entry(value).or_default() += count;
        }
    }
    let curves = pooled.into_iter().map(|(curve, pool)| (curve, quantiles(&pool)));
    Row {
        part: setup.part.clone(),
        contender,
        unit: setup.workload.unit().into(),
        curves: curves.collect(),
        metrics: metrics.collect(),
    }
}

/// Points of quantile and microseconds, as far as there are values enough for them.
fn quantiles(histogram: &BTreeMap<u64, u64>) -> Vec<(f64, f64)> {
    let total: u64 = histogram.values().sum();
    if total == 0 {
        return Vec::new();
    }
    let steps = 1..=NINES * POINTS_PER_NINE;
    let tails = steps.map(|step| 10_f64.powf(-f64::from(step) / f64::from(POINTS_PER_NINE)));
    let tails = tails.filter(|tail| tail * total as f64 >= 1.0);
    let wanted = std::iter::once(0.0).chain(tails.map(|tail| 1.0 - tail)).chain([1.0]);
    wanted.map(|quantile| (quantile, value_at(histogram, total, quantile) / 1e3)).collect()
}

fn value_at(histogram: &BTreeMap<u64, u64>, total: u64, quantile: f64) -> f64 {
    let rank = ((quantile * total as f64).ceil() as u64).max(1);
    let mut seen = 0;
    let reached = histogram.iter().find(|(_, count)| {
        seen += **count;
        seen >= rank
    });
    *reached.or(histogram.last_key_value()).map_or(&0, |(value, _)| value) as f64
}

fn ratios(setup: &Setup, results: &Results) -> Vec<Ratio> {
    let pairs = setup.contenders.iter().flat_map(|&of| {
        let opponents = roster::opponents(of).into_iter();
        opponents.filter(|to| setup.contenders.contains(to)).map(move |to| (of, to))
    });
    let pairs: Vec<_> = pairs.collect();
    let metrics = setup.workload.compared().iter();
    metrics
        .flat_map(|&metric| pairs.iter().filter_map(move |&pair| ratio(setup, results, metric, pair)))
        .collect()
}

fn ratio(
    setup: &Setup,
    results: &Results,
    metric: Metric,
    (of, to): (Contender, Contender),
) -> Option<Ratio> {
    let paired = paired_ratios(&results.values(of, metric), &results.values(to, metric));
    let interval = verdict::interval(&paired);
    Some(Ratio { part: setup.part.clone(), metric, of, to, spread: spread(&paired)?, interval })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Sample;

    #[test]
    fn a_curve_ends_where_its_values_do() {
        let histogram: BTreeMap<u64, u64> = (1..=100).map(|value| (value * 1000, 1)).collect();
        let curve = quantiles(&histogram);
        assert_eq!(curve.first(), Some(&(0.0, 1.0)));
        assert_eq!(curve.last(), Some(&(1.0, 100.0)));
        // A hundredth of a hundred values is one; no finer quantile means anything.
        let (finest, value) = curve[curve.len() - 2];
        assert!((finest - 0.99).abs() < 1e-9 && (value - 99.0).abs() < 1e-9, "{finest} {value}");
        assert!(curve.is_sorted());
        assert_eq!(quantiles(&BTreeMap::new()), []);
    }

    #[test]
    fn the_clients_end_is_half_a_pair_of_plain_sockets() {
        let sample =
            |bytes| Sample { values: [(Metric::KernelBytesBothEnds, bytes)].into(), ..Sample::default() };
        let mut results = Results::default();
        results.samples.insert(Server::BareSockets.usual(), vec![sample(7000.0)]);
        results.samples.insert(Server::BareEpoll.usual(), vec![sample(7200.0)]);
        attribute_kernel_bytes(&mut results);
        assert_eq!(results.values(Server::BareEpoll.usual(), Metric::KernelBytes), [Some(3700.0)]);
        assert_eq!(results.values(Server::BareSockets.usual(), Metric::KernelBytes), [Some(3500.0)]);
    }
}
