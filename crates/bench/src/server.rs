//! What a server that is measured is told, and how it is run: for contenders that are programs of their own.
//!
//! Such a program has one [`Service`] and a `main` that is [`main`]. The suite starts it with its [`ServePlan`] as the only
//! argument, speaks to it over its stdin and stdout, and ends it by closing them.

use std::env;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

pub use crate::plan::ServePlan;
pub use crate::service::Service;
pub use crate::trial::has_io_uring;
pub use crate::workload::{CLAIM_BYTES, GRANTED, number_in};

use crate::plan::Engine;
use crate::workload::Workload;
use crate::{plan, serve, service, trial};

/// What a server does with what its devices send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Returns it.
    Echo,
    /// Takes it for heartbeats, empty frames with a length of four bytes in front, and answers nothing, or each with another
    /// ([`ServePlan::answers_beats`]).
    Beats,
    /// Takes the first [`CLAIM_BYTES`] of a connection for the claim of the device that [`number_in`] finds there, ends
    /// the former connection of that device with a reset, and answers [`GRANTED`].
    Claims,
}

impl ServePlan {
    /// What is to be done.
    pub fn work(&self) -> Work {
        match self.workload {
            Workload::Echo { .. } => Work::Echo,
            Workload::Storm { .. } => Work::Claims,
            Workload::Beats { .. }
            | Workload::Fanout { .. }
            | Workload::Detect { .. }
            | Workload::Memory { .. }
            | Workload::Scale { .. } => Work::Beats,
        }
    }

    /// Whether each heartbeat is answered with another.
    pub fn answers_beats(&self) -> bool {
        self.work() == Work::Beats && self.workload.answered()
    }

    /// How many connections there will be at one time.
    pub fn connections(&self) -> usize {
        self.workload.connections() as usize
    }

    /// The length of one message, whole frames included.
    pub fn message_bytes(&self) -> usize {
        self.workload.bytes() as usize
    }

    /// How long a connection may be silent before it is closed.
    pub fn dead_within(&self) -> Duration {
        self.dead_within
    }
}

/// For tests: plays the devices of `plan` against a server for a fraction of a second, and returns how many messages were
/// echoed, beats sent, or claims answered.
///
/// # Errors
///
/// What the server did that no measurement can go on with.
pub fn try_out(plan: &ServePlan, server: SocketAddr) -> Result<u64, String> {
    let engine = if has_io_uring() { Engine::IoUring } else { Engine::Epoll };
    Ok(trial::run(server, plan.workload, plan.contender.hangs_up(), engine, plan.dead_within)?.units)
}

/// Runs `S` as the plan on the command line says, until the suite closes stdin.
pub fn main<S: Service>() -> ExitCode {
    let text = env::args().nth(1).unwrap_or_default();
    match plan::parse(&text) {
        Ok(plan) => {
            serve::run(&plan, service::start::<S>);
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("{why}; this server is started by `heartring bench`");
            ExitCode::from(2)
        }
    }
}
