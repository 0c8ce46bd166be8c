//! One measurement: one contender in a fresh process under load from another.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::child::{Child, ChildError, Interrupt};
use crate::contender::Contender;
use crate::control::{Command, LoadReport, LoadResult, ServerMark, ServerReport};
use crate::metric::Metric;
use crate::plan::{LoadPlan, ServePlan};
use crate::process;
use crate::suite::Setup;
use crate::workload::Workload;

/// For what a child has to do at once.
const PROMPT: Duration = Duration::from_secs(10);
/// For a generator to connect its fleet, at a thousand connections a second and then some.
const CONNECT: Duration = Duration::from_mins(1);

/// What one measurement found.
pub(crate) type Sample = BTreeMap<Metric, f64>;

/// Measures `contender` once.
pub(crate) fn measure(
    setup: &Setup,
    contender: Contender,
    interrupt: &Interrupt,
) -> Result<Sample, ChildError> {
    let mut server = Child::start_server(&serve_plan(setup, contender), interrupt)?;
    let report = server.report(PROMPT)?;
    let ServerReport::Ready { addr } = report else { return Err(surprise(&report)) };
    let plan = LoadPlan {
        workload: setup.workload,
        server: addr,
        hangs_up: contender.hangs_up(),
        core: setup.machine.generator_core,
        engine: setup.machine.generator,
        congestion: setup.machine.congestion(),
        warmup: setup.warmup(),
        window: setup.window,
    };
    let mut load = Child::start("load", &plan, interrupt)?;
    let report = load.report(CONNECT + plan.warmup)?;
    let LoadReport::Steady = report else { return Err(blame(&mut server, &report)) };
    load.command(Command::Begin)?;
    let report = load.report(PROMPT)?;
    let LoadReport::Begun = report else { return Err(blame(&mut server, &report)) };
    let before = mark(&mut server, Command::Begin)?;
    let busy_before = process::core_busy_ns(setup.machine.server_core);
    let report = load.report(PROMPT + plan.window)?;
    let LoadReport::Ended(result) = report else { return Err(blame(&mut server, &report)) };
    let after = mark(&mut server, Command::End)?;
    let mut sample = sample(setup.workload, before, after, &result)?;
    let busy_after = process::core_busy_ns(setup.machine.server_core);
    // On one core the generator would count as a stranger.
    if let (Some(before), Some(after), false) = (busy_before, busy_after, setup.machine.is_shared()) {
        let busy = after.saturating_sub(before) as f64 / result.elapsed_ns as f64;
        sample.insert(Metric::ForeignBusy, (busy - sample[&Metric::ServerBusy]).max(0.0));
    }
    Ok(sample)
}

fn serve_plan(setup: &Setup, contender: Contender) -> ServePlan {
    ServePlan {
        contender,
        workload: setup.workload,
        core: setup.machine.server_core,
        congestion: setup.machine.congestion(),
        batch_within: setup.batch_within,
        dead_within: setup.dead_within,
    }
}

fn mark(server: &mut Child, command: Command) -> Result<ServerMark, ChildError> {
    server.command(command)?;
    let report = server.report(PROMPT)?;
    let ServerReport::Mark(mark) = report else { return Err(surprise(&report)) };
    Ok(mark)
}

/// When the generator fails, the server may already have said why.
fn blame(server: &mut Child, report: &LoadReport) -> ChildError {
    let why = match report {
        LoadReport::Failed { why } => why.clone(),
        LoadReport::Steady | LoadReport::Begun | LoadReport::Ended(_) => format!("out of turn: {report:?}"),
    };
    match server.report::<ServerReport>(Duration::ZERO) {
        Ok(ServerReport::Failed { why: first }) => ChildError::Failed(first),
        Ok(ServerReport::Ready { .. } | ServerReport::Mark(_)) | Err(_) => ChildError::Failed(why),
    }
}

fn surprise(report: &ServerReport) -> ChildError {
    match report {
        ServerReport::Failed { why } => ChildError::Failed(why.clone()),
        ServerReport::Ready { .. } | ServerReport::Mark(_) => {
            ChildError::Failed(format!("out of turn: {report:?}"))
        }
    }
}

fn sample(
    workload: Workload,
    before: ServerMark,
    after: ServerMark,
    load: &LoadResult,
) -> Result<Sample, ChildError> {
    if load.units == 0 {
        return Err(ChildError::Failed(format!("no {} in the whole window", workload.unit())));
    }
    let seconds = load.elapsed_ns as f64 / 1e9;
    let units = load.units as f64;
    let cpu_ns = (after.cpu_ns - before.cpu_ns) as f64;
    let wakeups = after.voluntary_switches.saturating_sub(before.voluntary_switches) as f64;
    let rate = match workload {
        Workload::Echo { .. } => Metric::MessagesPerS,
        Workload::Beats { .. } => Metric::BeatsPerS,
        Workload::Storm { .. } => Metric::ClaimsPerS,
    };
    let mut sample = Sample::from([
        (workload.cost(), cpu_ns / units),
        (rate, units / seconds),
        (Metric::WakeupsPerS, wakeups / seconds),
        (Metric::ServerBusy, cpu_ns / load.elapsed_ns as f64),
        (Metric::GeneratorBusy, load.generator_cpu_ns as f64 / load.elapsed_ns as f64),
    ]);
    if let Some(latency) = load.latency {
        sample.insert(Metric::LatencyP50Us, latency.p50_ns as f64 / 1e3);
        sample.insert(Metric::LatencyP99Us, latency.p99_ns as f64 / 1e3);
    }
    if let Workload::Storm { .. } = workload {
        sample.insert(Metric::ClaimsPerCoreS, units * 1e9 / cpu_ns);
        let longest = load.latency.map(|latency| (Metric::LongestWaitMs, latency.max_ns));
        let waits = longest.into_iter().chain(load.wave_ns.map(|wave_ns| (Metric::AllServedMs, wave_ns)));
        sample.extend(waits.map(|(metric, ns)| (metric, ns as f64 / 1e6)));
    }
    Ok(sample)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Latency;

    #[test]
    fn cost_is_the_cpu_of_the_window_over_its_units() {
        let workload = Workload::Beats { connections: 10, rate: 100 };
        let before = ServerMark { cpu_ns: 1_000, voluntary_switches: 50 };
        let after = ServerMark { cpu_ns: 2_001_000, voluntary_switches: 250 };
        let load = LoadResult {
            units: 400,
            elapsed_ns: 2_000_000_000,
            generator_cpu_ns: 1_000_000_000,
            latency: None,
            wave_ns: None,
        };
        let sample = sample(workload, before, after, &load).unwrap();
        assert!((sample[&Metric::CpuNsPerBeat] - 5_000.0).abs() < 1e-9);
        assert!((sample[&Metric::BeatsPerS] - 200.0).abs() < 1e-9);
        assert!((sample[&Metric::WakeupsPerS] - 100.0).abs() < 1e-9);
        assert!((sample[&Metric::GeneratorBusy] - 0.5).abs() < 1e-9);
        assert!(!sample.contains_key(&Metric::LatencyP50Us));
    }

    #[test]
    fn a_storm_is_also_told_per_core_and_by_its_longest_wait() {
        let workload = Workload::Storm { identities: 10, at_once: 10, shards: 1 };
        let before = ServerMark { cpu_ns: 0, voluntary_switches: 0 };
        let after = ServerMark { cpu_ns: 500_000_000, voluntary_switches: 0 };
        let latency = Latency { p50_ns: 1_000, p99_ns: 2_000, max_ns: 7_000_000 };
        let load = LoadResult {
            units: 50_000,
            elapsed_ns: 2_000_000_000,
            generator_cpu_ns: 0,
            latency: Some(latency),
            wave_ns: Some(9_000_000),
        };
        let sample = sample(workload, before, after, &load).unwrap();
        for (metric, value) in [
            (Metric::CpuNsPerClaim, 10_000.0),
            (Metric::ClaimsPerCoreS, 100_000.0),
            (Metric::ClaimsPerS, 25_000.0),
            (Metric::LongestWaitMs, 7.0),
            (Metric::AllServedMs, 9.0),
        ] {
            assert!((sample[&metric] - value).abs() < 1e-9, "{metric:?}");
        }
    }
}
