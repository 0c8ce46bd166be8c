//! `heartring explain`: what follows from one deadline.

use std::time::Duration;

use clap::Args;
use heartring::{Config, ExplainRow, Keepalive, Liveness};
use serde_json::{Value, json};

use crate::duration::{self, show};
use crate::failure::Failure;
use crate::output;

/// What fails, who notices, and by when.
#[derive(Args, Debug)]
pub(crate) struct ExplainArgs {
    /// By when a peer that vanished must be known dead
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration::parse)]
    dead_within: Duration,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &ExplainArgs) -> Result<(), Failure> {
    let config = Config { dead_within: args.dead_within, ..Config::default() };
    let liveness = config.liveness().map_err(|error| Failure::from_library(&error))?;
    if args.json {
        output::line(format_args!("{:#}", to_json(&liveness)));
    } else {
        output::line(to_text(&liveness));
    }
    Ok(())
}

fn to_text(liveness: &Liveness) -> String {
    let mut failures = output::table(&["what fails", "who notices", "by when", "reported as"], &[2]);
    for row in liveness.explain() {
        failures.add_row([row.failure, &row.noticed_by, &within(&row), row.outcome]);
    }
    let mut settings = output::table(&["derived setting", "value"], &[]);
    for (name, value) in settings_of(liveness) {
        settings.add_row([name, &value]);
    }
    format!(
        "A peer that vanishes is known dead within {}.\n\n{failures}\n\n{settings}",
        show(liveness.dead_within)
    )
}

fn within(row: &ExplainRow) -> String {
    row.within.map_or_else(|| "at once".to_owned(), show)
}

fn settings_of(liveness: &Liveness) -> [(&'static str, String); 12] {
    let or_off = |value: Option<Duration>| value.map_or_else(|| "off".to_owned(), show);
    [
        ("dead_within", show(liveness.dead_within)),
        ("beat_every", show(liveness.beat_every)),
        ("overdue_after", show(liveness.overdue_after)),
        ("grace", show(liveness.grace)),
        ("hello_within", show(liveness.hello_within)),
        ("frame_within", show(liveness.frame_within)),
        ("send_stall_within", show(liveness.send_stall_within)),
        ("drain_within", show(liveness.drain_within)),
        ("stall_tolerance", show(liveness.stall_tolerance)),
        ("keepalive", liveness.keepalive.map_or_else(|| "off".to_owned(), |k| k.to_string())),
        ("TCP_USER_TIMEOUT", or_off(liveness.user_timeout)),
        ("TCP_RTO_MAX_MS", or_off(liveness.rto_max)),
    ]
}

/// Durations in milliseconds, as numbers; what is off is null.
fn to_json(liveness: &Liveness) -> Value {
    let rows: Vec<_> = liveness
        .explain()
        .iter()
        .map(|row| {
            json!({
                "failure": row.failure,
                "noticed_by": row.noticed_by,
                "within_ms": row.within.map(millis),
                "outcome": row.outcome,
            })
        })
        .collect();
    json!({
        "dead_within_ms": millis(liveness.dead_within),
        "beat_every_ms": millis(liveness.beat_every),
        "overdue_after_ms": millis(liveness.overdue_after),
        "grace_ms": millis(liveness.grace),
        "hello_within_ms": millis(liveness.hello_within),
        "frame_within_ms": millis(liveness.frame_within),
        "send_stall_within_ms": millis(liveness.send_stall_within),
        "drain_within_ms": millis(liveness.drain_within),
        "stall_tolerance_ms": millis(liveness.stall_tolerance),
        "keepalive": liveness.keepalive.map(keepalive_json),
        "user_timeout_ms": liveness.user_timeout.map(millis),
        "rto_max_ms": liveness.rto_max.map(millis),
        "explain": rows,
    })
}

fn keepalive_json(keepalive: Keepalive) -> Value {
    json!({ "idle_s": keepalive.idle_s, "interval_s": keepalive.interval_s, "probes": keepalive.probes })
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_json_tell_the_same() {
        let liveness = Liveness::from_dead_within(Duration::from_secs(30)).unwrap();
        let (text, json) = (to_text(&liveness), to_json(&liveness));
        assert!(text.contains("known dead within 30 s"));
        assert!(text.contains("heartbeat_missed"));
        assert_eq!(json["beat_every_ms"], 10_000.0);
        assert_eq!(json["explain"].as_array().unwrap().len(), liveness.explain().len());
    }
}
