//! `heartring torment`: real faults against real gateways, each in a process of its own, in networks that are made for it and
//! leave nothing. After each fault every promise is checked, from outside and inside.

mod checks;
mod conclusion;
mod device;
mod device_faults;
mod episode;
mod fleet;
mod fleet_part;
mod footing;
mod gateway_faults;
mod gateway_part;
mod judge;
mod network;
mod network_faults;
mod noise;
pub(crate) mod part;
mod pressure;
mod process;
mod report;
mod stage;
mod words;

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::{Args, ValueEnum};
use heartring::Liveness;
use rustix::process::geteuid;
use serde_json::json;

use crate::demo::{counted, exit_code};
use crate::duration::{self, show};
use crate::failure::Failure;
use crate::interrupt::watch_signals;
use crate::output;
use crate::random::Random;
use crate::system;
use crate::view::{Picture, View};

use checks::Promise;
use episode::Episode;
use network::Network;
use report::Chapter;
use stage::{Sizes, Stage, Stop};
use words::GatewayOrder;

/// Set in the process that runs as root of a user namespace.
const ROOTLESS: &str = "HEARTRING_TORMENT_ROOTLESS";
/// Set where a test or an episode that cannot run is a failure.
const REQUIRE_ALL: &str = "HEARTRING_REQUIRE_ALL";

/// Torment gateways with real faults and check every promise.
#[derive(Args, Clone, Debug)]
pub(crate) struct TormentArgs {
    /// For how long; fractions will do. The last episode is finished
    #[arg(long, value_name = "N", default_value = "2", value_parser = parse_minutes)]
    minutes: Duration,
    /// Which backends, one after the other
    #[arg(long, value_enum, default_value_t = BackendsArg::Both)]
    backend: BackendsArg,
    /// How many devices a fault befalls
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u32).range(20..=20_000))]
    devices: u32,
    /// How many stay healthy beside them
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    healthy: u32,
    /// How many shards a gateway has
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    shards: u16,
    /// By when a device that vanished must be known dead
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration::parse)]
    dead_within: Duration,
    /// Only episodes of this kind, at least once; can be repeated
    #[arg(long, value_enum, value_name = "NAME")]
    episode: Vec<Episode>,
    /// Repeats the order of a run and its chances [default: another each time]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Print one JSON object at the end and nothing else
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum BackendsArg {
    Uring,
    Epoll,
    Both,
}

impl BackendsArg {
    const fn names(self) -> &'static [&'static str] {
        match self {
            Self::Uring => &["uring"],
            Self::Epoll => &["epoll"],
            Self::Both => &["uring", "epoll"],
        }
    }
}

fn parse_minutes(text: &str) -> Result<Duration, String> {
    let minutes: f64 =
        text.trim().parse().map_err(|_| "minutes are a number, such as 2 or 0.5".to_owned())?;
    Duration::try_from_secs_f64(minutes * 60.0)
        .ok()
        .filter(|duration| (Duration::from_secs(1)..=Duration::from_hours(7 * 24)).contains(duration))
        .ok_or_else(|| "minutes lie between a second and a week".to_owned())
}

/// What the run is about.
struct Run<'a> {
    args: &'a TormentArgs,
    seed: u64,
    liveness: Liveness,
    kinds: Vec<Episode>,
    interrupted: &'a AtomicBool,
}

pub(crate) fn run(args: &TormentArgs) -> Result<ExitCode, Failure> {
    let liveness =
        Liveness::from_dead_within(args.dead_within).map_err(|error| Failure::from_library(&error))?;
    let network = match Network::new() {
        Ok(network) => network,
        Err(failure) => return run_rootless(failure),
    };
    let interrupted = watch_signals()?;
    let mut kinds = args.episode.clone();
    if kinds.is_empty() {
        kinds = Episode::value_variants().to_vec();
    }
    let seed = args.seed.unwrap_or_else(|| system::now().as_nanos());
    let run = Run { args, seed, liveness, kinds, interrupted: &interrupted };
    let mut view = View::new(args.json);
    view.print(&run.introduce());
    let mut chapters = Vec::new();
    let mut stopped = None;
    for backend in args.backend.names() {
        let mut chapter = Chapter::default();
        let result = run.torment(backend, &network, &mut chapter, &mut view);
        if !chapter.rows.is_empty() || chapter.checks.violated() > 0 {
            view.print(&chapter.to_text());
        }
        chapters.push(chapter);
        if let Err(stop) = result {
            stopped = Some(stop);
            break;
        }
    }
    match stopped {
        Some(Stop::Failed(failure)) => Err(failure),
        Some(Stop::Impossible(why)) => Err(Failure::new(why, "run as root")),
        Some(Stop::Interrupted) => Ok(run.conclude(&chapters, &view, true)),
        None => Ok(run.conclude(&chapters, &view, false)),
    }
}

/// Without the privilege, runs once more as root of a user namespace.
fn run_rootless(failure: Failure) -> Result<ExitCode, Failure> {
    if geteuid().is_root() || std::env::var_os(ROOTLESS).is_some() {
        return Err(failure);
    }
    let program = std::env::current_exe().map_err(|error| Failure::from_library(&error))?;
    let error = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net"])
        .arg(program)
        .args(std::env::args_os().skip(1))
        .env(ROOTLESS, "1")
        .exec();
    Err(Failure::new(format!("unshare: {error}"), "run as root"))
}

impl Run<'_> {
    fn introduce(&self) -> String {
        let TormentArgs { devices, healthy, minutes, .. } = self.args;
        format!(
            "Real faults against gateways on {}, for {}: {}, each of which befalls {devices} devices,
while {healthy} others stay healthy and must never be closed. Silence of {} is death. Seed {}.
",
            self.args.backend.names().join(" and "),
            show(*minutes),
            counted(self.kinds.len(), "kind of episode", "kinds of episodes"),
            show(self.liveness.dead_within),
            self.seed,
        )
    }

    /// Round after round in an order of the seed's, until the backend's share of the time is over.
    fn torment(
        &self,
        backend: &str,
        network: &Network,
        chapter: &mut Chapter,
        view: &mut View,
    ) -> Result<(), Stop> {
        let started = system::now();
        let run_for = self.args.minutes / self.args.backend.names().len() as u32;
        // What was asked for by name is played, however short the time.
        let (mut done, done_min) = (0, self.args.episode.len().max(1));
        let mut show = |scene: &str| {
            let elapsed = system::now().saturating_since(started);
            let rows = vec![("backend", backend.to_owned()), ("episode", scene.to_owned())];
            view.show(&Picture { elapsed, run_for, rows, line: format!("{backend}: {scene}") });
        };
        let TormentArgs { devices, healthy, shards, .. } = *self.args;
        let sizes = Sizes { victims: devices, healthy, shards, seed: self.seed };
        let mut stage = Stage::set(backend, sizes, self.liveness, network, self.interrupted, &mut show)?;
        chapter.listening = stage.listening.clone();
        stage.populate()?;
        stage.pause(self.liveness.beat_every)?;
        stage.start = stage.footing();
        chapter.start = stage.start;
        let mut random = Random::new(self.seed, 0);
        let mut round = Vec::new();
        let result = loop {
            chapter.elapsed = system::now().saturating_since(started);
            if done >= done_min && chapter.elapsed >= run_for {
                break Ok(());
            }
            let episode = round.pop().unwrap_or_else(|| {
                round = shuffled(&self.kinds, &mut random);
                round.pop().expect("there is a kind of episode")
            });
            done += 1;
            if let Err(stop) = play(episode, &mut stage, chapter, &mut random) {
                break Err(stop);
            }
            if self.kinds.len() == chapter.skipped() {
                break Ok(());
            }
        };
        chapter.weigh(self.kinds.len());
        match result.and_then(|()| end(&mut stage, chapter)) {
            // Whatever a fault does to a gateway, that is a reason to fail, not to give up.
            Err(Stop::Failed(failure)) => {
                let scene = stage.scene;
                chapter.checks.look(Promise::StaysUp, false, || format!("{scene}: {failure}"));
                Ok(())
            }
            ended => ended,
        }
    }

    fn conclude(&self, chapters: &[Chapter], view: &View, interrupted: bool) -> ExitCode {
        let violated: u64 = chapters.iter().map(|chapter| chapter.checks.violated()).sum();
        let skipped: usize = chapters.iter().map(Chapter::skipped).sum();
        let all_required = std::env::var(REQUIRE_ALL).as_deref() == Ok("1");
        let good = violated == 0 && (skipped == 0 || !all_required);
        if self.args.json {
            output::line(self.to_json(chapters, interrupted, good));
        } else {
            let word = match (interrupted, good) {
                (true, true) => "interrupted: nothing violated so far".to_owned(),
                (true, false) => format!("interrupted: {violated} violations so far"),
                (false, true) => "PASS: every promise was kept".to_owned(),
                (false, false) if violated == 0 => {
                    "FAIL: episodes were skipped, and all are required".to_owned()
                }
                (false, false) => format!("FAIL: {violated} violations; repeat with\n  {}", self.command()),
            };
            let skipped = if skipped > 0 { format!(" ({skipped} skipped)") } else { String::new() };
            output::line(view.paint(format!("{word}{skipped}; seed {}, {}", self.seed, machine()), good));
        }
        exit_code(interrupted, good)
    }

    fn to_json(&self, chapters: &[Chapter], interrupted: bool, good: bool) -> serde_json::Value {
        json!({
            "seed": self.seed,
            "command": self.command(),
            "machine": machine(),
            "devices": self.args.devices,
            "healthy": self.args.healthy,
            "dead_within_ms": self.liveness.dead_within.as_millis() as u64,
            "interrupted": interrupted,
            "pass": good,
            "backends": chapters.iter().map(Chapter::to_json).collect::<Vec<_>>(),
        })
    }

    /// What repeats this run.
    fn command(&self) -> String {
        let TormentArgs { minutes, backend, devices, healthy, shards, episode, .. } = self.args;
        let backend =
            backend.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
        let episodes: String = episode.iter().flat_map(|kind| [" --episode ", kind.name()]).collect();
        format!(
            "heartring torment --seed {} --minutes {} --backend {backend} --devices {devices} --healthy {healthy} --shards {shards} --dead-within {}ms{episodes}",
            self.seed,
            minutes.as_secs_f64() / 60.0,
            self.liveness.dead_within.as_millis(),
        )
    }
}

/// Plays an episode and takes down what it came to.
fn play(
    episode: Episode,
    stage: &mut Stage<'_>,
    chapter: &mut Chapter,
    random: &mut Random,
) -> Result<(), Stop> {
    stage.scene = episode.name();
    let played = episode.play(stage, random);
    stage.scene = "looking at every promise";
    match played.and_then(|deeds| stage.conclude(deeds)) {
        Ok(account) => {
            chapter.checks.look(Promise::StaysUp, true, || "");
            chapter.add(episode, account);
            Ok(())
        }
        Err(Stop::Impossible(why)) => {
            chapter.skip(episode, why);
            stage.restore()?;
            stage.abandon()
        }
        Err(stop @ (Stop::Interrupted | Stop::Failed(_))) => Err(stop),
    }
}

/// Stops the gateway in order and looks whether anything is open.
fn end(stage: &mut Stage<'_>, chapter: &mut Chapter) -> Result<(), Stop> {
    stage.scene = "the end";
    let (look, ledger_open) = stage.drain(&GatewayOrder::Stop)?;
    stage.end_life(&look, ledger_open);
    chapter.checks.add("the end", &stage.checks);
    Ok(())
}

fn shuffled(kinds: &[Episode], random: &mut Random) -> Vec<Episode> {
    let mut kinds = kinds.to_vec();
    for last in (1..kinds.len()).rev() {
        kinds.swap(last, random.below(last as u64 + 1) as usize);
    }
    kinds
}

fn machine() -> String {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    format!("Linux {}, {}", kernel.trim(), counted(cores, "core", "cores"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minutes_may_be_a_fraction_and_nothing_else() {
        assert_eq!(parse_minutes("0.5"), Ok(Duration::from_secs(30)));
        assert_eq!(parse_minutes("180"), Ok(Duration::from_hours(3)));
        for text in ["", "soon", "-1", "0", "1e9", "NaN"] {
            assert!(parse_minutes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_round_has_each_kind_once_in_an_order_of_the_seeds() {
        let kinds = Episode::value_variants();
        let round = |seed| shuffled(kinds, &mut Random::new(seed, 0));
        assert_eq!(round(1), round(1));
        assert_ne!(round(1), round(2));
        let mut sorted = round(3);
        sorted.sort_unstable();
        assert_eq!(sorted, kinds);
    }
}
