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
    setups.push(Setup { contenders: keepers.collect(), rounds: 3, ..memory }.titled("deadlines: memory"));
    for scene in [Scene::Single, Scene::Mass] {
        let deaths = if scene == Scene::Mass { counts[2] } else { 1000.min(most / 3) };
        let connections = if scene == Scene::Mass { deaths } else { deaths * 3 };
        let detect = base(Workload::Detect { scene, connections, deaths }, machine);
        let title = format!("deadlines: lateness, {}", scene.name());
        setups.push(Setup { dead_within: Duration::from_secs(2), rounds: 3, ..detect }.titled(title));
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
    let mut setups = vec![
        rounds(12, base(Workload::Echo { connections: 1000, bytes: 32 }, machine)).titled("echo"),
        rounds(10, beats(many, 5000, false, machine)).titled("beats"),
        rounds(6, without_batching(beats(many, 5000, true, machine))).titled("beats, answered"),
        rounds(6, without_batching(beats(many, 0, false, machine))).titled("idle"),
    ];
    let storm = Workload::Storm { identities: 2000, at_once: 2000, shards: 1 };
    setups.push(rounds(12, base(storm, machine)).titled("storm"));
    let fanout = Workload::Fanout { connections: 5000.min(most), bytes: 64, hz: 20 };
    setups.push(rounds(10, base(fanout, machine)).titled("fanout"));
    let memory = Workload::Memory { few: many / 6, many };
    setups.push(rounds(3, base(memory, machine)).titled("memory"));
    for scene in Scene::ALL {
        let deaths = if scene == Scene::Mass { many } else { 1000.min(most / 4) };
        let connections = if scene == Scene::Mass { deaths } else { deaths * 3 };
        let detect = base(Workload::Detect { scene, connections, deaths }, machine);
        let title = format!("detect, {}", scene.name());
        setups.push(Setup { dead_within: Duration::from_secs(2), rounds: 3, ..detect }.titled(title));
    }
    if !brief {
        let panel = deadlines(None, machine).into_iter();
        // What the other parts have already.
        setups.extend(
            panel.filter(|setup| matches!(setup.workload, Workload::Echo { .. } | Workload::Beats { .. })),
        );
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

fn without_batching(mut setup: Setup) -> Setup {
    setup.contenders.retain(|contender: &Contender| contender.mode != Mode::Batched);
    setup
}
