//! What was told of the dead.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use heartring::Instant;
use heartring_tests::ChildEnd;

use super::living::{Answer, waits};
use super::trial::DEAD_WITHIN;

/// The deaths, each of which was told once, for the cause that it had, and not too early.
pub(crate) struct Deaths {
    /// The first verdict.
    pub(crate) first: Instant,
    /// The last one.
    last: Instant,
    /// When the last connection was closed, after its grace period.
    closed: Instant,
    /// How late after their deadlines the verdicts were, in order.
    lateness: Vec<Duration>,
}

impl Deaths {
    /// What was told is exactly that those have died, who spoke last at these instants.
    pub(crate) fn check(ends: &[ChildEnd], spoke_at: &HashMap<SocketAddr, Instant>) -> Self {
        let peers: HashSet<SocketAddr> = ends.iter().map(|end| end.peer).collect();
        assert_eq!((ends.len(), peers.len()), (spoke_at.len(), spoke_at.len()), "each is told once");
        for end in ends {
            let spoke_at = spoke_at.get(&end.peer).unwrap_or_else(|| panic!("{end:?} lives"));
            assert_eq!(end.cause, "heartbeat_missed", "{end:?}");
            assert!(end.condemned_at >= *spoke_at + DEAD_WITHIN, "{end:?}, who spoke at {spoke_at}");
        }
        let mut lateness: Vec<Duration> =
            ends.iter().map(|end| end.lateness.expect("the cause is a deadline")).collect();
        lateness.sort_unstable();
        let condemned = || ends.iter().map(|end| end.condemned_at);
        Self {
            first: condemned().min().expect("there are some"),
            last: condemned().max().expect("there are some"),
            closed: ends.iter().filter_map(|end| end.closed_at).max().expect("all are closed"),
            lateness,
        }
    }

    pub(crate) fn lateness_max(&self) -> Duration {
        quantile(&self.lateness, 1.0)
    }

    /// How long the living waited for their answers while this went on, and after it.
    pub(crate) fn waits_beside(&self, answers: &[Answer]) -> String {
        let phase = |from, to| {
            let waits = waits(answers, from, to);
            assert!(!waits.is_empty(), "nobody asked meanwhile");
            quantiles(&waits)
        };
        let before = phase(Instant::ZERO, self.first - DEAD_WITHIN / 4);
        format!(
            "the living waited {} for an answer from the first verdict to the last, {} until all were closed; {before} before",
            phase(self.first, self.last),
            phase(self.last, self.closed),
        )
    }
}

impl fmt::Display for Deaths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} from the first verdict to the last, {} late",
            millis(self.last.saturating_since(self.first)),
            quantiles(&self.lateness)
        )
    }
}

/// Milliseconds, as figures are printed.
pub(crate) fn millis(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1e3)
}

/// p50, p99 and the maximum of what is in order.
fn quantiles(sorted: &[Duration]) -> String {
    [0.5, 0.99, 1.0].map(|q| millis(quantile(sorted, q))).join(" / ")
}

fn quantile(sorted: &[Duration], quantile: f64) -> Duration {
    let rank = (quantile * sorted.len() as f64).ceil() as usize;
    sorted[rank.max(1) - 1]
}
