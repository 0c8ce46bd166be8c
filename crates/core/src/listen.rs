//! Options of a listening socket. Linux copies them into every accepted socket, so accepting sets nothing.

use std::time::Duration;

use crate::keepalive::Keepalive;

/// Options of a listening socket, inherited by the connections accepted from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenOptions {
    /// How many finished handshakes the kernel keeps for us (`listen(2)`; the kernel caps it at
    /// `net.core.somaxconn` and admits one more). Clients beyond it see their SYN ignored and try again, so it should
    /// hold as many as can arrive while a turn lasts.
    pub backlog: u32,
    /// `SO_KEEPALIVE` and its three options; `None` leaves keepalive off.
    pub keepalive: Option<Keepalive>,
    /// `TCP_USER_TIMEOUT`: how long sent data may go unacknowledged, with keepalive also how long probes may. Rounded up
    /// to milliseconds.
    pub user_timeout: Option<Duration>,
    /// `TCP_RTO_MAX_MS`, on kernels that have it (6.15): how far retransmission backs off. Other kernels back off to 120 s.
    pub rto_max: Option<Duration>,
    /// `TCP_NODELAY`: small messages leave at once.
    pub nodelay: bool,
    /// `SO_REUSEPORT`: several shards listen on one address and the kernel spreads the clients.
    pub reuse_port: bool,
    /// `SO_RCVBUF` in bytes; `None` lets the kernel tune it.
    pub receive_buffer_bytes: Option<u32>,
    /// `SO_SNDBUF` in bytes; `None` lets the kernel tune it.
    pub send_buffer_bytes: Option<u32>,
    /// `TCP_CONGESTION`, for example `cubic`; `None` takes the system's. Benchmarks set it: BBR paces with timers, which
    /// distorts loopback.
    pub congestion_control: Option<String>,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self {
            // Linux's own default for somaxconn since 5.4; a larger number would be cut to it anyway.
            backlog: 4096,
            keepalive: None,
            user_timeout: None,
            rto_max: None,
            nodelay: true,
            reuse_port: false,
            receive_buffer_bytes: None,
            send_buffer_bytes: None,
            congestion_control: None,
        }
    }
}
