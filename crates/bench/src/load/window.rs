//! What counts: the phases of a measurement as the generator goes through them. The only place that counts.

use std::ops::ControlFlow::{self, Break, Continue};
use std::sync::mpsc::TryRecvError;

use hdrhistogram::Histogram;

use super::Link;
use crate::clock;
use crate::control::{Latency, LoadReport, LoadResult};
use crate::plan::LoadPlan;

/// ```text
/// Warming ── warm-up is over ──▶ Steady ── "begin" ──▶ Measuring ── window is over ──▶ Ended
/// ```
/// The load is the same in all of them. Times in monotonic nanoseconds.
enum Phase {
    Warming { until: u64 },
    Steady,
    Measuring { since: u64, cpu_ns_before: u64 },
    Ended,
}

pub(super) struct Window {
    phase: Phase,
    length_ns: u64,
    units: u64,
    latency_ns: Histogram<u64>,
    waves: u64,
    waves_ns: u64,
}

impl Window {
    /// Begins to warm up.
    pub(super) fn new(plan: &LoadPlan, now: u64) -> Window {
        Window {
            phase: Phase::Warming { until: now + plan.warmup.as_nanos() as u64 },
            length_ns: plan.window.as_nanos() as u64,
            units: 0,
            // From 1 µs to 100 s with three digits; what is outside is counted at the edge.
            latency_ns: Histogram::new_with_bounds(1_000, 100_000_000_000, 3).expect("valid bounds"),
            waves: 0,
            waves_ns: 0,
        }
    }

    /// One beat was sent.
    pub(super) fn sent(&mut self) {
        match self.phase {
            Phase::Measuring { .. } => self.units += 1,
            Phase::Warming { .. } | Phase::Steady | Phase::Ended => {}
        }
    }

    /// One message came back after `latency_ns`.
    pub(super) fn answered(&mut self, latency_ns: u64) {
        match self.phase {
            Phase::Measuring { .. } => {
                self.units += 1;
                self.latency_ns.saturating_record(latency_ns);
            }
            Phase::Warming { .. } | Phase::Steady | Phase::Ended => {}
        }
    }

    /// All devices of a wave were served within `wave_ns`.
    pub(super) fn wave_served(&mut self, wave_ns: u64) {
        match self.phase {
            Phase::Measuring { .. } => {
                self.waves += 1;
                self.waves_ns += wave_ns;
            }
            Phase::Warming { .. } | Phase::Steady | Phase::Ended => {}
        }
    }

    /// Moves on where it is time to. To be called once per turn of the generator; breaks when the suite has
    /// closed the link.
    pub(super) fn turn(&mut self, now: u64, link: &mut Link<'_>) -> ControlFlow<()> {
        match self.phase {
            Phase::Warming { until } if now >= until => {
                self.phase = Phase::Steady;
                (link.report)(LoadReport::Steady);
            }
            Phase::Measuring { since, cpu_ns_before } if now >= since + self.length_ns => {
                self.phase = Phase::Ended;
                (link.report)(LoadReport::Ended(self.result(now - since, cpu_ns_before)));
            }
            Phase::Warming { .. } | Phase::Measuring { .. } => {}
            Phase::Steady | Phase::Ended => match link.begin.try_recv() {
                Ok(()) => self.begin(link),
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return Break(()),
            },
        }
        Continue(())
    }

    fn begin(&mut self, link: &mut Link<'_>) {
        self.units = 0;
        self.latency_ns.reset();
        (self.waves, self.waves_ns) = (0, 0);
        self.phase = Phase::Measuring { since: clock::now_ns(), cpu_ns_before: clock::process_cpu_ns() };
        (link.report)(LoadReport::Begun);
    }

    fn result(&self, elapsed_ns: u64, cpu_ns_before: u64) -> LoadResult {
        let quantile = |q| self.latency_ns.value_at_quantile(q);
        let latency =
            Latency { p50_ns: quantile(0.5), p99_ns: quantile(0.99), max_ns: self.latency_ns.max() };
        LoadResult {
            units: self.units,
            elapsed_ns,
            generator_cpu_ns: clock::process_cpu_ns() - cpu_ns_before,
            latency: (!self.latency_ns.is_empty()).then_some(latency),
            wave_ns: self.waves_ns.checked_div(self.waves),
            histogram: counts(&self.latency_ns),
            ..LoadResult::default()
        }
    }
}

/// Values and how often each was found.
pub(super) fn counts(histogram: &Histogram<u64>) -> Vec<(u64, u64)> {
    let recorded = histogram.iter_recorded();
    recorded.map(|value| (value.value_iterated_to(), value.count_at_value())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Workload;
    use std::sync::mpsc;
    use std::time::Duration;

    #[test]
    fn only_what_falls_into_the_window_counts() {
        let plan = LoadPlan {
            workload: Workload::Echo { connections: 1, bytes: 1 },
            server: "127.0.0.1:1".parse().unwrap(),
            hangs_up: false,
            core: 0,
            engine: crate::plan::Engine::Epoll,
            congestion: None,
            warmup: Duration::from_secs(1),
            window: Duration::from_secs(2),
            dead_within: Duration::from_secs(30),
            devices: None,
        };
        let (begin, begun) = mpsc::channel();
        let mut reports = Vec::new();
        let mut report = |report| reports.push(report);
        let mut link = Link { begin: begun, report: &mut report };
        let now = clock::now_ns();
        let mut window = Window::new(&plan, now);
        window.answered(5_000);
        assert!(window.turn(now + 1_000_000_000, &mut link).is_continue());
        begin.send(()).unwrap();
        assert!(window.turn(now, &mut link).is_continue());
        window.answered(7_000);
        let end = clock::now_ns() + 2_000_000_000;
        assert!(window.turn(end, &mut link).is_continue());
        window.answered(9_000);
        drop(begin);
        assert!(window.turn(end, &mut link).is_break());
        assert_eq!(reports[..2], [LoadReport::Steady, LoadReport::Begun]);
        let LoadReport::Ended(result) = &reports[2] else { panic!("{reports:?}") };
        assert_eq!(result.units, 1);
        assert_eq!(result.latency.unwrap().p99_ns / 1_000, 7);
    }
}
