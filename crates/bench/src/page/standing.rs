//! How two contenders stand to one another from size to size, and where it turns.

use super::text::list;
use super::trend::{Trend, Vary};
use crate::contender::{Contender, Mode, Server};
use crate::metric::Metric;
use crate::report::Section;
use crate::verdict::Verdict;

/// How one's cost stands to another's, in one section.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Standing {
    /// By what share, where rounds were compared.
    Cheaper(Option<f64>),
    Costlier(Option<f64>),
    Alike,
    /// One of them was not measured, or nothing can be said.
    Absent,
}

/// One sentence about a contender and some others.
#[derive(Debug, PartialEq)]
pub(crate) struct Statement {
    /// Of whom it is.
    pub(crate) of: Contender,
    /// Whether it tells of a turn.
    pub(crate) turns: bool,
    pub(crate) text: String,
}

/// What stands between two contenders over all sizes.
#[derive(Debug, Clone, PartialEq)]
enum Course {
    Alike,
    Cheaper(Vec<f64>),
    Costlier(Vec<f64>),
    Turns,
    Absent,
}

/// Everything that can be said, the turns first. heartring's contenders are the subjects, and the references that keep
/// deadlines.
pub(crate) fn statements(trend: &Trend<'_>) -> Vec<Statement> {
    let mut statements = Vec::new();
    let mut done: Vec<(Contender, Contender)> = Vec::new();
    for of in subjects(trend) {
        let mut courses: Vec<(Course, Vec<String>)> = Vec::new();
        for to in opponents(trend, of) {
            // The same the other way round is nothing new.
            if done.contains(&(to, of)) {
                continue;
            }
            done.push((of, to));
            let standings: Vec<(f64, Standing)> = trend
                .steps
                .iter()
                .map(|(value, section)| (*value, stand(section, trend.cost, of, to)))
                .collect();
            match course(&standings) {
                Course::Turns => statements.push(turn(trend.vary, of, to, &standings)),
                Course::Absent => {}
                course @ (Course::Alike | Course::Cheaper(_) | Course::Costlier(_)) => {
                    let opponent = with_share(to, &standings);
                    match courses.iter_mut().find(|(known, _)| *known == course) {
                        Some((_, opponents)) => opponents.push(opponent),
                        None => courses.push((course, vec![opponent])),
                    }
                }
            }
        }
        let told = courses.iter().map(|(course, opponents)| steady(trend, of, course, opponents));
        statements.extend(told);
    }
    statements.sort_by_key(|statement| !statement.turns);
    statements
}

fn subjects(trend: &Trend<'_>) -> Vec<Contender> {
    let mut subjects: Vec<Contender> = Vec::new();
    for row in trend.steps.iter().flat_map(|(_, section)| &section.rows) {
        let told = row.contender.is_heartring() || matches!(row.contender.mode, Mode::Rearmed | Mode::Wheel);
        if told && row.contender.mode != Mode::NoDeadlines && !subjects.contains(&row.contender) {
            subjects.push(row.contender);
        }
    }
    subjects
}

/// Those whom rounds compared it with; for heartring as it usually is on io_uring, also all others that are on the drawing.
fn opponents(trend: &Trend<'_>, of: Contender) -> Vec<Contender> {
    let mut opponents: Vec<Contender> = Vec::new();
    for (_, section) in &trend.steps {
        let compared = section.ratios.iter().filter(|ratio| ratio.metric == trend.cost && ratio.of == of);
        let compared = compared.map(|ratio| ratio.to);
        let everybody = section.rows.iter().map(|row| row.contender);
        let everybody = everybody.filter(|to| of == Server::HeartringUring.usual() && *to != of);
        for to in compared.chain(everybody) {
            if !opponents.contains(&to) {
                opponents.push(to);
            }
        }
    }
    opponents
}

/// By paired rounds where there are any. Otherwise two are told apart only if the ranges of their rounds do not touch.
fn stand(section: &Section<'_>, cost: Metric, of: Contender, to: Contender) -> Standing {
    let find =
        |of, to| section.ratios.iter().find(|ratio| ratio.metric == cost && ratio.of == of && ratio.to == to);
    let compared = find(of, to).map(|ratio| (ratio.interval, ratio.spread.median));
    // The other way round, all ratios are upside down.
    let upside_down = || {
        find(to, of).map(|ratio| {
            (ratio.interval.map(|(low, high)| (1.0 / high, 1.0 / low)), 1.0 / ratio.spread.median)
        })
    };
    if let Some((interval, median)) = compared.or_else(upside_down) {
        return match Verdict::of(interval) {
            Verdict::Less { .. } => Standing::Cheaper(Some(median)),
            Verdict::More { .. } => Standing::Costlier(Some(median)),
            Verdict::Alike { .. } | Verdict::TooFewRounds => Standing::Alike,
        };
    }
    match (section.spread(of, cost), section.spread(to, cost)) {
        (Some(of), Some(to)) if of.max < to.min => Standing::Cheaper(None),
        (Some(of), Some(to)) if of.min > to.max => Standing::Costlier(None),
        // Ranges hide too much to say that two are alike.
        (Some(_), Some(_)) | (None, _) | (_, None) => Standing::Absent,
    }
}

fn course(standings: &[(f64, Standing)]) -> Course {
    let places = |wanted: fn(&Standing) -> bool| {
        let places = standings.iter().filter(|(_, standing)| wanted(standing)).map(|(value, _)| *value);
        places.collect::<Vec<f64>>()
    };
    let cheaper = places(|standing| matches!(standing, Standing::Cheaper(_)));
    let costlier = places(|standing| matches!(standing, Standing::Costlier(_)));
    let alike = places(|standing| matches!(standing, Standing::Alike));
    match (cheaper.is_empty(), costlier.is_empty()) {
        (false, false) => Course::Turns,
        (false, true) => Course::Cheaper(cheaper),
        (true, false) => Course::Costlier(costlier),
        (true, true) if alike.is_empty() => Course::Absent,
        (true, true) => Course::Alike,
    }
}

/// A name, with how much less or more it was.
fn with_share(to: Contender, standings: &[(f64, Standing)]) -> String {
    let shares = standings.iter().filter_map(|(_, standing)| match standing {
        Standing::Cheaper(share) | Standing::Costlier(share) => *share,
        Standing::Alike | Standing::Absent => None,
    });
    let shares: Vec<f64> = shares.map(|share| (share - 1.0).abs() * 100.0).collect();
    let (least, most) = (shares.iter().copied().reduce(f64::min), shares.iter().copied().reduce(f64::max));
    match (least, most) {
        (Some(least), Some(most)) if format!("{least:.0}") == format!("{most:.0}") => {
            format!("{} (by {most:.0} %)", to.name())
        }
        (Some(least), Some(most)) => format!("{} (by {least:.0}–{most:.0} %)", to.name()),
        (None, _) | (_, None) => to.name(),
    }
}

fn steady(trend: &Trend<'_>, subject: Contender, course: &Course, opponents: &[String]) -> Statement {
    let (of, opponents) = (subject.name(), list(opponents));
    let place = |values: &[f64]| {
        if values.len() == trend.steps.len() {
            return trend.vary.everywhere().to_owned();
        }
        format!("{}; elsewhere they cannot be told apart", trend.vary.at(values))
    };
    let text = match course {
        Course::Cheaper(values) => format!("{of} is cheaper than {opponents} {}.", place(values)),
        Course::Costlier(values) => format!("{of} is costlier than {opponents} {}.", place(values)),
        Course::Alike | Course::Turns | Course::Absent => {
            format!("{of} cannot be told apart from {opponents} {}.", trend.vary.nowhere())
        }
    };
    Statement { of: subject, turns: false, text }
}

/// Where the order changes, with both sides told apart.
fn turn(vary: Vary, of: Contender, to: Contender, standings: &[(f64, Standing)]) -> Statement {
    let mut stretches: Vec<(&str, Vec<f64>)> = Vec::new();
    for (value, standing) in standings {
        let word = match standing {
            Standing::Cheaper(_) => "cheaper",
            Standing::Costlier(_) => "costlier",
            Standing::Alike | Standing::Absent => continue,
        };
        match stretches.last_mut() {
            Some((last, values)) if *last == word => values.push(*value),
            Some(_) | None => stretches.push((word, vec![*value])),
        }
    }
    let stretches: Vec<String> =
        stretches.iter().map(|(word, values)| format!("{word} {}", vary.at(values))).collect();
    let text = format!("{} against {} turns: {}.", of.name(), to.name(), stretches.join(", then "));
    Statement { of, turns: true, text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::{specimen, trend};

    fn said(place: usize) -> Vec<Statement> {
        let report = specimen::all();
        let sections = report.sections();
        statements(&trend::find(&sections)[place])
    }

    #[test]
    fn who_is_cheaper_everywhere_is_said_so() {
        let said = said(0);
        let wanted = |statement: &&Statement| {
            statement.text.starts_with("heartring_uring is cheaper than ")
                && statement.text.ends_with(" at every count.")
        };
        let statement = said.iter().find(wanted).unwrap_or_else(|| panic!("{said:?}"));
        assert!(statement.text.contains("bare_uring_rearmed"), "{statement:?}");
    }

    #[test]
    fn a_turn_is_told_with_both_of_its_sides_and_comes_first() {
        let first = &said(0)[0];
        assert!(first.turns);
        assert_eq!(
            first.text,
            "heartring_uring against heartring_uring_lease turns: cheaper at 1000 connections, then costlier at \
             10\u{202f}000 and 19\u{202f}000 connections."
        );
    }

    #[test]
    fn the_equal_are_not_told_apart() {
        let standings = [(1.0, Standing::Alike), (2.0, Standing::Absent)];
        assert_eq!(course(&standings), Course::Alike);
        assert_eq!(course(&[(1.0, Standing::Absent)]), Course::Absent);
        let some = [(1.0, Standing::Cheaper(Some(0.9))), (2.0, Standing::Alike)];
        assert_eq!(course(&some), Course::Cheaper(vec![1.0]));
        assert_eq!(with_share(Server::Mio.usual(), &some), "mio (by 10 %)");
    }
}
