//! The load generator's process: one thread that plays all devices, and one that listens for commands.

use std::sync::mpsc::{self, Receiver};
use std::thread;

use crate::control::{self, Command, LoadReport};
use crate::plan::{Engine, LoadPlan};
use crate::process;
use crate::workload::Workload;

mod beats;
mod conversation;
mod echo_epoll;
mod echo_uring;
mod fleet;
mod storm;
mod window;

use fleet::Fleet;

/// How a generator hears and is heard.
pub(crate) struct Link<'a> {
    /// The word to begin; its end is the end of the generator.
    pub(crate) begin: Receiver<()>,
    pub(crate) report: &'a mut dyn FnMut(LoadReport),
}

/// The generator's process. Returns when the suite closes its pipe.
pub(crate) fn run(plan: &LoadPlan) {
    let outcome = process::become_child(plan.core)
        .map_err(|e| format!("setup of the generator: {e}"))
        .and_then(|()| drive(plan, Link { begin: listen(), report: &mut |report| control::report(&report) }));
    if let Err(why) = outcome {
        control::report(&LoadReport::Failed { why });
    }
}

/// Plays the devices of one measurement until the link ends.
///
/// # Errors
///
/// What the server, or this machine, did that no measurement can go on with.
pub(crate) fn drive(plan: &LoadPlan, mut link: Link<'_>) -> Result<(), String> {
    match plan.workload {
        Workload::Echo { .. } => match plan.engine {
            Engine::IoUring => echo_uring::drive(plan, &Fleet::connect(plan)?, &mut link),
            Engine::Epoll => echo_epoll::drive(plan, &Fleet::connect(plan)?, &mut link),
        },
        Workload::Beats { rate, .. } => beats::drive(plan, &Fleet::connect(plan)?, rate, &mut link),
        Workload::Storm { identities, at_once, .. } => storm::drive(plan, identities, at_once, &mut link),
    }
}

fn listen() -> Receiver<()> {
    let (begin, begun) = mpsc::channel();
    thread::spawn(move || {
        for command in control::commands() {
            match command {
                Command::Begin if begin.send(()).is_err() => return,
                Command::Begin | Command::End => {}
            }
        }
    });
    begun
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::contender::Contender;
    use crate::control::LoadResult;
    use crate::plan::ServePlan;
    use crate::trial;

    const WORKLOADS: [Workload; 3] = [
        Workload::Echo { connections: 20, bytes: 32 },
        Workload::Beats { connections: 20, rate: 1000 },
        STORM,
    ];

    const STORM: Workload = Workload::Storm { identities: 50, at_once: 20, shards: 1 };

    /// Server and generator in this process.
    fn measure(
        contender: Contender,
        workload: Workload,
        engine: Engine,
        batch_within: Duration,
    ) -> LoadResult {
        let dead_within = Duration::from_secs(30);
        let serve = ServePlan { contender, workload, core: 0, congestion: None, batch_within, dead_within };
        let server = contender.start(&serve).unwrap();
        trial::run(server, workload, contender.hangs_up(), engine).unwrap()
    }

    fn check(contender: Contender, engine: Engine, batch_within: Duration) {
        for workload in WORKLOADS {
            if !Contender::able(workload).contains(&contender) {
                continue;
            }
            let result = measure(contender, workload, engine, batch_within);
            assert!(u128::from(result.elapsed_ns) >= trial::WINDOW.as_nanos());
            assert_eq!(result.latency.is_some(), workload.answered());
            assert_eq!(result.wave_ns.is_some(), workload == STORM);
            match workload {
                Workload::Storm { .. } => assert!(result.units > 50, "{result:?}"),
                Workload::Echo { .. } => assert!(result.units > 100, "{result:?}"),
                // Most of 300: a loaded machine may begin or end the window late.
                Workload::Beats { .. } => assert!((200..=400).contains(&result.units), "{result:?}"),
            }
        }
    }

    fn io_uring_is_missing() -> bool {
        let missing = !trial::has_io_uring();
        if missing {
            let required = std::env::var_os("HEARTRING_REQUIRE_ALL").is_some_and(|value| value == "1");
            assert!(!required, "no io_uring here, and HEARTRING_REQUIRE_ALL=1");
            eprintln!("SKIPPED: no io_uring here");
        }
        missing
    }

    #[test]
    fn epoll_contenders_serve_every_workload() {
        check(Contender::AcceptEpoll, Engine::Epoll, Duration::ZERO);
        check(Contender::BareEpoll, Engine::Epoll, Duration::ZERO);
        check(Contender::HeartringEpoll, Engine::Epoll, Duration::ZERO);
    }

    #[test]
    fn io_uring_contenders_serve_every_workload() {
        if !io_uring_is_missing() {
            check(Contender::AcceptUring, Engine::IoUring, Duration::ZERO);
            check(Contender::BareUring, Engine::IoUring, Duration::ZERO);
            check(Contender::HeartringUring, Engine::IoUring, Duration::ZERO);
        }
    }

    #[test]
    fn a_gateway_with_several_shards_weathers_a_storm() {
        let storm = Workload::Storm { identities: 50, at_once: 20, shards: 3 };
        let result = measure(Contender::HeartringEpoll, storm, Engine::Epoll, Duration::ZERO);
        assert!(result.units > 50, "{result:?}");
    }

    #[test]
    fn batching_servers_lose_nothing() {
        check(Contender::BareEpoll, Engine::Epoll, Duration::from_millis(2));
        if !io_uring_is_missing() {
            check(Contender::BareUring, Engine::IoUring, Duration::from_millis(2));
        }
    }
}
