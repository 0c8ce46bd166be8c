//! What a person sees while it runs: a bar where stderr is a terminal, a line per measurement elsewhere.

use std::io::{IsTerminal, stderr};

use indicatif::{ProgressBar, ProgressStyle};

use crate::contender::Contender;
use crate::measurement::Sample;
use crate::suite::Setup;
use crate::workload::Workload;

pub(crate) enum Progress {
    Bar(ProgressBar),
    Lines { rounds: u32 },
}

impl Progress {
    pub(crate) fn new(setup: &Setup) -> Progress {
        if !stderr().is_terminal() {
            return Progress::Lines { rounds: setup.rounds };
        }
        let bar = ProgressBar::new(u64::from(setup.rounds) * setup.contenders.len() as u64);
        let style = ProgressStyle::with_template("{bar:40} {pos}/{len} {msg} ({eta} left)");
        bar.set_style(style.expect("the template is valid"));
        Progress::Bar(bar)
    }

    pub(crate) fn begin(&self, round: u32, contender: Contender) {
        match self {
            Progress::Bar(bar) => bar.set_message(format!("round {}: {}", round + 1, contender.name())),
            Progress::Lines { .. } => {}
        }
    }

    pub(crate) fn done(&self, round: u32, contender: Contender, workload: Workload, sample: &Sample) {
        match self {
            Progress::Bar(bar) => bar.inc(1),
            Progress::Lines { rounds } => {
                let cost = sample.get(&workload.cost()).copied().unwrap_or_default();
                let (round, name, unit) = (round + 1, contender.name(), workload.unit());
                eprintln!("round {round}/{rounds}: {name}: {cost:.0} ns of CPU per {unit}");
            }
        }
    }

    pub(crate) fn failed(&self, contender: Contender, why: &str) {
        let line = format!("{} is left out: {why}", contender.name());
        match self {
            Progress::Bar(bar) => {
                bar.println(line);
                bar.inc(1);
            }
            Progress::Lines { .. } => eprintln!("{line}"),
        }
    }

    /// A measurement of a contender that has failed before.
    pub(crate) fn skip(&self) {
        match self {
            Progress::Bar(bar) => bar.inc(1),
            Progress::Lines { .. } => {}
        }
    }

    pub(crate) fn finish(&self) {
        match self {
            Progress::Bar(bar) => bar.finish_and_clear(),
            Progress::Lines { .. } => {}
        }
    }
}
