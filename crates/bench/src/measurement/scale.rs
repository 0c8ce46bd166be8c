//! As many connections as the machine holds, in one server process. The fleet is played by as many generators as it needs, each
//! with as many devices as a process has descriptors for.

use std::time::Duration;

use super::memory::Footprint;
use super::{PROMPT, blame, mark, start_server};
use crate::child::{Child, ChildError, Interrupt};
use crate::clock;
use crate::contender::Contender;
use crate::control::{Command, Deaths, LoadReport, ServerMark};
use crate::limits;
use crate::metric::{Curve, Metric};
use crate::plan::LoadPlan;
use crate::sample::Sample;
use crate::suite::Setup;

/// For a million to connect: at ten thousand a second, six times over.
const CONNECT: Duration = Duration::from_mins(10);

pub(super) fn measure(
    setup: &Setup,
    contender: Contender,
    interrupt: &Interrupt,
) -> Result<Sample, ChildError> {
    let connections = setup.workload.connections();
    let (mut server, plan) = start_server(setup, contender, interrupt)?;
    let empty = Footprint::settled(server.id())?;
    let began = clock::now_ns();
    let mut fleet = Fleet::start(setup, &plan, interrupt)?;
    fleet.await_steady(&mut server)?;
    let connected = clock::now_ns() - began;
    let full = Footprint::settled(server.id())?;
    let (before, after, elapsed_ns) = hold(setup, &mut server, interrupt)?;
    let deaths = fleet.let_die(setup, &mut server)?;
    let verdicts = mark(&mut server, Command::End)?.verdicts;
    let per_connection = |before: u64, after: u64| (after as f64 - before as f64) / f64::from(connections);
    let cpu_ns = (after.cpu_ns - before.cpu_ns) as f64;
    let hours = f64::from(connections) * elapsed_ns as f64 / 3.6e12;
    let mut sample = Sample::default();
    sample.extend([
        (Metric::Connections, f64::from(connections)),
        (Metric::ConnectS, connected as f64 / 1e9),
        (Metric::CpuMsPerConnHour, cpu_ns / 1e6 / hours),
        (Metric::ServerBusy, cpu_ns / elapsed_ns as f64),
        (Metric::UserBytes, per_connection(empty.user, full.user)),
        (Metric::KernelBytesBothEnds, per_connection(empty.kernel, full.kernel)),
    ]);
    sample.add_deaths(&deaths, verdicts);
    sample.histograms.insert(Curve::SeenUs, std::mem::take(&mut fleet.histogram));
    Ok(sample)
}

/// Holds the fleet, which only beats, for a window.
fn hold(
    setup: &Setup,
    server: &mut Child,
    interrupt: &Interrupt,
) -> Result<(ServerMark, ServerMark, u64), ChildError> {
    let before = mark(server, Command::Begin)?;
    let began = clock::now_ns();
    Child::sleep(setup.window, interrupt)?;
    let elapsed_ns = clock::now_ns() - began;
    Ok((before, mark(server, Command::End)?, elapsed_ns))
}

/// All generators.
struct Fleet {
    generators: Vec<Child>,
    histogram: Vec<(u64, u64)>,
}

impl Fleet {
    fn start(setup: &Setup, plan: &LoadPlan, interrupt: &Interrupt) -> Result<Fleet, ChildError> {
        let connections = setup.workload.connections();
        let each = limits::connections_max(&setup.machine);
        let firsts = (0..connections).step_by(each as usize);
        let start = |first: u32| {
            let devices = Some((first, connections.min(first + each)));
            Child::start("load", &LoadPlan { devices, ..plan.clone() }, interrupt)
        };
        let generators: Result<Vec<Child>, ChildError> = firsts.map(start).collect();
        Ok(Fleet { generators: generators?, histogram: Vec::new() })
    }

    fn await_steady(&mut self, server: &mut Child) -> Result<(), ChildError> {
        for generator in &mut self.generators {
            let report = generator.report(CONNECT)?;
            let LoadReport::Steady = report else { return Err(blame(server, &report)) };
        }
        Ok(())
    }

    /// Has every generator let its share of devices die, and adds up what they saw.
    fn let_die(&mut self, setup: &Setup, server: &mut Child) -> Result<Deaths, ChildError> {
        for generator in &mut self.generators {
            generator.command(Command::Begin)?;
        }
        let mut deaths = Deaths::default();
        for generator in &mut self.generators {
            let report = generator.report(PROMPT)?;
            let LoadReport::Begun = report else { return Err(blame(server, &report)) };
            let result = super::ended(server, generator, super::longest(setup))?;
            let seen = result.deaths.unwrap_or_default();
            deaths.seen += seen.seen;
            deaths.early += seen.early;
            deaths.undetected += seen.undetected;
            deaths.false_closes += seen.false_closes;
            self.histogram.extend(result.histogram);
        }
        Ok(deaths)
    }
}

/// Closing twenty thousand connections takes a process seconds: all do it at once.
impl Drop for Fleet {
    fn drop(&mut self) {
        self.generators.iter_mut().for_each(Child::kill);
    }
}
