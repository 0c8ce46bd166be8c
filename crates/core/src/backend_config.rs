//! What a backend must know before it starts.

use std::time::Duration;

/// Sizes of a backend, fixed for its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackendConfig {
    /// Slots: every [`ConnId`](crate::ConnId) that core will use lies below. On io_uring it is the size of the table of
    /// direct descriptors, which the kernel limits to RLIMIT_NOFILE per ring.
    pub slots: u32,
    /// How long completions may wait for company before the thread is woken. Zero wakes it for each.
    ///
    /// Sparse traffic costs one wake-up per message, and the wake-up is most of the cost; a gateway of idle devices
    /// halves its CPU with 5 ms. It never delays an op that was just submitted, and a busy shard does not wait. A
    /// wake-up from another thread can wait for company too.
    pub batch_within: Duration,
    /// Receive buffers of the ring: a power of two. 64 ran dry at 1000 active connections; 16 384 no longer fit in the
    /// cache and were measurably slower.
    pub receive_buffers: u16,
    /// Bytes per receive buffer. Larger messages arrive in pieces.
    pub receive_buffer_bytes: u32,
}

impl Default for BackendConfig {
    fn default() -> Self {
        Self { slots: 1024, batch_within: Duration::ZERO, receive_buffers: 1024, receive_buffer_bytes: 2048 }
    }
}
