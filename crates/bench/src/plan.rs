//! What the two roles of a measurement are told: plain data, passed as JSON on the child's command line, so
//! that `ps` shows what runs and either role can be started by hand under a profiler.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::contender::{Contender, Mode};
use crate::workload::Workload;

/// What the generator plays busy devices with. The ring is the cheaper one, and a generator that is slower than
/// the server hides what the server could do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Engine {
    IoUring,
    Epoll,
}

/// The server's part of a measurement. See [`crate::server`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServePlan {
    pub(crate) contender: Contender,
    pub(crate) workload: Workload,
    /// The core that every thread of the server stays on.
    pub(crate) core: usize,
    /// Congestion control of accepted sockets; none leaves the system's.
    pub(crate) congestion: Option<String>,
    /// How long a server that batches waits for more work before it wakes.
    pub(crate) batch_within: Duration,
    /// The heartbeat deadline of contenders that keep one.
    pub(crate) dead_within: Duration,
}

impl ServePlan {
    /// How long this server waits for more work before it wakes; zero wakes at once.
    pub(crate) fn batch_within(&self) -> Duration {
        if self.contender.mode == Mode::Batched { self.batch_within } else { Duration::ZERO }
    }
}

/// The generator's part of a measurement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct LoadPlan {
    pub(crate) workload: Workload,
    pub(crate) server: SocketAddr,
    /// The server resets what it has accepted, and nothing else is to be expected of it.
    pub(crate) hangs_up: bool,
    pub(crate) core: usize,
    pub(crate) engine: Engine,
    pub(crate) congestion: Option<String>,
    /// Full load that is not measured, after the last connection is up.
    pub(crate) warmup: Duration,
    /// How long is measured.
    pub(crate) window: Duration,
    /// The deadline that the server was given.
    pub(crate) dead_within: Duration,
    /// Which devices this generator plays, where several share a fleet: from the first to before the second.
    pub(crate) devices: Option<(u32, u32)>,
}

/// Reads a plan from a command line; for clap.
pub(crate) fn parse<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|e| format!("not a plan: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contender::Server;

    #[test]
    fn plan_survives_the_command_line() {
        let plan = ServePlan {
            contender: Server::BareEpoll.usual(),
            workload: Workload::Echo { connections: 10, bytes: 32 },
            core: 1,
            congestion: Some("cubic".into()),
            batch_within: Duration::from_micros(250),
            dead_within: Duration::from_secs(30),
        };
        assert_eq!(parse::<ServePlan>(&serde_json::to_string(&plan).unwrap()), Ok(plan));
    }

    #[test]
    fn garbage_is_refused_in_one_line() {
        let refusal = parse::<LoadPlan>("{}").unwrap_err();
        assert!(refusal.starts_with("not a plan") && !refusal.contains('\n'));
    }
}
