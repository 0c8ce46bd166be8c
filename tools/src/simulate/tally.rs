//! What came of the seeds played so far.

use std::collections::BTreeMap;
use std::time::Duration;

use heartring_simulator::{Outcome, Violation};

/// Sums over seeds.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) seeds: u64,
    /// Virtual time.
    pub(super) simulated: Duration,
    /// Virtual time, summed over connections.
    pub(super) connection_time: Duration,
    pub(super) connections: u64,
    pub(super) verdicts: u64,
    pub(super) turns: u64,
    pub(super) faults: BTreeMap<&'static str, u64>,
    /// How many kinds of fault happened in each seed, summed.
    pub(super) fault_kinds: u64,
    pub(super) causes: BTreeMap<&'static str, u64>,
    /// By seed.
    pub(super) violations: BTreeMap<u64, Violation>,
}

impl Tally {
    pub(super) fn add(&mut self, outcome: Outcome) {
        self.seeds += 1;
        self.simulated += outcome.simulated;
        self.connection_time += outcome.connection_time;
        self.connections += outcome.connections;
        self.verdicts += outcome.verdicts;
        self.turns += outcome.turns;
        self.fault_kinds += outcome.faults.values().filter(|count| **count > 0).count() as u64;
        for (sums, counts) in [(&mut self.faults, outcome.faults), (&mut self.causes, outcome.causes)] {
            for (name, count) in counts {
                *sums.entry(name).or_default() += count;
            }
        }
        self.violations.extend(outcome.violation.map(|violation| (outcome.seed, violation)));
    }

    pub(super) fn connections_per_seed(&self) -> f64 {
        self.connections as f64 / self.seeds.max(1) as f64
    }

    pub(super) fn fault_kinds_per_seed(&self) -> f64 {
        self.fault_kinds as f64 / self.seeds.max(1) as f64
    }

    /// For a progress bar.
    pub(super) fn line(&self) -> String {
        let failed = match self.violations.len() {
            0 => String::new(),
            failed => format!(", {failed} FAILED"),
        };
        let hours = self.connection_time.as_secs() / 3600;
        format!("{} connections, {hours} connection-hours{failed}", self.connections)
    }
}
