//! heartring as a contender: with its deadlines on, on either backend, under any strategy.
//!
//! `echo` runs without framing, like its opponents. `beats` are the empty frames of the length-prefixed
//! protocol, which the library consumes itself. In a `storm` the first frame is the identity, and the directory ends its
//! former holder. A `fanout` is a tick that sends one shared buffer to all.

use std::thread;
use std::time::Duration;

use heartring::{
    BackendChoice, Bytes, Config, Conn, Conns, DeadlineStrategy, Decoded, Error, FrameKind, Gateway, Handle,
    Handler, LengthPrefixed, Limits, Overrides, Protocol, Raw, Running,
};

use crate::clock;
use crate::contender::Mode;
use crate::control::{self, ServerReport, Verdicts};
use crate::picture::{self, Picture};
use crate::plan::ServePlan;
use crate::serve::Served;
use crate::service::BACKLOG;
use crate::workload::{BEAT, GRANTED, Workload};

/// A deadline that no measurement reaches.
const NEVER: Duration = Duration::from_hours(24);

/// How long the account of a shard that is busy with twenty thousand verdicts may take.
const ACCOUNT_WITHIN: Duration = Duration::from_secs(5);

/// Returns what it receives.
struct Echo;

impl Handler for Echo {
    type Protocol = Raw;

    fn received(&mut self, conn: &mut Conn<'_>, frame: &[u8]) {
        // Refused only when the queue is full, and then the generator sees that its echo is missing.
        let _ = conn.send_copy(frame);
    }
}

/// Hears heartbeats, and returns every other frame.
struct Beats;

impl Handler for Beats {
    type Protocol = LengthPrefixed;

    fn received(&mut self, conn: &mut Conn<'_>, frame: &[u8]) {
        // As in an echo.
        let _ = conn.send(LengthPrefixed::encode(frame));
    }
}

/// Hears heartbeats, and answers each.
struct AnsweredBeats;

impl Handler for AnsweredBeats {
    type Protocol = Asking;

    fn received(&mut self, _conn: &mut Conn<'_>, _frame: &[u8]) {}
}

/// Length-prefixed frames, of which the empty one wants an answer.
#[derive(Debug, Default)]
struct Asking;

impl Protocol for Asking {
    type State = ();

    fn decode<'a>(&self, state: &'a mut (), input: &'a [u8], seen: usize) -> Decoded<'a> {
        match LengthPrefixed.decode(state, input, seen) {
            Decoded::Frame { kind: FrameKind::Beat, payload, used } => {
                Decoded::Frame { kind: FrameKind::Ping, payload, used }
            }
            other @ (Decoded::Frame { .. } | Decoded::Partial { .. } | Decoded::Invalid(_)) => other,
        }
    }

    fn pong(&self, _ping: &[u8]) -> Option<Bytes> {
        Some(Bytes::from_static(&BEAT))
    }
}

/// Lets every device have the identity that it names.
struct Claims;

impl Handler for Claims {
    type Protocol = LengthPrefixed;

    fn received(&mut self, conn: &mut Conn<'_>, frame: &[u8]) {
        // Refused only for what the generator never sends.
        let _ = conn.claim(frame);
    }

    fn claimed(&mut self, conn: &mut Conn<'_>, _epoch: u64) {
        // Refused only when the queue is full, and this is the first thing in it.
        let _ = conn.send(Bytes::from_static(GRANTED));
    }
}

/// Sends everybody the same, at every tick.
struct Fanout {
    picture: Picture,
    /// Kept for its memory.
    everybody: Vec<heartring::ConnId>,
}

impl Handler for Fanout {
    type Protocol = LengthPrefixed;

    fn received(&mut self, _conn: &mut Conn<'_>, _frame: &[u8]) {}

    fn tick(&mut self, conns: &mut Conns<'_>) {
        let message = Bytes::copy_from_slice(self.picture.taken_at(clock::now_ns()));
        self.everybody.clear();
        self.everybody.extend(conns.ids());
        for &conn in &self.everybody {
            // Refused to those who do not take what they are sent.
            let _ = conns.send(conn, message.clone());
        }
    }
}

/// Starts a gateway on threads of this process.
///
/// # Errors
///
/// Why it cannot run here, in one line.
pub(crate) fn start(backend: BackendChoice, plan: &ServePlan) -> Result<Served, String> {
    let running = gateway(backend, plan).map_err(|e| e.to_string())?;
    let addr = *running.addrs().first().ok_or("it has no listener")?;
    let handle = running.handle();
    thread::spawn(move || {
        let why = running.join().map_or_else(|e| e.to_string(), |_| "it ended".into());
        control::report(&ServerReport::Failed { why });
    });
    Ok(Served { addr, verdicts: Some(Box::new(move || account(&handle))) })
}

fn account(handle: &Handle) -> Verdicts {
    let Ok(snapshot) = handle.snapshot(ACCOUNT_WITHIN) else { return Verdicts::default() };
    let stats = snapshot.stats();
    let quantile = |quantile| stats.lateness.quantile(quantile).as_nanos() as u64;
    Verdicts {
        count: stats.lateness.count(),
        early: stats.early,
        p50_ns: quantile(0.5),
        p99_ns: quantile(0.99),
        p999_ns: quantile(0.999),
        max_ns: stats.lateness.max().as_nanos() as u64,
    }
}

fn gateway(backend: BackendChoice, plan: &ServePlan) -> Result<Running, Error> {
    let gateway = Gateway::new(config(backend, plan)).listen("127.0.0.1:0");
    match plan.workload {
        Workload::Echo { .. } => gateway.start(|_shard| Echo),
        Workload::Beats { answered: true, .. } => gateway.start(|_shard| AnsweredBeats),
        Workload::Beats { answered: false, .. }
        | Workload::Detect { .. }
        | Workload::Memory { .. }
        | Workload::Scale { .. } => gateway.start(|_shard| Beats),
        Workload::Storm { .. } => gateway.start(|_shard| Claims),
        Workload::Fanout { .. } => {
            let workload = plan.workload;
            gateway.start(move |_shard| Fanout { picture: Picture::of(workload), everybody: Vec::new() })
        }
    }
}

fn config(backend: BackendChoice, plan: &ServePlan) -> Config {
    let connections = plan.workload.connections();
    let (shards, conns_per_shard_max) = match plan.workload {
        // Each shard has room for all, since the kernel spreads them as it likes.
        Workload::Storm { shards, .. } => (shards, connections),
        Workload::Scale { shards, .. } => (shards, crate::workload::CONNS_PER_RING_MAX),
        Workload::Echo { .. }
        | Workload::Beats { .. }
        | Workload::Fanout { .. }
        | Workload::Detect { .. }
        | Workload::Memory { .. } => (1, connections),
    };
    Config {
        dead_within: if plan.contender.mode == Mode::NoDeadlines { NEVER } else { plan.dead_within },
        overrides: Overrides { grace: grace(plan), ..Overrides::default() },
        backend,
        deadlines: strategy(plan),
        shards: Some(shards),
        // The whole process keeps to its core already.
        pin: false,
        handle_signals: false,
        batch_within: plan.batch_within(),
        tick_every: match plan.workload {
            Workload::Fanout { .. } => Some(Duration::from_nanos(picture::every_ns(plan.workload))),
            Workload::Echo { .. }
            | Workload::Beats { .. }
            | Workload::Storm { .. }
            | Workload::Detect { .. }
            | Workload::Memory { .. }
            | Workload::Scale { .. } => None,
        },
        backlog: BACKLOG,
        congestion_control: plan.congestion.clone(),
        limits: Limits {
            conns_max: Some(conns_per_shard_max.saturating_mul(u32::from(shards))),
            conns_per_shard_max,
            ..Limits::default()
        },
        claim_required: matches!(plan.workload, Workload::Storm { .. }),
        // Every device of a storm is a device that takes its identity over again and again.
        flap_guard: None,
        ..Config::default()
    }
}

/// Where deaths are timed, the verdict is the reset that the device sees.
fn grace(plan: &ServePlan) -> Option<Duration> {
    match plan.workload {
        Workload::Detect { .. } | Workload::Scale { .. } => Some(Duration::ZERO),
        Workload::Echo { .. }
        | Workload::Beats { .. }
        | Workload::Storm { .. }
        | Workload::Fanout { .. }
        | Workload::Memory { .. } => None,
    }
}

fn strategy(plan: &ServePlan) -> Option<DeadlineStrategy> {
    match plan.contender.mode {
        Mode::Usual | Mode::Batched | Mode::Rearmed | Mode::Wheel => None,
        Mode::Sweep | Mode::NoDeadlines => Some(DeadlineStrategy::Sweep),
        Mode::Lease => Some(DeadlineStrategy::Lease),
    }
}
