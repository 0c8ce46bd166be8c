//! The report as data: rows of medians, paired ratios, and who could not run. Its JSON form is the interface
//! to whoever keeps results.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::json;

use crate::contender::Contender;
use crate::machine::Machine;
use crate::metric::Metric;
use crate::statistics::{Spread, paired_ratios, spread};
use crate::suite::{Results, Setup};

/// Everything that a run found.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) workload: &'static str,
    pub(crate) machine: Machine,
    pub(crate) params: serde_json::Value,
    pub(crate) rows: Vec<Row>,
    pub(crate) ratios: Vec<Ratio>,
    pub(crate) failures: Vec<Failure>,
}

/// One contender.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) contender: Contender,
    pub(crate) unit: &'static str,
    #[serde(flatten)]
    pub(crate) metrics: BTreeMap<Metric, Spread>,
}

/// One contender's metric over another's, paired within rounds.
#[derive(Debug, Serialize)]
pub(crate) struct Ratio {
    pub(crate) metric: Metric,
    pub(crate) of: Contender,
    pub(crate) to: Contender,
    #[serde(flatten)]
    pub(crate) spread: Spread,
    /// What the spread was found among, for the verdict.
    #[serde(skip)]
    pub(crate) paired: Vec<f64>,
}

/// A contender without a row.
#[derive(Debug, Serialize)]
pub(crate) struct Failure {
    pub(crate) contender: Contender,
    pub(crate) why: String,
}

impl Report {
    pub(crate) fn new(setup: &Setup, results: Results) -> Report {
        Report {
            workload: setup.workload.name(),
            machine: setup.machine.clone(),
            params: params(setup),
            rows: results.samples.keys().map(|&contender| row(setup, &results, contender)).collect(),
            ratios: ratios(setup, &results),
            failures: results
                .failures
                .into_iter()
                .map(|(contender, why)| Failure { contender, why })
                .collect(),
        }
    }

    /// One JSON object, ending with a newline.
    pub(crate) fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("a report is plain data");
        text.push('\n');
        text
    }
}

fn params(setup: &Setup) -> serde_json::Value {
    let mut params = json!({
        "rounds": setup.rounds,
        "seconds": setup.window.as_secs_f64(),
        "warmup_seconds": setup.warmup().as_secs_f64(),
        "batch_within_us": setup.batch_within.as_micros(),
        "dead_within_s": setup.dead_within.as_secs_f64(),
    });
    let workload = serde_json::to_value(setup.workload).expect("a workload is plain data");
    let sizes = workload.get(setup.workload.name()).and_then(serde_json::Value::as_object);
    params.as_object_mut().expect("made as an object").extend(sizes.cloned().unwrap_or_default());
    params
}

fn row(setup: &Setup, results: &Results, contender: Contender) -> Row {
    let measured = results.samples[&contender].iter().flat_map(|sample| sample.keys().copied());
    let metrics = measured.filter_map(|metric| {
        let values: Vec<f64> = results.values(contender, metric).into_iter().flatten().collect();
        Some((metric, spread(&values)?))
    });
    Row { contender, unit: setup.workload.unit(), metrics: metrics.collect() }
}

fn ratios(setup: &Setup, results: &Results) -> Vec<Ratio> {
    let pairs = setup.contenders.iter().flat_map(|&of| of.opponents().iter().map(move |&to| (of, to)));
    let pairs: Vec<_> = pairs.collect();
    let metrics = setup.workload.compared().iter();
    metrics.flat_map(|&metric| pairs.iter().filter_map(move |&pair| ratio(results, metric, pair))).collect()
}

fn ratio(results: &Results, metric: Metric, (of, to): (Contender, Contender)) -> Option<Ratio> {
    let paired = paired_ratios(&results.values(of, metric), &results.values(to, metric));
    Some(Ratio { metric, of, to, spread: spread(&paired)?, paired })
}
