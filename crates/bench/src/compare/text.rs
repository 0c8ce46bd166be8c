//! The comparison for a person: what differs, what that allows to conclude, and what changed.

use std::fmt::Write;

use comfy_table::{CellAlignment, Table, presets};
use serde_json::Value;

use super::changes::{Change, Comparison, RatioChange, RatioVerdict, Verdict};
use super::differences::Difference;

/// Text that ends with a newline.
pub(super) fn render(comparison: &Comparison) -> String {
    let mut text = String::new();
    let (before, after) = (&comparison.before, &comparison.after);
    let _ = writeln!(text, "{}: heartring {} against {}", before.workload, before.version, after.version);
    let general = |difference: &&Difference| difference.part.is_none();
    for difference in comparison.differences.iter().filter(general) {
        let _ = writeln!(text, "{}", told(difference));
    }
    if comparison.differences.iter().filter(general).any(|difference| difference.disqualifies) {
        text.push_str("Because of this, absolute figures do not compare. The ratios do, with care.\n");
    }
    for (part, workload) in &comparison.sections {
        let _ = writeln!(text, "\n{}", part.as_deref().unwrap_or(workload));
        render_section(comparison, part.as_ref(), &mut text);
    }
    text.push_str(
        "\nA figure is better or worse only if the ranges of all rounds do not touch; a ratio has changed only if the 95 % \
         intervals of its median do not.\nThe runs were not interleaved: an hour in which the machine was slower makes \
         every figure worse. Ratios, each within its own run, suffer less from that.\n",
    );
    text
}

fn render_section(comparison: &Comparison, part: Option<&String>, text: &mut String) {
    let differences = comparison.differences.iter();
    // Without parts, what has no part was told above.
    let differences: Vec<_> =
        differences.filter(|difference| part.is_some() && difference.part.as_ref() == part).collect();
    for difference in &differences {
        let _ = writeln!(text, "{}", told(difference));
    }
    if differences.iter().any(|difference| difference.disqualifies) {
        text.push_str("Its sizes differ: absolute figures do not compare.\n");
    }
    let changes: Vec<&Change> =
        comparison.changes.iter().filter(|change| change.part.as_ref() == part).collect();
    if changes.is_empty() {
        text.push_str("No contender is in both.\n");
    } else {
        let _ = writeln!(text, "{}", table(&changes));
    }
    let ratios: Vec<&RatioChange> =
        comparison.ratios.iter().filter(|ratio| ratio.part.as_ref() == part).collect();
    render_ratios(&ratios, text);
}

fn told(difference: &Difference) -> String {
    let value = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => "none".into(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    };
    match (&difference.before, &difference.after) {
        (name, Value::Null) if !difference.disqualifies => {
            format!("Only before: {} {}", difference.what, value(name))
        }
        (Value::Null, name) if !difference.disqualifies => {
            format!("Only after: {} {}", difference.what, value(name))
        }
        (before, after) => {
            format!("Differs: {}, {} before, {} after", difference.what, value(before), value(after))
        }
    }
}

fn table(changes: &[&Change]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(["contender", "metric", "before", "after", "change", "verdict"]);
    let mut last = None;
    for change in changes {
        let decimals = change.metric.decimals();
        // A contender's name once is enough.
        let name = if last == Some(change.contender) { String::new() } else { change.contender.name() };
        last = Some(change.contender);
        table.add_row([
            name,
            change.metric.title().into(),
            format!("{:.decimals$}", change.before.median),
            format!("{:.decimals$}", change.after.median),
            change.percent.map_or_else(String::new, percent),
            word(change.verdict).into(),
        ]);
    }
    for column in 2..5 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// With its sign; what rounds to nothing has none.
fn percent(change: f64) -> String {
    let text = format!("{change:+.1} %");
    if matches!(text.as_str(), "+0.0 %" | "-0.0 %") { "0.0 %".into() } else { text }
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Better => "better",
        Verdict::Worse => "worse",
        Verdict::Within => "within the spread",
        Verdict::TooFew => "too few rounds",
        Verdict::Incomparable => "does not compare",
    }
}

fn render_ratios(ratios: &[&RatioChange], text: &mut String) {
    let count = |verdict| ratios.iter().filter(|ratio| ratio.verdict == verdict).count();
    let (changed, few) = (count(RatioVerdict::Changed), count(RatioVerdict::TooFew));
    for ratio in ratios.iter().filter(|ratio| ratio.verdict == RatioVerdict::Changed) {
        let (before, after) = (interval(&ratio.before), interval(&ratio.after));
        let _ = writeln!(
            text,
            "Changed: {} to {} in {}, {before} before, {after} after",
            ratio.of.name(),
            ratio.to.name(),
            ratio.metric.title()
        );
    }
    if few < ratios.len() {
        let _ = writeln!(text, "{changed} of {} paired ratios changed.", ratios.len() - few);
    }
    if few > 0 {
        let _ = writeln!(text, "{few} paired ratios have too few rounds to say whether they changed.");
    }
}

fn interval(median: &super::changes::Median) -> String {
    match median.interval {
        Some((low, high)) => format!("×{:.3} ({low:.3}–{high:.3})", median.median),
        None => format!("×{:.3}", median.median),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contender::Server;
    use crate::page::specimen;

    #[test]
    fn another_machine_is_said_first_and_spoils_absolute_figures() {
        let mut after = specimen::all();
        let before = after.clone();
        after.machine.cpu = "Another CPU".into();
        let text = render(&Comparison::of(&before, &after));
        let said = text.find("Differs: cpu, Imaginary CPU @ 2.60GHz before, Another CPU after").unwrap();
        assert!(said < text.find("contender").unwrap());
        assert!(text.contains("absolute figures do not compare") && text.contains("does not compare"));
    }

    #[test]
    fn a_changed_ratio_is_told_with_both_intervals() {
        let mut after = specimen::all();
        let before = after.clone();
        let wanted = |ratio: &&mut crate::report::Ratio| {
            ratio.part.as_deref() == Some("echo") && ratio.of == Server::HeartringUring.usual()
        };
        let ratio = after.ratios.iter_mut().find(wanted).unwrap();
        (ratio.spread.median, ratio.interval) = (2.0, Some((1.9, 2.1)));
        let text = render(&Comparison::of(&before, &after));
        assert!(text.contains("Changed: heartring_uring to bare_uring in CPU ns/message, ×1.0"), "{text}");
        assert!(text.contains("×2.000 (1.900–2.100) after"), "{text}");
    }

    #[test]
    fn parts_of_one_only_are_named() {
        let mut after = specimen::all();
        let before = after.clone();
        after.parts.retain(|part| part.part != "storm");
        assert!(render(&Comparison::of(&before, &after)).contains("Only before: part storm"));
        assert!(render(&Comparison::of(&after, &before)).contains("Only after: part storm"));
    }

    #[test]
    fn what_rounds_to_nothing_has_no_sign() {
        assert_eq!([percent(-0.01), percent(3.24), percent(-12.0)], ["0.0 %", "+3.2 %", "-12.0 %"]);
    }
}
