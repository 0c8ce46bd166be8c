//! `heartring demo`: a gateway in this process, a fleet of devices in others, and a comparison of what both say.

mod account;
mod children;
mod device;
mod expectation;
pub(crate) mod fleet;
mod gateway;
mod plan;
mod summary;
mod verdict;
mod view;
mod wire;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::{Args, ValueEnum};
use heartring::{BackendChoice, Config, DeadlineStrategy, Instant, Overrides};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use children::Fleets;
use gateway::{GatewayFacts, Observer};
use plan::{Fate, Plan, Timetable};
use summary::Summary;
use verdict::{Evidence, Verdict};
use view::{Progress, REDRAW_EVERY, View};

use crate::duration::{self, show};
use crate::failure::Failure;
use crate::{output, system};

/// Something was reported otherwise than it happened.
const EXIT_MISMATCH: u8 = 1;
/// 128 + SIGINT, as shells count.
const EXIT_INTERRUPTED: u8 = 130;
/// From here to the first connect: the time that the fleet's processes need to start.
const FLEET_STARTS_WITHIN: Duration = Duration::from_millis(100);

/// The options of the demo.
#[derive(Args, Clone, Debug)]
pub(crate) struct DemoArgs {
    /// How many devices connect
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    devices: u32,
    /// How long the run lasts [default: 12s, longer if the deadline or the fleet needs it]
    #[arg(long = "for", value_name = "TIME", value_parser = duration::parse)]
    run_for: Option<Duration>,
    /// By when a device that vanished must be known dead
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = duration::parse)]
    dead_within: Duration,
    /// How often devices beat [default: a third of the deadline]
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    heartbeat: Option<Duration>,
    /// Which interface of the kernel the gateway uses
    #[arg(long, value_enum, default_value_t = BackendArg::Auto)]
    backend: BackendArg,
    /// Who keeps the deadlines [default: linked on io_uring, sweep on epoll]
    #[arg(long, value_enum)]
    deadlines: Option<DeadlinesArg>,
    /// How many shards the gateway has [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    shards: Option<u16>,
    /// Decides who does what, and when
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Where the gateway listens; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: String,
    /// Print one JSON object at the end and nothing else
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum BackendArg {
    Auto,
    Uring,
    Epoll,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum DeadlinesArg {
    Linked,
    Lease,
    Sweep,
}

pub(crate) fn run(args: &DemoArgs) -> Result<ExitCode, Failure> {
    let started = system::now();
    let config = args.config();
    let liveness = config.liveness().map_err(|error| Failure::from_library(&error))?;
    let timetable = Timetable::new(&liveness, args.devices, args.run_for)?;
    let plan = Plan { seed: args.seed, devices: args.devices, timetable };
    let descriptors = system::raise_descriptors();
    let interrupted = watch_signals()?;

    let mut gateway = Observer::start(config, &args.listen)?;
    let start = system::now() + FLEET_STARTS_WITHIN;
    let mut fleets = Fleets::start(&plan, gateway.address(), start, descriptors)?;
    let mut view = View::new(args.json);
    view.print(&introduce(&plan, &gateway, fleets.processes()));
    let watched = watch(&mut gateway, &mut fleets, &mut view, start, &plan, &interrupted);

    let stopped_at = system::now();
    let observed = gateway.stop()?;
    watched?;
    let truths = fleets.collect();
    let interrupted = interrupted.load(Ordering::Relaxed);
    let verdict = Verdict::new(&Evidence {
        plan: &plan,
        truths: &truths,
        endings: &observed.endings,
        refused: observed.stats.closed("refused"),
        refused_max: refused_max(&plan, &observed.facts),
        stopped_at,
        ledger_open: observed.ledger_open,
        interrupted,
    });
    let summary = Summary {
        verdict,
        gateway: observed.facts,
        stats: observed.stats,
        devices: plan.devices,
        seed: plan.seed,
        elapsed: system::now().saturating_since(started),
        interrupted,
    };
    Ok(conclude(&summary, &mut view, args.json))
}

impl DemoArgs {
    fn config(&self) -> Config {
        Config {
            dead_within: self.dead_within,
            overrides: Overrides { beat_every: self.heartbeat, ..Overrides::default() },
            backend: match self.backend {
                BackendArg::Auto => BackendChoice::Auto,
                BackendArg::Uring => BackendChoice::Uring,
                BackendArg::Epoll => BackendChoice::Epoll,
            },
            deadlines: self.deadlines.map(|deadlines| match deadlines {
                DeadlinesArg::Linked => DeadlineStrategy::Linked,
                DeadlinesArg::Lease => DeadlineStrategy::Lease,
                DeadlinesArg::Sweep => DeadlineStrategy::Sweep,
            }),
            shards: self.shards,
            // The fleet shares the cores: a pinned shard would wait behind it.
            pin: false,
            handle_signals: false,
            ..Config::default()
        }
    }
}

/// Set by Ctrl-C and SIGTERM. Stopping in order takes a bounded time, so that a second signal need not do more.
fn watch_signals() -> Result<Arc<AtomicBool>, Failure> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        flag::register(signal, Arc::clone(&interrupted)).map_err(|error| {
            Failure::new(format!("cannot handle signals: {error}"), "see the system's limits")
        })?;
    }
    Ok(interrupted)
}

/// Until the run is over, or interrupted, or a fleet fails.
fn watch(
    gateway: &mut Observer,
    fleets: &mut Fleets,
    view: &mut View,
    start: Instant,
    plan: &Plan,
    interrupted: &AtomicBool,
) -> Result<(), Failure> {
    let run_for = plan.timetable.run_for;
    let mut progress = Progress::new(run_for);
    while !interrupted.load(Ordering::Relaxed) && progress.elapsed < run_for {
        gateway.watch(REDRAW_EVERY.min(run_for.saturating_sub(progress.elapsed)), &mut progress);
        progress.elapsed = system::now().saturating_since(start).min(run_for);
        view.show(&progress);
        fleets.check()?;
    }
    Ok(())
}

/// What is about to be shown, and why it matters.
fn introduce(plan: &Plan, gateway: &Observer, fleet_processes: usize) -> String {
    let GatewayFacts { backend, backend_reason, deadlines, shards, .. } = gateway.facts();
    let times = &plan.timetable;
    format!(
        "A device that crashes, loses power or leaves the network sends no FIN. Its server is told nothing:
recv waits for ever, and the dead connection stays ESTABLISHED. Here {devices} devices connect, and some
of them vanish. heartring must name every end, in time, lose no byte, and never cut off a healthy one.

  gateway    {address}, {shards} on {backend} ({backend_reason})
  deadlines  {deadlines}: silence of {dead_within} is death; for {grace} more, late data is still taken
  fleet      {processes}, a beat every {beat_every}; by seed {seed}, {census}
",
        devices = plan.devices,
        address = gateway.address(),
        shards = counted(shards, "shard", "shards"),
        dead_within = show(times.dead_within),
        grace = show(times.grace),
        processes = counted(fleet_processes, "process", "processes"),
        beat_every = show(times.beat_every),
        seed = plan.seed,
        census = census(plan),
    )
}

/// In two lines, the second one indented to where the first began.
fn census(plan: &Plan) -> String {
    let counts: Vec<_> = Fate::ALL
        .iter()
        .zip(plan.census())
        .map(|(fate, count)| format!("{count} {}", fate.describe()))
        .collect();
    let (first, second) = counts.split_at(Fate::Late as usize);
    format!("{},\n             {}", first.join(", "), second.join(", "))
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// How many devices the gateway may turn away: those for which its shards have no room.
///
/// The kernel spreads devices over the shards at random, so that a shard can be full while another still has room: four
/// standard deviations of that are allowed for.
fn refused_max(plan: &Plan, gateway: &GatewayFacts) -> u64 {
    let (devices, shards) = (u64::from(plan.devices), gateway.shards as u64);
    let per_shard = u64::from(gateway.conns_per_shard_max);
    if devices <= per_shard {
        return 0;
    }
    let spread = if shards > 1 { 4.0 * f64::from(plan.devices).sqrt() } else { 0.0 };
    (devices + spread as u64).saturating_sub(per_shard * shards)
}

fn conclude(summary: &Summary, view: &mut View, json: bool) -> ExitCode {
    let good = summary.verdict.objections().is_empty();
    if json {
        output::line(summary.to_json());
    } else {
        view.print(&summary.to_text());
        view.print(&view.paint(summary.conclusion(), good));
    }
    match (summary.interrupted, good) {
        (true, _) => ExitCode::from(EXIT_INTERRUPTED),
        (false, true) => ExitCode::SUCCESS,
        (false, false) => ExitCode::from(EXIT_MISMATCH),
    }
}
