//! The reboot loop: devices that die silently and come back before anybody has noticed, again and again. Each claims its
//! identity anew, its ghost is evicted at that moment, and healthy clients never notice.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;
use heartring::{Liveness, Summary};

use super::child::Orders;
use super::children::FleetProcess;
use super::gateway::GatewayFacts;
use super::reboot_devices::{RebootOrders, RebootReport};
use super::reboot_gateway::{Book, Registry};
use super::reboot_summary::RebootSummary;
use super::reboot_verdict::Evidence;
use super::{DemoArgs, counted, exit_code};
use crate::duration::show;
use crate::failure::Failure;
use crate::footprint::{Sockets, descriptors, shards_cpu};
use crate::interrupt::watch_signals;
use crate::silent_death::SilentDeath;
use crate::view::{Picture, REDRAW_EVERY, View};
use crate::{output, system};

const IDENTITIES: u32 = 200;
const REBOOTS: u32 = 2000;
/// 2000 reboots then take 16 seconds.
const REBOOTS_PER_SECOND: u32 = 125;
/// When the last device has left, the gateway has this long to close its side of everything.
const SETTLE_WITHIN: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What only this scenario can be told.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Options of --scenario reboot-loop")]
pub(super) struct RebootArgs {
    /// How many devices there are [default: 200]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=5000))]
    identities: Option<u32>,
    /// How often they reboot, all together [default: 2000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    reboots: Option<u32>,
    /// Reboots per second, all devices together [default: 125]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: Option<u32>,
}

impl RebootArgs {
    /// One of the options that were given.
    pub(super) fn given(&self) -> Option<&'static str> {
        let Self { identities, reboots, rate } = self;
        identities.map(|_| "--identities").or(reboots.map(|_| "--reboots")).or(rate.map(|_| "--rate"))
    }
}

pub(super) fn run(args: &DemoArgs) -> Result<ExitCode, Failure> {
    let started = system::now();
    let config = args.config();
    let liveness = config.liveness().map_err(|error| Failure::from_library(&error))?;
    let (identities, reboots) =
        (args.reboots.identities.unwrap_or(IDENTITIES), args.reboots.reboots.unwrap_or(REBOOTS));
    system::raise_descriptors();
    let interrupted = watch_signals()?;

    let mut gateway = Registry::start(config, &args.listen, reboots.div_ceil(identities))?;
    let orders = RebootOrders {
        gateway: gateway.address(),
        identities,
        reboots,
        reboots_per_second: args.reboots.rate.unwrap_or(REBOOTS_PER_SECOND),
        beat_every: liveness.beat_every,
        death: SilentDeath::available(),
    };
    let descriptors_start = descriptors();
    let mut devices = FleetProcess::start(&Orders::RebootLoop(orders.clone()))?;
    let mut view = View::new(args.json);
    view.print(&introduce(&orders, &liveness, &gateway));
    let mut watch = Watch::new(&orders);
    let watched = watch.until_over(&mut gateway, &mut devices, &mut view, &interrupted);
    let report = devices.collect();
    watch.settle(&mut gateway);
    let (cpu, descriptors_end) = (shards_cpu(), descriptors());
    let facts = gateway.facts();
    let (book, stopped) = gateway.stop()?;
    watched?;

    let evidence = Evidence {
        interrupted: interrupted.load(Ordering::Relaxed),
        descriptors_start,
        descriptors_end,
        ..watch.weigh(report, &book, &stopped)
    };
    let elapsed = system::now().saturating_since(started);
    let summary = RebootSummary { evidence, orders, gateway: facts, stats: stopped.stats, cpu, elapsed };
    Ok(conclude(&summary, &mut view, args.json))
}

/// What is about to be shown, and why it matters.
fn introduce(orders: &RebootOrders, liveness: &Liveness, gateway: &Registry) -> String {
    let GatewayFacts { backend, backend_reason, deadlines, shards, .. } = gateway.facts();
    format!(
        "A device that loses power and comes back connects anew, long before anybody misses its old connection. Rebooting
in a loop, it fills its server with dead connections that look alive, until healthy clients are no longer
accepted. Here {identities} devices do that, and a healthy client connects every 100 ms. heartring must evict
each ghost at the moment when its device is back, and let nobody wait.

  gateway    {address}, {shards} on {backend} ({backend_reason})
  deadlines  {deadlines}: silence of {dead_within} is death, but no ghost shall live to see it
  reboots    {reboots} from new ports, {rate} per second in all; when a device dies,
             {death}
",
        identities = orders.identities,
        address = orders.gateway,
        shards = counted(shards, "shard", "shards"),
        dead_within = show(liveness.dead_within),
        reboots = orders.reboots,
        rate = orders.reboots_per_second,
        death = orders.death.describe(),
    )
}

/// What the kernel shows of the gateway while it runs.
struct Watch<'a> {
    orders: &'a RebootOrders,
    now: Sockets,
    sockets_max: u32,
    queued_max: u32,
}

impl<'a> Watch<'a> {
    fn new(orders: &'a RebootOrders) -> Self {
        Self { orders, now: Sockets::default(), sockets_max: 0, queued_max: 0 }
    }

    /// Until the devices are through, or interrupted, or fail.
    fn until_over(
        &mut self,
        gateway: &mut Registry,
        devices: &mut FleetProcess<RebootReport>,
        view: &mut View,
        interrupted: &AtomicBool,
    ) -> Result<(), Failure> {
        let began = system::now();
        while !interrupted.load(Ordering::Relaxed) && !devices.has_ended()? {
            gateway.watch(REDRAW_EVERY);
            self.look();
            view.show(&self.picture(&gateway.book, system::now().saturating_since(began)));
        }
        Ok(())
    }

    /// Until nothing of the devices is left, for a bounded time.
    fn settle(&mut self, gateway: &mut Registry) {
        let until = system::now() + SETTLE_WITHIN;
        self.look();
        while system::now() < until && (self.now != Sockets::default() || gateway.book.open() > 0) {
            gateway.watch(LOOK_EVERY);
            self.look();
        }
    }

    fn look(&mut self) {
        self.now = Sockets::of_port(self.orders.gateway.port());
        self.sockets_max = self.sockets_max.max(self.now.held);
        self.queued_max = self.queued_max.max(self.now.queued);
    }

    fn picture(&self, book: &Book, elapsed: Duration) -> Picture {
        let RebootOrders { reboots, reboots_per_second, .. } = *self.orders;
        let run_for = Duration::from_secs(1) * reboots / reboots_per_second;
        let Sockets { held, close_wait, queued } = self.now;
        let seen = format!("{} of {reboots} takeovers", book.takeovers);
        let conns = format!("{} open, at most {} of one identity", book.open(), book.conns_max);
        let kernel = format!(
            "{held} sockets, at most {}; {close_wait} in CLOSE_WAIT; {queued} in the queue",
            self.sockets_max
        );
        Picture {
            elapsed: elapsed.min(run_for),
            run_for,
            line: format!("{seen}; connections: {conns}; kernel: {kernel}"),
            rows: vec![("reboots", seen), ("connections", conns), ("kernel", kernel)],
        }
    }

    /// What is known without having started the run.
    fn weigh(&self, report: Vec<RebootReport>, book: &Book, stopped: &Summary) -> Evidence {
        let superseded = stopped.stats.closed("superseded");
        let missing = || {
            let failures = vec!["the devices ended without a report".to_owned()];
            RebootReport { failures, ..RebootReport::default() }
        };
        Evidence {
            identities: self.orders.identities,
            reboots: self.orders.reboots,
            interrupted: false,
            report: report.into_iter().next().unwrap_or_else(missing),
            superseded,
            others_ended: stopped.stats.closed_total() - superseded - stopped.stats.closed("peer_closed"),
            bound_max: book.bound_max,
            conns_max: book.conns_max,
            sockets_max: self.sockets_max,
            sockets_end: self.now.held,
            close_wait_end: self.now.close_wait,
            queued_max: self.queued_max,
            queued_end: self.now.queued,
            descriptors_start: 0,
            descriptors_end: 0,
            ledger_open: stopped.ledger_open,
        }
    }
}

fn conclude(summary: &RebootSummary, view: &mut View, json: bool) -> ExitCode {
    let good = summary.evidence.objections().is_empty();
    if json {
        output::line(summary.to_json());
    } else {
        view.print(&summary.to_text());
        view.print(&view.paint(summary.conclusion(), good));
    }
    exit_code(summary.evidence.interrupted, good)
}
