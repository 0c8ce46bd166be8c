//! Why a connection ended: exactly one [`Cause`], with the evidence for it.

use std::fmt;
use std::time::Duration;

use crate::errno::{Errno, PeerNews};
use crate::evidence::Evidence;
use crate::time::Instant;

/// Why a connection ended. The first cause wins; what comes after it is only noted in the evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The peer closed in order (FIN).
    PeerClosed,
    /// The peer's kernel sent RST: its program closed abortively or crashed, or it rebooted.
    PeerReset,
    /// No proof of life came within `dead_within`.
    HeartbeatMissed,
    /// Nothing valid came within `hello_within` of the connect.
    HelloMissed,
    /// A frame was begun and not completed within `frame_within`.
    FrameStalled,
    /// TCP itself gave up.
    PathDead(PathDeath),
    /// It was asked while overdue and its kernel acknowledged the question, yet its program did not answer within
    /// `dead_within`: the device is on, its software hangs.
    PeerStuck,
    /// It took no byte of what was queued for it within `send_stall_within`.
    SlowConsumer,
    /// Another connection claimed its identity.
    Superseded {
        /// The epoch of the claim that replaced it.
        by: u64,
    },
    /// It sent something that the protocol forbids.
    Protocol(&'static str),
    /// It announced or sent a frame larger than `frame_bytes_max`.
    TooLarge,
    /// It was not let in.
    Refused(Refusal),
    /// The gateway is stopping.
    Draining,
    /// The handler closed it.
    Local,
    /// The operating system failed an operation for a reason that says nothing about the peer.
    Os(Errno),
}

/// How TCP found out that there is no path to the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathDeath {
    /// The connection was idle and the peer answered no keepalive probe.
    Keepalive,
    /// Sent data stayed unacknowledged for longer than TCP was told to wait.
    UserTimeout,
    /// A router, or our own routing table, says that there is no way.
    Unreachable,
}

/// Which limit a refused peer met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The shard holds `conns_max` connections already.
    ConnsMax,
    /// The shard holds `conns_per_source_max` connections of its source already.
    SourceMax,
    /// The partial frames of the shard fill `partial_bytes_max` already.
    PartialBytesMax,
    /// It sent more than `held_bytes_max` while its claim was undecided.
    HeldBytesMax,
    /// Its claim was not decided within `hello_within`: the shard that decides it, or that of the former holder, does not
    /// turn.
    ClaimUndecided,
    /// The identity that it claimed is taken over too often; it stays with its present holder for a while.
    Flapping {
        /// For how long.
        retry_after: Duration,
    },
}

impl Refusal {
    /// How many reasons there are.
    pub const COUNT: usize = 6;

    /// The names of all reasons, in the order of their index in [`Stats`](crate::Stats).
    pub const NAMES: [&'static str; Self::COUNT] =
        ["conns_max", "source_max", "partial_bytes_max", "held_bytes_max", "claim_undecided", "flapping"];

    /// A stable name for logs, statistics and JSON.
    pub const fn name(&self) -> &'static str {
        Self::NAMES[self.index()]
    }

    pub(crate) const fn index(&self) -> usize {
        match self {
            Self::ConnsMax => 0,
            Self::SourceMax => 1,
            Self::PartialBytesMax => 2,
            Self::HeldBytesMax => 3,
            Self::ClaimUndecided => 4,
            Self::Flapping { .. } => 5,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConnsMax => f.write_str("the shard is full"),
            Self::SourceMax => f.write_str("its source has too many connections"),
            Self::PartialBytesMax => f.write_str("no room for another partial frame"),
            Self::HeldBytesMax => f.write_str("it sent too much while its claim was undecided"),
            Self::ClaimUndecided => f.write_str("its claim was not decided in time"),
            Self::Flapping { retry_after } => {
                write!(f, "its identity is taken over too often; retry after {retry_after:?}")
            }
        }
    }
}

impl Cause {
    /// How many names there are.
    pub const COUNT: usize = 17;

    /// The names of all causes, in the order of their index in [`Stats`](crate::Stats).
    pub const NAMES: [&'static str; Self::COUNT] = [
        "peer_closed",
        "peer_reset",
        "heartbeat_missed",
        "hello_missed",
        "frame_stalled",
        "path_dead_keepalive",
        "path_dead_user_timeout",
        "path_dead_unreachable",
        "peer_stuck",
        "slow_consumer",
        "superseded",
        "protocol",
        "too_large",
        "refused",
        "draining",
        "local",
        "os",
    ];

    /// The cause that an errno of `recv` or `send` stands for. A time-out is laid to keepalive or to the user timeout
    /// later, by the evidence.
    pub const fn from_errno(errno: Errno) -> Self {
        match errno.peer_news() {
            PeerNews::Reset => Self::PeerReset,
            PeerNews::TimedOut => Self::PathDead(PathDeath::Keepalive),
            PeerNews::Unreachable => Self::PathDead(PathDeath::Unreachable),
            PeerNews::None => Self::Os(errno),
        }
    }

    /// A stable name for logs, statistics and JSON, for example `heartbeat_missed`.
    pub const fn name(&self) -> &'static str {
        Self::NAMES[self.index()]
    }

    pub(crate) const fn index(&self) -> usize {
        match self {
            Self::PeerClosed => 0,
            Self::PeerReset => 1,
            Self::HeartbeatMissed => 2,
            Self::HelloMissed => 3,
            Self::FrameStalled => 4,
            Self::PathDead(PathDeath::Keepalive) => 5,
            Self::PathDead(PathDeath::UserTimeout) => 6,
            Self::PathDead(PathDeath::Unreachable) => 7,
            Self::PeerStuck => 8,
            Self::SlowConsumer => 9,
            Self::Superseded { .. } => 10,
            Self::Protocol(_) => 11,
            Self::TooLarge => 12,
            Self::Refused(_) => 13,
            Self::Draining => 14,
            Self::Local => 15,
            Self::Os(_) => 16,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PeerClosed => f.write_str("the peer closed"),
            Self::PeerReset => f.write_str("the peer sent RST"),
            Self::HeartbeatMissed => f.write_str("no heartbeat within the deadline"),
            Self::HelloMissed => f.write_str("no hello within the deadline"),
            Self::FrameStalled => f.write_str("a frame was begun and not completed"),
            Self::PathDead(PathDeath::Keepalive) => f.write_str("no keepalive probe was answered"),
            Self::PathDead(PathDeath::UserTimeout) => f.write_str("sent data was never acknowledged"),
            Self::PathDead(PathDeath::Unreachable) => f.write_str("no way to the peer"),
            Self::PeerStuck => f.write_str("its kernel answers, its program does not"),
            Self::SlowConsumer => f.write_str("it does not take what is sent to it"),
            Self::Superseded { by } => write!(f, "its identity was claimed anew (epoch {by})"),
            Self::Protocol(what) => write!(f, "protocol error: {what}"),
            Self::TooLarge => f.write_str("a frame above the limit"),
            Self::Refused(refusal) => write!(f, "refused: {refusal}"),
            Self::Draining => f.write_str("the gateway is stopping"),
            Self::Local => f.write_str("closed by the gateway"),
            Self::Os(errno) => write!(f, "{errno}"),
        }
    }
}

/// The end of one connection, as the handler is told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed {
    /// Why.
    pub cause: Cause,
    /// What supports the cause.
    pub evidence: Evidence,
    /// When the connection was accepted.
    pub opened_at: Instant,
    /// When the cause was decided. For a missed heartbeat it is the verdict, before the grace period.
    pub decided_at: Instant,
    /// For causes that are deadlines: by how much the verdict came after the deadline. Never negative.
    pub lateness: Option<Duration>,
    /// Bytes of frames that came during grace and were delivered to [`Handler::late`](crate::Handler::late).
    pub late_bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_errno_becomes_the_cause_that_the_table_says() {
        assert_eq!(Cause::from_errno(Errno::ECONNRESET), Cause::PeerReset);
        assert_eq!(Cause::from_errno(Errno::EPIPE), Cause::PeerReset);
        assert_eq!(Cause::from_errno(Errno::ETIMEDOUT), Cause::PathDead(PathDeath::Keepalive));
        assert_eq!(Cause::from_errno(Errno::EHOSTUNREACH), Cause::PathDead(PathDeath::Unreachable));
        assert_eq!(Cause::from_errno(Errno::ENOMEM), Cause::Os(Errno::ENOMEM));
    }

    #[test]
    fn names_are_distinct_and_match_their_index() {
        assert_eq!(Cause::Superseded { by: 7 }.name(), "superseded");
        assert_eq!(Cause::Os(Errno::ENOMEM).name(), "os");
        assert_eq!(Cause::PathDead(PathDeath::Unreachable).name(), "path_dead_unreachable");
        let mut names = Cause::NAMES.to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Cause::COUNT);
    }
}
