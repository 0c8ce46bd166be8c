//! A report for tests, with made-up figures of the size that real ones have: every part that `all` has, and all contenders.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use crate::contender::{Contender, Mode, Server};
use crate::machine::Machine;
use crate::metric::{Curve, Metric};
use crate::panels;
use crate::plan::Engine;
use crate::report::{Report, Section};
use crate::roster;
use crate::sample::Sample;
use crate::suite::{Results, Setup};
use crate::workload::Workload;

/// What a failure says, with everything in it that must not reach a page as it is.
pub(crate) const WHY: &str = "cannot open <ring> & \"queue\": </section><script>alert('ENOMEM')</script>";

pub(crate) fn machine() -> Machine {
    Machine {
        kernel: "6.18.44".into(),
        cpu: "Imaginary CPU @ 2.60GHz".into(),
        cores: 2,
        server_core: 1,
        generator_core: 0,
        generator: Engine::IoUring,
        memory_mib: 24_000,
        congestion_control: "cubic".into(),
        congestion_control_default: "bbr".into(),
        descriptors_max: 20_000,
        transport: crate::transport::described(true).into(),
        rps: true,
        version: "0.1.0".into(),
    }
}

/// As `heartring bench all` would find it.
pub(crate) fn all() -> Report {
    static ALL: OnceLock<Report> = OnceLock::new();
    ALL.get_or_init(measure).clone()
}

fn measure() -> Report {
    let machine = machine();
    let setups = panels::all(false, &machine);
    let parts = setups.into_iter().map(|mut setup| {
        if !setup.part.as_deref().is_some_and(|part| part.starts_with("deadlines")) {
            // Runtimes too, which a test has not built.
            setup.contenders = roster::usual(setup.workload);
        }
        let results = results(&setup);
        (setup, results)
    });
    Report::of_several("all", machine.clone(), parts.collect())
}

fn results(setup: &Setup) -> Results {
    let mut results = Results::default();
    for (place, contender) in setup.contenders.iter().enumerate() {
        if contender.server == Server::Glommio && setup.workload.name() == "storm" {
            results.failures.push((*contender, WHY.into()));
            continue;
        }
        let rounds = 0..setup.rounds;
        let samples = rounds.map(|round| {
            // The machine's pace, which all of a round have in common, and a little of one's own.
            let pace = 1.0 + 0.09 * noise(round, 0);
            sample(setup, *contender, pace * (1.0 + 0.012 * noise(round, place as u32 + 1)), round)
        });
        results.samples.insert(*contender, samples.collect());
    }
    results
}

/// Between -1 and 1, and always the same.
fn noise(round: u32, place: u32) -> f64 {
    let mixed = (round + 1).wrapping_mul(2_654_435_761) ^ (place + 7).wrapping_mul(2_246_822_519);
    let mixed = (mixed ^ (mixed >> 15)).wrapping_mul(0x2c1b_3c6d);
    f64::from((mixed ^ (mixed >> 13)) % 2000) / 1000.0 - 1.0
}

/// CPU of a contender, of one that needs 1: nothing measured.
fn weight(contender: Contender, connections: f64) -> f64 {
    let server = match contender.server {
        Server::BareSockets => 0.1,
        Server::AcceptUring => 0.52,
        Server::AcceptEpoll => 0.66,
        Server::BareUring => 1.0,
        Server::BareEpoll => 1.07,
        Server::HeartringUring => 1.015,
        Server::HeartringEpoll => 1.1,
        Server::Mio => 1.09,
        Server::Tokio => 1.16,
        Server::TokioUring => 1.13,
        Server::Monoio => 1.06,
        Server::Compio => 1.19,
        Server::Glommio => 1.42,
    };
    let mode = match contender.mode {
        Mode::Usual => 1.0,
        Mode::Batched => 0.42,
        Mode::NoDeadlines => 0.997,
        Mode::Sweep => 1.005,
        Mode::Lease => 1.09 - 0.14 * (connections / 1000.0).log10(),
        Mode::Rearmed => 1.34 + 0.05 * (connections / 1000.0).log10(),
        Mode::Wheel => 1.03,
    };
    server * mode * (1.0 + 0.06 * (connections / 1000.0).log10())
}

fn sample(setup: &Setup, contender: Contender, pace: f64, round: u32) -> Sample {
    let connections = f64::from(setup.workload.connections());
    let cost = weight(contender, connections) * pace;
    let mut sample = Sample::default();
    sample.extend([(Metric::ServerBusy, 0.985), (Metric::GeneratorBusy, 0.83), (Metric::ForeignBusy, 0.012)]);
    match setup.workload {
        Workload::Echo { .. } => {
            sample.extend([(Metric::CpuNsPerMessage, 4010.0 * cost), (Metric::MessagesPerS, 2.4e5 / cost)]);
            add_latency(&mut sample, connections * 4.1e3 * cost);
        }
        Workload::Beats { rate: 0, .. } => {
            sample.extend([(Metric::CpuMsPerConnHour, 0.004 * cost), (Metric::WakeupsPerS, 0.4)]);
        }
        Workload::Beats { rate, .. } => sample.extend([
            (Metric::CpuNsPerBeat, 5300.0 * cost * if contender.is_runtime() { 1.2 } else { 1.0 }),
            (Metric::CpuMsPerConnHour, 0.9 * cost),
            (Metric::BeatsPerS, f64::from(rate)),
            (Metric::WakeupsPerS, 4710.0 * if contender.mode == Mode::Batched { 0.04 } else { 1.0 }),
        ]),
        Workload::Storm { .. } => {
            sample.extend([
                (Metric::CpuNsPerClaim, 10_400.0 * cost),
                (Metric::ClaimsPerCoreS, 96_000.0 / cost),
                (Metric::ClaimsPerS, 41_000.0 / cost),
                (Metric::LongestWaitMs, 48.0 * cost),
                (Metric::AllServedMs, 50.0 * cost),
            ]);
            add_latency(&mut sample, 2.2e7 * cost);
        }
        Workload::Fanout { .. } => {
            sample.extend([
                (Metric::CpuNsPerDelivery, 2100.0 * cost),
                (Metric::DeliveriesPerS, 100_000.0),
                (Metric::LastDeliveryMs, 14.0 * cost),
            ]);
            add_latency(&mut sample, 6.5e6 * cost);
        }
        Workload::Detect { .. } => add_deaths(&mut sample, setup, contender, pace, round),
        Workload::Memory { .. } => add_memory(&mut sample, contender, pace),
        Workload::Scale { deaths, .. } => {
            sample.extend([
                (Metric::Connections, connections),
                (Metric::ConnectS, 71.3),
                (Metric::CpuMsPerConnHour, 0.61),
                (Metric::UserBytes, 126.0),
                (Metric::KernelBytesBothEnds, 8230.0),
                (Metric::Deaths, f64::from(deaths)),
                (Metric::Early, 0.0),
                (Metric::FalseCloses, 0.0),
                (Metric::Undetected, 0.0),
                (Metric::LatenessMaxUs, 8412.0),
            ]);
        }
    }
    sample
}

fn add_deaths(sample: &mut Sample, setup: &Setup, contender: Contender, pace: f64, round: u32) {
    let Workload::Detect { scene, deaths, .. } = setup.workload else { return };
    let size = match scene {
        crate::workload::Scene::Single => 1.0,
        crate::workload::Scene::Mass => 90.0,
        crate::workload::Scene::Loaded => 6.0,
    };
    let late =
        size * pace * weight(contender, 1000.0) * if contender.mode == Mode::Sweep { 0.6 } else { 1.0 };
    sample.extend([
        (Metric::Deaths, f64::from(deaths)),
        (Metric::Early, 0.0),
        (Metric::FalseCloses, 0.0),
        (Metric::Undetected, 0.0),
        (Metric::LatenessP50Us, 95.0 * late),
        (Metric::LatenessP99Us, 310.0 * late),
        (Metric::LatenessP999Us, 480.0 * late),
        (Metric::LatenessMaxUs, 700.0 * late * (1.0 + 0.3 * noise(round, 99))),
        (Metric::SeenP50Us, 130.0 * late),
        (Metric::SeenMaxUs, 900.0 * late),
    ]);
    sample.histograms.insert(Curve::SeenUs, histogram(1.3e5 * late, deaths.into()));
}

fn add_memory(sample: &mut Sample, contender: Contender, pace: f64) {
    let (user, kernel) = match contender.server {
        Server::BareSockets => (1.0, 7000.0),
        Server::BareUring => (34.0, 8100.0),
        Server::BareEpoll => (22.0, 7400.0),
        Server::HeartringUring if contender.mode == Mode::Lease => (121.0, 8520.0),
        Server::HeartringUring if contender.mode == Mode::Sweep => (119.0, 8110.0),
        Server::HeartringUring => (122.0, 8500.0),
        Server::HeartringEpoll => (124.0, 7420.0),
        Server::AcceptUring
        | Server::AcceptEpoll
        | Server::Mio
        | Server::Tokio
        | Server::TokioUring
        | Server::Monoio
        | Server::Compio
        | Server::Glommio => (3100.0 * weight(contender, 1000.0), 7500.0),
    };
    sample.extend([
        (Metric::UserBytes, user),
        (Metric::KernelBytesBothEnds, kernel * (1.0 + (pace - 1.0) * 0.05)),
    ]);
}

fn add_latency(sample: &mut Sample, median_ns: f64) {
    let histogram = histogram(median_ns, 120_000);
    let value = |share: f64| {
        let rank = (share * 120_000.0) as u64;
        let mut seen = 0;
        let reached = histogram.iter().find(|(_, count)| {
            seen += *count;
            seen >= rank
        });
        reached.map_or(0.0, |(value, _)| *value as f64 / 1e3)
    };
    sample.extend([(Metric::LatencyP50Us, value(0.5)), (Metric::LatencyP99Us, value(0.99))]);
    sample.histograms.insert(Curve::LatencyUs, histogram);
}

/// A distribution with a long tail.
fn histogram(median_ns: f64, count: u64) -> Vec<(u64, u64)> {
    let mut buckets: BTreeMap<u64, u64> = BTreeMap::new();
    for step in 0..800_u32 {
        let quantile = (f64::from(step) + 0.5) / 800.0;
        let value = median_ns * (0.75 + 0.5 * quantile) * (1.0 - quantile).powf(-0.12);
        *buckets.entry(value as u64).or_default() += count.div_ceil(800);
    }
    buckets.into_iter().collect()
}

/// What `look` makes of one of its parts.
pub(crate) fn part<T>(title: &str, look: impl FnOnce(&Section<'_>) -> T) -> T {
    let report = all();
    let sections = report.sections();
    look(sections.iter().find(|section| section.title == Some(title)).unwrap())
}
