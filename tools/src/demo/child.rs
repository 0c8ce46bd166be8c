//! A process of the demo that plays devices.
//!
//! It takes its orders as one JSON line on stdin, and stdin stays open as its lifeline: when it ends, the process stops and
//! reports, in JSON lines on stdout.

use std::io::{self, BufRead};

use rustix::process::{Signal, set_parent_process_death_signal};
use serde::{Deserialize, Serialize};

use super::fleet::{self, FleetOrders};
use super::reboot_devices::{self, RebootOrders};
use crate::failure::Failure;

/// Which devices, and what they do.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Orders {
    Fleet(FleetOrders),
    RebootLoop(RebootOrders),
}

/// Runs as `heartring fleet`.
pub(crate) fn run() -> Result<(), Failure> {
    // The lifeline would end us too; this covers a parent that is killed while a sibling still holds the pipe.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    let mut line = String::new();
    let orders =
        io::stdin().lock().read_line(&mut line).and_then(|_| Ok(serde_json::from_str(&line)?)).map_err(
            |error| Failure::new(format!("no orders on stdin: {error}"), "`heartring demo` starts fleets"),
        )?;
    let played = match &orders {
        Orders::Fleet(orders) => fleet::play(orders),
        Orders::RebootLoop(orders) => reboot_devices::play(orders),
    };
    played.map_err(|error| {
        Failure::new(
            format!("the fleet failed: {error}"),
            "lower --devices or --identities, or see `ulimit -n`",
        )
    })
}
