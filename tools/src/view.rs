//! What one sees while the demo runs: a small table that is redrawn in place on a terminal, a line a second elsewhere, and
//! nothing with `--json`.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use crate::duration::show;
use crate::output;

/// Between two redraws on a terminal.
pub(crate) const REDRAW_EVERY: Duration = Duration::from_millis(100);
/// Between two lines elsewhere.
const LINE_EVERY: Duration = Duration::from_secs(1);
/// A line that is too long for the terminal is cut: wrapped, it would be two, and one of them would not be erased.
const NO_WRAP: &str = "\x1b[?7l";
const WRAP: &str = "\x1b[?7h";
/// Cells of the progress bar.
const BAR_CELLS: usize = 40;

/// Where a run stands, in words.
pub(crate) struct Picture {
    pub(crate) elapsed: Duration,
    pub(crate) run_for: Duration,
    /// What the table on a terminal shows.
    pub(crate) rows: Vec<(&'static str, String)>,
    /// The same in one line.
    pub(crate) line: String,
}

/// The three ways of showing it.
pub(crate) enum View {
    Terminal { lines_drawn: usize },
    Lines { next_at: Duration },
    Quiet,
}

impl View {
    pub(crate) fn new(json: bool) -> Self {
        match (json, io::stdout().is_terminal()) {
            (true, _) => Self::Quiet,
            (false, true) => Self::Terminal { lines_drawn: 0 },
            (false, false) => Self::Lines { next_at: LINE_EVERY },
        }
    }

    /// Marks the last word on a terminal: green if all is well, red otherwise.
    pub(crate) fn paint(&self, text: String, good: bool) -> String {
        match self {
            Self::Terminal { .. } if std::env::var_os("NO_COLOR").is_none() => {
                format!("\x1b[1;{}m{text}\x1b[0m", if good { 32 } else { 31 })
            }
            Self::Terminal { .. } | Self::Lines { .. } | Self::Quiet => text,
        }
    }

    /// Text that stays.
    pub(crate) fn print(&mut self, text: &str) {
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

    pub(crate) fn show(&mut self, picture: &Picture) {
        match self {
            Self::Terminal { lines_drawn } => {
                let drawing = draw(picture);
                let mut out = io::stdout().lock();
                let _ = write!(out, "{}{drawing}", erase(*lines_drawn)).and_then(|()| out.flush());
                *lines_drawn = drawing.matches('\n').count();
            }
            Self::Lines { next_at } if picture.elapsed >= *next_at => {
                *next_at += LINE_EVERY;
                output::line(format_args!("{:>5.1} s  {}", picture.elapsed.as_secs_f64(), picture.line));
            }
            Self::Lines { .. } | Self::Quiet => {}
        }
    }
}

/// Moves the cursor up over what was drawn and clears from there.
fn erase(lines: usize) -> String {
    if lines == 0 { String::new() } else { format!("\x1b[{lines}A\x1b[J") }
}

fn draw(picture: &Picture) -> String {
    let done = picture.elapsed.as_secs_f64() / picture.run_for.as_secs_f64().max(f64::MIN_POSITIVE);
    let cells = ((done * BAR_CELLS as f64) as usize).min(BAR_CELLS);
    let mut text = format!(
        "{NO_WRAP}  {}{}  {:.1} s of {}\n",
        "█".repeat(cells),
        "░".repeat(BAR_CELLS - cells),
        picture.elapsed.as_secs_f64(),
        show(picture.run_for),
    );
    for (name, value) in &picture.rows {
        let _ = writeln!(text, "  {name:<12}{value}");
    }
    text + WRAP
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_drawing_is_erased_line_by_line() {
        let rows = ["connections", "closed", "lateness"].map(|name| (name, "none".to_owned())).to_vec();
        let (elapsed, run_for) = (Duration::from_secs(3), Duration::from_secs(12));
        let drawing = draw(&Picture { elapsed, run_for, rows, line: String::new() });
        let lines = drawing.matches('\n').count();
        assert_eq!(lines, 4);
        assert_eq!(erase(lines), "\x1b[4A\x1b[J");
        assert_eq!(erase(0), "");
    }
}
