//! One measurement: one contender in a fresh process under load from another.
//!
//! Most are a window: the generator brings the load up, and what the server uses between two marks is divided by what the
//! generator counted. What is not a window has a file of its own.

mod memory;
mod scale;

use std::time::Duration;

use crate::child::{Child, ChildError, Interrupt};
use crate::contender::Contender;
use crate::control::{Command, LoadReport, LoadResult, ServerMark, ServerReport};
use crate::metric::Metric;
use crate::plan::{LoadPlan, ServePlan};
use crate::process;
use crate::sample::Sample;
use crate::suite::Setup;
use crate::workload::Workload;

/// For what a child has to do at once.
const PROMPT: Duration = Duration::from_secs(10);
/// For a generator to connect its fleet, at a thousand connections a second and then some.
const CONNECT: Duration = Duration::from_mins(1);

/// Measures `contender` once.
pub(crate) fn measure(
    setup: &Setup,
    contender: Contender,
    interrupt: &Interrupt,
) -> Result<Sample, ChildError> {
    match setup.workload {
        Workload::Memory { few, many } => memory::measure(setup, many - few, contender, interrupt),
        Workload::Scale { .. } => scale::measure(setup, contender, interrupt),
        Workload::Echo { .. }
        | Workload::Beats { .. }
        | Workload::Storm { .. }
        | Workload::Fanout { .. }
        | Workload::Detect { .. } => measure_window(setup, contender, interrupt),
    }
}

fn measure_window(setup: &Setup, contender: Contender, interrupt: &Interrupt) -> Result<Sample, ChildError> {
    let (mut server, plan) = start_server(setup, contender, interrupt)?;
    let mut load = Child::start("load", &plan, interrupt)?;
    expect_steady(&mut server, &mut load, &plan)?;
    load.command(Command::Begin)?;
    let report = load.report(PROMPT)?;
    let LoadReport::Begun = report else { return Err(blame(&mut server, &report)) };
    let before = mark(&mut server, Command::Begin)?;
    let busy_before = process::core_busy_ns(setup.machine.server_core);
    let result = ended(&mut server, &mut load, longest(setup))?;
    let after = mark(&mut server, Command::End)?;
    let mut sample =
        Sample::of_window(setup.workload, &before, &after, &result).map_err(ChildError::Failed)?;
    let busy_after = process::core_busy_ns(setup.machine.server_core);
    // On one core the generator would count as a stranger.
    if let (Some(before), Some(after), false) = (busy_before, busy_after, setup.machine.is_shared()) {
        let busy = after.saturating_sub(before) as f64 / result.elapsed_ns as f64;
        let foreign = (busy - sample.get(Metric::ServerBusy)).max(0.0);
        sample.extend([(Metric::ForeignBusy, foreign)]);
    }
    Ok(sample)
}

/// How long it may take until a window is over. Deaths take as long as they take.
fn longest(setup: &Setup) -> Duration {
    match setup.workload {
        Workload::Detect { .. } | Workload::Scale { .. } => {
            PROMPT + setup.dead_within * 10 + Duration::from_mins(2)
        }
        Workload::Echo { .. }
        | Workload::Beats { .. }
        | Workload::Storm { .. }
        | Workload::Fanout { .. }
        | Workload::Memory { .. } => PROMPT + setup.window,
    }
}

/// Starts the server, and says what its generators are to do.
fn start_server(
    setup: &Setup,
    contender: Contender,
    interrupt: &Interrupt,
) -> Result<(Child, LoadPlan), ChildError> {
    let plan = ServePlan {
        contender,
        workload: setup.workload,
        core: setup.machine.server_core,
        congestion: setup.machine.congestion(),
        batch_within: setup.batch_within,
        dead_within: setup.dead_within,
    };
    let mut server = Child::start_server(&plan, interrupt)?;
    let report = server.report(PROMPT)?;
    let ServerReport::Ready { addr } = report else { return Err(surprise(&report)) };
    let plan = LoadPlan {
        workload: setup.workload,
        server: addr,
        hangs_up: contender.hangs_up(),
        core: setup.machine.generator_core,
        engine: setup.machine.generator,
        congestion: setup.machine.congestion(),
        warmup: setup.warmup(),
        window: setup.window,
        dead_within: setup.dead_within,
        devices: None,
    };
    Ok((server, plan))
}

fn expect_steady(server: &mut Child, load: &mut Child, plan: &LoadPlan) -> Result<(), ChildError> {
    let report = load.report(CONNECT + plan.warmup)?;
    let LoadReport::Steady = report else { return Err(blame(server, &report)) };
    Ok(())
}

fn ended(server: &mut Child, load: &mut Child, within: Duration) -> Result<LoadResult, ChildError> {
    match load.report(within)? {
        LoadReport::Ended(result) => Ok(result),
        report @ (LoadReport::Steady | LoadReport::Begun | LoadReport::Failed { .. }) => {
            Err(blame(server, &report))
        }
    }
}

fn mark(server: &mut Child, command: Command) -> Result<ServerMark, ChildError> {
    server.command(command)?;
    let report = server.report(PROMPT)?;
    let ServerReport::Mark(mark) = report else { return Err(surprise(&report)) };
    Ok(mark)
}

/// When the generator fails, the server may already have said why.
fn blame(server: &mut Child, report: &LoadReport) -> ChildError {
    let why = match report {
        LoadReport::Failed { why } => why.clone(),
        LoadReport::Steady | LoadReport::Begun | LoadReport::Ended(_) => format!("out of turn: {report:?}"),
    };
    match server.report::<ServerReport>(Duration::ZERO) {
        Ok(ServerReport::Failed { why: first }) => ChildError::Failed(first),
        Ok(ServerReport::Ready { .. } | ServerReport::Mark(_)) | Err(_) => ChildError::Failed(why),
    }
}

fn surprise(report: &ServerReport) -> ChildError {
    match report {
        ServerReport::Failed { why } => ChildError::Failed(why.clone()),
        ServerReport::Ready { .. } | ServerReport::Mark(_) => {
            ChildError::Failed(format!("out of turn: {report:?}"))
        }
    }
}
