//! What a gateway's process holds, by the kernel's account, and whether it grows.

use std::fs;

use serde::Serialize;

use crate::footprint::{Sockets, descriptors_of};

use super::network::PORT;

/// After the first round the allocator has what it needs; from then on this much may come on top: arenas that threads
/// take turns in, and pages that fragments hold.
const RSS_TOLERANCE_KIB: f64 = 4096.0;
/// Below this number of episodes a slope is an anecdote.
const SLOPE_POINTS_MIN: usize = 8;

/// What it holds while nothing goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Footing {
    pub(super) rss_kib: u64,
    pub(super) descriptors: usize,
    /// Sockets of its port in its network, orphans included.
    pub(super) sockets: u32,
    pub(super) close_wait: u32,
    pub(super) queued: u32,
    /// TCP sockets of its network by the kernel's own counter, whether they are in its table or not.
    pub(super) in_use: u64,
    /// Memory that it has locked or pinned: a ring's.
    pub(super) locked_kib: u64,
}

impl Footing {
    /// Of a process, named as in /proc.
    pub(super) fn of(process: &str) -> Self {
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        let kib = |key: &str| number_after(&status, key);
        let sockstat = fs::read_to_string(format!("/proc/{process}/net/sockstat")).unwrap_or_default();
        let Sockets { held, close_wait, queued } = Sockets::of_port_of(process, PORT);
        Self {
            rss_kib: kib("VmRSS:"),
            descriptors: descriptors_of(process),
            sockets: held,
            close_wait,
            queued,
            in_use: number_after(&sockstat, "TCP: inuse"),
            locked_kib: kib("VmLck:") + kib("VmPin:"),
        }
    }

    /// Whether nothing is left but what was there at the start, memory aside.
    pub(super) fn is_back_to(&self, start: &Self) -> bool {
        Self { rss_kib: 0, ..*self } == Self { rss_kib: 0, ..*start }
    }
}

fn number_after(text: &str, key: &str) -> u64 {
    let rest = text.split_once(key).map_or("", |(_, rest)| rest);
    rest.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0)
}

/// Memory over the episodes after the first round.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Growth {
    /// What it had when the first round was over.
    pub(super) warm_kib: u64,
    pub(super) last_kib: u64,
    pub(super) episodes: usize,
    /// Least squares; none if there were too few episodes.
    pub(super) slope_kib_per_episode: Option<f64>,
    pub(super) leaks: bool,
}

impl Growth {
    /// `warm`: how many episodes the first round had.
    pub(super) fn of(rss_kib: &[u64], warm: usize) -> Self {
        let points = rss_kib.get(warm.saturating_sub(1)..).unwrap_or_default();
        let (Some(&warm_kib), Some(&last_kib)) = (points.first(), points.last()) else {
            return Self::default();
        };
        let slope = (points.len() >= SLOPE_POINTS_MIN).then(|| slope(points));
        // What the trend alone makes of all episodes, so that one large episode at the end is no leak.
        let grown = slope.map_or(0.0, |slope| slope * points.len() as f64);
        let leaks = grown > RSS_TOLERANCE_KIB.max(warm_kib as f64 / 10.0);
        Self { warm_kib, last_kib, episodes: points.len(), slope_kib_per_episode: slope, leaks }
    }
}

fn slope(points: &[u64]) -> f64 {
    let n = points.len() as f64;
    let mean_x = (n - 1.0) / 2.0;
    let mean_y = points.iter().sum::<u64>() as f64 / n;
    let (mut covariance, mut variance) = (0.0, 0.0);
    for (x, y) in points.iter().enumerate() {
        let x = x as f64 - mean_x;
        covariance += x * (*y as f64 - mean_y);
        variance += x * x;
    }
    covariance / variance
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steady_growth_is_a_leak_and_a_plateau_is_none() {
        let growing: Vec<u64> = (0..40).map(|n| 10_000 + 200 * n).collect();
        let growth = Growth::of(&growing, 4);
        assert!(growth.leaks, "{growth:?}");
        assert!((growth.slope_kib_per_episode.unwrap() - 200.0).abs() < 1e-6);
        let plateau: Vec<u64> = (0..40).map(|n| if n < 4 { 5_000 } else { 12_000 + n % 3 }).collect();
        assert!(!Growth::of(&plateau, 5).leaks);
    }

    #[test]
    fn a_few_episodes_prove_nothing() {
        assert_eq!(Growth::of(&[1_000, 90_000], 1).slope_kib_per_episode, None);
        assert!(!Growth::of(&[], 3).leaks);
    }

    #[test]
    fn this_process_has_a_footing() {
        let footing = Footing::of("self");
        assert!(footing.rss_kib > 0 && footing.descriptors > 2, "{footing:?}");
        let status = "VmLck:\t      12 kB\nVmPin:\t       4 kB\n";
        assert_eq!(number_after(status, "VmPin:"), 4);
    }
}
