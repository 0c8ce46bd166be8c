//! What a machine can be asked for: the one place that refuses a setup.

use std::time::Duration;

use crate::error::Error;
use crate::machine::Machine;
use crate::picture;
use crate::service::BACKLOG;
use crate::suite::Setup;
use crate::workload::{CONNS_PER_RING_MAX, MESSAGE_BYTES_MAX, Workload};

/// Descriptors that a process needs beside its connections: pipes, listener, epoll, rings, and what a gateway
/// keeps in reserve.
const DESCRIPTORS_RESERVED: u64 = 128;

/// Ninety-nine rounds are more patience than anyone has, and enough for any verdict.
const ROUNDS_MAX: u32 = 99;

/// What a connection takes, both ends of it and a beat under way, with room to spare: `scale` fills the machine's memory, not
/// its swap.
const BYTES_PER_SCALE_CONNECTION: u64 = 12 * 1024;
/// What the rest of the machine is left.
const MEMORY_RESERVED_MIB: u64 = 2048;
/// Enough for anybody, and half of what 127.0.0.0/8 has addresses and ports for in one test.
const SCALE_MAX: u32 = 1_000_000;

pub(crate) fn refuse<T>(why: String) -> Result<T, Error> {
    Err(Error::Usage(why))
}

/// A span of time given in seconds.
pub(crate) fn seconds(flag: &str, seconds: f64, least: f64, most: f64) -> Result<Duration, Error> {
    if (least..=most).contains(&seconds) {
        return Ok(Duration::from_secs_f64(seconds));
    }
    refuse(format!("{flag} is not between {least} and {most} s"))
}

pub(crate) fn dead_within(given: f64) -> Result<Duration, Error> {
    seconds("--dead-within", given, 0.1, 86_400.0)
}

/// Connections that one process can hold.
pub(crate) fn connections_max(machine: &Machine) -> u32 {
    let most = machine.descriptors_max.saturating_sub(DESCRIPTORS_RESERVED);
    u32::try_from(most).unwrap_or(u32::MAX)
}

/// Connections that the machine's memory holds, both ends of them.
pub(crate) fn scale_max(machine: &Machine) -> u32 {
    let bytes = machine.memory_mib.saturating_sub(MEMORY_RESERVED_MIB) * 1024 * 1024;
    u32::try_from(bytes / BYTES_PER_SCALE_CONNECTION).unwrap_or(u32::MAX).min(SCALE_MAX)
}

/// A fleet of that size: devices beat three times per deadline, one in a hundred dies, and rings are filled to nine tenths,
/// since the kernel does not spread clients evenly over listeners.
pub(crate) fn scale_of(connections: u32, dead_within: Duration) -> Workload {
    let per_ring = CONNS_PER_RING_MAX * 9 / 10;
    let shards = u16::try_from(connections.div_ceil(per_ring).max(1)).unwrap_or(u16::MAX);
    let rate = (f64::from(connections) * 3.0 / dead_within.as_secs_f64()).ceil() as u32;
    Workload::Scale { connections, shards, rate, deaths: (connections / 100).max(1) }
}

/// Refuses what cannot be measured here.
pub(crate) fn check(setup: &Setup) -> Result<(), Error> {
    if !(1..=ROUNDS_MAX).contains(&setup.rounds) {
        return refuse(format!("--rounds {} is not between 1 and {ROUNDS_MAX}", setup.rounds));
    }
    let machine = &setup.machine;
    match setup.workload {
        Workload::Echo { connections, bytes } => {
            check_connections("--connections", connections, machine)?;
            check_bytes(bytes, 1)
        }
        Workload::Beats { connections, rate, .. } => {
            check_connections("--connections", connections, machine)?;
            check_pace(setup, connections, rate)
        }
        Workload::Storm { identities, at_once, shards } => check_storm(identities, at_once, shards, machine),
        Workload::Fanout { connections, bytes, hz } => {
            check_connections("--connections", connections, machine)?;
            if !(1..=1000).contains(&hz) {
                return refuse(format!("--hz {hz} is not between 1 and 1000"));
            }
            check_bytes(bytes, picture::STAMPED as u32)
        }
        Workload::Detect { deaths: 0, .. } => {
            refuse("no deaths leave nothing to detect: use 1 or more".into())
        }
        Workload::Detect { .. } => check_connections("--deaths", setup.workload.connections(), machine),
        Workload::Memory { few, many } if many <= few => {
            refuse(format!("--many {many} is not more than --few {few}: a slope needs two counts"))
        }
        Workload::Memory { few, many } => {
            check_connections("--few", few, machine)?;
            check_connections("--many", many, machine)
        }
        Workload::Scale { connections, .. } => check_scale(connections, machine),
    }
}

fn check_connections(flag: &str, connections: u32, machine: &Machine) -> Result<(), Error> {
    if connections == 0 {
        return refuse(format!("{flag} 0 leaves nothing to measure: use 1 or more"));
    }
    let most = connections_max(machine);
    if connections > most {
        return refuse(format!(
            "{connections} connections ({flag}) are more than a process may open: use at most {most}, or raise the hard \
             limit of descriptors (ulimit -Hn, now {})",
            machine.descriptors_max
        ));
    }
    Ok(())
}

fn check_bytes(bytes: u32, least: u32) -> Result<(), Error> {
    if (least..=MESSAGE_BYTES_MAX).contains(&bytes) {
        return Ok(());
    }
    refuse(format!("--bytes {bytes} is not between {least} and {MESSAGE_BYTES_MAX}"))
}

fn check_storm(identities: u32, at_once: u32, shards: u16, machine: &Machine) -> Result<(), Error> {
    let most = connections_max(machine) / 2;
    if identities == 0 || identities > most {
        return refuse(format!(
            "--identities {identities} is not between 1 and {most}: each has two connections at times, and the hard \
             limit of descriptors (ulimit -Hn) is {}",
            machine.descriptors_max
        ));
    }
    if at_once == 0 || at_once > identities.min(BACKLOG) {
        return refuse(format!(
            "--at-once {at_once} is not between 1 and {}: a device comes once, and a listen queue holds {BACKLOG}",
            identities.min(BACKLOG)
        ));
    }
    if !(1..=64).contains(&shards) {
        return refuse(format!("--shards {shards} is not between 1 and 64"));
    }
    Ok(())
}

/// Every connection must beat at least twice per deadline, or healthy ones would be closed. A fleet that does not beat at all
/// must have been measured before that.
fn check_pace(setup: &Setup, connections: u32, rate: u32) -> Result<(), Error> {
    let dead_within = setup.dead_within.as_secs_f64();
    if rate == 0 {
        let most = dead_within / 4.0;
        if setup.window.as_secs_f64() > most {
            return refuse(format!(
                "--seconds is at most {most} with --rate 0: longer, and a beat is overdue"
            ));
        }
        return Ok(());
    }
    let least = (f64::from(connections) * 2.0 / dead_within).ceil();
    if f64::from(rate) < least {
        return refuse(format!(
            "--rate {rate} is too low for {connections} connections with a deadline of {dead_within} s: use {least} or \
             more"
        ));
    }
    if rate > 1_000_000 {
        return refuse(format!("--rate {rate} is more than one generator can send: use at most 1000000"));
    }
    Ok(())
}

fn check_scale(connections: u32, machine: &Machine) -> Result<(), Error> {
    let most = scale_max(machine);
    if connections == 0 || connections > most {
        return refuse(format!(
            "--connections {connections} does not fit: use at most {most}, for which this machine has the memory"
        ));
    }
    Ok(())
}
