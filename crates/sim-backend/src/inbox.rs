//! A listening socket: the clients that finished their handshake, and the accepts that wait for one.

use std::collections::VecDeque;
use std::net::SocketAddr;

use heartring_core::{ConnId, ListenOptions};

use crate::socket::SocketId;

/// A listening socket. Its queue has no bound here: a client whose SYN would be ignored and sent again is simply in it.
pub(crate) struct Inbox {
    pub(crate) addr: SocketAddr,
    pub(crate) options: ListenOptions,
    pub(crate) open: bool,
    /// It does not notice for a while that it has both a client and an accept.
    pub(crate) slow: bool,
    pub(crate) clients: VecDeque<SocketId>,
    pub(crate) accepts: VecDeque<ConnId>,
}

impl Inbox {
    pub(crate) fn new(addr: SocketAddr, options: &ListenOptions) -> Self {
        let (clients, accepts) = (VecDeque::new(), VecDeque::new());
        Self { addr, options: options.clone(), open: true, slow: false, clients, accepts }
    }

    /// Whether there is a client and an accept for it.
    pub(crate) fn has_match(&self) -> bool {
        !self.clients.is_empty() && !self.accepts.is_empty()
    }

    /// Whether a client that connects to `addr` comes here.
    pub(crate) fn serves(&self, addr: SocketAddr) -> bool {
        let any = self.addr.ip().is_unspecified();
        self.open && self.addr.port() == addr.port() && (any || self.addr.ip() == addr.ip())
    }
}
