//! How many connections the descriptors of this process allow.

use heartring_core::Config;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::Error;

/// Descriptors left for the program itself: files, logs, databases, and the shards' own (rings, wake-ups).
const RESERVE: u64 = 64;

/// Descriptors of a listener: its own, and the one by which it is watched.
const PER_LISTENER: u64 = 2;

/// Descriptors that a shard needs beside its listeners and connections: epoll and its alarm, or the ring, and the wake-up.
const PER_SHARD: u64 = 4;

/// Where connections live, which decides what bounds them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// In the table of the process, shared by all shards.
    Process,
    /// In each ring's own table.
    #[cfg_attr(not(feature = "uring"), allow(dead_code, reason = "only io_uring has such a table"))]
    Ring,
}

/// How many shards there are: as configured, or one per core, but none without a connection.
pub(crate) fn shards(config: &Config, cores: usize) -> Result<u16, Error> {
    let conns_max = config.limits.conns_max.unwrap_or(u32::MAX);
    match config.shards {
        Some(shards) if u32::from(shards) > conns_max => Err(Error::Descriptors(format!(
            "conns_max {conns_max} leaves some of {shards} shards without a connection: take at most {conns_max}"
        ))),
        Some(shards) => Ok(shards),
        None => Ok((cores.max(1) as u32).min(conns_max) as u16),
    }
}

/// A shard's share of `conns_max`; together they are that number. `None` where there is no such limit.
pub(crate) fn share(config: &Config, shards: u16, shard: u16) -> Option<u32> {
    let (conns_max, shards) = (config.limits.conns_max?, u32::from(shards));
    Some(conns_max / shards + u32::from(u32::from(shard) < conns_max % shards))
}

/// Connections per shard, the largest share.
pub(crate) fn conns_per_shard(
    config: &Config,
    shards: u16,
    listeners: u32,
    home: Home,
) -> Result<u32, Error> {
    conns_per_shard_within(raise_soft_limit(), config, shards, listeners, home)
}

/// Connections that each of `shards` shards with `listeners` listeners takes, if RLIMIT_NOFILE is `limit`.
///
/// # Errors
///
/// Why the configuration does not fit, and what to change.
pub fn conns_per_shard_within(
    limit: u64,
    config: &Config,
    shards: u16,
    listeners: u32,
    home: Home,
) -> Result<u32, Error> {
    let accepts = u64::from(config.limits.accepts_in_flight) * u64::from(listeners);
    let shards = u64::from(shards);
    let own = open_now() + RESERVE + shards * (PER_SHARD + PER_LISTENER * u64::from(listeners));
    if own >= limit {
        return Err(Error::Descriptors(format!(
            "{shards} shards need {own} descriptors before the first connection, and RLIMIT_NOFILE is {limit}: take fewer shards, or raise it (ulimit -n)"
        )));
    }
    let room = match home {
        Home::Ring => limit.saturating_sub(accepts),
        Home::Process => limit.saturating_sub(own + shards * accepts) / shards,
    };
    let per_shard_max = u64::from(config.limits.conns_per_shard_max);
    let Some(wanted) = config.limits.conns_max else {
        return match room.min(per_shard_max) {
            0 => Err(Error::Descriptors(format!(
                "RLIMIT_NOFILE is {limit}, which leaves no descriptor for a connection: raise it (ulimit -n)"
            ))),
            room => Ok(room as u32),
        };
    };
    let per_shard = u64::from(wanted).div_ceil(shards);
    if per_shard > room {
        return Err(Error::Descriptors(format!(
            "conns_max {wanted} on {shards} shards needs {per_shard} descriptors a shard, and RLIMIT_NOFILE {limit} leaves {room}: raise it (ulimit -n), or lower conns_max to {}",
            room * shards
        )));
    }
    if per_shard > per_shard_max {
        return Err(Error::Descriptors(format!(
            "conns_max {wanted} on {shards} shards is {per_shard} a shard, above conns_per_shard_max {per_shard_max}: take at least {} shards",
            u64::from(wanted).div_ceil(per_shard_max)
        )));
    }
    Ok(per_shard as u32)
}

/// Raises the soft limit to the hard one, as a server of many connections must; returns what it is then.
fn raise_soft_limit() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum && setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok() {
        return maximum.unwrap_or(u64::MAX);
    }
    current.unwrap_or(u64::MAX)
}

/// Descriptors that this process has open. If /proc is not there, the reserve has to do.
fn open_now() -> u64 {
    std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_conns_max(conns_max: u32) -> Config {
        let mut config = Config::default();
        config.limits.conns_max = Some(conns_max);
        config
    }

    #[test]
    fn more_than_the_process_may_open_is_refused_with_what_it_may() {
        let error =
            conns_per_shard(&with_conns_max(1_000_000_000), 1, 1, Home::Process).unwrap_err().to_string();
        assert!(error.contains("RLIMIT_NOFILE") && error.contains("lower conns_max to"), "{error}");
    }

    #[test]
    fn more_shards_than_descriptors_are_refused() {
        for home in [Home::Process, Home::Ring] {
            let error = conns_per_shard(&Config::default(), u16::MAX, 100, home).unwrap_err().to_string();
            assert!(error.contains("take fewer shards"), "{error}");
        }
    }

    #[test]
    fn a_limit_is_divided_over_the_shards() {
        assert_eq!(conns_per_shard(&with_conns_max(101), 2, 1, Home::Process).unwrap(), 51);
        assert_eq!(conns_per_shard(&with_conns_max(101), 2, 1, Home::Ring).unwrap(), 51);
    }

    #[test]
    fn the_shares_are_the_limit_and_nobody_gets_none() {
        let config = with_conns_max(11);
        assert_eq!([0, 1, 2].map(|shard| share(&config, 3, shard)), [Some(4), Some(4), Some(3)]);
        assert_eq!(shards(&config, 64).unwrap(), 11);
        let error = shards(&Config { shards: Some(12), ..config }, 64).unwrap_err().to_string();
        assert!(error.contains("take at most 11"), "{error}");
        assert_eq!(share(&Config::default(), 3, 0), None);
    }

    #[test]
    fn without_a_limit_the_shard_takes_what_fits() {
        let per_shard = conns_per_shard(&Config::default(), 1, 1, Home::Ring).unwrap();
        assert!((1..=25_000).contains(&per_shard));
    }
}
