//! Evidence: what is known about a connection at its end, beside the cause.
//!
//! An errno is not a cause: the same dead peer gives four of them. Evidence is collected once per connection, when its
//! end is abnormal, and before the verdict: a deadline that has passed while bytes lie unread convicts nobody.

use std::time::Duration;

use crate::errno::Errno;

/// What the kernel knew about the socket when it was examined. `None` where it could not be asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketEvidence {
    /// Bytes that have arrived and that nobody has read (SIOCINQ). Above zero, *we* are late, not the peer.
    pub unread: Option<u32>,
    /// Bytes that were sent and that the peer's kernel has not acknowledged (SIOCOUTQ).
    pub unsent: Option<u32>,
    /// The part of TCP_INFO that tells death from silence.
    pub tcp: Option<TcpEvidence>,
}

/// The part of `TCP_INFO` (tcp(7)) that tells death from silence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpEvidence {
    /// TCP's own state, as in the kernel's `tcp_states.h`: 1 is ESTABLISHED, 7 CLOSE, 8 CLOSE_WAIT.
    pub state: u8,
    /// Segments in flight that nobody has acknowledged.
    pub unacked: u32,
    /// How often the oldest of them was sent again without an answer.
    pub retransmits: u8,
    /// Keepalive or window probes that went unanswered.
    pub probes: u8,
    /// Since the last byte came from the peer.
    pub last_data_received: Duration,
    /// Since the peer's kernel last acknowledged anything, a keepalive probe included.
    pub last_ack_received: Duration,
    /// Since we last sent data.
    pub last_data_sent: Duration,
    /// Smoothed round-trip time.
    pub round_trip: Duration,
}

/// Everything that supports a cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Since the peer last proved that it lives (a complete valid frame; at first, its connect).
    pub silence: Duration,
    /// What the kernel knew. Empty for ends that explain themselves (FIN, RST, our own close).
    pub socket: SocketEvidence,
    /// The errno that the socket ended with, if it did.
    pub errno: Option<Errno>,
}
