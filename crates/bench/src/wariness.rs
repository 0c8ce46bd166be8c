//! Over what a measurement went, and where it was not what it should have been.

use crate::metric::Metric;
use crate::report::{Row, Section};
use crate::transport;

/// A server in a closed loop that uses less of its core than this is waiting for the generator.
const BUSY_MIN: f64 = 0.95;
/// Above this share of the server's core, other programs disturb what is measured.
const FOREIGN_MAX: f64 = 0.05;
/// A generator that sends less than this share of the beats is too slow for the rate.
const RATE_MIN: f64 = 0.98;

/// What a reader of the section's figures should know.
pub(crate) fn cautions(section: &Section<'_>) -> Vec<String> {
    let of_row =
        |row: &&Row| [disturbance(row), idleness(section, row), shortfall(section, row), broken_promise(row)];
    let transport = if steered(section) { transport::STEERED } else { transport::PLAIN };
    let rows = section.rows.iter().flat_map(of_row).flatten();
    std::iter::once(transport.into()).chain(rows).collect()
}

fn steered(section: &Section<'_>) -> bool {
    section.params.get("rps").and_then(serde_json::Value::as_bool).unwrap_or_default()
}

fn disturbance(row: &Row) -> Option<String> {
    let (name, foreign) = (row.contender.name(), median(row, Metric::ForeignBusy)?);
    let percent = foreign * 100.0;
    let caution = format!("others used {percent:.0} % of {name}'s core; the machine should be quiet");
    (foreign > FOREIGN_MAX).then_some(caution)
}

fn idleness(section: &Section<'_>, row: &Row) -> Option<String> {
    let closed_loop = matches!(section.workload, "echo" | "storm");
    let (name, busy) = (row.contender.name(), median(row, Metric::ServerBusy)?);
    let disturbed = median(row, Metric::ForeignBusy).is_some_and(|foreign| foreign > FOREIGN_MAX);
    if !closed_loop || disturbed || busy >= BUSY_MIN {
        return None;
    }
    let percent = busy * 100.0;
    Some(format!(
        "{name} used {percent:.0} % of its core, so its rate and latency are partly the generator's"
    ))
}

fn shortfall(section: &Section<'_>, row: &Row) -> Option<String> {
    let (rate, got) = (section.number("rate")?, median(row, Metric::BeatsPerS)?);
    (got < RATE_MIN * rate).then(|| format!("{} got {got:.0} beats/s only, not {rate}", row.contender.name()))
}

/// Of those that keep deadlines.
fn broken_promise(row: &Row) -> Option<String> {
    let most = |metric| row.metrics.get(&metric).map_or(0.0, |spread| spread.max);
    let (early, accused) = (most(Metric::Early), most(Metric::FalseCloses));
    let missed = most(Metric::Undetected);
    (early + accused + missed > 0.0).then(|| {
        let name = row.contender.name();
        format!("{name}: {early} verdicts early, {accused} living closed, {missed} deaths unnoticed: a bug")
    })
}

fn median(row: &Row, metric: Metric) -> Option<f64> {
    row.metrics.get(&metric).map(|spread| spread.median)
}
