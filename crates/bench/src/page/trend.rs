//! Cost against size: sections that differ in one number only, side by side, and where the order of two contenders turns.

use std::collections::BTreeSet;

use serde_json::Value;

use super::axis::{Axis, Scale, linear_range, log_range};
use super::lines::{self, LEFT, Line, Lines, RIGHT};
use super::standing::{self, Statement};
use super::text::{Unit, escape, grouped};
use super::{anchor_of, task};
use crate::contender::Contender;
use crate::metric::Metric;
use crate::report::Section;

/// A cost that varies by so much needs a log axis, or the cheap could not be told apart.
const LINEAR_MAX: f64 = 6.0;

/// The number in which sections differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Vary {
    Connections,
    Deadline,
}

impl Vary {
    const ALL: [Vary; 2] = [Vary::Connections, Vary::Deadline];

    fn param(self) -> &'static str {
        match self {
            Vary::Connections => "connections",
            Vary::Deadline => "dead_within_s",
        }
    }

    /// One of its values, alone.
    fn number(self, value: f64) -> String {
        match self {
            Vary::Connections => grouped(value, 0),
            Vary::Deadline => format!("{value} s"),
        }
    }

    /// Some of its values, in a sentence.
    pub(crate) fn at(self, values: &[f64]) -> String {
        let numbers: Vec<String> = values.iter().map(|value| self.number(*value)).collect();
        let numbers = super::text::list(&numbers);
        match (self, values.len()) {
            (Vary::Connections, _) => format!("at {numbers} connections"),
            (Vary::Deadline, 1) => format!("with a deadline of {numbers}"),
            (Vary::Deadline, _) => format!("with deadlines of {numbers}"),
        }
    }

    pub(crate) fn everywhere(self) -> &'static str {
        match self {
            Vary::Connections => "at every count",
            Vary::Deadline => "with every deadline",
        }
    }

    pub(crate) fn nowhere(self) -> &'static str {
        match self {
            Vary::Connections => "at any count",
            Vary::Deadline => "with any deadline",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Vary::Connections => "connections",
            Vary::Deadline => "deadline, seconds",
        }
    }
}

/// Sections that can be drawn as one.
pub(crate) struct Trend<'a> {
    pub(crate) vary: Vary,
    pub(crate) cost: Metric,
    /// By the number in which they differ, rising.
    pub(crate) steps: Vec<(f64, &'a Section<'a>)>,
}

/// All that there are.
pub(crate) fn find<'a>(sections: &'a [Section<'a>]) -> Vec<Trend<'a>> {
    let mut trends: Vec<Trend<'a>> = Vec::new();
    for vary in Vary::ALL {
        let mut groups: Vec<(String, Trend<'a>)> = Vec::new();
        for section in sections {
            let Some((likeness, cost, value)) = likeness(section, vary) else { continue };
            match groups.iter_mut().find(|(of, _)| *of == likeness) {
                Some((_, trend)) => trend.steps.push((value, section)),
                None => groups.push((likeness, Trend { vary, cost, steps: vec![(value, section)] })),
            }
        }
        for (_, mut trend) in groups {
            trend.steps.sort_by(|(one, _), (other, _)| one.total_cmp(other));
            trend.steps.dedup_by(|(one, _), (other, _)| one.total_cmp(other).is_eq());
            if trend.steps.len() > 1 {
                trends.push(trend);
            }
        }
    }
    trends
}

/// Everything in which sections of one trend are alike, and where in it this one stands.
fn likeness(section: &Section<'_>, vary: Vary) -> Option<(String, Metric, f64)> {
    let cost = task(section)?.cost();
    // What only says how long was measured; and a rate of beats that follows from the fleet and its deadline.
    let ignored = [vary.param(), "rounds", "seconds", "warmup_seconds", "rate"];
    let params: Vec<(&String, &Value)> =
        section.params.iter().filter(|(name, _)| !ignored.contains(&name.as_str())).collect();
    let failed = section.failures.iter().map(|failure| failure.contender);
    let contenders: BTreeSet<Contender> =
        section.rows.iter().map(|row| row.contender).chain(failed).collect();
    let value = section.number(vary.param()).filter(|value| *value > 0.0)?;
    Some((format!("{} {cost:?} {params:?} {contenders:?}", section.workload), cost, value))
}

impl Trend<'_> {
    /// Whether it is told before this section.
    pub(crate) fn begins_with(&self, section: &Section<'_>) -> bool {
        std::ptr::eq(self.steps[0].1, section)
    }

    pub(crate) fn title(&self) -> String {
        let what = match self.vary {
            Vary::Connections => "by the count of connections",
            Vary::Deadline => "by the deadline",
        };
        let common = self.common();
        format!("{common}: {} {what}", self.cost.spoken())
    }

    /// What the titles of its sections have in common.
    fn common(&self) -> String {
        let titles = self.steps.iter().map(|(_, section)| section.title.unwrap_or(section.workload));
        let titles: Vec<&str> = titles.collect();
        let first = titles[0];
        let shared = |length: &usize| titles.iter().all(|title| title.get(..*length) == first.get(..*length));
        let length =
            (0..=first.len()).filter(|length| first.is_char_boundary(*length)).take_while(shared).last();
        let common = first[..length.unwrap_or(0)].trim_end_matches(|letter: char| !letter.is_alphabetic());
        if common.is_empty() { self.steps[0].1.workload.into() } else { common.into() }
    }

    /// When it turns; or, if it does not, how heartring as it usually is stands to the others. And all else that can be said.
    pub(crate) fn statements(&self) -> (Vec<Statement>, Vec<Statement>) {
        let statements = standing::statements(self);
        let turns = statements.iter().any(|statement| statement.turns);
        let subject = statements.first().map(|statement| statement.of);
        statements.into_iter().partition(
            |statement| {
                if turns { statement.turns } else { Some(statement.of) == subject }
            },
        )
    }

    /// Drawing, statements, and where the figures are.
    pub(crate) fn draw(&self) -> String {
        let links = self.steps.iter().map(|(value, section)| {
            format!("<a href=\"#{}\">{}</a>", anchor_of(section), escape(&self.vary.number(*value)))
        });
        let links = links.collect::<Vec<_>>().join(", ");
        let caption = format!(
            "Medians; bars from the least to the most of all rounds. The sizes were measured one after the other, so that the \
             distance of two lines at one place means more than the slope of one. Figures: {links}."
        );
        format!("<figure>{}<figcaption>{caption}</figcaption></figure>\n", self.lines().draw())
    }

    fn contenders(&self) -> Vec<Contender> {
        let mut contenders: Vec<Contender> = Vec::new();
        for row in self.steps.iter().flat_map(|(_, section)| &section.rows) {
            if !contenders.contains(&row.contender) && row.metrics.contains_key(&self.cost) {
                contenders.push(row.contender);
            }
        }
        contenders
    }

    fn lines(&self) -> Lines {
        let contenders = self.contenders();
        let spreads = |contender| {
            let of = move |(value, section): &(f64, &Section<'_>)| {
                Some((*value, section.spread(contender, self.cost)?))
            };
            self.steps.iter().filter_map(of).collect::<Vec<_>>()
        };
        let all: Vec<_> = contenders.iter().flat_map(|contender| spreads(*contender)).collect();
        let least = all.iter().map(|(_, spread)| spread.median).fold(f64::INFINITY, f64::min).max(0.0);
        let most = all.iter().map(|(_, spread)| spread.median).fold(0.0, f64::max);
        // Bars up to a little more than the largest median; a wild round is cut off there.
        let widest = all.iter().map(|(_, spread)| spread.max).fold(most, f64::max).min(most * 1.12);
        let (first, last) = (self.steps[0].0, self.steps[self.steps.len() - 1].0);
        // The first points stand off the axis, so that their bars are seen.
        let x = Axis { scale: Scale::Log, low: first * 0.85, high: last * 1.1, from: LEFT, to: RIGHT };
        let y = if least > 0.0 && most / least > LINEAR_MAX {
            lines::upwards(Scale::Log, log_range(least, most), contenders.len())
        } else {
            lines::upwards(Scale::Linear, linear_range(least, widest), contenders.len())
        };
        let unit = Unit::of(self.cost, most);
        let line = |(place, contender): (usize, &Contender)| {
            // Beside one another, so that bars do not hide bars.
            let aside = (place as f64 - contenders.len() as f64 / 2.0) * 2.5;
            let points: Vec<_> = spreads(*contender);
            let at = |(value, spread): &(f64, crate::statistics::Spread)| {
                (x.at(*value) + aside, y.at(spread.median), y.at(spread.min), y.at(spread.max))
            };
            let placed: Vec<_> = points.iter().map(at).collect();
            Line {
                contender: *contender,
                points: placed.iter().map(|(x, median, _, _)| (*x, *median)).collect(),
                whiskers: placed.iter().map(|(x, _, min, max)| (*x, *min, *max)).collect(),
            }
        };
        let x_ticks = self.steps.iter().map(|(value, _)| (x.at(*value), self.vary.number(*value)));
        Lines {
            told: format!(
                "{}, a line for each contender; the figures are in the tables of its sections",
                self.title()
            ),
            x_title: self.vary.title().into(),
            y_title: format!("{}, {}", self.cost.spoken(), unit.name),
            x_ticks: x_ticks.collect(),
            y_ticks: y.ticks().into_iter().map(|tick| (y.at(tick), unit.tick(tick))).collect(),
            series: contenders.iter().enumerate().map(line).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::specimen;

    #[test]
    fn parts_that_differ_in_one_number_are_one_trend() {
        let report = specimen::all();
        let sections = report.sections();
        let found = find(&sections);
        let steps =
            |trend: &Trend<'_>| trend.steps.iter().map(|(value, _)| *value as u32).collect::<Vec<_>>();
        let found: Vec<_> = found.iter().map(|trend| (trend.title(), steps(trend))).collect();
        let title = |text: &str| String::from(text);
        assert_eq!(
            found,
            [
                (
                    title("deadlines: echo: CPU per message by the count of connections"),
                    vec![1000, 10_000, 19_000]
                ),
                (title("deadlines: beats, 19000 connections: CPU per beat by the deadline"), vec![2, 60]),
            ]
        );
    }

    #[test]
    fn a_drawing_names_every_contender_and_every_size() {
        let report = specimen::all();
        let sections = report.sections();
        let drawn = find(&sections)[0].draw();
        assert!(drawn.contains(">bare_uring_rearmed</text>") && drawn.contains(">10\u{202f}000</text>"));
        assert!(drawn.contains("href=\"#at-deadlines-echo-10000-connections\""));
    }
}
