//! Who is measured: the contenders and their names.
//!
//! A contender is a server and the mode that it runs in. Which of them do a workload, and whom each is compared with, is in
//! `roster`.

use std::env;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A server, in one of its modes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(crate) struct Contender {
    pub(crate) server: Server,
    pub(crate) mode: Mode,
}

/// What serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Server {
    /// Accepts and holds, and waits for nothing: what a plain socket costs.
    BareSockets,
    /// io_uring that only accepts, and resets at once: the bare accept rate.
    AcceptUring,
    /// epoll that only accepts, and resets at once.
    AcceptEpoll,
    /// io_uring without deadlines, frames or states: the limit.
    BareUring,
    /// epoll without deadlines, frames or states: the other limit.
    BareEpoll,
    /// heartring on io_uring.
    HeartringUring,
    /// heartring on epoll.
    HeartringEpoll,
    /// mio, with a sweep for those that are silent. A program of its own, like all that follow.
    Mio,
    /// tokio on one thread.
    Tokio,
    /// tokio-uring.
    TokioUring,
    /// monoio on io_uring.
    Monoio,
    /// compio on io_uring.
    Compio,
    /// glommio.
    Glommio,
}

/// In which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mode {
    /// As it is by default: heartring with its own choice of who keeps deadlines, a bare server without deadlines.
    Usual,
    /// It lets wake-ups wait for company.
    Batched,
    /// heartring with a deadline that no run reaches: what remains is the price of everything else.
    NoDeadlines,
    /// heartring with the deadlines in a dense array, and nothing in the kernel.
    Sweep,
    /// heartring with a linked timeout on every recv, renewed when it fires early.
    Lease,
    /// Bare io_uring whose every receive carries a linked timeout, armed anew per message: the obvious way.
    Rearmed,
    /// Bare io_uring with a timing wheel in user space: the classical way.
    Wheel,
}

/// How to get those that are programs of their own.
pub(crate) const RUNTIMES_REMEDY: &str = "cargo build --release -p heartring-peers";

impl Server {
    pub(crate) const ALL: [Server; 13] = [
        Server::BareSockets,
        Server::AcceptUring,
        Server::AcceptEpoll,
        Server::BareUring,
        Server::BareEpoll,
        Server::HeartringUring,
        Server::HeartringEpoll,
        Server::Mio,
        Server::Tokio,
        Server::TokioUring,
        Server::Monoio,
        Server::Compio,
        Server::Glommio,
    ];

    /// What people would use instead, each a program of its own.
    pub(crate) const RUNTIMES: [Server; 6] =
        [Server::Mio, Server::Tokio, Server::TokioUring, Server::Monoio, Server::Compio, Server::Glommio];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Server::BareSockets => "bare_sockets",
            Server::AcceptUring => "accept_uring",
            Server::AcceptEpoll => "accept_epoll",
            Server::BareUring => "bare_uring",
            Server::BareEpoll => "bare_epoll",
            Server::HeartringUring => "heartring_uring",
            Server::HeartringEpoll => "heartring_epoll",
            Server::Mio => "mio",
            Server::Tokio => "tokio",
            Server::TokioUring => "tokio_uring",
            Server::Monoio => "monoio",
            Server::Compio => "compio",
            Server::Glommio => "glommio",
        }
    }

    /// In its usual mode.
    pub(crate) const fn usual(self) -> Contender {
        self.in_mode(Mode::Usual)
    }

    pub(crate) const fn in_mode(self, mode: Mode) -> Contender {
        Contender { server: self, mode }
    }

    /// The name of its program, where it has one of its own, so that nothing of it reaches a user of the library.
    const fn program(self) -> Option<&'static str> {
        match self {
            Server::BareSockets
            | Server::AcceptUring
            | Server::AcceptEpoll
            | Server::BareUring
            | Server::BareEpoll
            | Server::HeartringUring
            | Server::HeartringEpoll => None,
            Server::Mio => Some("heartring-peer-mio"),
            Server::Tokio => Some("heartring-peer-tokio"),
            Server::TokioUring => Some("heartring-peer-tokio-uring"),
            Server::Monoio => Some("heartring-peer-monoio"),
            Server::Compio => Some("heartring-peer-compio"),
            Server::Glommio => Some("heartring-peer-glommio"),
        }
    }

    /// Where the program of its own is to be: beside the running one, where one build puts both.
    pub(crate) fn executable(self) -> Option<PathBuf> {
        let running = env::current_exe().unwrap_or_default();
        Some(running.with_file_name(self.program()?))
    }
}

impl Mode {
    const ALL: [Mode; 7] =
        [Mode::Usual, Mode::Batched, Mode::NoDeadlines, Mode::Sweep, Mode::Lease, Mode::Rearmed, Mode::Wheel];

    const fn suffix(self) -> &'static str {
        match self {
            Mode::Usual => "",
            Mode::Batched => "_batched",
            Mode::NoDeadlines => "_no_deadlines",
            Mode::Sweep => "_sweep",
            Mode::Lease => "_lease",
            Mode::Rearmed => "_rearmed",
            Mode::Wheel => "_wheel",
        }
    }
}

impl Contender {
    /// As in flags, tables and JSON.
    pub(crate) fn name(self) -> String {
        format!("{}{}", self.server.name(), self.mode.suffix())
    }

    pub(crate) fn from_name(name: &str) -> Option<Contender> {
        let named = |server: &Server| {
            let suffix = name.strip_prefix(server.name())?;
            let mode = Mode::ALL.into_iter().find(|mode| mode.suffix() == suffix)?;
            Some(server.in_mode(mode))
        };
        Server::ALL.iter().find_map(named)
    }

    /// Whether it resets whatever it has accepted, which is its answer.
    pub(crate) fn hangs_up(self) -> bool {
        matches!(self.server, Server::AcceptUring | Server::AcceptEpoll)
    }

    pub(crate) fn is_heartring(self) -> bool {
        matches!(self.server, Server::HeartringUring | Server::HeartringEpoll)
    }

    /// Whether it is what people would use instead.
    pub(crate) fn is_runtime(self) -> bool {
        Server::RUNTIMES.contains(&self.server)
    }

    /// Whether it can be started: others than runtimes always can.
    pub(crate) fn is_built(self) -> bool {
        self.server.executable().is_none_or(|executable| executable.is_file())
    }
}

impl From<Contender> for String {
    fn from(contender: Contender) -> String {
        contender.name()
    }
}

impl TryFrom<String> for Contender {
    type Error = String;

    fn try_from(name: String) -> Result<Contender, String> {
        Contender::from_name(&name).ok_or_else(|| format!("unknown contender '{name}'"))
    }
}

#[cfg(test)]
mod tests {
    use super::{Contender, Mode, Server};

    #[test]
    fn name_is_the_name_in_the_json_and_leads_back() {
        for server in Server::ALL {
            for mode in Mode::ALL {
                let contender = server.in_mode(mode);
                let json = serde_json::to_string(&contender).unwrap();
                assert_eq!(json, format!("\"{}\"", contender.name()));
                assert_eq!(serde_json::from_str::<Contender>(&json).unwrap(), contender);
            }
        }
        assert_eq!(Contender::from_name("nginx"), None);
        assert_eq!(Contender::from_name("tokio_u"), None);
    }
}
