//! What a section of a report says in plain words: its heading, and one sentence per comparison.

use crate::contender::{Contender, Mode};
use crate::metric::Metric;
use crate::report::{Ratio, Section};
use crate::verdict;

/// The workload and its sizes, on one line.
pub(crate) fn heading(section: &Section<'_>) -> String {
    let sizes = section.params.iter().filter(|(name, _)| !UNTOLD.contains(&name.as_str()));
    let sizes: Vec<String> = sizes.map(|(name, value)| format!("{name} {}", plain(value))).collect();
    format!("{}: {}", section.title.unwrap_or(section.workload), sizes.join(", "))
}

/// What follows from the others, or is told elsewhere.
const UNTOLD: [&str; 3] = ["warmup_seconds", "batch_within_us", "rps"];

fn plain(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), String::from)
}

/// Who wins, and by how much.
pub(crate) fn sentences(section: &Section<'_>) -> Vec<String> {
    let Some(metric) = section.ratios.first().map(|ratio| ratio.metric) else { return Vec::new() };
    let best = best_runtime(section, metric);
    let told = |ratio: &&&Ratio| ratio.metric == metric && (!ratio.to.is_runtime() || Some(ratio.to) == best);
    let sentence = |ratio: &&Ratio| {
        let rank = if ratio.to.is_runtime() { "the best runtime " } else { "" };
        let (of, to) = (ratio.of.name(), format!("{rank}{}", ratio.to.name()));
        verdict::sentence(ratio, &of, &to, metric.spoken())
    };
    section.ratios.iter().filter(told).map(sentence).collect()
}

/// The runtime with the lowest median. The ratios to the others are in the JSON.
pub(crate) fn best_runtime(section: &Section<'_>, cost: Metric) -> Option<Contender> {
    let runtimes = section.rows.iter().map(|row| row.contender);
    let runtimes = runtimes.filter(|contender| contender.is_runtime() && contender.mode == Mode::Usual);
    let costs = runtimes.filter_map(|contender| Some((contender, section.spread(contender, cost)?.median)));
    costs.min_by(|(_, one), (_, other)| one.total_cmp(other)).map(|(contender, _)| contender)
}
