//! Reports of several workloads: the ablation of deadlines, and everything.

use std::time::Duration;

use crate::asked::base;
use crate::contender::{Contender, Mode, Server};
use crate::limits;
use crate::machine::Machine;
use crate::roster;
use crate::suite::Setup;
use crate::workload::{Scene, Workload};

/// Sizes at which deadlines are kept: few, many, and as many as a ring holds well.
const COUNTS: [u32; 3] = [1000, 10_000, 19_000];
/// Deadlines, in seconds: a game's, a gateway's, and what a phone's battery asks for.
const DEADLINES_S: [u64; 3] = [2, 10, 60];

/// What keeping deadlines costs, by who keeps them.
pub(crate) fn deadlines(rounds: Option<u32>, machine: &Machine) -> Vec<Setup> {
    let most = limits::connections_max(machine);
    let counts = COUNTS.map(|count| count.min(most));
    let mut setups = Vec::new();
    for connections in counts {
        setups.push(busy(connections, machine));
    }
    for dead_within_s in DEADLINES_S {
        setups.push(beating(counts[2], dead_within_s, machine));
    }
    for connections in [counts[0], counts[1]] {
        setups.push(beating(connections, 10, machine));
    }
    let memory = base(Workload::Memory { few: 3000.min(most / 4), many: counts[2] }, machine);
    let keepers = roster::ablation().into_iter().chain([Server::BareSockets.usual()]);
    setups.push(Setup { contenders: keepers.collect(), rounds: 6, ..memory }.titled("deadlines: memory"));
    for scene in [Scene::Single, Scene::Mass] {
        let title = format!("deadlines: lateness, {}", scene.name());
        setups.push(self::rounds(3, detect(scene, counts[2], machine)).titled(title));
    }
    for setup in &mut setups {
        setup.rounds = rounds.unwrap_or(setup.rounds);
    }
    setups
}

fn busy(connections: u32, machine: &Machine) -> Setup {
    let echo = base(Workload::Echo { connections, bytes: 32 }, machine);
    let title = format!("deadlines: echo, {connections} connections");
    Setup { contenders: roster::ablation().to_vec(), rounds: 8, ..echo }.titled(title)
}

fn beating(connections: u32, dead_within_s: u64, machine: &Machine) -> Setup {
    let rate = (u64::from(connections) * 3).div_ceil(dead_within_s) as u32;
    let beats = base(Workload::Beats { connections, rate, answered: false }, machine);
    let title = format!("deadlines: beats, {connections} connections, {dead_within_s} s");
    let dead_within = Duration::from_secs(dead_within_s);
    Setup { contenders: roster::ablation().to_vec(), rounds: 6, dead_within, ..beats }.titled(title)
}

/// Everything, within half an hour on two cores, or a tenth of that.
pub(crate) fn all(brief: bool, machine: &Machine) -> Vec<Setup> {
    let most = limits::connections_max(machine);
    let many = if brief { 2000 } else { 19_000.min(most) };
    let storm = Workload::Storm { identities: 2000.min(most / 2), at_once: 2000.min(most / 2), shards: 1 };
    let fanout = Workload::Fanout { connections: 5000.min(most), bytes: 64, hz: 20 };
    let mut setups = vec![
        rounds(10, base(Workload::Echo { connections: 1000.min(most), bytes: 32 }, machine)).titled("echo"),
        rounds(8, beats(many, 5000, false, machine)).titled("beats"),
        rounds(6, some(&[Server::Tokio], beats(many, 5000, true, machine))).titled("beats, answered"),
        rounds(3, some(&[Server::Tokio, Server::Mio], beats(many, 0, false, machine))).titled("idle"),
        rounds(10, base(storm, machine)).titled("storm"),
        rounds(10, base(fanout, machine)).titled("fanout"),
        rounds(6, base(Workload::Memory { few: many / 6, many }, machine)).titled("memory"),
    ];
    for scene in Scene::ALL {
        setups.push(rounds(2, detect(scene, many, machine)).titled(format!("detect, {}", scene.name())));
    }
    if !brief {
        setups.extend(COUNTS.map(|count| rounds(6, busy(count.min(most), machine))));
        setups.extend([2, 60].map(|dead_within_s| beating(many, dead_within_s, machine)));
    }
    let scale = if brief { 20_000 } else { 250_000 }.min(limits::scale_max(machine));
    let dead_within = Duration::from_secs(30);
    let scale = base(limits::scale_of(scale, dead_within), machine);
    setups.push(Setup { dead_within, ..scale }.titled("scale"));
    if brief {
        for setup in &mut setups {
            (setup.rounds, setup.window) =
                (setup.rounds.min(2), setup.window.min(Duration::from_millis(500)));
        }
    }
    setups
}

fn rounds(rounds: u32, setup: Setup) -> Setup {
    Setup { rounds, ..setup }
}

fn beats(connections: u32, rate: u32, answered: bool, machine: &Machine) -> Setup {
    base(Workload::Beats { connections, rate, answered }, machine)
}

/// Deaths of a thousand, one after the other, or of `many` at once.
fn detect(scene: Scene, many: u32, machine: &Machine) -> Setup {
    let deaths = if scene == Scene::Mass { many } else { 1000.min(many / 4) };
    let connections = if scene == Scene::Mass { deaths } else { deaths * 3 };
    let detect = base(Workload::Detect { scene, connections, deaths }, machine);
    Setup { dead_within: Duration::from_secs(2), ..detect }
}

/// Without batching, and of the runtimes only `runtimes`.
fn some(runtimes: &[Server], mut setup: Setup) -> Setup {
    let takes_part = |contender: &Contender| {
        contender.mode == Mode::Usual && (!contender.is_runtime() || runtimes.contains(&contender.server))
    };
    setup.contenders.retain(takes_part);
    setup
}
