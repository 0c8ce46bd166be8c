//! The fleet: every device meets one fate, and every end must be reported with its true cause.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;
use heartring::Instant;

use super::children::Fleets;
use super::gateway::{GatewayFacts, Observer};
use super::plan::{Fate, Plan, Timetable};
use super::progress::Progress;
use super::summary::Summary;
use super::verdict::{Evidence, Verdict};
use super::{DemoArgs, counted, exit_code};
use crate::duration::{self, show};
use crate::failure::Failure;
use crate::interrupt::watch_signals;
use crate::view::{REDRAW_EVERY, View};
use crate::{output, system};

/// From here to the first connect: the time that the fleet's processes need to start.
const FLEET_STARTS_WITHIN: Duration = Duration::from_millis(100);
const DEVICES: u32 = 1000;
const SEED: u64 = 1;

/// What only this scenario can be told.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Options of --scenario fleet")]
pub(super) struct FleetArgs {
    /// How many devices connect [default: 1000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    devices: Option<u32>,
    /// How long the run lasts [default: 12s, longer if the deadline or the fleet needs it]
    #[arg(long = "for", value_name = "TIME", value_parser = duration::parse)]
    run_for: Option<Duration>,
    /// Decides who does what, and when [default: 1]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

impl FleetArgs {
    /// One of the options that were given.
    pub(super) fn given(&self) -> Option<&'static str> {
        let Self { devices, run_for, seed } = self;
        devices.map(|_| "--devices").or(run_for.map(|_| "--for")).or(seed.map(|_| "--seed"))
    }
}

pub(super) fn run(args: &DemoArgs) -> Result<ExitCode, Failure> {
    let started = system::now();
    let config = args.config();
    let liveness = config.liveness().map_err(|error| Failure::from_library(&error))?;
    let devices = args.fleet.devices.unwrap_or(DEVICES);
    let timetable = Timetable::new(&liveness, devices, args.fleet.run_for)?;
    let plan = Plan { seed: args.fleet.seed.unwrap_or(SEED), devices, timetable };
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
        view.show(&progress.picture());
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
    exit_code(summary.interrupted, good)
}
