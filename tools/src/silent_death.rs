//! How a device dies without a word to its server.

use std::io;
use std::net::TcpStream;
use std::os::fd::AsFd;

use heartring_socket::enter_repair;
use rustix::net::{AddressFamily, SocketType, socket};
use serde::{Deserialize, Serialize};

/// The ways to die, of which the process may not have the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SilentDeath {
    /// The socket is closed in repair mode: the kernel forgets it and sends neither FIN nor RST, as after a power cut.
    TcpRepair,
    /// The device loses sight of its socket, which stays open and unread. The gateway sees the same until it evicts it; a
    /// keepalive probe, however, would be answered.
    Forgotten,
}

impl SilentDeath {
    /// The better one of those that this process may use.
    pub(crate) fn available() -> Self {
        let may_repair = socket(AddressFamily::INET, SocketType::STREAM, None)
            .map_err(io::Error::from)
            .and_then(|probe| enter_repair(probe.as_fd()));
        if may_repair.is_ok() { Self::TcpRepair } else { Self::Forgotten }
    }

    /// The name in JSON.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::TcpRepair => "tcp_repair",
            Self::Forgotten => "forgotten",
        }
    }

    pub(crate) const fn describe(self) -> &'static str {
        match self {
            Self::TcpRepair => "its socket vanishes by TCP_REPAIR, without FIN or RST",
            Self::Forgotten => {
                "its socket is left open and unread (to let it vanish by TCP_REPAIR takes CAP_NET_ADMIN)"
            }
        }
    }

    /// Lets a connection die. What is returned must be kept for as long as the death shall stay silent.
    ///
    /// # Errors
    ///
    /// What the kernel says; the death is not silent then.
    pub(crate) fn befall(self, stream: TcpStream) -> io::Result<Option<TcpStream>> {
        match self {
            Self::TcpRepair => enter_repair(stream.as_fd()).map(|()| None),
            Self::Forgotten => Ok(Some(stream)),
        }
    }
}
