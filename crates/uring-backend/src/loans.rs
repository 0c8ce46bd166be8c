//! Memory that is lent to the kernel: sent payloads, and the buffers into which accept writes addresses.
//!
//! Owns the values while a request may touch them, and proves their return: [`Loans::reclaim`] wants the final completion
//! of that very request. It contains no `unsafe`, but the safety of `ring_unsafe.rs` rests on it. Invariant: a value
//! leaves only by `reclaim`.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use crate::completion::Cqe;
use crate::user_data::UserData;

/// Values that the kernel may read or write, each under the name of the request that does.
///
/// What a value points at must not move when the value does: `Bytes` and `Box` are such.
pub(crate) struct Loans<T> {
    cells: Vec<Option<(UserData, T)>>,
    free: Vec<u32>,
}

impl<T> Loans<T> {
    pub(crate) const fn new() -> Self {
        Self { cells: Vec::new(), free: Vec::new() }
    }

    /// Keeps `value` until the request `name` has ended.
    pub(crate) fn lend(&mut self, name: UserData, value: T) -> u32 {
        let cell = Some((name, value));
        if let Some(index) = self.free.pop() {
            self.cells[index as usize] = cell;
            return index;
        }
        self.cells.push(cell);
        (self.cells.len() - 1) as u32
    }

    /// Gives back what was lent. `cqe` is used up: it proves one return.
    ///
    /// # Panics
    ///
    /// If `cqe` is not the final completion of the request that the value was lent to.
    pub(crate) fn reclaim(&mut self, index: u32, cqe: Cqe) -> T {
        let (name, value) = self.cells[index as usize].take().expect("nothing is lent under this number");
        assert!(cqe.proves_end_of(name), "the kernel may still use it: {name:?}");
        self.free.push(index);
        value
    }
}

/// Room for the address of a client, and its length: `struct sockaddr_in` or `sockaddr_in6`.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct AddressBuffer {
    pub(crate) bytes: [u8; Self::BYTES],
    pub(crate) len: u32,
}

impl AddressBuffer {
    /// `sizeof(struct sockaddr_in6)`, the larger of the two.
    const BYTES: usize = 28;

    /// Makes it ready for the next accept, which reads in `len` how much room there is.
    pub(crate) fn reset(&mut self) {
        *self = Self { bytes: [0; Self::BYTES], len: Self::BYTES as u32 };
    }

    /// The address that the kernel wrote; `0.0.0.0:0` for a family that is not IP, which no TCP listener has.
    pub(crate) fn address(&self) -> SocketAddr {
        let at = |start: usize| -> [u8; 4] { std::array::from_fn(|i| self.bytes[start + i]) };
        let family = u16::from_ne_bytes([self.bytes[0], self.bytes[1]]);
        let port = u16::from_be_bytes([self.bytes[2], self.bytes[3]]);
        match i32::from(family) {
            libc::AF_INET => (Ipv4Addr::from(at(4)), port).into(),
            libc::AF_INET6 => {
                let ip: [u8; 16] = std::array::from_fn(|i| self.bytes[8 + i]);
                let (flow, scope) = (u32::from_be_bytes(at(4)), u32::from_ne_bytes(at(24)));
                SocketAddrV6::new(Ipv6Addr::from(ip), port, flow, scope).into()
            }
            _ => (Ipv4Addr::UNSPECIFIED, 0).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use heartring_core::ConnId;

    use super::*;
    use crate::user_data::Kind;

    const SEND: UserData = UserData::new(Kind::Send, ConnId::new(1, 1));

    #[test]
    fn a_cell_is_used_again_after_its_return() {
        let mut loans = Loans::new();
        let first = loans.lend(SEND, "first");
        let other = loans.lend(UserData::new(Kind::Send, ConnId::new(2, 1)), "other");
        assert_ne!(first, other);
        assert_eq!(loans.reclaim(first, Cqe::new(SEND, 5, 0)), "first");
        assert_eq!(loans.lend(SEND, "second"), first);
    }

    #[test]
    #[should_panic(expected = "may still use it")]
    fn a_completion_of_another_request_returns_nothing() {
        let mut loans = Loans::new();
        let index = loans.lend(SEND, ());
        loans.reclaim(index, Cqe::new(UserData::new(Kind::Recv, ConnId::new(1, 1)), 5, 0));
    }

    #[test]
    fn addresses_of_both_families_are_read() {
        let mut buffer = AddressBuffer::default();
        buffer.bytes[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
        buffer.bytes[2..8].copy_from_slice(&[0x1b, 0x58, 127, 1, 2, 3]);
        assert_eq!(buffer.address(), "127.1.2.3:7000".parse().unwrap());

        let mut buffer = AddressBuffer::default();
        buffer.bytes[..2].copy_from_slice(&(libc::AF_INET6 as u16).to_ne_bytes());
        buffer.bytes[2..4].copy_from_slice(&[0x1b, 0x58]);
        buffer.bytes[23] = 1;
        assert_eq!(buffer.address(), "[::1]:7000".parse().unwrap());
    }
}
