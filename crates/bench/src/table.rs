//! The report for a person: one table per workload, one sentence per comparison, and what to be wary of.

use std::fmt::Write;

use comfy_table::{CellAlignment, Table, presets};

use crate::contender::{Contender, Server};
use crate::metric::Metric;
use crate::report::{Ratio, Report, Row, Section};
use crate::statistics::Spread;
use crate::wariness;
use crate::words;
use crate::workload::columns;
use crate::{verdict, workload};

/// Renders `report` as text that ends with a newline.
pub(crate) fn render(report: &Report) -> String {
    let machine = &report.machine;
    let mut text = format!(
        "{}: {} on Linux {}, {} cores (server on {}, generator on {}), {}\n",
        report.workload,
        machine.cpu,
        machine.kernel,
        machine.cores,
        machine.server_core,
        machine.generator_core,
        machine.congestion_control,
    );
    for section in report.sections() {
        render_section(&section, &mut text);
    }
    let _ = writeln!(text, "\n{}", verdict::RULE);
    for caution in machine.cautions() {
        let _ = writeln!(text, "Note: {caution}.");
    }
    text
}

fn render_section(section: &Section<'_>, text: &mut String) {
    let _ = writeln!(text, "\n{}", words::heading(section));
    let _ = writeln!(text, "{}", table(section));
    for sentence in words::sentences(section) {
        let _ = writeln!(text, "{sentence}");
    }
    for failure in &section.failures {
        let _ = writeln!(text, "{} could not run: {}", failure.contender.name(), failure.why);
    }
    for caution in wariness::cautions(section) {
        let _ = writeln!(text, "Note: {caution}.");
    }
}

fn table(section: &Section<'_>) -> Table {
    let has = |metric: &&Metric| section.rows.iter().any(|row| row.metrics.contains_key(metric));
    let metrics: Vec<Metric> = columns(section.workload).iter().filter(has).copied().collect();
    let reference = workload::reference(section.workload);
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    let mut header = vec![String::from("contender")];
    header.extend(reference.map(|(_, to)| format!("× {}", to.name())));
    header.extend(metrics.iter().map(|metric| metric.title().to_owned()));
    table.set_header(header);
    for row in &section.rows {
        table.add_row(cells(section, row, reference, &metrics));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn cells(
    section: &Section<'_>,
    row: &Row,
    reference: Option<(Metric, Server)>,
    metrics: &[Metric],
) -> Vec<String> {
    let mut cells = vec![row.contender.name()];
    if let Some((metric, to)) = reference {
        let ratio = find(section, metric, row.contender, to.usual());
        cells.push(ratio.map_or_else(String::new, |ratio| text(&ratio.spread, 3)));
    }
    let spreads = metrics.iter().map(|metric| (metric, row.metrics.get(metric)));
    cells.extend(
        spreads.map(|(metric, spread)| {
            spread.map_or_else(String::new, |spread| text(spread, metric.decimals()))
        }),
    );
    cells
}

fn find<'a>(section: &Section<'a>, metric: Metric, of: Contender, to: Contender) -> Option<&'a Ratio> {
    let wanted = |ratio: &&&Ratio| ratio.metric == metric && ratio.of == of && ratio.to == to;
    section.ratios.iter().find(wanted).copied()
}

fn text(spread: &Spread, decimals: usize) -> String {
    let Spread { median, min, max } = spread;
    format!("{median:.decimals$}\n{min:.decimals$}–{max:.decimals$}")
}
