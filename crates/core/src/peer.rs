//! A peer's address in 24 bytes instead of the 32 of `SocketAddr`: there is one per connection.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// A peer's address. The flow label is not kept: accept(2) does not report it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    ip: [u8; 16],
    scope_id: u32,
    port: u16,
    is_v4: bool,
}

impl Peer {
    /// The address of nobody.
    pub(crate) const NOBODY: Self = Self { ip: [0; 16], scope_id: 0, port: 0, is_v4: true };
}

impl From<SocketAddr> for Peer {
    fn from(addr: SocketAddr) -> Self {
        let port = addr.port();
        match addr {
            SocketAddr::V4(v4) => {
                let ip = v4.ip().to_ipv6_mapped().octets();
                Self { ip, scope_id: 0, port, is_v4: true }
            }
            SocketAddr::V6(v6) => Self { ip: v6.ip().octets(), scope_id: v6.scope_id(), port, is_v4: false },
        }
    }
}

impl From<Peer> for SocketAddr {
    fn from(peer: Peer) -> Self {
        if peer.is_v4 {
            let [.., a, b, c, d] = peer.ip;
            Self::new(IpAddr::V4(Ipv4Addr::new(a, b, c, d)), peer.port)
        } else {
            Self::V6(SocketAddrV6::new(Ipv6Addr::from(peer.ip), peer.port, 0, peer.scope_id))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive() {
        for text in ["192.0.2.7:65535", "[2001:db8::1]:80", "[::ffff:192.0.2.7]:1", "[fe80::1%3]:9"] {
            let addr: SocketAddr = text.parse().unwrap();
            assert_eq!(SocketAddr::from(Peer::from(addr)), addr);
        }
    }
}
