//! What one measurement found, as metrics: the only place that divides costs by units.

use std::collections::BTreeMap;

use crate::control::{Deaths, LoadResult, ServerMark, Verdicts};
use crate::metric::{Curve, Metric};
use crate::workload::Workload;

/// One measurement of one contender.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Sample {
    pub(crate) values: BTreeMap<Metric, f64>,
    /// Values in nanoseconds, rising, with their counts.
    pub(crate) histograms: BTreeMap<Curve, Vec<(u64, u64)>>,
}

impl Sample {
    /// What was found in a window between two marks of the server.
    ///
    /// # Errors
    ///
    /// Nothing was done in it.
    pub(crate) fn of_window(
        workload: Workload,
        before: &ServerMark,
        after: &ServerMark,
        load: &LoadResult,
    ) -> Result<Sample, String> {
        let idle = matches!(workload, Workload::Beats { rate: 0, .. });
        if load.units == 0 && !idle {
            return Err(format!("no {} in the whole window", workload.unit()));
        }
        let seconds = load.elapsed_ns as f64 / 1e9;
        let cpu_ns = (after.cpu_ns - before.cpu_ns) as f64;
        let wakeups = after.voluntary_switches.saturating_sub(before.voluntary_switches) as f64;
        let mut sample = Sample::default();
        sample.extend([
            (Metric::WakeupsPerS, wakeups / seconds),
            (Metric::ServerBusy, cpu_ns / load.elapsed_ns as f64),
            (Metric::GeneratorBusy, load.generator_cpu_ns as f64 / load.elapsed_ns as f64),
        ]);
        sample.add_work(workload, load, cpu_ns);
        sample.add_latency(workload, load);
        if let Some(deaths) = load.deaths {
            sample.add_deaths(&deaths, after.verdicts);
        }
        Ok(sample)
    }

    pub(crate) fn extend(&mut self, values: impl IntoIterator<Item = (Metric, f64)>) {
        self.values.extend(values);
    }

    /// A value that every measurement of this kind has.
    pub(crate) fn get(&self, metric: Metric) -> f64 {
        self.values.get(&metric).copied().unwrap_or_default()
    }

    fn add_work(&mut self, workload: Workload, load: &LoadResult, cpu_ns: f64) {
        let (units, seconds) = (load.units as f64, load.elapsed_ns as f64 / 1e9);
        let (cost, rate) = (cpu_ns / units, units / seconds);
        match workload {
            Workload::Echo { .. } => {
                self.extend([(Metric::CpuNsPerMessage, cost), (Metric::MessagesPerS, rate)]);
            }
            Workload::Beats { connections, rate: asked, .. } => {
                let hours = f64::from(connections) * seconds / 3600.0;
                self.extend([(Metric::CpuMsPerConnHour, cpu_ns / 1e6 / hours)]);
                if asked > 0 {
                    self.extend([(Metric::CpuNsPerBeat, cost), (Metric::BeatsPerS, rate)]);
                }
            }
            Workload::Storm { .. } => self.extend([
                (Metric::CpuNsPerClaim, cost),
                (Metric::ClaimsPerS, rate),
                (Metric::ClaimsPerCoreS, units / cpu_ns * 1e9),
            ]),
            Workload::Fanout { .. } => {
                self.extend([(Metric::CpuNsPerDelivery, cost), (Metric::DeliveriesPerS, rate)]);
            }
            Workload::Detect { .. } | Workload::Memory { .. } | Workload::Scale { .. } => {}
        }
    }

    fn add_latency(&mut self, workload: Workload, load: &LoadResult) {
        if let Some(latency) = load.latency {
            self.extend([
                (Metric::LatencyP50Us, latency.p50_ns as f64 / 1e3),
                (Metric::LatencyP99Us, latency.p99_ns as f64 / 1e3),
            ]);
            if matches!(workload, Workload::Storm { .. }) {
                self.extend([(Metric::LongestWaitMs, latency.max_ns as f64 / 1e6)]);
            }
            self.histograms.insert(Curve::LatencyUs, load.histogram.clone());
        }
        if let Some(wave_ns) = load.wave_ns {
            let metric = match workload {
                Workload::Fanout { .. } => Metric::LastDeliveryMs,
                Workload::Echo { .. }
                | Workload::Beats { .. }
                | Workload::Storm { .. }
                | Workload::Detect { .. }
                | Workload::Memory { .. }
                | Workload::Scale { .. } => Metric::AllServedMs,
            };
            self.extend([(metric, wave_ns as f64 / 1e6)]);
        }
        if let (Some(_), Some(seen)) = (load.deaths, load.seen) {
            self.extend([
                (Metric::SeenP50Us, seen.p50_ns as f64 / 1e3),
                (Metric::SeenMaxUs, seen.max_ns as f64 / 1e3),
            ]);
            self.histograms.insert(Curve::SeenUs, load.histogram.clone());
        }
    }

    /// What devices saw, and what the server says.
    pub(crate) fn add_deaths(&mut self, deaths: &Deaths, verdicts: Option<Verdicts>) {
        let verdicts = verdicts.unwrap_or_default();
        let micros = |ns: u64| ns as f64 / 1e3;
        self.extend([
            (Metric::Deaths, (deaths.seen + deaths.undetected) as f64),
            (Metric::Early, (deaths.early + verdicts.early) as f64),
            (Metric::FalseCloses, deaths.false_closes as f64),
            (Metric::Undetected, deaths.undetected as f64),
            (Metric::LatenessP50Us, micros(verdicts.p50_ns)),
            (Metric::LatenessP99Us, micros(verdicts.p99_ns)),
            (Metric::LatenessP999Us, micros(verdicts.p999_ns)),
            (Metric::LatenessMaxUs, micros(verdicts.max_ns)),
        ]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Latency;

    fn mark(cpu_ns: u64, voluntary_switches: u64) -> ServerMark {
        ServerMark { cpu_ns, voluntary_switches, verdicts: None }
    }

    fn is(sample: &Sample, metric: Metric, value: f64) {
        assert!((sample.get(metric) - value).abs() < 1e-9, "{metric:?}: {}", sample.get(metric));
    }

    #[test]
    fn costs_are_per_unit_and_rates_per_second() {
        let workload = Workload::Beats { connections: 1800, rate: 500, answered: false };
        let load = LoadResult {
            units: 1000,
            elapsed_ns: 2_000_000_000,
            generator_cpu_ns: 1_000_000_000,
            ..LoadResult::default()
        };
        let (before, after) = (mark(1_000_000, 50), mark(5_000_000, 250));
        let sample = Sample::of_window(workload, &before, &after, &load).unwrap();
        is(&sample, Metric::CpuNsPerBeat, 4000.0);
        is(&sample, Metric::BeatsPerS, 500.0);
        is(&sample, Metric::WakeupsPerS, 100.0);
        is(&sample, Metric::GeneratorBusy, 0.5);
        // 1800 connections for two seconds are one connection hour.
        is(&sample, Metric::CpuMsPerConnHour, 4.0);
        assert!(!sample.values.contains_key(&Metric::LatencyP50Us));
    }

    #[test]
    fn a_storm_is_also_told_per_core_and_by_its_longest_wait() {
        let workload = Workload::Storm { identities: 10, at_once: 10, shards: 1 };
        let load = LoadResult {
            units: 50_000,
            elapsed_ns: 2_000_000_000,
            latency: Some(Latency { p50_ns: 1_000, p99_ns: 2_000, max_ns: 7_000_000 }),
            wave_ns: Some(9_000_000),
            ..LoadResult::default()
        };
        let sample = Sample::of_window(workload, &mark(0, 0), &mark(500_000_000, 0), &load).unwrap();
        for (metric, value) in [
            (Metric::CpuNsPerClaim, 10_000.0),
            (Metric::ClaimsPerCoreS, 100_000.0),
            (Metric::ClaimsPerS, 25_000.0),
            (Metric::LongestWaitMs, 7.0),
            (Metric::AllServedMs, 9.0),
        ] {
            is(&sample, metric, value);
        }
    }

    #[test]
    fn a_window_without_work_is_no_measurement_unless_idleness_is_measured() {
        let load = LoadResult { elapsed_ns: 1_000_000_000, ..LoadResult::default() };
        let echo = Workload::Echo { connections: 1, bytes: 1 };
        let idle = Workload::Beats { connections: 1, rate: 0, answered: false };
        let measure = |workload| Sample::of_window(workload, &mark(0, 0), &mark(9, 0), &load);
        assert!(measure(echo).unwrap_err().contains("no message"));
        assert!(measure(idle).is_ok());
    }
}
