//! Compares two tales of one script, and shows where they differ: the script, both sequences side by side, the command that plays
//! it again.

use std::fmt::Write;

use super::script::{Script, letter};
use super::tale::{Event, Stuck, Tale};

/// How wide the left one of the two columns is.
const COLUMN: usize = 56;

/// A backend and its deadline strategy, as they are printed.
pub(crate) type Label<'a> = &'a str;

/// Whether both tales are the same; if not, what a person needs to know.
pub(crate) fn compare(
    script: &Script,
    (expected_on, expected): (Label<'_>, &Tale),
    (actual_on, actual): (Label<'_>, &Tale),
) -> Result<(), String> {
    let difference = expected.first_difference(actual);
    if difference.is_none() && expected.stuck.is_none() && actual.stuck.is_none() {
        return Ok(());
    }
    let mut text = format!("{}: {actual_on} differs from {expected_on}\n", script.name);
    text += &script.to_string();
    for (label, stuck) in [(expected_on, expected.stuck), (actual_on, actual.stuck)] {
        if let Some(Stuck { step, came, sent }) = stuck {
            let _ = writeln!(text, "on {label} step {step} led only to: {came}, sent {sent} B");
        }
    }
    // After a step that was never over the others differ as well.
    let culprit = [expected.stuck, actual.stuck].into_iter().flatten().next().and_then(|stuck| {
        let conn = script.steps[stuck.step - 1].conn;
        Some((conn, expected.difference_in(conn, actual)?))
    });
    if let Some((conn, at)) = culprit.or(difference) {
        let (left, right) = (expected.events(conn), actual.events(conn));
        let _ = writeln!(text, "connection {}:", letter(conn));
        text += &side_by_side((expected_on, left), (actual_on, right), at);
    }
    let _ = writeln!(text, "replay: {}", replay(script));
    Err(text)
}

fn side_by_side(
    (left_on, left): (Label<'_>, &[Event]),
    (right_on, right): (Label<'_>, &[Event]),
    at: usize,
) -> String {
    let mut text = format!("    {left_on:<COLUMN$} | {right_on}\n");
    for nth in 0..left.len().max(right.len()) {
        let mark = if nth == at { "==>" } else { "   " };
        let cell = |events: &[Event]| events.get(nth).map_or_else(|| "-".to_owned(), Event::to_string);
        let _ = writeln!(text, "{mark} {:<COLUMN$} | {}", cell(left), cell(right));
    }
    text
}

/// Scripts that were written by hand are played in every run.
fn replay(script: &Script) -> String {
    let seed = script.seed.map(|seed| format!("HEARTRING_SEED={seed} ")).unwrap_or_default();
    format!("{seed}cargo test -p heartring-tests --test differential")
}
