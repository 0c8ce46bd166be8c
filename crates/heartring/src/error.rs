//! Why a gateway did not start, or did not end well. Each text is one line and names the remedy.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use heartring_core::{ConfigError, Errno};
use thiserror::Error;

/// An error of [`Gateway::run`](crate::Gateway::run) or [`Gateway::start`](crate::Gateway::start). Nothing is left running
/// and no port is left open when one is returned.
#[derive(Error)]
pub enum Error {
    /// A setting that cannot work on any machine.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// No address to listen on was given.
    #[error("no address to listen on: call Gateway::listen, for example with \"0.0.0.0:7000\"")]
    NoListener,
    /// An address that is none.
    #[error(
        "{text:?} is not an address to listen on ({why}): give ADDRESS:PORT, for example 0.0.0.0:7000 or [::]:7000"
    )]
    Address {
        /// What was given.
        text: String,
        /// What the resolver said.
        why: String,
    },
    /// The kernel does not let us listen there.
    #[error("cannot listen on {addr}: {errno}: {remedy}")]
    Listen {
        /// Where.
        addr: SocketAddr,
        /// Why not.
        errno: Errno,
        /// What to do.
        remedy: &'static str,
    },
    /// io_uring was demanded and is not to be had.
    #[error("io_uring was demanded and cannot be used: {0}; or choose the backend auto or epoll")]
    UringRefused(String),
    /// The backend was left out of this build.
    #[error("this program was built without the backend {0}: enable the Cargo feature of that name")]
    NotBuilt(&'static str),
    /// The limits exceed what this process may open.
    #[error("{0}")]
    Descriptors(String),
    /// A shard's backend could not be made or failed.
    #[error("shard {shard}: {what}: {source}")]
    Shard {
        /// Which shard.
        shard: u16,
        /// What it was doing.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// A handler or the library panicked; the other shards were stopped in order.
    #[error("shard {0} panicked; the other shards were stopped in order")]
    Panicked(u16),
    /// The watchdog's thread could not be started.
    #[error("cannot start the watchdog: {0}")]
    Watchdog(io::Error),
    /// The signal handlers could not be installed.
    #[error("cannot handle SIGINT and SIGTERM: {0}")]
    Signals(io::Error),
}

/// The same as `Display`: a `main` that returns this error prints it for a person.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error {
    pub(crate) fn listen(addr: SocketAddr, error: &io::Error) -> Self {
        let errno = error.raw_os_error().map_or(Errno::EINVAL, Errno);
        let remedy = match errno {
            Errno::EADDRINUSE => {
                "stop the program that uses it (ss -ltnp shows which), or choose another port"
            }
            Errno::EADDRNOTAVAIL => {
                "choose an address that this machine has (ip address shows them), or 0.0.0.0 or [::]"
            }
            Errno::EACCES => "choose a port from 1024 on, or give the program CAP_NET_BIND_SERVICE",
            Errno::EAFNOSUPPORT => "choose an IPv4 address; this machine has IPv6 switched off",
            Errno(_) => "choose another address",
        };
        Self::Listen { addr, errno, remedy }
    }
}
