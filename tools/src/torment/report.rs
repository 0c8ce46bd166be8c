//! What a torment comes to, for people and for programs.

use std::collections::BTreeMap;
use std::time::Duration;

use comfy_table::Table;
use serde_json::{Value, json};

use super::checks::{Checks, Promise};
use super::conclusion::Account;
use super::episode::Episode;
use super::footing::{Footing, Growth};
use super::words::Listening;
use crate::duration::show;
use crate::output;

/// What one kind of episode has come to.
#[derive(Default)]
pub(super) struct Row {
    pub(super) times: u64,
    victims: u64,
    lateness: Vec<Duration>,
    false_closes: u64,
    starved: u64,
    violated: u64,
    /// Why it could not be played here.
    pub(super) skipped: Option<String>,
    note: Option<String>,
}

/// One gateway.
#[derive(Default)]
pub(super) struct Chapter {
    pub(super) listening: Listening,
    pub(super) rows: BTreeMap<Episode, Row>,
    pub(super) checks: Checks,
    pub(super) start: Footing,
    pub(super) end: Footing,
    pub(super) growth: Growth,
    rss_kib: Vec<u64>,
    pub(super) elapsed: Duration,
}

impl Chapter {
    /// Takes in an episode. Of its latenesses only so many are kept that an hour's run stays small.
    pub(super) fn add(&mut self, episode: Episode, account: Account) {
        let row = self.rows.entry(episode).or_default();
        row.times += 1;
        row.victims += account.victims;
        row.lateness.extend(account.lateness);
        row.lateness.sort_unstable();
        thin(&mut row.lateness);
        row.false_closes += account.checks.violated_of(Promise::HealthyKept);
        row.starved += account.starved;
        row.violated += account.checks.violated();
        row.note = account.note.or(row.note.take());
        self.rss_kib.push(account.footing.rss_kib);
        self.end = account.footing;
        self.checks.add(episode.name(), &account.checks);
    }

    pub(super) fn skip(&mut self, episode: Episode, why: String) {
        self.rows.entry(episode).or_default().skipped = Some(why);
    }

    /// Looks whether memory grew after the first round of `kinds` episodes.
    pub(super) fn weigh(&mut self, kinds: usize) {
        self.growth = Growth::of(&self.rss_kib, kinds);
        let growth = self.growth.clone();
        self.checks.look(Promise::NoLeak, !growth.leaks, || format!("memory grows: {growth:?}"));
    }

    pub(super) fn skipped(&self) -> usize {
        self.rows.values().filter(|row| row.skipped.is_some()).count()
    }

    pub(super) fn to_text(&self) -> String {
        let Listening { backend, reason, deadlines, .. } = &self.listening;
        let Growth { warm_kib, last_kib, slope_kib_per_episode, episodes, .. } = &self.growth;
        let slope = slope_kib_per_episode.map_or_else(
            || "too few episodes for a trend".to_owned(),
            |slope| format!("{slope:+.1} KiB per episode over {episodes}"),
        );
        format!(
            "{backend} ({reason}), deadlines {deadlines}, {}\n\n{}\n{}\n\n  memory   {warm_kib} KiB after the first round, {last_kib} KiB at the end, {slope}\n  holds    {} descriptors, {} sockets, {} KiB locked; at the start {}, {}, {}\n{}",
            show(self.elapsed),
            self.episodes_table(),
            self.checks_table(),
            self.end.descriptors,
            self.end.sockets,
            self.end.locked_kib,
            self.start.descriptors,
            self.start.sockets,
            self.start.locked_kib,
            self.violations(),
        )
    }

    fn episodes_table(&self) -> Table {
        let header = [
            "episode",
            "times",
            "victims",
            "late p50",
            "p99",
            "max",
            "false closes",
            "violations",
            "remarks",
        ];
        let mut table = output::table(&header, &[1, 2, 3, 4, 5, 6, 7]);
        for (episode, row) in &self.rows {
            let late = |q| row.late(q).map_or_else(|| "–".to_owned(), show);
            table.add_row([
                episode.name().to_owned(),
                row.times.to_string(),
                row.victims.to_string(),
                late(0.5),
                late(0.99),
                late(1.0),
                row.false_closes.to_string(),
                row.violated.to_string(),
                row.remarks(),
            ]);
        }
        table
    }

    fn checks_table(&self) -> Table {
        let mut table = output::table(&["check", "looked", "violated"], &[1, 2]);
        for (promise, check) in self.checks.all() {
            table.add_row([promise.name().to_owned(), check.looked.to_string(), check.violated.to_string()]);
        }
        table
    }

    fn violations(&self) -> String {
        let lines = self.checks.all().flat_map(|(promise, check)| {
            check.violations.into_iter().map(move |why| format!("\n  {}: {why}", promise.name()))
        });
        lines.collect()
    }

    pub(super) fn to_json(&self) -> Value {
        let checks: serde_json::Map<_, _> =
            self.checks.all().map(|(promise, check)| (promise.name().to_owned(), json!(check))).collect();
        let episodes: Vec<_> = self.rows.iter().map(|(episode, row)| row.to_json(*episode)).collect();
        json!({
            "backend": self.listening.backend,
            "backend_reason": self.listening.reason,
            "deadlines": self.listening.deadlines,
            "elapsed_s": self.elapsed.as_secs_f64(),
            "episodes": episodes,
            "checks": checks,
            "leaks": { "memory": self.growth, "start": self.start, "end": self.end },
        })
    }
}

impl Row {
    fn late(&self, quantile: f64) -> Option<Duration> {
        let last = self.lateness.len().checked_sub(1)?;
        Some(self.lateness[(last as f64 * quantile).round() as usize])
    }

    fn remarks(&self) -> String {
        let starved = (self.starved > 0)
            .then(|| format!("{} devices were kept from beating by the machine", self.starved));
        let skipped = self.skipped.as_ref().map(|why| format!("SKIPPED: {why}"));
        [skipped, self.note.clone(), starved].into_iter().flatten().collect::<Vec<_>>().join("; ")
    }

    fn to_json(&self, episode: Episode) -> Value {
        let late = |q| self.late(q).map(|late| late.as_secs_f64() * 1e6);
        json!({
            "episode": episode.name(),
            "times": self.times,
            "victims": self.victims,
            "lateness_us": { "p50": late(0.5), "p99": late(0.99), "max": late(1.0) },
            "false_closes": self.false_closes,
            "starved": self.starved,
            "violations": self.violated,
            "skipped": self.skipped,
            "note": self.note,
        })
    }
}

/// Keeps every second one of a sorted list that has grown long, and the largest.
fn thin(sorted: &mut Vec<Duration>) {
    const KEPT_MAX: usize = 1 << 16;
    if sorted.len() > KEPT_MAX {
        let last = sorted.len() - 1;
        let mut index = 0;
        sorted.retain(|_| {
            index += 1;
            index % 2 == 0 || index - 1 == last
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_list_and_a_long_list_keeps_its_largest() {
        let mut lateness: Vec<_> = (0..=100).map(Duration::from_millis).collect();
        let row = Row { lateness: lateness.clone(), ..Row::default() };
        assert_eq!(row.late(0.5), Some(Duration::from_millis(50)));
        assert_eq!(row.late(1.0), Some(Duration::from_millis(100)));
        assert_eq!(Row::default().late(0.5), None);
        lateness = (0..=(1 << 16)).map(Duration::from_micros).collect();
        thin(&mut lateness);
        assert_eq!((lateness.len(), lateness.last()), (32_769, Some(&Duration::from_micros(1 << 16))));
    }
}
