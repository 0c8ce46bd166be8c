//! Bars of what each contender costs, cheapest first, with the spread of the rounds.

use std::fmt::Write;

use super::axis::{Axis, Scale};
use super::palette;
use super::task;
use super::text::{Unit, escape};
use crate::contender::Contender;
use crate::metric::Metric;
use crate::report::Section;
use crate::statistics::Spread;

const WIDTH: f64 = 860.0;
const LEFT: f64 = 218.0;
const RIGHT: f64 = 680.0;
const ROW: f64 = 25.0;
const TOP: f64 = 8.0;
/// A round that was so many times the largest median is drawn as an arrow, or nothing else would be seen.
const AIR: f64 = 1.35;

struct Bar {
    contender: Contender,
    spread: Spread,
    /// What is stacked upon it.
    more: Option<Spread>,
}

impl Bar {
    fn median(&self) -> f64 {
        self.spread.median.max(0.0) + self.more.map_or(0.0, |more| more.median.max(0.0))
    }

    /// From least to most, of both together.
    fn range(&self) -> (f64, f64) {
        // The rounds' sums are not in the report; the larger part's range beside the other's median is near them.
        match self.more {
            None => (self.spread.min.max(0.0), self.spread.max.max(0.0)),
            Some(more) => {
                let below = self.spread.median.max(0.0);
                (below + more.min.max(0.0), below + more.max.max(0.0))
            }
        }
    }
}

/// The bars of a section, with a caption; nothing where fewer than two can be compared.
pub(crate) fn draw(section: &Section<'_>) -> String {
    let Some(cost) = task(section).map(|task| task.cost()) else { return String::new() };
    let stacked = (cost == Metric::UserBytes).then_some(Metric::KernelBytes);
    let bars = section.rows.iter().filter_map(|row| {
        let more = stacked.and_then(|metric| row.metrics.get(&metric).copied());
        Some(Bar { contender: row.contender, spread: *row.metrics.get(&cost)?, more })
    });
    let mut bars: Vec<Bar> = bars.collect();
    if bars.len() < 2 {
        return String::new();
    }
    bars.sort_by(|one, other| one.median().total_cmp(&other.median()));
    let caption = match stacked {
        Some(_) => {
            "Full: the server process itself. Striped: the kernel, for the server's end of the connection. Whiskers from \
             the least to the most of all rounds, of the kernel's part."
        }
        None => "Medians of all rounds; whiskers from the least to the most of them.",
    };
    format!("<figure>{}{}<figcaption>{caption}</figcaption></figure>\n", legend(&bars), drawing(&bars, cost))
}

fn legend(bars: &[Bar]) -> String {
    let present = palette::FAMILIES
        .iter()
        .filter(|(family, _)| bars.iter().any(|bar| palette::family(bar.contender) == *family));
    let keys = present.map(|(family, name)| {
        format!("<span class=\"key\"><span class=\"chip {family} v0\"></span>{name}</span>")
    });
    format!("<p class=\"legend\">{}</p>\n", keys.collect::<Vec<_>>().join(" "))
}

fn drawing(bars: &[Bar], cost: Metric) -> String {
    let longest = bars.iter().map(Bar::median).fold(0.0, f64::max);
    let widest = bars.iter().map(|bar| bar.range().1).fold(longest, f64::max);
    let high = if longest > 0.0 { widest.min(longest * AIR) } else { 1.0 };
    let x = Axis { scale: Scale::Linear, low: 0.0, high, from: LEFT, to: RIGHT };
    let unit = Unit::of(cost, longest);
    let bottom = TOP + ROW * bars.len() as f64;
    let height = bottom + 40.0;
    let told = format!(
        "{}, a bar for each contender, the cheapest first; the figures are in the table",
        cost.spoken()
    );
    let mut svg = format!(
        "<div class=\"plot\"><svg viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" aria-label=\"{}\">\n",
        escape(&told)
    );
    for tick in x.ticks() {
        let (at, foot, label) = (x.at(tick), bottom + 15.0, unit.tick(tick));
        let _ = writeln!(svg, "<path class=\"grid\" d=\"M{at:.1} {TOP}V{bottom}\"/>");
        let _ = writeln!(svg, "<text class=\"tick middle\" x=\"{at:.1}\" y=\"{foot}\">{label}</text>");
    }
    let (middle, foot) = (f64::midpoint(LEFT, RIGHT), bottom + 33.0);
    let title = axis_title(cost, unit);
    let _ = writeln!(svg, "<text class=\"axis middle\" x=\"{middle}\" y=\"{foot}\">{title}</text>");
    for (place, bar) in bars.iter().enumerate() {
        draw_bar(bar, &x, unit, TOP + ROW * place as f64, &mut svg);
    }
    svg.push_str("</svg></div>\n");
    svg
}

fn axis_title(cost: Metric, unit: Unit) -> String {
    if cost == Metric::UserBytes {
        return format!("memory per idle connection, {}", unit.name);
    }
    format!("{}, {}", cost.spoken(), unit.name)
}

fn draw_bar(bar: &Bar, x: &Axis, unit: Unit, top: f64, svg: &mut String) {
    let (class, name) = (palette::class(bar.contender), bar.contender.name());
    let (upper, middle, baseline) = (top + 4.0, top + ROW / 2.0, top + ROW / 2.0 + 4.5);
    let thick = ROW - 8.0;
    let label = LEFT - 8.0;
    let base = x.at(bar.spread.median.max(0.0));
    let width = base - LEFT;
    let _ = write!(
        svg,
        "<g class=\"{class}\"><text class=\"name end\" x=\"{label}\" y=\"{baseline:.1}\">{name}</text>\
         <rect class=\"bar\" x=\"{LEFT}\" y=\"{upper:.1}\" width=\"{width:.1}\" height=\"{thick}\"/>"
    );
    if bar.more.is_some() {
        draw_stripes(base, x.at(bar.median()), upper, thick, svg);
    }
    let (low, high) = bar.range();
    draw_whisker(x.at(low), x.at(high), high > x.high, middle, svg);
    let value = RIGHT + 12.0;
    let figure = match bar.more {
        Some(more) => format!("{} + {}", unit.number(bar.spread.median), unit.told(more.median)),
        None => unit.told(bar.spread.median),
    };
    let _ = write!(svg, "<text class=\"value\" x=\"{value}\" y=\"{baseline:.1}\">{figure}");
    if bar.more.is_none() {
        let _ = write!(svg, " <tspan class=\"faint\">{}–{}</tspan>", unit.number(low), unit.number(high));
    }
    svg.push_str("</text></g>\n");
}

/// A part that is told from the other without colour.
fn draw_stripes(from: f64, to: f64, top: f64, thick: f64, svg: &mut String) {
    let width = (to - from).max(0.0);
    let _ = write!(
        svg,
        "<rect class=\"bar light\" x=\"{from:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{thick}\"/>"
    );
    let stripes = (1..=((width / 7.0) as u32)).map(|stripe| from + f64::from(stripe) * 7.0);
    let mut path = String::new();
    for at in stripes {
        let _ = write!(path, "M{:.1} {:.1}L{at:.1} {top:.1}", at - 7.0, top + thick);
    }
    if !path.is_empty() {
        let _ = write!(svg, "<path class=\"stripe\" d=\"{path}\"/>");
    }
}

fn draw_whisker(low: f64, high: f64, beyond: bool, middle: f64, svg: &mut String) {
    let (upper, lower) = (middle - 4.0, middle + 4.0);
    let end = if beyond {
        format!("M{:.1} {upper:.1}L{high:.1} {middle:.1}L{:.1} {lower:.1}", high - 5.0, high - 5.0)
    } else {
        format!("M{high:.1} {upper:.1}V{lower:.1}")
    };
    let path = format!("M{low:.1} {middle:.1}H{high:.1}M{low:.1} {upper:.1}V{lower:.1}{end}");
    // Seen on a bar as well as beside it.
    let _ = write!(svg, "<path class=\"halo\" d=\"{path}\"/><path class=\"whisker\" d=\"{path}\"/>");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::specimen;

    fn drawn(title: &str) -> String {
        let report = specimen::all();
        let sections = report.sections();
        draw(sections.iter().find(|section| section.title == Some(title)).unwrap())
    }

    #[test]
    fn the_cheapest_comes_first() {
        let echo = drawn("echo");
        let place = |name: &str| echo.find(&format!(">{name}</text>")).unwrap();
        assert!(place("bare_uring") < place("tokio") && place("tokio") < place("glommio"));
    }

    #[test]
    fn memory_is_stacked_and_told_apart_without_colour() {
        assert!(drawn("memory").contains("class=\"stripe\""));
        assert!(!drawn("echo").contains("class=\"stripe\""));
    }

    #[test]
    fn one_bar_compares_nothing() {
        assert_eq!(drawn("scale"), "");
    }

    #[test]
    fn a_wild_round_is_an_arrow_and_leaves_room_for_the_others() {
        let spread = |median, max| Spread { median, min: median * 0.9, max };
        let bar = |spread| Bar { contender: crate::contender::Server::Mio.usual(), spread, more: None };
        let drawn = drawing(&[bar(spread(100.0, 110.0)), bar(spread(110.0, 9000.0))], Metric::CpuNsPerBeat);
        let widths = drawn
            .split("class=\"bar\"")
            .filter_map(|bar| bar.split("width=\"").nth(1)?.split('"').next()?.parse::<f64>().ok());
        assert!(widths.fold(0.0, f64::max) > 300.0, "{drawn}");
    }
}
