//! A drawing with one line per contender, named at its end.

use std::fmt::Write;

use super::axis::{Axis, spread_labels};
use super::palette;
use super::text::escape;
use crate::contender::Contender;

const WIDTH: f64 = 860.0;
/// Where the lines are, within the drawing.
pub(crate) const LEFT: f64 = 84.0;
pub(crate) const RIGHT: f64 = 616.0;
const TOP: f64 = 14.0;
/// Between the names of two lines.
const LINE_HEIGHT: f64 = 15.0;

/// Everything in the drawing's own units.
pub(crate) struct Lines {
    /// For those who cannot see it.
    pub(crate) told: String,
    pub(crate) x_title: String,
    pub(crate) y_title: String,
    pub(crate) x_ticks: Vec<(f64, String)>,
    pub(crate) y_ticks: Vec<(f64, String)>,
    pub(crate) series: Vec<Line>,
}

pub(crate) struct Line {
    pub(crate) contender: Contender,
    pub(crate) points: Vec<(f64, f64)>,
    /// From where to where each point's rounds were, if that is to be shown; and the points themselves, with marks.
    pub(crate) whiskers: Vec<(f64, f64, f64)>,
}

/// The height that so many names need.
pub(crate) fn bottom(lines: usize) -> f64 {
    TOP + (lines as f64 * LINE_HEIGHT + 20.0).max(270.0)
}

/// The vertical axis, upwards.
pub(crate) fn upwards(scale: super::axis::Scale, (low, high): (f64, f64), lines: usize) -> Axis {
    Axis { scale, low, high, from: bottom(lines), to: TOP }
}

impl Lines {
    pub(crate) fn draw(&self) -> String {
        let bottom = bottom(self.series.len());
        let height = bottom + 46.0;
        let mut svg = format!(
            "<div class=\"plot\"><svg viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" aria-label=\"{}\">\n",
            escape(&self.told)
        );
        self.draw_grid(bottom, &mut svg);
        // heartring's over the others.
        let (above, below): (Vec<&Line>, Vec<&Line>) =
            self.series.iter().partition(|line| line.contender.is_heartring());
        below.into_iter().chain(above).for_each(|line| draw_line(line, &mut svg));
        self.draw_names(bottom, &mut svg);
        svg.push_str("</svg></div>\n");
        svg
    }

    fn draw_grid(&self, bottom: f64, svg: &mut String) {
        for (y, label) in &self.y_ticks {
            let text = y + 4.0;
            let _ = writeln!(svg, "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{RIGHT}\"/>");
            let x = LEFT - 8.0;
            let _ =
                writeln!(svg, "<text class=\"tick end\" x=\"{x}\" y=\"{text:.1}\">{}</text>", escape(label));
        }
        for (x, label) in &self.x_ticks {
            let text = bottom + 17.0;
            let _ = writeln!(svg, "<path class=\"grid\" d=\"M{x:.1} {TOP}V{bottom:.1}\"/>");
            let _ = writeln!(
                svg,
                "<text class=\"tick middle\" x=\"{x:.1}\" y=\"{text:.1}\">{}</text>",
                escape(label)
            );
        }
        let (middle, foot) = (f64::midpoint(LEFT, RIGHT), bottom + 37.0);
        let x_title = escape(&self.x_title);
        let _ = writeln!(svg, "<text class=\"axis middle\" x=\"{middle}\" y=\"{foot:.1}\">{x_title}</text>");
        let (side, centre) = (14.0, f64::midpoint(TOP, bottom));
        let y_title = escape(&self.y_title);
        let _ = writeln!(
            svg,
            "<text class=\"axis middle\" x=\"{side}\" y=\"{centre:.1}\" transform=\"rotate(-90 {side} {centre:.1})\">{y_title}</text>"
        );
    }

    /// Beside the ends of their lines, in the same order and never over one another; what leads to a name is drawn like
    /// its line.
    fn draw_names(&self, bottom: f64, svg: &mut String) {
        let ends = self.series.iter().filter_map(|line| Some((line, *line.points.last()?)));
        let ends: Vec<(&Line, (f64, f64))> = ends.collect();
        let wanted: Vec<f64> = ends.iter().map(|(_, (_, y))| *y).collect();
        let places = spread_labels(&wanted, LINE_HEIGHT, TOP, bottom);
        for ((line, (x, y)), place) in ends.into_iter().zip(places) {
            let (class, dash) = (palette::class(line.contender), palette::dash(line.contender));
            let (bend, stop, text) = (RIGHT + 12.0, RIGHT + 36.0, RIGHT + 41.0);
            let baseline = place + 4.0;
            let name = line.contender.name();
            let _ = writeln!(
                svg,
                "<g class=\"{class}\"><path class=\"lead\" d=\"M{x:.1} {y:.1}L{bend} {place:.1}\"/>\
                 <path class=\"line\" stroke-dasharray=\"{dash}\" d=\"M{bend} {place:.1}H{stop}\"/>\
                 <text class=\"name\" x=\"{text}\" y=\"{baseline:.1}\">{name}</text></g>"
            );
        }
    }
}

fn draw_line(line: &Line, svg: &mut String) {
    let (class, dash) = (palette::class(line.contender), palette::dash(line.contender));
    let points = line.points.iter().map(|(x, y)| format!("{x:.1} {y:.1}"));
    let path = points.collect::<Vec<_>>().join("L");
    let _ =
        write!(svg, "<g class=\"{class}\"><path class=\"line\" stroke-dasharray=\"{dash}\" d=\"M{path}\"/>");
    for (x, low, high) in &line.whiskers {
        let _ = write!(svg, "<path class=\"range\" d=\"M{x:.1} {low:.1}V{high:.1}\"/>");
    }
    if !line.whiskers.is_empty() {
        line.points.iter().for_each(|(x, y)| svg.push_str(&palette::mark(line.contender, *x, *y)));
    }
    svg.push_str("</g>\n");
}
