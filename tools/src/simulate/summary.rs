//! The end of a run, as text and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::Range;
use std::time::Duration;

use serde_json::{Value, json};

use super::tally::Tally;
use crate::duration::show;
use crate::output;

/// See the module's own text.
pub(super) struct Summary {
    pub(super) tally: Tally,
    pub(super) asked: Range<u64>,
    pub(super) elapsed: Duration,
    pub(super) interrupted: bool,
}

impl Summary {
    pub(super) fn to_text(&self) -> String {
        let Tally { seeds, connections, verdicts, turns, .. } = self.tally;
        let mut text = format!(
            "{}\n{}\n{seeds} seeds: {connections} connections ({:.0} per seed), {} connection-hours in {} hours of virtual \
             time,\n  {turns} turns, {verdicts} verdicts, {:.1} kinds of fault per seed\n",
            counts("what went wrong", &self.tally.faults),
            counts("how connections ended", &self.tally.causes),
            self.tally.connections_per_seed(),
            hours(self.tally.connection_time),
            hours(self.tally.simulated),
            self.tally.fault_kinds_per_seed(),
        );
        for (seed, violation) in &self.tally.violations {
            let _ = writeln!(text, "\nseed {seed}: {violation}\n  {}", replay_command(*seed));
        }
        text + &format!("\n{}", self.last_line())
    }

    fn last_line(&self) -> String {
        let took = format!("({}, {:.1} seeds/s)", show(self.elapsed), self.seeds_per_s());
        match (self.tally.violations.first_key_value(), self.interrupted) {
            (Some((seed, _)), _) => format!("FAIL  seed {seed} broke a rule {took}"),
            (None, true) => format!("INTERRUPTED  no rule was broken so far {took}"),
            (None, false) => format!("PASS  no rule was broken {took}"),
        }
    }

    pub(super) fn to_json(&self) -> Value {
        let violations: Vec<Value> = self
            .tally
            .violations
            .iter()
            .map(|(seed, violation)| {
                json!({
                    "seed": seed,
                    "invariant": violation.invariant,
                    "what": violation.what,
                    "replay": replay_command(*seed),
                })
            })
            .collect();
        json!({
            "passed": violations.is_empty() && !self.interrupted,
            "interrupted": self.interrupted,
            "seeds": { "from": self.asked.start, "to": self.asked.end, "played": self.tally.seeds },
            "seconds": self.elapsed.as_secs_f64(),
            "seeds_per_s": self.seeds_per_s(),
            "connections": self.tally.connections,
            "connections_per_seed": self.tally.connections_per_seed(),
            "connection_hours": self.tally.connection_time.as_secs_f64() / 3600.0,
            "simulated_hours": self.tally.simulated.as_secs_f64() / 3600.0,
            "turns": self.tally.turns,
            "verdicts": self.tally.verdicts,
            "faults": self.tally.faults,
            "fault_kinds_per_seed": self.tally.fault_kinds_per_seed(),
            "causes": self.tally.causes,
            "violations": violations,
        })
    }

    fn seeds_per_s(&self) -> f64 {
        self.tally.seeds as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }
}

fn counts(what: &str, counts: &BTreeMap<&'static str, u64>) -> String {
    let mut table = output::table(&[what, "times"], &[1]);
    for (name, count) in counts {
        table.add_row([name.replace('_', " "), count.to_string()]);
    }
    format!("{table}\n")
}

fn hours(duration: Duration) -> u64 {
    duration.as_secs() / 3600
}

fn replay_command(seed: u64) -> String {
    format!("heartring simulate --seeds {seed}..{} --replay", seed + 1)
}
