//! The ledger: everything that is opened is counted, and the count returns to zero.

use std::fmt;

use crate::op::OpKind;

/// What a backend has open and in flight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Ops without their terminal completion, by [`OpKind`].
    ops: [u32; OpKind::COUNT],
    /// Connected sockets.
    pub sockets: u32,
    /// Listening sockets.
    pub listeners: u32,
}

impl Ledger {
    /// Counts an op that was submitted.
    pub const fn open(&mut self, kind: OpKind) {
        self.ops[kind as usize] += 1;
    }

    /// Counts its terminal completion.
    ///
    /// # Panics
    ///
    /// If no op of this kind is in flight: a second terminal completion is a bug of the backend.
    pub const fn close(&mut self, kind: OpKind) {
        let count = &mut self.ops[kind as usize];
        assert!(*count > 0, "a terminal completion without an op in flight");
        *count -= 1;
    }

    /// Ops of one kind in flight.
    pub const fn ops(&self, kind: OpKind) -> u32 {
        self.ops[kind as usize]
    }

    /// Everything that is open: ops, sockets and listeners. Zero after an orderly stop.
    pub fn open_total(&self) -> u64 {
        self.ops.iter().map(|&n| u64::from(n)).sum::<u64>()
            + u64::from(self.sockets)
            + u64::from(self.listeners)
    }
}

impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sockets {}, listeners {}", self.sockets, self.listeners)?;
        for kind in OpKind::ALL {
            if self.ops(kind) > 0 {
                write!(f, ", {kind:?} {}", self.ops(kind))?;
            }
        }
        Ok(())
    }
}
