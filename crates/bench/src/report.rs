//! The report as data: rows of medians, paired ratios, and who could not run. Its JSON form is the interface to whoever keeps
//! results, and all that the table, the page and `compare` know.
//!
//! A report of one workload has no parts. One of several (`deadlines`, `all`) names its parts, and every row, ratio and
//! failure says of which part it is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::contender::Contender;
use crate::machine::Machine;
use crate::metric::{Curve, Metric};
use crate::statistics::Spread;

/// Everything that a run found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) workload: String,
    pub(crate) machine: Machine,
    pub(crate) params: Map<String, Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) parts: Vec<Part>,
    pub(crate) rows: Vec<Row>,
    pub(crate) ratios: Vec<Ratio>,
    pub(crate) failures: Vec<Failure>,
}

/// One workload, in one size, of several.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(clippy::struct_field_names, reason = "rows name it so")]
pub(crate) struct Part {
    /// A short title, different from those of all other parts.
    pub(crate) part: String,
    pub(crate) workload: String,
    pub(crate) params: Map<String, Value>,
}

/// One contender.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) part: Option<String>,
    pub(crate) contender: Contender,
    /// The unit of work to which the cost is charged.
    pub(crate) unit: String,
    /// Distributions over all rounds: points of quantile (0 to 1) and value, both rising.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) curves: BTreeMap<Curve, Vec<(f64, f64)>>,
    #[serde(flatten)]
    pub(crate) metrics: BTreeMap<Metric, Spread>,
}

/// One contender's metric over another's, paired within rounds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ratio {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) part: Option<String>,
    pub(crate) metric: Metric,
    pub(crate) of: Contender,
    pub(crate) to: Contender,
    #[serde(flatten)]
    pub(crate) spread: Spread,
    /// The interval that holds the median with 95 % confidence; none where the rounds were too few.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) interval: Option<(f64, f64)>,
}

/// A contender without a row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Failure {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) part: Option<String>,
    pub(crate) contender: Contender,
    pub(crate) why: String,
}

/// What belongs to one workload, in one size: the whole report, or one part of it.
pub(crate) struct Section<'a> {
    /// Of a part.
    pub(crate) title: Option<&'a str>,
    pub(crate) workload: &'a str,
    pub(crate) params: &'a Map<String, Value>,
    pub(crate) rows: Vec<&'a Row>,
    pub(crate) ratios: Vec<&'a Ratio>,
    pub(crate) failures: Vec<&'a Failure>,
}

impl Report {
    /// What it found, workload by workload, in the order in which they were run.
    pub(crate) fn sections(&self) -> Vec<Section<'_>> {
        if self.parts.is_empty() {
            return vec![self.section(None, &self.workload, &self.params)];
        }
        let parts = self.parts.iter();
        parts.map(|part| self.section(Some(&part.part), &part.workload, &part.params)).collect()
    }

    fn section<'a>(
        &'a self,
        title: Option<&'a str>,
        workload: &'a str,
        params: &'a Map<String, Value>,
    ) -> Section<'a> {
        Section {
            title,
            workload,
            params,
            rows: self.rows.iter().filter(|row| row.part.as_deref() == title).collect(),
            ratios: self.ratios.iter().filter(|ratio| ratio.part.as_deref() == title).collect(),
            failures: self.failures.iter().filter(|failure| failure.part.as_deref() == title).collect(),
        }
    }

    /// One JSON object, ending with a newline.
    pub(crate) fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("a report is plain data");
        text.push('\n');
        text
    }
}

impl Section<'_> {
    /// The spread of a contender's metric.
    pub(crate) fn spread(&self, contender: Contender, metric: Metric) -> Option<Spread> {
        self.rows.iter().find(|row| row.contender == contender)?.metrics.get(&metric).copied()
    }

    /// A size or condition of the run.
    pub(crate) fn number(&self, param: &str) -> Option<f64> {
        self.params.get(param)?.as_f64()
    }
}
