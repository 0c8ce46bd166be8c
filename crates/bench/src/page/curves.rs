//! Distributions: time against quantile, where each nine more has as much room as the one before.

use super::axis::{Axis, Scale, log_range};
use super::lines::{self, LEFT, Line, Lines, RIGHT};
use super::text::Unit;
use crate::metric::{Curve, Metric};
use crate::report::Section;

/// What a log axis begins at, at the least: a tenth of a microsecond is less than a clock read is worth.
const LEAST_US: f64 = 0.1;

/// All curves of a section, each with a caption.
pub(crate) fn draw(section: &Section<'_>) -> String {
    [Curve::LatencyUs, Curve::SeenUs].into_iter().filter_map(|curve| draw_curve(section, curve)).collect()
}

fn draw_curve(section: &Section<'_>, curve: Curve) -> Option<String> {
    let rows = section.rows.iter().filter_map(|row| Some((row.contender, row.curves.get(&curve)?)));
    // Of one point no line can be drawn.
    let rows: Vec<_> = rows.filter(|(_, points)| points.len() > 1).collect();
    let values = || rows.iter().flat_map(|(_, points)| points.iter().map(|(_, value)| value.max(LEAST_US)));
    let (low, high) = (values().min_by(f64::total_cmp)?, values().max_by(f64::total_cmp)?);
    let finest =
        rows.iter().flat_map(|(_, points)| points.iter()).filter_map(|(quantile, _)| nines(*quantile));
    let finest = finest.fold(1.0, f64::max);
    // The last value of all has no place among the nines, but one of its own beyond them.
    let last = finest + 0.5;
    let x = Axis { scale: Scale::Linear, low: 0.0, high: last, from: LEFT, to: RIGHT };
    let y = lines::upwards(Scale::Log, log_range(low, high), rows.len());
    let drawn = rows.iter().map(|(contender, points)| {
        let place = |(quantile, value): &(f64, f64)| {
            (x.at(nines(*quantile).unwrap_or(last)), y.at(value.max(LEAST_US)))
        };
        Line { contender: *contender, points: points.iter().map(place).collect(), whiskers: Vec::new() }
    });
    let known =
        [(0.0, "0 %"), (0.5, "50 %"), (0.9, "90 %"), (0.99, "99 %"), (0.999, "99.9 %"), (0.9999, "99.99 %")];
    let known = known.into_iter().chain([(0.999_99, "99.999 %")]).filter_map(|(quantile, label)| {
        let place = nines(quantile)?;
        (place <= finest + 0.01).then(|| (x.at(place), label.to_owned()))
    });
    let ticks = y.ticks().into_iter().map(|tick| (y.at(tick), time(tick)));
    let (title, caption) = words(section, curve);
    let drawing = Lines {
        told: format!("{title} against quantile, a line for each contender; the figures are in the table"),
        x_title: "quantile".into(),
        y_title: title.into(),
        x_ticks: known.chain([(x.at(last), "last".to_owned())]).collect(),
        y_ticks: ticks.collect(),
        series: drawn.collect(),
    };
    Some(format!("<figure>{}<figcaption>{caption}</figcaption></figure>\n", drawing.draw()))
}

/// A tick, with its unit, since they are not all in the same.
fn time(us: f64) -> String {
    // What is a millisecond but for the last bit is one.
    let unit = Unit::of(Metric::LatencyP50Us, us * 1.001);
    format!("{}\u{a0}{}", unit.tick(us), unit.name)
}

/// How many nines a quantile has: 0.99 has two. The last value has none that can be counted.
fn nines(quantile: f64) -> Option<f64> {
    (quantile < 1.0).then(|| -(1.0 - quantile.max(0.0)).log10())
}

fn words(section: &Section<'_>, curve: Curve) -> (&'static str, &'static str) {
    match (curve, section.workload) {
        (Curve::LatencyUs, "storm") => (
            "connect to answer",
            "Time from a device's connect to the answer to its claim, all rounds together, by the generator's clock. \
             Both axes are logarithmic: each step to the right holds a tenth of what is left.",
        ),
        (Curve::LatencyUs, "fanout") => (
            "tick to delivery",
            "Time from the tick to each delivery, all rounds together, by the generator's clock. Both axes are \
             logarithmic: each step to the right holds a tenth of what is left.",
        ),
        (Curve::LatencyUs, _) => (
            "send to answer",
            "Time from send to answer, all rounds together, by the generator's clock. With as many messages under way as \
             there are connections, it is mostly the time that a message waits for its turn. Both axes are logarithmic: \
             each step to the right holds a tenth of what is left.",
        ),
        (Curve::SeenUs, _) => (
            "deadline to reset",
            "Lateness: time from a device's deadline until the device sees that it was reset, all rounds together, by \
             the generator's clock. Both axes are logarithmic: each step to the right holds a tenth of what is left.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::specimen;

    #[test]
    fn each_nine_has_the_same_room() {
        let place = |quantile| nines(quantile).unwrap();
        assert!((place(0.99) - 2.0 * place(0.9)).abs() < 1e-9);
        assert!(place(0.0).abs() < 1e-12);
        assert_eq!(nines(1.0), None);
    }

    #[test]
    fn every_contender_with_a_curve_has_a_named_line() {
        let report = specimen::all();
        let sections = report.sections();
        let echo = sections.iter().find(|section| section.title == Some("echo")).unwrap();
        let drawn = draw(echo);
        for row in &echo.rows {
            assert!(drawn.contains(&format!(">{}</text>", row.contender.name())));
        }
        assert!(drawn.contains(">99.9 %</text>") && drawn.contains(">last</text>"));
    }

    #[test]
    fn without_distributions_there_is_no_drawing() {
        let report = specimen::all();
        let sections = report.sections();
        let memory = sections.iter().find(|section| section.title == Some("memory")).unwrap();
        assert_eq!(draw(memory), "");
    }
}
