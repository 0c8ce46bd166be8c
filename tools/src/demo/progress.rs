//! Where a run of the fleet stands, from what the gateway tells while it runs.

use std::collections::BTreeMap;
use std::time::Duration;

use heartring::{Lateness, StateCounts};

use super::account::Ending;
use crate::duration::show;
use crate::view::Picture;

/// Where the run stands.
#[derive(Default)]
pub(super) struct Progress {
    pub(super) elapsed: Duration,
    run_for: Duration,
    states: StateCounts,
    closed: BTreeMap<&'static str, u64>,
    lateness: Lateness,
}

impl Progress {
    pub(super) fn new(run_for: Duration) -> Self {
        Self { run_for, ..Self::default() }
    }

    pub(super) fn ended(&mut self, ending: &Ending) {
        *self.closed.entry(ending.cause.name()).or_default() += 1;
        if let Some(lateness) = ending.lateness {
            self.lateness.record(lateness);
        }
    }

    /// Adds up the shards.
    pub(super) fn states<'a>(&mut self, shards: impl Iterator<Item = &'a StateCounts>) {
        self.states = shards.fold(StateCounts::default(), |sum, shard| StateCounts {
            greeting: sum.greeting + shard.greeting,
            live: sum.live + shard.live,
            overdue: sum.overdue + shard.overdue,
            grace: sum.grace + shard.grace,
            closing: sum.closing + shard.closing,
        });
    }

    pub(super) fn picture(&self) -> Picture {
        let (states, closed, lateness) = (self.states_text(), self.closed_text(), self.lateness_text());
        let StateCounts { live, overdue, grace, .. } = self.states;
        let line = format!(
            "live {live}, overdue {overdue}, grace {grace}; closed: {}; lateness: {}",
            closed.replace("   ", ", "),
            lateness.replace("   ", ", "),
        );
        let rows = vec![("connections", states), ("closed", closed), ("lateness", lateness)];
        Picture { elapsed: self.elapsed, run_for: self.run_for, rows, line }
    }

    fn states_text(&self) -> String {
        let StateCounts { greeting, live, overdue, grace, closing } = self.states;
        format!("greeting {greeting}   live {live}   overdue {overdue}   grace {grace}   closing {closing}")
    }

    fn closed_text(&self) -> String {
        let causes: Vec<_> = self.closed.iter().map(|(cause, count)| format!("{cause} {count}")).collect();
        if causes.is_empty() { "none yet".to_owned() } else { causes.join("   ") }
    }

    fn lateness_text(&self) -> String {
        if self.lateness.count() == 0 {
            return "no deadline has passed yet".to_owned();
        }
        let [p50, p99] = [0.5, 0.99].map(|q| show(self.lateness.quantile(q)));
        format!("p50 {p50}   p99 {p99}   max {}", show(self.lateness.max()))
    }
}
