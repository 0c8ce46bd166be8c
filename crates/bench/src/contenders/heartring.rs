//! heartring as a contender: one shard with its deadlines on, on either backend.
//!
//! `echo` runs without framing, like its opponents. `beats` are the empty frames of the length-prefixed
//! protocol, which the library consumes itself. In a `storm` the first frame is the identity, and the directory ends its
//! former holder.

use std::net::SocketAddr;
use std::thread;

use heartring::{
    BackendChoice, Bytes, Config, Conn, Error, Gateway, Handler, LengthPrefixed, Limits, Raw, Running,
};

use crate::control::{self, ServerReport};
use crate::plan::ServePlan;
use crate::service::BACKLOG;
use crate::workload::{GRANTED, Workload};

/// Returns what it receives.
struct Echo;

impl Handler for Echo {
    type Protocol = Raw;

    fn received(&mut self, conn: &mut Conn<'_>, frame: &[u8]) {
        // Refused only when the queue is full, and then the generator sees that its echo is missing.
        let _ = conn.send_copy(frame);
    }
}

/// Hears heartbeats.
struct Beats;

impl Handler for Beats {
    type Protocol = LengthPrefixed;

    fn received(&mut self, _conn: &mut Conn<'_>, _frame: &[u8]) {}
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

/// Starts a gateway on threads of this process.
///
/// # Errors
///
/// Why it cannot run here, in one line.
pub(crate) fn start(backend: BackendChoice, plan: &ServePlan) -> Result<SocketAddr, String> {
    let running = gateway(backend, plan).map_err(|e| e.to_string())?;
    let addr = *running.addrs().first().ok_or("it has no listener")?;
    thread::spawn(move || {
        let why = running.join().map_or_else(|e| e.to_string(), |_| "it ended".into());
        control::report(&ServerReport::Failed { why });
    });
    Ok(addr)
}

fn gateway(backend: BackendChoice, plan: &ServePlan) -> Result<Running, Error> {
    let connections = plan.workload.connections();
    let shards = if let Workload::Storm { shards, .. } = plan.workload { shards } else { 1 };
    let gateway = Gateway::new(Config {
        dead_within: plan.dead_within,
        backend,
        shards: Some(shards),
        // The whole process keeps to its core already.
        pin: false,
        handle_signals: false,
        batch_within: plan.batch_within,
        backlog: BACKLOG,
        congestion_control: plan.congestion.clone(),
        limits: Limits {
            // Each shard has room for all, since the kernel spreads them as it likes.
            conns_max: Some(connections * u32::from(shards)),
            conns_per_shard_max: connections,
            ..Limits::default()
        },
        claim_required: matches!(plan.workload, Workload::Storm { .. }),
        // Every device of a storm is a device that takes its identity over again and again.
        flap_guard: None,
        ..Config::default()
    });
    let gateway = gateway.listen("127.0.0.1:0");
    match plan.workload {
        Workload::Echo { .. } => gateway.start(|_shard| Echo),
        Workload::Beats { .. } => gateway.start(|_shard| Beats),
        Workload::Storm { .. } => gateway.start(|_shard| Claims),
    }
}
