//! The demo's last word, for people and for programs.

use std::fmt::Write as _;
use std::time::Duration;

use comfy_table::Table;
use heartring::{Lateness, Stats};
use serde_json::{Value, json};

use super::expectation::expected_cause;
use super::gateway::GatewayFacts;
use super::verdict::Verdict;
use crate::duration::show;
use crate::output;

/// Everything that the summary shows.
pub(super) struct Summary {
    pub(super) verdict: Verdict,
    pub(super) gateway: GatewayFacts,
    pub(super) stats: Stats,
    pub(super) devices: u32,
    pub(super) seed: u64,
    pub(super) elapsed: Duration,
    pub(super) interrupted: bool,
}

impl Summary {
    pub(super) fn to_json(&self) -> Value {
        let verdict = &self.verdict;
        json!({
            "scenario": "fleet",
            "backend": self.gateway.backend,
            "backend_reason": self.gateway.backend_reason,
            "deadlines": self.gateway.deadlines,
            "shards": self.gateway.shards,
            "devices": self.devices,
            "accepted": self.stats.accepted,
            "closed": verdict.closed,
            "mismatches": verdict.mismatches,
            "false_closes": verdict.false_closes,
            "late_bytes_sent": verdict.late_bytes_sent,
            "late_bytes_delivered": verdict.late_bytes_delivered,
            "late_bytes_lost": verdict.late_bytes_lost,
            "lateness_us": lateness_json(&self.stats.lateness),
            "lateness_seen_us": lateness_json(&verdict.lateness),
            "early": verdict.early,
            "refused": verdict.refused,
            "stalls": self.stats.stalls,
            "ledger_open": verdict.ledger_open,
            "elapsed_s": (self.elapsed.as_secs_f64() * 1e3).round() / 1e3,
            "seed": self.seed,
            "interrupted": self.interrupted,
            "examples": verdict.examples,
        })
    }

    /// Everything but the conclusion.
    pub(super) fn to_text(&self) -> String {
        let mut text = format!("\n{}\n\n", self.table());
        for (name, value) in self.facts() {
            let _ = writeln!(text, "  {name:<10} {value}");
        }
        for example in &self.verdict.examples {
            let _ = writeln!(text, "  mismatch   {example}");
        }
        text
    }

    fn table(&self) -> Table {
        let header = ["what devices do", "devices", "expected cause", "reported", "mismatches"];
        let mut table = output::table(&header, &[1, 3, 4]);
        for row in &self.verdict.rows {
            table.add_row([
                row.fate.describe().to_owned(),
                row.devices.to_string(),
                expected_cause(row.fate).name().to_owned(),
                row.reported.to_string(),
                row.mismatches.to_string(),
            ]);
        }
        if self.verdict.refused > 0 {
            let refused = self.verdict.refused.to_string();
            table.add_row(["are too many", &refused, "refused", &refused, "0"]);
        }
        table
    }

    fn facts(&self) -> Vec<(&'static str, String)> {
        let Verdict { late_bytes_sent, late_bytes_delivered, late_bytes_lost, .. } = self.verdict;
        let Verdict { early, false_closes, ledger_open, .. } = self.verdict;
        let mut facts = vec![
            (
                "deadlines",
                format!(
                    "{} passed, {early} verdicts early; after the deadline:",
                    self.verdict.lateness.count()
                ),
            ),
            ("", format!("{} by the gateway's account", quantiles(&self.stats.lateness))),
            ("", format!("{} by the devices', from their last beat on", quantiles(&self.verdict.lateness))),
            (
                "late data",
                format!(
                    "{late_bytes_sent} bytes sent, {late_bytes_delivered} delivered, {late_bytes_lost} lost"
                ),
            ),
            (
                "mistakes",
                format!(
                    "{false_closes} healthy devices closed, {ledger_open} operations or sockets left open"
                ),
            ),
        ];
        if self.stats.stalls > 0 {
            let stalls = self.stats.stalls;
            facts.push((
                "stalls",
                format!("{stalls}: a shard was kept from running, and blamed nobody for it"),
            ));
        }
        facts
    }

    /// One line.
    pub(super) fn conclusion(&self) -> String {
        let took = format!("{:.1} s, seed {}", self.elapsed.as_secs_f64(), self.seed);
        let objections = self.verdict.objections();
        match (self.interrupted, objections.is_empty()) {
            (true, true) => format!("interrupted after {took}: no mismatch so far"),
            (true, false) => format!("interrupted after {took}: {}", objections.join(", ")),
            (false, true) => format!("PASS  every end was reported with its true cause ({took})"),
            (false, false) => format!("FAIL  {} ({took})", objections.join(", ")),
        }
    }
}

/// In one line, for people.
pub(super) fn quantiles(lateness: &Lateness) -> String {
    let [p50, p99] = [0.5, 0.99].map(|quantile| show(lateness.quantile(quantile)));
    format!("p50 {p50}, p99 {p99}, max {}", show(lateness.max()))
}

/// In microseconds, for programs.
pub(super) fn lateness_json(lateness: &Lateness) -> Value {
    let micros = |duration: Duration| duration.as_nanos() as f64 / 1e3;
    json!({
        "count": lateness.count(),
        "min": micros(lateness.min()),
        "p50": micros(lateness.quantile(0.5)),
        "p99": micros(lateness.quantile(0.99)),
        "p999": micros(lateness.quantile(0.999)),
        "max": micros(lateness.max()),
    })
}
