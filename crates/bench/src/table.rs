//! The report for a person: one table, one sentence per comparison, and what to be wary of.

use std::fmt::Write;

use comfy_table::{CellAlignment, Table, presets};

use crate::contender::Contender;
use crate::metric::Metric;
use crate::report::{Ratio, Report, Row};
use crate::statistics::Spread;
use crate::suite::Setup;
use crate::verdict;
use crate::workload::Workload;

/// A server in a closed loop that uses less of its core than this is waiting for the generator.
const BUSY_MIN: f64 = 0.95;
/// Above this share of the server's core, other programs disturb what is measured.
const FOREIGN_MAX: f64 = 0.05;
/// A generator that sends less than this share of the beats is too slow for the rate.
const RATE_MIN: f64 = 0.98;

/// Renders `report` as text that ends with a newline.
pub(crate) fn render(setup: &Setup, report: &Report) -> String {
    let mut text = heading(setup, report);
    let _ = writeln!(text, "{}\n", table(setup, report));
    let cost = setup.workload.cost();
    let best = best_runtime(report, cost);
    let told = |ratio: &&Ratio| !ratio.to.is_runtime() || Some(ratio.to) == best;
    for ratio in report.ratios.iter().filter(|ratio| ratio.metric == cost).filter(told) {
        let of = ratio.of.name();
        let rank = if ratio.to.is_runtime() { "the best runtime " } else { "" };
        let to = format!("{rank}{}", ratio.to.name());
        let sentence = verdict::sentence(of, &to, setup.workload.unit(), &ratio.paired);
        let _ = writeln!(text, "{}", sentence.unwrap_or_default());
    }
    for failure in &report.failures {
        let _ = writeln!(text, "{} could not run: {}", failure.contender.name(), failure.why);
    }
    let _ = writeln!(text, "\n{}", verdict::RULE);
    for caution in report.machine.cautions().into_iter().chain(cautions(setup.workload, report)) {
        let _ = writeln!(text, "Note: {caution}.");
    }
    text
}

/// The runtime with the lowest median. The ratios to the others are in the JSON.
fn best_runtime(report: &Report, cost: Metric) -> Option<Contender> {
    let costs = report.rows.iter().filter(|row| row.contender.is_runtime());
    let costs = costs.filter_map(|row| Some((row.contender, row.metrics.get(&cost)?.median)));
    costs.min_by(|(_, one), (_, other)| one.total_cmp(other)).map(|(contender, _)| contender)
}

/// Where a measurement was not what it should have been.
fn cautions(workload: Workload, report: &Report) -> Vec<String> {
    let of_row = |row| [disturbance(row), idleness(workload, row), shortfall(workload, row)];
    report.rows.iter().flat_map(of_row).flatten().collect()
}

fn disturbance(row: &Row) -> Option<String> {
    let (name, foreign) = (row.contender.name(), median(row, Metric::ForeignBusy));
    let percent = foreign * 100.0;
    let caution = format!("others used {percent:.0} % of {name}'s core; the machine should be quiet");
    (foreign > FOREIGN_MAX).then_some(caution)
}

fn idleness(workload: Workload, row: &Row) -> Option<String> {
    let (name, busy) = (row.contender.name(), median(row, Metric::ServerBusy));
    let disturbed = median(row, Metric::ForeignBusy) > FOREIGN_MAX;
    if !workload.answered() || disturbed || busy >= BUSY_MIN {
        return None;
    }
    let percent = busy * 100.0;
    Some(format!(
        "{name} used {percent:.0} % of its core, so its rate and latency are partly the generator's"
    ))
}

fn shortfall(workload: Workload, row: &Row) -> Option<String> {
    let Workload::Beats { rate, .. } = workload else { return None };
    let (name, got) = (row.contender.name(), median(row, Metric::BeatsPerS));
    (got < RATE_MIN * f64::from(rate)).then(|| format!("{name} got {got:.0} beats/s only, not {rate}"))
}

fn median(row: &Row, metric: Metric) -> f64 {
    row.metrics.get(&metric).map_or(0.0, |spread| spread.median)
}

fn heading(setup: &Setup, report: &Report) -> String {
    let machine = &report.machine;
    format!(
        "{}: {} connections, {} rounds of {:?}, {} bytes a {}\n\
         {} on Linux {}, {} cores (server on {}, generator on {}), {}\n",
        report.workload,
        setup.workload.connections(),
        setup.rounds,
        setup.window,
        setup.workload.bytes(),
        setup.workload.unit(),
        machine.cpu,
        machine.kernel,
        machine.cores,
        machine.server_core,
        machine.generator_core,
        machine.congestion_control,
    )
}

fn table(setup: &Setup, report: &Report) -> Table {
    let metrics = setup.workload.columns();
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    let mut header = vec![String::from("contender"), format!("× {}", Contender::BareEpoll.name())];
    header.extend(metrics.iter().map(|metric| metric.title().to_owned()));
    table.set_header(header);
    for row in &report.rows {
        table.add_row(cells(setup, report, row, metrics));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn cells(setup: &Setup, report: &Report, row: &Row, metrics: &[Metric]) -> Vec<String> {
    let wanted = |ratio: &&Ratio| {
        ratio.metric == setup.workload.cost() && ratio.of == row.contender && ratio.to == Contender::BareEpoll
    };
    let ratio = report.ratios.iter().find(wanted);
    let mut cells = vec![row.contender.name().to_owned()];
    cells.push(ratio.map_or_else(String::new, |ratio| text(&ratio.spread, 3)));
    let spreads = metrics.iter().map(|metric| row.metrics.get(metric));
    cells.extend(spreads.map(|spread| spread.map_or_else(String::new, |spread| text(spread, 0))));
    cells
}

fn text(spread: &Spread, decimals: usize) -> String {
    let Spread { median, min, max } = spread;
    format!("{median:.decimals$}\n{min:.decimals$}–{max:.decimals$}")
}
