//! What one sees while the demo runs: a small table that is redrawn in place on a terminal, a line a second elsewhere, and
//! nothing with `--json`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use heartring::{Lateness, StateCounts};

use super::account::Ending;
use crate::duration::show;
use crate::output;

/// Between two redraws on a terminal.
pub(super) const REDRAW_EVERY: Duration = Duration::from_millis(100);
/// Between two lines elsewhere.
const LINE_EVERY: Duration = Duration::from_secs(1);
/// A line that is too long for the terminal is cut: wrapped, it would be two, and one of them would not be erased.
const NO_WRAP: &str = "\x1b[?7l";
const WRAP: &str = "\x1b[?7h";
/// Cells of the progress bar.
const BAR_CELLS: usize = 40;

/// Where the run stands.
#[derive(Default)]
pub(super) struct Progress {
    pub(super) elapsed: Duration,
    run_for: Duration,
    states: StateCounts,
    closed: BTreeMap<&'static str, u64>,
    lateness: Lateness,
}

impl Progress {
    pub(super) fn new(run_for: Duration) -> Self {
        Self { run_for, ..Self::default() }
    }

    pub(super) fn ended(&mut self, ending: &Ending) {
        *self.closed.entry(ending.cause.name()).or_default() += 1;
        if let Some(lateness) = ending.lateness {
            self.lateness.record(lateness);
        }
    }

    /// Adds up the shards.
    pub(super) fn states<'a>(&mut self, shards: impl Iterator<Item = &'a StateCounts>) {
        self.states = shards.fold(StateCounts::default(), |sum, shard| StateCounts {
            greeting: sum.greeting + shard.greeting,
            live: sum.live + shard.live,
            overdue: sum.overdue + shard.overdue,
            grace: sum.grace + shard.grace,
            closing: sum.closing + shard.closing,
        });
    }

    fn states_text(&self) -> String {
        let StateCounts { greeting, live, overdue, grace, closing } = self.states;
        format!("greeting {greeting}   live {live}   overdue {overdue}   grace {grace}   closing {closing}")
    }

    fn closed_text(&self) -> String {
        let causes: Vec<_> = self.closed.iter().map(|(cause, count)| format!("{cause} {count}")).collect();
        if causes.is_empty() { "none yet".to_owned() } else { causes.join("   ") }
    }

    fn lateness_text(&self) -> String {
        if self.lateness.count() == 0 {
            return "no deadline has passed yet".to_owned();
        }
        let [p50, p99] = [0.5, 0.99].map(|q| show(self.lateness.quantile(q)));
        format!("p50 {p50}   p99 {p99}   max {}", show(self.lateness.max()))
    }
}

/// The three ways of showing it.
pub(super) enum View {
    Terminal { lines_drawn: usize },
    Lines { next_at: Duration },
    Quiet,
}

impl View {
    pub(super) fn new(json: bool) -> Self {
        match (json, io::stdout().is_terminal()) {
            (true, _) => Self::Quiet,
            (false, true) => Self::Terminal { lines_drawn: 0 },
            (false, false) => Self::Lines { next_at: LINE_EVERY },
        }
    }

    /// Marks the last word on a terminal: green if all is well, red otherwise.
    pub(super) fn paint(&self, text: String, good: bool) -> String {
        match self {
            Self::Terminal { .. } if std::env::var_os("NO_COLOR").is_none() => {
                format!("\x1b[1;{}m{text}\x1b[0m", if good { 32 } else { 31 })
            }
            Self::Terminal { .. } | Self::Lines { .. } | Self::Quiet => text,
        }
    }

    /// Text that stays.
    pub(super) fn print(&mut self, text: &str) {
        match self {
            Self::Terminal { lines_drawn } => {
                let erased = erase(*lines_drawn);
                *lines_drawn = 0;
                output::line(format_args!("{erased}{text}"));
            }
            Self::Lines { .. } => output::line(text),
            Self::Quiet => {}
        }
    }

    pub(super) fn show(&mut self, progress: &Progress) {
        match self {
            Self::Terminal { lines_drawn } => {
                let drawing = draw(progress);
                let mut out = io::stdout().lock();
                let _ = write!(out, "{}{drawing}", erase(*lines_drawn)).and_then(|()| out.flush());
                *lines_drawn = drawing.matches('\n').count();
            }
            Self::Lines { next_at } if progress.elapsed >= *next_at => {
                *next_at += LINE_EVERY;
                output::line(line(progress));
            }
            Self::Lines { .. } | Self::Quiet => {}
        }
    }
}

/// Moves the cursor up over what was drawn and clears from there.
fn erase(lines: usize) -> String {
    if lines == 0 { String::new() } else { format!("\x1b[{lines}A\x1b[J") }
}

fn draw(progress: &Progress) -> String {
    let done = progress.elapsed.as_secs_f64() / progress.run_for.as_secs_f64().max(f64::MIN_POSITIVE);
    let cells = ((done * BAR_CELLS as f64) as usize).min(BAR_CELLS);
    let mut text = format!(
        "{NO_WRAP}  {}{}  {:.1} s of {}\n",
        "█".repeat(cells),
        "░".repeat(BAR_CELLS - cells),
        progress.elapsed.as_secs_f64(),
        show(progress.run_for),
    );
    for (name, value) in [
        ("connections", progress.states_text()),
        ("closed", progress.closed_text()),
        ("lateness", progress.lateness_text()),
    ] {
        let _ = writeln!(text, "  {name:<12}{value}");
    }
    text + WRAP
}

fn line(progress: &Progress) -> String {
    let StateCounts { live, overdue, grace, .. } = progress.states;
    format!(
        "{:>5.1} s  live {live}, overdue {overdue}, grace {grace}; closed: {}; lateness: {}",
        progress.elapsed.as_secs_f64(),
        progress.closed_text().replace("   ", ", "),
        progress.lateness_text().replace("   ", ", "),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_drawing_is_erased_line_by_line() {
        let progress = Progress::new(Duration::from_secs(12));
        let drawing = draw(&progress);
        let lines = drawing.matches('\n').count();
        assert_eq!(lines, 4);
        assert_eq!(erase(lines), "\x1b[4A\x1b[J");
        assert_eq!(erase(0), "");
    }
}
