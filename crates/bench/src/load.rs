//! The load generator's process: one thread that plays all devices, and one that listens for commands.

use std::sync::mpsc::{self, Receiver};
use std::thread;

use crate::control::{self, Command, LoadReport};
use crate::plan::{Engine, LoadPlan};
use crate::process;
use crate::workload::Workload;

mod beats;
mod conversation;
mod deaths;
mod echo_epoll;
mod echo_uring;
mod fanout;
mod fleet;
mod herd;
mod idle;
mod storm;
mod window;

use beats::Pace;
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
        Workload::Beats { rate, answered, .. } => {
            beats::drive(plan, &Fleet::connect(plan)?, Pace { rate, answered }, &mut link)
        }
        Workload::Storm { identities, at_once, .. } => storm::drive(plan, identities, at_once, &mut link),
        Workload::Fanout { .. } => fanout::drive(plan, &Fleet::connect(plan)?, &mut link),
        Workload::Detect { .. } | Workload::Scale { .. } => deaths::drive(plan, &mut link),
        Workload::Memory { few, .. } => idle::drive(plan, few, &mut link),
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
    use crate::contender::{Contender, Mode, Server};
    use crate::control::{Deaths, LoadResult};
    use crate::plan::ServePlan;
    use crate::workload::Scene;
    use crate::{contenders, roster, trial};

    const WORKLOADS: [Workload; 5] = [
        Workload::Echo { connections: 20, bytes: 32 },
        Workload::Beats { connections: 20, rate: 1000, answered: false },
        Workload::Beats { connections: 20, rate: 1000, answered: true },
        STORM,
        Workload::Fanout { connections: 20, bytes: 64, hz: 50 },
    ];

    const STORM: Workload = Workload::Storm { identities: 50, at_once: 20, shards: 1 };

    /// Server and generator in this process.
    fn measure(contender: Contender, workload: Workload, engine: Engine) -> LoadResult {
        let (batch_within, dead_within) = (Duration::from_millis(2), Duration::from_secs(30));
        let serve = ServePlan { contender, workload, core: 0, congestion: None, batch_within, dead_within };
        let server = contenders::start(&serve).unwrap();
        trial::run(server.addr, workload, contender.hangs_up(), engine, trial::LONG).unwrap()
    }

    fn check(contender: Contender, engine: Engine) {
        for workload in WORKLOADS {
            if !roster::able(workload).contains(&contender) {
                continue;
            }
            let result = measure(contender, workload, engine);
            let (name, timed) = (contender.name(), !matches!(workload, Workload::Beats { .. }));
            assert!(u128::from(result.elapsed_ns) >= trial::WINDOW.as_nanos());
            assert_eq!(result.latency.is_some(), timed, "{name} {workload:?}");
            let waves = matches!(workload, Workload::Storm { .. } | Workload::Fanout { .. });
            assert_eq!(result.wave_ns.is_some(), waves, "{name} {workload:?}");
            match workload {
                Workload::Storm { .. } => assert!(result.units > 50, "{name}: {result:?}"),
                Workload::Echo { .. } => assert!(result.units > 100, "{name}: {result:?}"),
                // Most of 300, and of 15 for each: a loaded machine may begin or end the window late.
                Workload::Beats { .. } | Workload::Fanout { .. } => {
                    assert!((200..=400).contains(&result.units), "{name}: {result:?}");
                }
                Workload::Detect { .. } | Workload::Memory { .. } | Workload::Scale { .. } => {}
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
        for server in [Server::AcceptEpoll, Server::BareEpoll, Server::HeartringEpoll] {
            check(server.usual(), Engine::Epoll);
        }
    }

    #[test]
    fn io_uring_contenders_serve_every_workload() {
        if !io_uring_is_missing() {
            for server in [Server::AcceptUring, Server::BareUring, Server::HeartringUring] {
                check(server.usual(), Engine::IoUring);
            }
        }
    }

    #[test]
    fn whoever_keeps_the_deadlines_the_work_is_done() {
        if !io_uring_is_missing() {
            for contender in roster::ablation() {
                check(contender, Engine::IoUring);
            }
        }
    }

    #[test]
    fn a_gateway_with_several_shards_weathers_a_storm() {
        let storm = Workload::Storm { identities: 50, at_once: 20, shards: 3 };
        let result = measure(Server::HeartringEpoll.usual(), storm, Engine::Epoll);
        assert!(result.units > 50, "{result:?}");
    }

    #[test]
    fn the_dead_are_seen_and_nobody_else() {
        let dead_within = Duration::from_secs(1);
        for (scene, connections, deaths) in [(Scene::Single, 12, 4), (Scene::Mass, 12, 12)] {
            let workload = Workload::Detect { scene, connections, deaths };
            let (contender, batch_within) = (Server::HeartringEpoll.usual(), Duration::ZERO);
            let serve =
                ServePlan { contender, workload, core: 0, congestion: None, batch_within, dead_within };
            let server = contenders::start(&serve).unwrap();
            let result = trial::run(server.addr, workload, false, Engine::Epoll, dead_within).unwrap();
            let seen = Deaths { seen: u64::from(deaths), ..Deaths::default() };
            assert_eq!(result.deaths, Some(seen), "{scene:?}");
            let verdicts = server.verdicts.expect("heartring keeps account")();
            assert_eq!((verdicts.count, verdicts.early), (u64::from(deaths), 0), "{scene:?}");
        }
    }

    #[test]
    fn idle_devices_come_in_two_lots() {
        let workload = Workload::Memory { few: 3, many: 20 };
        let result = measure(Server::BareSockets.usual(), workload, Engine::Epoll);
        assert_eq!(result.units, 20);
    }

    #[test]
    fn batching_servers_lose_nothing() {
        check(Server::BareEpoll.in_mode(Mode::Batched), Engine::Epoll);
        check(Server::HeartringEpoll.in_mode(Mode::Batched), Engine::Epoll);
        if !io_uring_is_missing() {
            check(Server::BareUring.in_mode(Mode::Batched), Engine::Epoll);
            check(Server::HeartringUring.in_mode(Mode::Batched), Engine::Epoll);
        }
    }
}
