//! The last word about the reboot loop, for people and for programs.

use std::fmt::Write as _;
use std::time::Duration;

use comfy_table::Table;
use heartring::Stats;
use serde_json::{Map, Value, json};

use super::gateway::GatewayFacts;
use super::reboot_devices::RebootOrders;
use super::reboot_verdict::{Bound, Evidence, histogram};
use super::summary::{lateness_json, quantiles};
use crate::duration::show;
use crate::output;

/// Everything that the summary shows.
pub(super) struct RebootSummary {
    pub(super) evidence: Evidence,
    pub(super) orders: RebootOrders,
    pub(super) gateway: GatewayFacts,
    pub(super) stats: Stats,
    /// What the gateway's threads used of the processor.
    pub(super) cpu: Duration,
    pub(super) elapsed: Duration,
}

impl RebootSummary {
    pub(super) fn to_json(&self) -> Value {
        let Evidence { report, interrupted, .. } = &self.evidence;
        let closed = self.stats.closed_by_cause().filter(|(_, count)| *count > 0);
        let closed: Map<String, Value> =
            closed.map(|(cause, count)| (cause.to_owned(), count.into())).collect();
        json!({
            "scenario": "reboot-loop",
            "backend": self.gateway.backend,
            "backend_reason": self.gateway.backend_reason,
            "deadlines": self.gateway.deadlines,
            "shards": self.gateway.shards,
            "identities": self.orders.identities,
            "reboots": report.takeovers.len(),
            "reboots_per_second": self.orders.reboots_per_second,
            "silent_death": self.orders.death.name(),
            "accepted": self.stats.accepted,
            "closed": closed,
            "superseded": self.evidence.superseded,
            "cut_off": report.cut_off,
            "bound_max": self.evidence.bound_max,
            "conns_per_identity_max": self.evidence.conns_max,
            "sockets_max": self.evidence.sockets_max,
            "sockets_end": self.evidence.sockets_end,
            "close_wait_end": self.evidence.close_wait_end,
            "queued_max": self.evidence.queued_max,
            "queued_end": self.evidence.queued_end,
            "descriptors_start": self.evidence.descriptors_start,
            "descriptors_end": self.evidence.descriptors_end,
            "takeover_us": lateness_json(&histogram(&report.takeovers)),
            "visit_us": lateness_json(&histogram(&report.visits)),
            "visit_first_quarter_us": lateness_json(&histogram(self.evidence.first_visits())),
            "visit_last_quarter_us": lateness_json(&histogram(self.evidence.last_visits())),
            "gateway_cpu_s": round(self.cpu),
            "stalls": self.stats.stalls,
            "ledger_open": self.evidence.ledger_open,
            "elapsed_s": round(self.elapsed),
            "interrupted": interrupted,
            "objections": self.evidence.objections(),
        })
    }

    /// Everything but the conclusion.
    pub(super) fn to_text(&self) -> String {
        let mut text = format!("\n{}\n\n", self.table());
        let waits = |durations: &[Duration]| quantiles(&histogram(durations));
        let reboots = self.evidence.report.takeovers.len().max(1) as u32;
        for (name, value) in [
            ("takeovers", format!("{} from connect to claimed", waits(&self.evidence.report.takeovers))),
            ("healthy", format!("{} from connect to first reply", waits(&self.evidence.report.visits))),
            ("", format!("{} in the first quarter", waits(self.evidence.first_visits()))),
            ("", format!("{} in the last", waits(self.evidence.last_visits()))),
            (
                "gateway",
                format!(
                    "{} of CPU, {} per reboot, all beats and clients included",
                    show(self.cpu),
                    show(self.cpu / reboots)
                ),
            ),
        ] {
            let _ = writeln!(text, "  {name:<10} {value}");
        }
        for objection in self.evidence.objections() {
            let _ = writeln!(text, "  broken     {objection}");
        }
        text
    }

    fn table(&self) -> Table {
        let mut table = output::table(&["what must hold", "expected", "seen"], &[1, 2]);
        for row in self.evidence.rows() {
            let expected = match row.bound {
                Bound::Exactly(number) => number.to_string(),
                Bound::AtMost(number) => format!("≤ {number}"),
            };
            table.add_row([row.what.to_owned(), expected, row.seen.to_string()]);
        }
        table
    }

    /// One line.
    pub(super) fn conclusion(&self) -> String {
        let took = format!("{:.1} s", self.elapsed.as_secs_f64());
        let reboots = self.evidence.report.takeovers.len();
        match (self.evidence.interrupted, self.evidence.objections().len()) {
            (true, 0) => format!("interrupted after {took} and {reboots} reboots: nothing broken so far"),
            (true, broken) => format!("interrupted after {took} and {reboots} reboots: {broken} broken"),
            (false, 0) => format!("PASS  {reboots} silent reboots, and nobody was kept waiting ({took})"),
            (false, broken) => format!("FAIL  {broken} of what must hold did not ({took})"),
        }
    }
}

fn round(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e3).round() / 1e3
}
