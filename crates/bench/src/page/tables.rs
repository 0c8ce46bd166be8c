//! The figures: medians with their ranges, and ratios with their intervals.

use std::fmt::Write;

use super::axis::{Axis, Scale};
use super::palette;
use super::task;
use super::text::grouped;
use crate::metric::Metric;
use crate::report::{Ratio, Row, Section};
use crate::verdict::Verdict;
use crate::workload::columns;

/// Every metric of a section: first what its workload is about, then whatever else was found.
pub(crate) fn figures(section: &Section<'_>) -> String {
    if section.rows.is_empty() {
        return String::new();
    }
    let has = |metric: &Metric| section.rows.iter().any(|row| row.metrics.contains_key(metric));
    let mut metrics: Vec<Metric> = columns(section.workload).iter().copied().filter(has).collect();
    for metric in section.rows.iter().flat_map(|row| row.metrics.keys()) {
        if !metrics.contains(metric) {
            metrics.push(*metric);
        }
    }
    let mut html =
        String::from("<div class=\"scroll\"><table class=\"figures\">\n<thead><tr><th>contender</th>");
    for metric in &metrics {
        let _ = write!(html, "<th>{}</th>", metric.title());
    }
    html.push_str("</tr></thead>\n<tbody>\n");
    for row in &section.rows {
        html.push_str(&line(row, &metrics));
    }
    html.push_str("</tbody></table></div>\n");
    html
}

fn line(row: &Row, metrics: &[Metric]) -> String {
    let name = row.contender.name();
    let mut html = format!("<tr><th class=\"{}\">{name}</th>", palette::class(row.contender));
    for metric in metrics {
        match row.metrics.get(metric) {
            Some(spread) => {
                let text = |value| grouped(value, decimals(*metric, spread.median));
                let (median, min, max) = (text(spread.median), text(spread.min), text(spread.max));
                let range = if min == max { String::new() } else { format!("<small>{min}–{max}</small>") };
                let _ = write!(html, "<td>{median}{range}</td>");
            }
            None => html.push_str("<td></td>"),
        }
    }
    html.push_str("</tr>\n");
    html
}

/// As many as on a terminal, or as many as it takes to see two digits of a small value.
fn decimals(metric: Metric, median: f64) -> usize {
    let usual = metric.decimals();
    let small = match usual {
        0 => 10.0,
        1 => 1.0,
        _ => 0.01,
    };
    if median > 0.0 && median < small { usual + 2 } else { usual }
}

/// Where there is one contender only: its figures, large.
pub(crate) fn tiles(section: &Section<'_>) -> String {
    let [row] = section.rows[..] else { return String::new() };
    let present =
        columns(section.workload).iter().filter_map(|metric| Some((metric, row.metrics.get(metric)?)));
    let tiles = present.map(|(metric, spread)| {
        format!(
            "<div><dt>{}</dt><dd>{}</dd></div>\n",
            metric.title(),
            grouped(spread.median, decimals(*metric, spread.median))
        )
    });
    format!("<dl class=\"tiles\">\n{}</dl>\n", tiles.collect::<String>())
}

/// Ratios of the cost; and, folded away, of everything else.
pub(crate) fn ratios(section: &Section<'_>) -> String {
    let cost = task(section).map(|task| task.cost());
    let (of_cost, others): (Vec<&Ratio>, Vec<&Ratio>) =
        section.ratios.iter().partition(|ratio| Some(ratio.metric) == cost);
    let mut html = String::new();
    for (title, ratios) in [("Paired ratios", of_cost), ("Paired ratios of other metrics", others)] {
        if !ratios.is_empty() {
            let _ = write!(
                html,
                "<details><summary>{title} ({})</summary>\n{}</details>\n",
                ratios.len(),
                of(&ratios)
            );
        }
    }
    html
}

fn of(ratios: &[&Ratio]) -> String {
    let reach = reach(ratios);
    let (least, most) = (1.0 / reach, reach);
    let mut html = format!(
        "<div class=\"scroll\"><table class=\"ratios\">\n<thead><tr><th>of</th><th>to</th><th>metric</th><th>median</th>\
         <th>95 %</th><th>all rounds</th><th class=\"forest\"><span>×{least:.2}</span><span>1</span><span>×{most:.2}</span></th>\
         <th></th></tr></thead>\n<tbody>\n"
    );
    for ratio in ratios {
        let interval = ratio.interval.map_or_else(|| "–".into(), |(low, high)| format!("{low:.3}–{high:.3}"));
        let (mood, word) = mood(ratio);
        let _ = writeln!(
            html,
            "<tr class=\"{mood}\"><th class=\"{}\">{}</th><th class=\"{}\">{}</th><td class=\"word\">{}</td><td>×{:.3}</td><td>{interval}</td>\
             <td>{:.3}–{:.3}</td><td class=\"forest\">{}</td><td class=\"word\">{word}</td></tr>",
            palette::class(ratio.of),
            ratio.of.name(),
            palette::class(ratio.to),
            ratio.to.name(),
            ratio.metric.title(),
            ratio.spread.median,
            ratio.spread.min,
            ratio.spread.max,
            forest(ratio, reach),
        );
    }
    html.push_str("</tbody></table></div>\n");
    html
}

/// Whether it is good news, and the word for it.
fn mood(ratio: &Ratio) -> (&'static str, &'static str) {
    match (Verdict::of(ratio.interval), ratio.metric.more_is_better()) {
        (Verdict::Less { .. }, false) => ("good", "less"),
        (Verdict::Less { .. }, true) => ("bad", "less"),
        (Verdict::More { .. }, false) => ("bad", "more"),
        (Verdict::More { .. }, true) => ("good", "more"),
        (Verdict::Alike { .. }, _) => ("alike", "not told apart"),
        (Verdict::TooFewRounds, _) => ("alike", "too few rounds"),
    }
}

/// How far a drawing of ratios reaches to either side of 1, so that the widest of their intervals fills it.
fn reach(ratios: &[&Ratio]) -> f64 {
    let far = ratios.iter().map(|ratio| {
        let (low, high) = range(ratio);
        high.max(1.0 / low.max(f64::MIN_POSITIVE))
    });
    // Beyond three times, what is near 1 could not be seen.
    (far.fold(1.0, f64::max) * 1.02).clamp(1.1, 3.0)
}

/// The interval; without one, everything that was found.
fn range(ratio: &Ratio) -> (f64, f64) {
    ratio.interval.unwrap_or((ratio.spread.min, ratio.spread.max))
}

/// A ratio's interval beside 1.
fn forest(ratio: &Ratio, reach: f64) -> String {
    let x = Axis { scale: Scale::Log, low: 1.0 / reach, high: reach, from: 3.0, to: 137.0 };
    let (low, high) = range(ratio);
    let (one, median, low, high) = (x.at(1.0), x.at(ratio.spread.median), x.at(low), x.at(high));
    let kind = if ratio.interval.is_some() { "interval" } else { "interval weak" };
    format!(
        "<svg viewBox=\"0 0 140 14\" width=\"140\" height=\"14\" aria-hidden=\"true\">\
         <path class=\"one\" d=\"M{one:.1} 0V14\"/><path class=\"{kind}\" d=\"M{low:.1} 7H{high:.1}\"/>\
         <circle class=\"dot\" cx=\"{median:.1}\" cy=\"7\" r=\"2.8\"/></svg>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::specimen;

    #[test]
    fn the_page_has_room_for_every_metric() {
        let echo = specimen::part("echo", figures);
        for title in ["CPU ns/message", "p99 µs", "generator busy"] {
            assert!(echo.contains(&format!("<th>{title}</th>")), "{title}");
        }
    }

    #[test]
    fn ratios_have_their_interval_and_a_word() {
        let echo = specimen::part("echo", ratios);
        assert!(
            echo.contains("not told apart")
                && echo.contains("class=\"bad\"")
                && echo.contains("class=\"good\"")
        );
    }

    #[test]
    fn a_drawing_of_ratios_reaches_as_far_as_its_intervals() {
        let report = specimen::all();
        let of = |part: &str| {
            let ratios = report.ratios.iter().filter(|ratio| ratio.part.as_deref() == Some(part));
            reach(&ratios.collect::<Vec<_>>())
        };
        assert!((1.3..2.0).contains(&of("echo")), "{}", of("echo"));
        assert!((of("memory") - 3.0).abs() < 1e-9);
        assert!((reach(&[]) - 1.1).abs() < 1e-9);
    }

    #[test]
    fn a_small_value_is_not_told_as_nothing() {
        assert_eq!(decimals(Metric::CpuMsPerConnHour, 0.004), 4);
        assert_eq!(decimals(Metric::CpuMsPerConnHour, 12.0), 2);
        assert_eq!(decimals(Metric::ServerBusy, 0.04), 2);
        assert_eq!(decimals(Metric::Early, 0.0), 0);
    }

    #[test]
    fn one_contender_is_shown_large() {
        assert!(specimen::part("scale", tiles).contains("<dd>250\u{202f}000</dd>"));
        assert_eq!(specimen::part("echo", tiles), "");
    }
}
