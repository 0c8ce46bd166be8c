//! A peer's address in 22 bytes instead of the 32 of `SocketAddr`: there is one per connection.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// A peer's address. The flow label is not kept: accept(2) does not report it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    ip: [u8; 16],
    /// In bytes, so that the whole is aligned to nothing.
    scope_id: [u8; 4],
    port: [u8; 2],
}

impl Peer {
    /// The address of nobody.
    pub(crate) const NOBODY: Self = Self { ip: [0; 16], scope_id: Self::V4, port: [0; 2] };

    /// In place of a scope: the address is one of IPv4. The index of an interface is a positive `int`.
    const V4: [u8; 4] = [0xFF; 4];
}

impl From<SocketAddr> for Peer {
    fn from(addr: SocketAddr) -> Self {
        let port = addr.port().to_ne_bytes();
        match addr {
            SocketAddr::V4(v4) => {
                let ip = v4.ip().to_ipv6_mapped().octets();
                Self { ip, scope_id: Self::V4, port }
            }
            SocketAddr::V6(v6) => Self { ip: v6.ip().octets(), scope_id: v6.scope_id().to_ne_bytes(), port },
        }
    }
}

impl From<Peer> for SocketAddr {
    fn from(peer: Peer) -> Self {
        let port = u16::from_ne_bytes(peer.port);
        if peer.scope_id == Peer::V4 {
            let [.., a, b, c, d] = peer.ip;
            Self::new(IpAddr::V4(Ipv4Addr::new(a, b, c, d)), port)
        } else {
            let scope_id = u32::from_ne_bytes(peer.scope_id);
            Self::V6(SocketAddrV6::new(Ipv6Addr::from(peer.ip), port, 0, scope_id))
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
