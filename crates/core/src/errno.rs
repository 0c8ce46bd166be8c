//! The one table from errno to meaning.
//!
//! The numbers are Linux's for every architecture that Rust's `io_uring` users run on (the generic table of
//! `include/uapi/asm-generic/errno{,-base}.h`; MIPS, SPARC, Alpha and PA-RISC number some of them differently and are
//! not supported). Wherever an errno becomes a cause, a retry or an error message, it does so here.

use std::fmt;

/// An errno of Linux.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(pub i32);

/// An errno in two bytes, for what is kept of each connection. Linux has none above 4095 (`MAX_ERRNO` of its err.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SmallErrno(std::num::NonZeroU16);

impl SmallErrno {
    /// `EINVAL` for a number that is no errno of Linux.
    pub(crate) fn of(errno: Errno) -> Self {
        let number = u16::try_from(errno.0).ok().and_then(std::num::NonZeroU16::new);
        number.map_or_else(|| Self::of(Errno::EINVAL), Self)
    }

    pub(crate) fn errno(self) -> Errno {
        Errno(i32::from(self.0.get()))
    }
}

/// What an errno on a connected socket says about the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerNews {
    /// The peer's kernel sent RST, or has closed what we write to.
    Reset,
    /// Nobody answered for as long as TCP was told to ask.
    TimedOut,
    /// A router or our own routing table says that there is no way to the peer.
    Unreachable,
    /// Nothing about the peer: the operation failed for a reason of our own.
    None,
}

/// What a failed accept means for the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcceptNews {
    /// This one client is gone or unwanted; the listener is fine. Accept the next.
    NextClient,
    /// The machine lacks something (descriptors, memory) that only time brings back. Accepting again at once would
    /// spin: with EMFILE, 249 000 failing accepts were measured in half a second.
    BackOff,
    /// The listener is being closed; nothing more comes from it.
    ListenerClosed,
    /// The call itself is wrong, and stays wrong: a bug or a closed descriptor.
    Broken,
}

macro_rules! errno_table {
    ($($number:literal $name:ident $meaning:literal)*) => {
        #[allow(missing_docs)]
        impl Errno {
            $(pub const $name: Self = Self($number);)*
        }

        /// Every errno that a socket call of this project can return, with what it means to a gateway.
        pub const ERRNO_TABLE: &[(Errno, &str, &str)] =
            &[$((Errno($number), stringify!($name), $meaning)),*];
    };
}

errno_table! {
    1 EPERM "not permitted: a firewall rule, seccomp or a missing capability forbids it"
    2 ENOENT "there is nothing of that name"
    4 EINTR "a signal came first; the call is repeated"
    9 EBADF "the descriptor is not open"
    11 EAGAIN "nothing to do now; try when the socket is ready"
    12 ENOMEM "the kernel has no memory for it"
    13 EACCES "permission denied, for example a port below 1024"
    14 EFAULT "an address outside the program's memory"
    16 EBUSY "the resource is in use; reap completions and retry"
    17 EEXIST "it exists already"
    22 EINVAL "invalid argument, for example a malformed address or a missing port"
    23 ENFILE "the whole system has no file left"
    24 EMFILE "this process has no descriptor left (RLIMIT_NOFILE)"
    28 ENOSPC "no space left"
    32 EPIPE "writing to a connection whose sending side is shut"
    38 ENOSYS "this kernel does not have the system call"
    62 ETIME "a timeout of io_uring expired"
    71 EPROTO "protocol error: the client left before it was accepted"
    88 ENOTSOCK "the descriptor is not a socket"
    90 EMSGSIZE "the message is too long"
    92 ENOPROTOOPT "this kernel does not have the socket option"
    93 EPROTONOSUPPORT "the protocol is not supported"
    95 EOPNOTSUPP "the operation is not supported on this socket"
    97 EAFNOSUPPORT "the address family is not supported, for example IPv6 switched off"
    98 EADDRINUSE "the address is in use by another socket"
    99 EADDRNOTAVAIL "the address does not exist on this machine"
    100 ENETDOWN "the network is down"
    101 ENETUNREACH "the network cannot be reached: no route"
    103 ECONNABORTED "the connection was ended on this machine, by the client before accept or by an operator"
    104 ECONNRESET "the peer sent RST: it closed abortively, or it rebooted and does not know the connection"
    105 ENOBUFS "no buffer space left"
    106 EISCONN "the socket is connected already"
    107 ENOTCONN "the socket is not connected any more"
    108 ESHUTDOWN "the sending side was shut"
    110 ETIMEDOUT "the peer did not answer for as long as TCP was told to ask"
    111 ECONNREFUSED "nobody listens there: the peer answered with RST or port unreachable"
    112 EHOSTDOWN "the host is down"
    113 EHOSTUNREACH "no way to the host: a router said so, or nobody answered ARP"
    114 EALREADY "it is under way already"
    115 EINPROGRESS "under way: the connect of a non-blocking socket has not ended yet"
    125 ECANCELED "the operation was cancelled"
}

impl Errno {
    /// The symbol, for example `ECONNRESET`; `errno` for a number that the table lacks.
    pub fn name(self) -> &'static str {
        self.row().map_or("errno", |row| row.1)
    }

    /// What it means to a gateway, in words.
    pub fn meaning(self) -> &'static str {
        self.row().map_or("an error that no socket call of this project is known to return", |row| row.2)
    }

    /// What this errno, returned by `recv` or `send` on a connection, says about the peer.
    pub const fn peer_news(self) -> PeerNews {
        match self {
            Self::ECONNRESET | Self::EPIPE | Self::ECONNABORTED => PeerNews::Reset,
            Self::ETIMEDOUT => PeerNews::TimedOut,
            Self::EHOSTUNREACH
            | Self::ENETUNREACH
            | Self::ENETDOWN
            | Self::EHOSTDOWN
            | Self::ECONNREFUSED
            | Self::ENOPROTOOPT
            | Self::EPROTO => PeerNews::Unreachable,
            Self(_) => PeerNews::None,
        }
    }

    /// What this errno, returned by `accept`, means for the next accept.
    ///
    /// Linux hands errors of the client's connection to the accepting server (accept(2), "Error handling"), so most of
    /// them concern one client only.
    pub const fn accept_news(self) -> AcceptNews {
        match self {
            Self::EMFILE | Self::ENFILE | Self::ENOBUFS | Self::ENOMEM | Self::ENOSPC => AcceptNews::BackOff,
            Self::ECANCELED => AcceptNews::ListenerClosed,
            Self::EBADF | Self::EINVAL | Self::ENOTSOCK | Self::EFAULT => AcceptNews::Broken,
            Self(_) => AcceptNews::NextClient,
        }
    }

    fn row(self) -> Option<&'static (Self, &'static str, &'static str)> {
        ERRNO_TABLE.iter().find(|row| row.0 == self)
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.name(), self.0, self.meaning())
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.name(), self.0)
    }
}

impl From<std::io::Error> for Errno {
    /// An error without an errno (one that std made up) becomes EINVAL.
    fn from(error: std::io::Error) -> Self {
        Self(error.raw_os_error().unwrap_or(Self::EINVAL.0))
    }
}

impl From<Errno> for std::io::Error {
    fn from(errno: Errno) -> Self {
        Self::from_raw_os_error(errno.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_agrees_with_the_names_that_the_articles_list() {
        let articles = [
            (22, "EINVAL"),
            (101, "ENETUNREACH"),
            (111, "ECONNREFUSED"),
            (115, "EINPROGRESS"),
            (110, "ETIMEDOUT"),
            (104, "ECONNRESET"),
            (113, "EHOSTUNREACH"),
            (32, "EPIPE"),
            (103, "ECONNABORTED"),
        ];
        for (number, name) in articles {
            assert_eq!(Errno(number).name(), name);
        }
    }

    #[test]
    fn the_table_is_sorted_and_has_no_number_twice() {
        assert!(ERRNO_TABLE.is_sorted_by(|a, b| a.0.0 < b.0.0));
    }

    #[test]
    fn scarcity_backs_off_and_a_lost_client_does_not() {
        for errno in [Errno::EMFILE, Errno::ENFILE, Errno::ENOBUFS, Errno::ENOMEM] {
            assert_eq!(errno.accept_news(), AcceptNews::BackOff, "{errno}");
        }
        for errno in [Errno::ECONNABORTED, Errno::EPROTO, Errno::EPERM, Errno::ENETDOWN, Errno::EHOSTUNREACH]
        {
            assert_eq!(errno.accept_news(), AcceptNews::NextClient, "{errno}");
        }
    }

    #[test]
    fn an_unknown_errno_still_prints_its_number() {
        assert_eq!(
            Errno(4095).to_string(),
            "errno (4095): an error that no socket call of this project is known to return"
        );
    }
}
