//! From the command line to what is to be measured. What is refused is refused before anything starts.

use std::time::Duration;

use crate::args::{BeatsArgs, Command, CommonArgs, DetectArgs, EchoArgs, FanoutArgs, ScaleArgs, StormArgs};
use crate::contender::{Contender, RUNTIMES_REMEDY};
use crate::error::Error;
use crate::limits::{self, refuse};
use crate::machine::Machine;
use crate::panels;
use crate::roster;
use crate::service::BACKLOG;
use crate::suite::Setup;
use crate::workload::{Scene, Workload};

/// The deadline of contenders that keep one; what gateways commonly use.
pub(crate) const DEAD_WITHIN: Duration = Duration::from_secs(30);

/// What was asked for.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) name: &'static str,
    pub(crate) setups: Vec<Setup>,
}

/// Reads a command that measures.
pub(crate) fn read(command: &Command, machine: &Machine) -> Result<Asked, Error> {
    let (name, mut setups) = match command {
        Command::Echo(args) => ("echo", echo(args, machine)?),
        Command::Beats(args) => ("beats", beats(args, machine)?),
        Command::Deadlines(args) => ("deadlines", panels::deadlines(args.rounds, machine)),
        Command::Detect(args) => ("detect", detect(args, machine)?),
        Command::Storm(args) => ("storm", storm(args, machine)?),
        Command::Fanout(args) => ("fanout", fanout(args, machine)?),
        Command::Memory(args) => {
            let workload = Workload::Memory { few: args.few, many: args.many };
            ("memory", vec![base(workload, machine).with(&args.common)?])
        }
        Command::Scale(args) => ("scale", scale(args, machine)?),
        Command::All(args) => ("all", panels::all(args.brief, machine)),
        Command::Compare(_) | Command::Serve { .. } | Command::Load { .. } => {
            unreachable!("these measure nothing")
        }
    };
    for setup in &mut setups {
        limits::check(setup)?;
        setup.rps = machine.rps && command.output().rps.wants(setup.workload);
    }
    say_who_is_not_built(&setups);
    Ok(Asked { name, setups })
}

/// A workload with everybody who usually does it, for as long as it usually takes.
pub(crate) fn base(workload: Workload, machine: &Machine) -> Setup {
    let (rounds, seconds) = match workload {
        Workload::Echo { .. } | Workload::Storm { .. } => (24, 0.5),
        Workload::Beats { rate: 0, .. } => (6, 3.0),
        Workload::Beats { .. } => (12, 1.0),
        Workload::Fanout { .. } => (12, 1.0),
        // They last as long as they must.
        Workload::Detect { .. } | Workload::Memory { .. } => (6, 0.5),
        Workload::Scale { .. } => (1, 10.0),
    };
    Setup {
        part: None,
        workload,
        contenders: roster::usual(workload).into_iter().filter(|contender| contender.is_built()).collect(),
        rounds,
        window: Duration::from_secs_f64(seconds),
        batch_within: Duration::from_millis(5),
        dead_within: DEAD_WITHIN,
        rps: false,
        machine: machine.clone(),
    }
}

impl Setup {
    /// With what the command line says.
    fn with(mut self, common: &CommonArgs) -> Result<Setup, Error> {
        self.rounds = common.rounds.unwrap_or(self.rounds);
        if let Some(seconds) = common.seconds {
            self.window = limits::seconds("--seconds", seconds, 0.05, 600.0)?;
        }
        if !common.contenders.is_empty() {
            self.contenders = contenders(self.workload, &common.contenders)?;
        }
        Ok(self)
    }

    /// As a part of several.
    pub(crate) fn titled(mut self, title: impl Into<String>) -> Setup {
        self.part = Some(title.into());
        self
    }
}

/// One setup per count; with more than one, each is a part.
fn by_count(
    counts: &[u32],
    common: &CommonArgs,
    machine: &Machine,
    of: impl Fn(u32) -> Workload,
) -> Result<Vec<Setup>, Error> {
    let setup = |&count: &u32| {
        let setup = base(of(count), machine).with(common)?;
        Ok(if counts.len() == 1 { setup } else { setup.titled(format!("{count} connections")) })
    };
    for (place, count) in counts.iter().enumerate() {
        if counts[..place].contains(count) {
            return refuse(format!("--connections names {count} twice: name it once"));
        }
    }
    counts.iter().map(setup).collect()
}

fn echo(args: &EchoArgs, machine: &Machine) -> Result<Vec<Setup>, Error> {
    let bytes = args.bytes;
    by_count(&args.connections, &args.common, machine, |connections| Workload::Echo { connections, bytes })
}

fn beats(args: &BeatsArgs, machine: &Machine) -> Result<Vec<Setup>, Error> {
    let BeatsArgs { rate, answered, .. } = *args;
    let batch_within = limits::seconds("--batch-within", args.batch_within / 1e3, 0.0, 0.1)?;
    let dead_within = limits::dead_within(args.dead_within)?;
    let of = |connections| Workload::Beats { connections, rate, answered };
    let mut setups = by_count(&args.connections, &args.common, machine, of)?;
    for setup in &mut setups {
        (setup.batch_within, setup.dead_within) = (batch_within, dead_within);
    }
    Ok(setups)
}

fn detect(args: &DetectArgs, machine: &Machine) -> Result<Vec<Setup>, Error> {
    let dead_within = limits::dead_within(args.dead_within)?;
    let setup = |&scene: &Scene| {
        let workload = match scene {
            Scene::Single | Scene::Loaded => {
                Workload::Detect { scene, connections: args.deaths.saturating_mul(3), deaths: args.deaths }
            }
            Scene::Mass => {
                let deaths = args.mass.unwrap_or_else(|| limits::connections_max(machine).min(20_000));
                Workload::Detect { scene, connections: deaths, deaths }
            }
        };
        let setup = Setup { dead_within, ..base(workload, machine).with(&args.common)? };
        Ok(if args.scenes.len() == 1 { setup } else { setup.titled(scene.name()) })
    };
    args.scenes.iter().map(setup).collect()
}

fn storm(args: &StormArgs, machine: &Machine) -> Result<Vec<Setup>, Error> {
    let StormArgs { identities, shards, .. } = *args;
    let at_once = args.at_once.unwrap_or(identities.min(BACKLOG));
    Ok(vec![base(Workload::Storm { identities, at_once, shards }, machine).with(&args.common)?])
}

fn fanout(args: &FanoutArgs, machine: &Machine) -> Result<Vec<Setup>, Error> {
    let FanoutArgs { bytes, hz, .. } = *args;
    let of = |connections| Workload::Fanout { connections, bytes, hz };
    by_count(&args.connections, &args.common, machine, of)
}

fn scale(args: &ScaleArgs, machine: &Machine) -> Result<Vec<Setup>, Error> {
    let dead_within = limits::dead_within(args.dead_within)?;
    let connections = args.connections.unwrap_or_else(|| limits::scale_max(machine));
    let setup = base(limits::scale_of(connections, dead_within), machine).with(&args.common)?;
    Ok(vec![Setup { dead_within, ..setup }])
}

fn contenders(workload: Workload, names: &[String]) -> Result<Vec<Contender>, Error> {
    let able = roster::able(workload);
    let mut contenders = Vec::new();
    for name in names {
        let Some(contender) = Contender::from_name(name).filter(|contender| able.contains(contender)) else {
            let known: Vec<String> = able.into_iter().map(Contender::name).collect();
            let known = known.join(", ");
            return refuse(format!("unknown contender '{name}': use some of {known}"));
        };
        if contenders.contains(&contender) {
            return refuse(format!("contender '{name}' is named twice: name it once"));
        }
        contenders.push(contender);
    }
    Ok(contenders)
}

fn say_who_is_not_built(setups: &[Setup]) {
    let usual = setups.iter().flat_map(|setup| roster::usual(setup.workload));
    let mut absent: Vec<String> = Vec::new();
    for contender in usual.filter(|contender| !contender.is_built()) {
        if !absent.contains(&contender.name()) {
            absent.push(contender.name());
        }
    }
    if !absent.is_empty() {
        eprintln!("Without {}, which are not built: {RUNTIMES_REMEDY}", absent.join(", "));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::BenchArgs;
    use crate::contender::Server;
    use crate::transport::Rps;
    use clap::Parser;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        bench: BenchArgs,
    }

    fn ask(line: &str) -> Result<Vec<Setup>, String> {
        let words = std::iter::once("bench").chain(line.split_whitespace());
        let args = Program::try_parse_from(words).map_err(|error| error.to_string())?;
        let mut machine = Machine::examine(Rps::Off).map_err(|e| e.to_string())?;
        machine.descriptors_max = 20_000;
        machine.memory_mib = 24_000;
        let asked = read(args.bench.command(), &machine).map_err(|error| {
            assert_eq!(error.exit_status(), 2);
            error.to_string()
        });
        Ok(asked?.setups)
    }

    fn only(line: &str) -> Setup {
        let mut setups = ask(line).unwrap();
        assert_eq!(setups.len(), 1, "{line}");
        setups.remove(0)
    }

    fn built(contenders: Vec<Contender>) -> Vec<Contender> {
        contenders.into_iter().filter(|contender| contender.is_built()).collect()
    }

    #[test]
    fn defaults_measure_everyone() {
        let echo = only("echo");
        assert_eq!(echo.workload, Workload::Echo { connections: 1000, bytes: 32 });
        assert_eq!(echo.contenders, built(roster::usual(echo.workload)));
        let beats = only("beats --contenders bare_epoll,bare_uring");
        assert_eq!(beats.workload, Workload::Beats { connections: 19_000, rate: 5000, answered: false });
        assert_eq!(beats.contenders, [Server::BareEpoll, Server::BareUring].map(Server::usual));
        let storm = only("storm");
        assert_eq!(storm.workload, Workload::Storm { identities: 2000, at_once: 2000, shards: 1 });
        let mass = only("detect --scenes mass");
        assert_eq!(mass.workload.connections(), 19_872);
    }

    #[test]
    fn several_counts_and_scenes_are_parts() {
        let titles =
            |line| ask(line).unwrap().into_iter().map(|setup| setup.part.unwrap()).collect::<Vec<_>>();
        assert_eq!(titles("echo --connections 10,1000"), ["10 connections", "1000 connections"]);
        assert_eq!(titles("detect"), ["single", "mass", "loaded"]);
    }

    #[test]
    fn everything_is_a_list_of_parts_with_titles_of_their_own() {
        for line in ["all", "all --brief", "deadlines"] {
            let setups = ask(line).unwrap();
            for (place, setup) in setups.iter().enumerate() {
                assert!(setup.part.is_some(), "{line}: {setup:?}");
                assert!(setups[..place].iter().all(|other| other.part != setup.part), "{line}: {setup:?}");
            }
        }
    }

    #[test]
    fn a_runtime_that_is_asked_for_is_measured_or_said_to_be_missing() {
        let echo = only("echo --contenders bare_epoll,tokio");
        assert_eq!(echo.contenders, [Server::BareEpoll, Server::Tokio].map(Server::usual));
    }

    #[test]
    fn bad_input_is_refused_in_one_line_with_a_remedy() {
        for (line, remedy) in [
            ("echo --connections 0", "use 1 or more"),
            ("echo --connections 19990", "use at most 19872"),
            ("echo --connections 10,10", "name it once"),
            ("echo --bytes 0", "between 1 and 4096"),
            ("echo --bytes 5000", "between 1 and 4096"),
            ("echo --contenders nginx", "use some of bare_uring, bare_epoll"),
            ("echo --contenders bare_epoll,bare_epoll", "name it once"),
            ("echo --contenders bare_uring_batched", "use some of bare_uring, bare_epoll"),
            ("echo --rounds 0", "between 1 and 99"),
            ("echo --seconds NaN", "between 0.05 and 600"),
            ("echo --contenders accept_epoll", "use some of bare_uring, bare_epoll"),
            ("storm --identities 0", "between 1 and 9936"),
            ("storm --identities 10000", "between 1 and 9936"),
            ("storm --identities 10 --at-once 11", "between 1 and 10"),
            ("storm --identities 9000 --at-once 5000", "between 1 and 4096"),
            ("storm --shards 0", "between 1 and 64"),
            ("beats --rate 5", "use 1267 or more"),
            ("beats --rate 2000000", "at most 1000000"),
            ("beats --batch-within 2000", "between 0 and 0.1 s"),
            ("beats --rate 0 --seconds 20", "at most 7.5"),
            ("beats --dead-within 0.01", "between 0.1 and 86400"),
            ("fanout --bytes 8", "between 12 and 4096"),
            ("fanout --hz 0", "between 1 and 1000"),
            ("memory --few 5000 --many 5000", "more than --few"),
            ("memory --few 0", "use 1 or more"),
            ("detect --deaths 0", "use 1 or more"),
            ("detect --mass 30000", "use at most 19872"),
            ("scale --connections 5000000", "use at most"),
        ] {
            let refusal = ask(line).unwrap_err();
            assert!(refusal.contains(remedy) && !refusal.contains('\n'), "{line}: {refusal}");
        }
    }

    #[test]
    fn an_unknown_scene_is_refused_with_those_that_there_are() {
        assert!(ask("detect --scenes flood").unwrap_err().contains("single, mass, loaded"));
    }
}
