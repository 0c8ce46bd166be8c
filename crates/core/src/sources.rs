//! How many connections each source has.
//!
//! A source is a prefix of an address: a host for IPv4, a site for IPv6, where one host has a whole /64 to choose from.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// A prefix, as bits at the front of an IPv6 address. IPv4 addresses are mapped into it, also those that come over IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Source(u128);

/// The connections of one shard by source. An ordered map, not a hashed one: sources are chosen by peers.
#[derive(Debug)]
pub(crate) struct Sources {
    counts: BTreeMap<Source, u32>,
    max: Option<u32>,
    prefix_v4: u8,
    prefix_v6: u8,
}

impl Sources {
    pub(crate) const fn new(max: Option<u32>, prefix_v4: u8, prefix_v6: u8) -> Self {
        Self { counts: BTreeMap::new(), max, prefix_v4, prefix_v6 }
    }

    /// Counts a connection; false, and it is not counted, if its source has as many as it may.
    pub(crate) fn enter(&mut self, peer: SocketAddr) -> bool {
        let Some(max) = self.max else { return true };
        let count = self.counts.entry(self.source(peer)).or_default();
        let fits = *count < max;
        *count += u32::from(fits);
        fits
    }

    /// Forgets a connection that was counted.
    pub(crate) fn leave(&mut self, peer: SocketAddr) {
        if self.max.is_none() {
            return;
        }
        let source = self.source(peer);
        let count = self.counts.get_mut(&source).expect("who leaves has entered");
        *count -= 1;
        if *count == 0 {
            self.counts.remove(&source);
        }
    }

    /// Sources at present.
    pub(crate) fn open(&self) -> usize {
        self.counts.len()
    }

    fn source(&self, peer: SocketAddr) -> Source {
        let (bits, prefix) = match peer.ip().to_canonical() {
            IpAddr::V4(v4) => (v4.to_ipv6_mapped().to_bits(), 96 + self.prefix_v4),
            IpAddr::V6(v6) => (v6.to_bits(), self.prefix_v6),
        };
        let hidden = 128 - u32::from(prefix);
        Source(bits.checked_shr(hidden).unwrap_or(0).checked_shl(hidden).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_source_is_a_host_of_ipv4_and_a_site_of_ipv6() {
        let mut sources = Sources::new(Some(1), 32, 64);
        for (one, same) in [
            ("192.0.2.7:1", "192.0.2.7:2"),
            ("192.0.2.8:1", "[::ffff:192.0.2.8]:1"),
            ("[2001:db8:0:1::1]:1", "[2001:db8:0:1:ffff::2]:1"),
            ("[2001:db8:0:2::1]:1", "[2001:db8:0:2::1]:1"),
        ] {
            assert!(sources.enter(addr(one)), "{one}");
            assert!(!sources.enter(addr(same)), "{same}");
        }
        sources.leave(addr("192.0.2.7:3"));
        assert!(sources.enter(addr("192.0.2.7:4")));
        assert_eq!(sources.open(), 4);
    }

    #[test]
    fn a_prefix_of_zero_is_everybody_of_its_family() {
        let mut sources = Sources::new(Some(1), 0, 0);
        assert!(sources.enter(addr("192.0.2.7:1")) && !sources.enter(addr("198.51.100.1:1")));
        assert!(sources.enter(addr("[2001:db8::1]:1")) && !sources.enter(addr("[fe80::1]:1")));
    }

    #[test]
    fn without_a_limit_nothing_is_kept() {
        let mut sources = Sources::new(None, 32, 64);
        assert!(sources.enter(addr("192.0.2.7:1")));
        assert_eq!(sources.open(), 0);
        sources.leave(addr("192.0.2.7:1"));
    }
}
