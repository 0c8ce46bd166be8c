//! What a section says in one line, for the summary and under its title.

use super::task;
use super::text::{grouped, list, value};
use super::verdicts::{phrase, ratio, winner};
use crate::contender::{Contender, Mode, Server};
use crate::metric::Metric;
use crate::report::Section;
use crate::verdict::Verdict;
use crate::words;

/// One line that says what came out.
pub(crate) fn headline(section: &Section<'_>) -> String {
    let Some(task) = task(section) else { return "Of a kind that this version does not know.".into() };
    if section.rows.is_empty() {
        return "Nobody could be measured.".into();
    }
    match section.workload {
        "detect" | "scale" => promise_line(section),
        "memory" => memory_line(section),
        _ if is_ablation(section) => ablation_line(section, task.cost()),
        _ => cost_line(section, task.cost()),
    }
}

fn is_ablation(section: &Section<'_>) -> bool {
    section.rows.iter().any(|row| row.contender.mode == Mode::NoDeadlines)
}

/// heartring's contenders against their limits and what people would use instead.
fn cost_line(section: &Section<'_>, cost: Metric) -> String {
    let best = words::best_runtime(section, cost);
    let mut lines = Vec::new();
    for (server, bare) in
        [(Server::HeartringUring, Server::BareUring), (Server::HeartringEpoll, Server::BareEpoll)]
    {
        let of = server.usual();
        let Some(spread) = section.spread(of, cost) else { continue };
        let mut opponents = vec![(bare.usual(), bare.name().to_owned())];
        if server == Server::HeartringUring {
            opponents.push((Server::HeartringEpoll.usual(), Server::HeartringEpoll.name().into()));
        }
        opponents.extend(best.map(|best| (best, format!("{}, the best runtime", best.name()))));
        let phrases =
            opponents.iter().filter_map(|(to, name)| Some(phrase(ratio(section, cost, of, *to)?, name)));
        let phrases: Vec<String> = phrases.collect();
        let told = if phrases.is_empty() { String::new() } else { format!(": {}", phrases.join("; ")) };
        lines.push(format!("{} needs {} {}{told}.", of.name(), value(cost, spread.median), cost.spoken()));
    }
    if lines.is_empty() { winner(section, cost).unwrap_or_default() } else { lines.join(" ") }
}

/// What each way to keep deadlines adds.
fn ablation_line(section: &Section<'_>, cost: Metric) -> String {
    let (heartring, bare) = (Server::HeartringUring, Server::BareUring);
    let added = |of: Contender, to: Contender| {
        let ratio = ratio(section, cost, of, to)?;
        let share = (ratio.spread.median - 1.0) * 100.0;
        let told = match Verdict::of(ratio.interval) {
            Verdict::Less { .. } | Verdict::More { .. } => {
                let sign = if share < 0.0 { "−" } else { "+" };
                format!("{sign}{:.*} %", usize::from(share.abs() < 2.95), share.abs())
            }
            Verdict::Alike { .. } => "nothing that can be told".into(),
            Verdict::TooFewRounds => format!("×{:.2} by too few rounds to tell", ratio.spread.median),
        };
        Some(format!("{} {told}", of.name()))
    };
    let all = |of: &[Contender], to: Contender| of.iter().filter_map(|of| added(*of, to)).collect::<Vec<_>>();
    let none = heartring.in_mode(Mode::NoDeadlines);
    let own = all(&[Mode::Usual, Mode::Lease, Mode::Sweep].map(|mode| heartring.in_mode(mode)), none);
    let others = all(&[Mode::Rearmed, Mode::Wheel].map(|mode| bare.in_mode(mode)), bare.usual());
    let what = cost.spoken();
    let lines = [(own, "heartring without deadlines"), (others, bare.name())]
        .into_iter()
        .filter(|(told, _)| !told.is_empty());
    let lines = lines.map(|(told, to)| format!("Deadlines add to the {what} of {to}: {}.", told.join("; ")));
    lines.collect::<Vec<_>>().join(" ")
}

fn memory_line(section: &Section<'_>) -> String {
    let told =
        |contender: Contender, name: &str| {
            let user = section.spread(contender, Metric::UserBytes)?.median;
            let kernel = section.spread(contender, Metric::KernelBytes).map(|kernel| kernel.median);
            let (user, kernel) =
                (value(Metric::UserBytes, user), kernel.map(|kernel| value(Metric::KernelBytes, kernel)));
            Some(kernel.map_or(format!("{name} {user}"), |kernel| {
                format!("{name} {user} and {kernel} in the kernel")
            }))
        };
    let servers = [Server::HeartringUring, Server::HeartringEpoll, Server::BareUring, Server::BareEpoll];
    let mut lines: Vec<String> =
        servers.into_iter().filter_map(|server| told(server.usual(), server.name())).collect();
    let best = words::best_runtime(section, Metric::UserBytes);
    lines.extend(best.and_then(|best| told(best, &format!("the best runtime, {},", best.name()))));
    format!("Per idle connection, in user space: {}.", lines.join("; "))
}

/// Whether promises were kept, and how late the last verdict was.
fn promise_line(section: &Section<'_>) -> String {
    let most = |metric| {
        let each = section.rows.iter().filter_map(|row| row.metrics.get(&metric)).map(|spread| spread.max);
        each.fold(0.0, f64::max)
    };
    let broken = most(Metric::Early) + most(Metric::FalseCloses) + most(Metric::Undetected);
    let kept = if broken > 0.0 {
        "A promise was broken: see below"
    } else {
        "None early, nobody alive closed, no death missed"
    };
    let held = section.rows.first().filter(|_| section.workload == "scale").and_then(|row| {
        let held = row.metrics.get(&Metric::Connections)?;
        Some(format!(
            "{} held {} connections in one process. ",
            row.contender.name(),
            grouped(held.median, 0)
        ))
    });
    let lasts = section.rows.iter().filter_map(|row| {
        let last = row.metrics.get(&Metric::LatenessMaxUs)?;
        Some((row.contender.name(), value(Metric::LatenessMaxUs, last.median)))
    });
    let lasts: Vec<(String, String)> = lasts.collect();
    let last = match &lasts[..] {
        [] => String::new(),
        [(_, last)] => format!("; the last verdict came {last} after its deadline"),
        several => {
            let each: Vec<String> =
                several.iter().map(|(name, last)| format!("{last} with {name}")).collect();
            format!("; from a deadline to the last verdict, {}", list(&each))
        }
    };
    format!("{}{kept}{last}.", held.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::specimen;

    #[test]
    fn a_headline_names_limit_epoll_and_the_best_runtime() {
        let line = specimen::part("echo", headline);
        assert!(line.starts_with("heartring_uring needs "), "{line}");
        for name in ["bare_uring", "heartring_epoll", "monoio, the best runtime", "bare_epoll"] {
            assert!(line.contains(name), "{name}: {line}");
        }
    }

    #[test]
    fn the_ablation_says_what_deadlines_cost() {
        let line = specimen::part("deadlines: echo, 1000 connections", headline);
        assert!(line.contains("of bare_uring: bare_uring_rearmed +"), "{line}");
    }

    #[test]
    fn every_section_has_a_headline() {
        let report = specimen::all();
        for section in report.sections() {
            let line = headline(&section);
            assert!(line.ends_with('.') && !line.contains(": ."), "{line}");
        }
    }

    #[test]
    fn kept_promises_are_said_so_and_broken_ones_too() {
        assert!(
            specimen::part("detect, single", headline)
                .starts_with("None early, nobody alive closed, no death missed")
        );
        let mut report = specimen::all();
        let rows = report.rows.iter_mut().filter(|row| row.part.as_deref() == Some("detect, single"));
        let spread = crate::statistics::Spread { median: 0.0, min: 0.0, max: 1.0 };
        for row in rows {
            row.metrics.insert(Metric::Early, spread);
        }
        let sections = report.sections();
        let single = sections.iter().find(|section| section.title == Some("detect, single")).unwrap();
        assert!(headline(single).starts_with("A promise was broken"));
    }
}
