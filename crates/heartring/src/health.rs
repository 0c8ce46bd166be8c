//! How the shards of a running gateway do, seen without asking them.

use std::net::SocketAddr;
use std::time::Duration;

use crate::progress::{Listening, Progress, Watched};

/// The health of a gateway at one moment. No shard is asked, so it is known also while one is stuck.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Each shard, by its number.
    pub shards: Vec<ShardHealth>,
    /// `ListenOverflows` of /proc/net/netstat: clients who found an accept queue full since the network namespace of the
    /// caller began, whoever listened. Zero without /proc.
    pub listen_overflows: u64,
    /// `ListenDrops`: the same with those who were dropped for any other reason.
    pub listen_drops: u64,
}

/// How one shard does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShardHealth {
    /// How long its present turn lasts, if that is longer than
    /// [`Watchdog::stuck_after`](crate::Watchdog::stuck_after), or one second if there is no watchdog. A shard that waits for
    /// something to do is not stuck.
    pub stuck_for: Option<Duration>,
    /// How often the watchdog has found it stuck.
    pub times_stuck: u64,
    /// Its listeners, in the order of [`Running::addrs`](crate::Running::addrs); none once it stops.
    pub listeners: Vec<ListenerHealth>,
}

/// How many clients wait at one listener of one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerHealth {
    /// Where it listens.
    pub addr: SocketAddr,
    /// Clients whose handshake is finished and who have not been accepted.
    pub queue: u32,
    /// How many of them the kernel keeps; it admits one more, and ignores the handshakes of the others.
    pub queue_max: u32,
    /// Whether the watchdog has closed it; the other two are zero then.
    pub closed: bool,
}

impl Health {
    pub(crate) fn look(watched: &Watched) -> Self {
        // Of the thread, not of the process: they may be in different namespaces.
        let netstat = std::fs::read_to_string("/proc/thread-self/net/netstat").unwrap_or_default();
        let counter = |name| tcp_ext(&netstat, name).unwrap_or(0);
        Self {
            shards: watched
                .shards
                .iter()
                .map(|shard| ShardHealth::look(shard, watched.stuck_after))
                .collect(),
            listen_overflows: counter("ListenOverflows"),
            listen_drops: counter("ListenDrops"),
        }
    }
}

impl ShardHealth {
    fn look(shard: &Progress, stuck_after: Duration) -> Self {
        let turn = shard.turn_began().map(|began| heartring_socket::now().saturating_since(began));
        Self {
            stuck_for: turn.filter(|&turn| turn > stuck_after),
            times_stuck: shard.times_stuck(),
            listeners: shard.listening().iter().map(ListenerHealth::look).collect(),
        }
    }
}

impl ListenerHealth {
    fn look(listening: &Listening) -> Self {
        let (addr, queue) = (listening.addr, listening.queue());
        let (len, max) = queue.map_or((0, 0), |queue| (queue.len, queue.max));
        Self { addr, queue: len, queue_max: max, closed: queue.is_none() }
    }
}

/// A counter of the group `TcpExt`. Each group is a line of names and a line of values; kernels differ in the names.
fn tcp_ext(netstat: &str, name: &str) -> Option<u64> {
    let mut lines =
        netstat.lines().filter_map(|line| line.strip_prefix("TcpExt:")).map(str::split_whitespace);
    let (mut names, mut values) = (lines.next()?, lines.next()?);
    let nth = names.position(|other| other == name)?;
    values.nth(nth)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NETSTAT: &str = "\
IpExt: InNoRoutes ListenDrops
IpExt: 1 2
TcpExt: SyncookiesSent ListenOverflows ListenDrops
TcpExt: 5 18446744073709551615 7
";

    #[test]
    fn a_counter_is_found_by_its_name_within_its_group() {
        assert_eq!(tcp_ext(NETSTAT, "ListenDrops"), Some(7));
        assert_eq!(tcp_ext(NETSTAT, "ListenOverflows"), Some(u64::MAX));
        assert_eq!(tcp_ext(NETSTAT, "InNoRoutes"), None);
    }

    #[test]
    fn a_table_that_is_not_whole_has_no_counter() {
        for text in [
            "",
            "TcpExt:",
            "TcpExt: ListenDrops",
            "TcpExt: ListenDrops\nTcpExt:",
            "TcpExt: A ListenDrops\nTcpExt: 1 x",
        ] {
            assert_eq!(tcp_ext(text, "ListenDrops"), None, "{text:?}");
        }
    }

    #[test]
    fn this_kernel_counts_both() {
        let netstat = std::fs::read_to_string("/proc/thread-self/net/netstat").unwrap();
        assert!(["ListenOverflows", "ListenDrops"].iter().all(|name| tcp_ext(&netstat, name).is_some()));
    }
}
