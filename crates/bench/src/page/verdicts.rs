//! What a section says in plain words: who wins, by how much, and the answers to the questions that are asked of it.

use super::palette::is_reference;
use super::task;
use super::text::{grouped, list, value};
use crate::contender::{Contender, Mode, Server};
use crate::metric::Metric;
use crate::report::{Ratio, Row, Section};
use crate::verdict::{self, Verdict};
use crate::words;

/// Sentences about one question.
#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) question: &'static str,
    pub(crate) sentences: Vec<String>,
}

/// Questions, in the order in which they are answered.
const WINNER: &str = "Who wins";
const PROMISES: &str = "The promises";
const MANAGER: &str = "The price of the manager";
const RUNTIME: &str = "Against the best runtime";
const BACKEND: &str = "io_uring against epoll";
const DEADLINES: &str = "The price of deadlines";
const COMPANY: &str = "Waiting for company";
const ACCEPTS: &str = "Against bare accepts";
const WAYS: &str = "Other ways to keep deadlines";
const QUESTIONS: [&str; 7] = [MANAGER, RUNTIME, BACKEND, DEADLINES, WAYS, COMPANY, ACCEPTS];

/// Everything that can be said.
pub(crate) fn answers(section: &Section<'_>) -> Vec<Answer> {
    let Some(cost) = task(section).map(|task| task.cost()) else { return Vec::new() };
    let mut answers = Vec::new();
    let mut answer = |question, sentences: Vec<String>| {
        if !sentences.is_empty() {
            answers.push(Answer { question, sentences });
        }
    };
    answer(WINNER, winner(section, cost).into_iter().collect());
    answer(PROMISES, section.rows.iter().filter_map(|row| promises(row)).collect());
    let best = words::best_runtime(section, cost);
    for question in QUESTIONS {
        let asked = section
            .ratios
            .iter()
            .copied()
            .filter(|ratio| is_told(section, ratio, cost) && about(ratio, best) == Some(question));
        let (few, enough): (Vec<&Ratio>, Vec<&Ratio>) = asked.partition(|ratio| ratio.interval.is_none());
        let sentences = enough.into_iter().map(sentence).chain(too_few(&few));
        answer(question, sentences.collect());
    }
    answers
}

/// Whether a ratio is of a metric that is put in words: the cost; with memory the kernel's share too; and in a storm
/// the rate against those who only accept.
fn is_told(section: &Section<'_>, ratio: &Ratio, cost: Metric) -> bool {
    let rate = section.workload == "storm" && ratio.metric == Metric::ClaimsPerS && is_reference(ratio.to);
    ratio.metric == cost || (cost == Metric::UserBytes && ratio.metric == Metric::KernelBytes) || rate
}

fn sentence(ratio: &Ratio) -> String {
    let (of, to, median) = (ratio.of.name(), ratio.to.name(), ratio.spread.median);
    if ratio.metric.more_is_better() {
        let interval = ratio.interval.map(|(low, high)| format!(" ({low:.3}–{high:.3})")).unwrap_or_default();
        return format!("{of} reaches ×{median:.3} of {to}'s {}{interval}.", ratio.metric.title());
    }
    verdict::sentence(ratio, &of, &to, ratio.metric.spoken())
}

/// What can be said without an interval: the medians, metric by metric, and that they prove nothing.
fn too_few(ratios: &[&Ratio]) -> Vec<String> {
    let mut metrics: Vec<Metric> = Vec::new();
    for ratio in ratios {
        if !metrics.contains(&ratio.metric) {
            metrics.push(ratio.metric);
        }
    }
    let of = |metric: Metric| {
        let told = ratios.iter().filter(|ratio| ratio.metric == metric);
        let told = told
            .map(|ratio| format!("{} ×{:.3} of {}", ratio.of.name(), ratio.spread.median, ratio.to.name()));
        let what = metric.spoken();
        format!(
            "Too few rounds for an interval. In {what}, by their medians: {}.",
            list(&told.collect::<Vec<_>>())
        )
    };
    metrics.into_iter().map(of).collect()
}

/// The question that a ratio answers.
fn about(ratio: &Ratio, best_runtime: Option<Contender>) -> Option<&'static str> {
    let (of, to) = (ratio.of, ratio.to);
    match (of.mode, to.mode) {
        (Mode::Batched, _) => Some(if of.server == to.server { COMPANY } else { MANAGER }),
        (Mode::Rearmed | Mode::Wheel, _) | (_, Mode::NoDeadlines) => Some(DEADLINES),
        (Mode::NoDeadlines, _) => Some(MANAGER),
        (Mode::Lease | Mode::Sweep, _) | (_, Mode::Lease | Mode::Sweep | Mode::Rearmed | Mode::Wheel) => {
            Some(WAYS)
        }
        (Mode::Usual, Mode::Usual | Mode::Batched) => about_servers(of, to, best_runtime),
    }
}

fn about_servers(of: Contender, to: Contender, best_runtime: Option<Contender>) -> Option<&'static str> {
    match (of.server, to.server) {
        (Server::HeartringUring, Server::BareUring) | (Server::HeartringEpoll, Server::BareEpoll) => {
            Some(MANAGER)
        }
        (Server::HeartringUring, Server::HeartringEpoll) | (Server::BareUring, Server::BareEpoll) => {
            Some(BACKEND)
        }
        (Server::HeartringUring, Server::AcceptUring) | (Server::HeartringEpoll, Server::AcceptEpoll) => {
            Some(ACCEPTS)
        }
        _ if of.is_heartring() && Some(to) == best_runtime => Some(RUNTIME),
        _ => None,
    }
}

pub(super) fn ratio<'a>(
    section: &Section<'a>,
    cost: Metric,
    of: Contender,
    to: Contender,
) -> Option<&'a Ratio> {
    section.ratios.iter().find(|ratio| ratio.metric == cost && ratio.of == of && ratio.to == to).copied()
}

/// "4 % less than mio".
pub(super) fn phrase(ratio: &Ratio, to: &str) -> String {
    let median = ratio.spread.median;
    let share = (median - 1.0).abs() * 100.0;
    let share = format!("{share:.*} %", usize::from(share < 2.95));
    match Verdict::of(ratio.interval) {
        Verdict::Less { .. } => format!("{share} less than {to}"),
        Verdict::More { .. } if median < 2.0 => format!("{share} more than {to}"),
        Verdict::More { .. } => format!("{median:.1} times that of {to}"),
        Verdict::Alike { .. } => format!("not told apart from {to}"),
        Verdict::TooFewRounds => format!("×{median:.2} of {to}, by too few rounds to tell"),
    }
}

fn promises(row: &Row) -> Option<String> {
    let most = |metric| row.metrics.get(&metric).map(|spread| grouped(spread.max, 0));
    let middle = |metric| row.metrics.get(&metric).map(|spread| value(metric, spread.median));
    let (deaths, missed) = (most(Metric::Deaths)?, most(Metric::Undetected)?);
    let (early, accused) = (most(Metric::Early)?, most(Metric::FalseCloses)?);
    let late: Vec<String> = [
        ("p50", Metric::LatenessP50Us),
        ("p99", Metric::LatenessP99Us),
        ("p99.9", Metric::LatenessP999Us),
        ("last", Metric::LatenessMaxUs),
    ]
    .into_iter()
    .filter_map(|(name, metric)| Some(format!("{name} {}", middle(metric)?)))
    .collect();
    let late = if late.is_empty() { String::new() } else { format!("; late by {}", late.join(", ")) };
    Some(format!(
        "{}: of {deaths} deaths, {missed} missed; {early} verdicts early; {accused} living closed{late}.",
        row.contender.name()
    ))
}

/// The lowest cost among all that do the whole work at once; those that wait for company are another question.
pub(super) fn winner(section: &Section<'_>, cost: Metric) -> Option<String> {
    let whole = |contender: &Contender| !is_reference(*contender) && contender.mode != Mode::Batched;
    let costs = section.rows.iter().map(|row| row.contender).filter(whole);
    let costs = costs.filter_map(|contender| Some((contender, section.spread(contender, cost)?.median)));
    let mut costs: Vec<(Contender, f64)> = costs.collect();
    costs.sort_by(|(_, one), (_, other)| one.total_cmp(other));
    let (&(first, least), others) = costs.split_first()?;
    if others.is_empty() {
        return None;
    }
    let what = cost.spoken();
    let opening = format!("{} has the lowest median {what}, {}", first.name(), value(cost, least));
    let heartring =
        costs.iter().find(|(contender, _)| contender.is_heartring() && contender.mode != Mode::NoDeadlines);
    match heartring {
        Some(&(best, _)) if best == first => {
            Some(format!("{opening}{}.", equals(section, cost, first, others)))
        }
        Some(&(best, median)) => {
            let told = ratio(section, cost, best, first).map_or_else(
                || "; rounds did not compare the two".into(),
                |ratio| format!(": {}", phrase(ratio, "that")),
            );
            Some(format!("{opening}. Of heartring, {} needs {}{told}.", best.name(), value(cost, median)))
        }
        None => Some(format!("{opening}.")),
    }
}

/// Those from whom a winner cannot be told apart.
fn equals(section: &Section<'_>, cost: Metric, winner: Contender, others: &[(Contender, f64)]) -> String {
    let (mut alike, mut unclear) = (Vec::new(), Vec::new());
    for (other, _) in others {
        let found = ratio(section, cost, winner, *other).or_else(|| ratio(section, cost, *other, winner));
        match found.map(|ratio| Verdict::of(ratio.interval)) {
            Some(Verdict::Alike { .. }) => alike.push(other.name()),
            Some(Verdict::TooFewRounds) => unclear.push(other.name()),
            Some(Verdict::Less { .. } | Verdict::More { .. }) | None => {}
        }
    }
    let clause = |names: &[String], because: &str| match names {
        [] => String::new(),
        names => format!(", but cannot be told apart from {}{because}", list(names)),
    };
    format!("{}{}", clause(&alike, ""), clause(&unclear, " by so few rounds"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::specimen;

    fn of(title: &str, question: &str) -> String {
        let answers = specimen::part(title, answers);
        let answer = answers.iter().find(|answer| answer.question == question);
        answer.unwrap_or_else(|| panic!("{answers:?}")).sentences.join(" ")
    }

    #[test]
    fn the_winner_is_named_and_heartring_beside_it() {
        let said = of("echo", WINNER);
        assert!(said.starts_with("bare_uring has the lowest median CPU per message"), "{said}");
        assert!(said.contains("Of heartring, heartring_uring needs"), "{said}");
    }

    #[test]
    fn those_who_only_accept_or_wait_for_company_do_not_win() {
        assert!(of("storm", WINNER).starts_with("bare_uring "));
        assert!(!of("beats", WINNER).contains("batched"));
        assert!(of("beats", COMPANY).contains("heartring_uring_batched"));
    }

    #[test]
    fn a_storm_is_compared_with_the_bare_accept_rate() {
        assert!(of("storm", ACCEPTS).contains("of accept_uring's claims/s"));
    }

    #[test]
    fn promises_are_counted() {
        assert!(of("detect, mass", PROMISES).contains("0 missed; 0 verdicts early"));
    }

    #[test]
    fn few_rounds_are_told_once_and_prove_nothing() {
        let said = of("idle", MANAGER);
        assert!(said.starts_with("Too few rounds for an interval. In CPU per connection and hour"), "{said}");
        assert!(!said.contains("cannot be told apart"), "{said}");
    }
}
