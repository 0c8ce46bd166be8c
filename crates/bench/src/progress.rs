//! What a person sees while it runs: a bar where stderr is a terminal, a line per measurement elsewhere.

use std::io::{IsTerminal, stderr};

use indicatif::{ProgressBar, ProgressStyle};

use crate::contender::Contender;
use crate::sample::Sample;
use crate::suite::Setup;

pub(crate) enum Progress {
    Bar(ProgressBar),
    Lines,
}

impl Progress {
    pub(crate) fn new(setups: &[Setup]) -> Progress {
        if !stderr().is_terminal() {
            return Progress::Lines;
        }
        let bar = ProgressBar::new(setups.iter().map(Setup::measurements).sum());
        let style = ProgressStyle::with_template("{bar:40} {pos}/{len} {msg} ({eta} left)");
        bar.set_style(style.expect("the template is valid"));
        Progress::Bar(bar)
    }

    pub(crate) fn begin(&self, setup: &Setup, round: u32, contender: Contender) {
        match self {
            Progress::Bar(bar) => {
                bar.set_message(format!("{}round {}: {}", title(setup), round + 1, contender.name()));
            }
            Progress::Lines => {}
        }
    }

    pub(crate) fn done(&self, setup: &Setup, round: u32, contender: Contender, sample: &Sample) {
        match self {
            Progress::Bar(bar) => bar.inc(1),
            Progress::Lines => {
                let cost = setup.workload.cost();
                let (value, decimals) = (sample.get(cost), cost.decimals());
                let (round, rounds, name) = (round + 1, setup.rounds, contender.name());
                let (title, cost) = (title(setup), cost.title());
                eprintln!("{title}round {round}/{rounds}: {name}: {value:.decimals$} {cost}");
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
            Progress::Lines => eprintln!("{line}"),
        }
    }

    /// A measurement of a contender that has failed before.
    pub(crate) fn skip(&self) {
        match self {
            Progress::Bar(bar) => bar.inc(1),
            Progress::Lines => {}
        }
    }

    pub(crate) fn finish(&self) {
        match self {
            Progress::Bar(bar) => bar.finish_and_clear(),
            Progress::Lines => {}
        }
    }
}

fn title(setup: &Setup) -> String {
    setup.part.as_ref().map(|part| format!("{part}: ")).unwrap_or_default()
}
