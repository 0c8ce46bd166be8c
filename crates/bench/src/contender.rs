//! Who is measured: the contenders, their names, and whom each is compared with.

use std::env;
use std::net::SocketAddr;
use std::path::PathBuf;

use heartring::BackendChoice;
use serde::{Deserialize, Serialize};

use crate::contenders::accept_epoll::AcceptEpoll;
use crate::contenders::accept_uring::AcceptUring;
use crate::contenders::bare_epoll::BareEpoll;
use crate::contenders::bare_uring::BareUring;
use crate::contenders::claim_epoll::ClaimEpoll;
use crate::contenders::claim_uring::ClaimUring;
use crate::contenders::heartring as gateway;
use crate::plan::ServePlan;
use crate::service;
use crate::workload::Workload;

/// A server that can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Contender {
    /// io_uring that only accepts, and resets at once: the bare accept rate. Only for `storm`.
    AcceptUring,
    /// epoll that only accepts, and resets at once. Only for `storm`.
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

/// How to get those that are programs of their own.
pub(crate) const RUNTIMES_REMEDY: &str = "cargo build --release -p heartring-peers";

impl Contender {
    /// All of them, in the order of the report.
    pub(crate) const ALL: [Contender; 12] = [
        Contender::AcceptUring,
        Contender::AcceptEpoll,
        Contender::BareUring,
        Contender::BareEpoll,
        Contender::HeartringUring,
        Contender::HeartringEpoll,
        Contender::Mio,
        Contender::Tokio,
        Contender::TokioUring,
        Contender::Monoio,
        Contender::Compio,
        Contender::Glommio,
    ];

    /// Those that can do the work, in the order of the report.
    pub(crate) fn able(workload: Workload) -> Vec<Contender> {
        let storms = matches!(workload, Workload::Storm { .. });
        Contender::ALL.into_iter().filter(|contender| storms || !contender.hangs_up()).collect()
    }

    /// Whether it resets whatever it has accepted, which is its answer.
    pub(crate) fn hangs_up(self) -> bool {
        match self {
            Contender::AcceptUring | Contender::AcceptEpoll => true,
            Contender::BareUring
            | Contender::BareEpoll
            | Contender::HeartringUring
            | Contender::HeartringEpoll
            | Contender::Mio
            | Contender::Tokio
            | Contender::TokioUring
            | Contender::Monoio
            | Contender::Compio
            | Contender::Glommio => false,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Contender::AcceptUring => "accept_uring",
            Contender::AcceptEpoll => "accept_epoll",
            Contender::BareUring => "bare_uring",
            Contender::BareEpoll => "bare_epoll",
            Contender::HeartringUring => "heartring_uring",
            Contender::HeartringEpoll => "heartring_epoll",
            Contender::Mio => "mio",
            Contender::Tokio => "tokio",
            Contender::TokioUring => "tokio_uring",
            Contender::Monoio => "monoio",
            Contender::Compio => "compio",
            Contender::Glommio => "glommio",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Contender> {
        Contender::ALL.into_iter().find(|contender| contender.name() == name)
    }

    /// Whether it is what people would use instead: a runtime, whose server is a program of its own.
    pub(crate) fn is_runtime(self) -> bool {
        self.program().is_some()
    }

    /// The name of its program, where it has one of its own, so that nothing of it reaches a user of the library.
    fn program(self) -> Option<&'static str> {
        match self {
            Contender::AcceptUring
            | Contender::AcceptEpoll
            | Contender::BareUring
            | Contender::BareEpoll
            | Contender::HeartringUring
            | Contender::HeartringEpoll => None,
            Contender::Mio => Some("heartring-peer-mio"),
            Contender::Tokio => Some("heartring-peer-tokio"),
            Contender::TokioUring => Some("heartring-peer-tokio-uring"),
            Contender::Monoio => Some("heartring-peer-monoio"),
            Contender::Compio => Some("heartring-peer-compio"),
            Contender::Glommio => Some("heartring-peer-glommio"),
        }
    }

    /// Where the program of its own is to be: beside the running one, where one build puts both.
    pub(crate) fn executable(self) -> Option<PathBuf> {
        let running = env::current_exe().unwrap_or_default();
        Some(running.with_file_name(self.program()?))
    }

    /// Whether it can be started: others than runtimes always can.
    pub(crate) fn is_built(self) -> bool {
        self.executable().is_none_or(|executable| executable.is_file())
    }

    /// Whom this one is compared with. To its own bare limit: the price of the manager. To epoll: the gain of
    /// the ring. To what only accepts: the price of everything that follows. To the runtimes: what a user of theirs gains.
    pub(crate) fn opponents(self) -> &'static [Contender] {
        match self {
            Contender::AcceptEpoll => &[Contender::BareEpoll],
            Contender::AcceptUring => &[Contender::AcceptEpoll, Contender::BareEpoll],
            Contender::BareEpoll => &[Contender::AcceptEpoll],
            Contender::BareUring => &[Contender::AcceptUring, Contender::BareEpoll],
            Contender::HeartringEpoll => &[
                Contender::AcceptEpoll,
                Contender::BareEpoll,
                Contender::Mio,
                Contender::Tokio,
                Contender::TokioUring,
                Contender::Monoio,
                Contender::Compio,
                Contender::Glommio,
            ],
            Contender::HeartringUring => &[
                Contender::AcceptUring,
                Contender::BareUring,
                Contender::BareEpoll,
                Contender::HeartringEpoll,
                Contender::Mio,
                Contender::Tokio,
                Contender::TokioUring,
                Contender::Monoio,
                Contender::Compio,
                Contender::Glommio,
            ],
            Contender::Mio
            | Contender::Tokio
            | Contender::TokioUring
            | Contender::Monoio
            | Contender::Compio
            | Contender::Glommio => &[Contender::BareEpoll],
        }
    }

    /// Starts the server on threads of this process. It then serves until the process ends.
    ///
    /// # Errors
    ///
    /// Why this contender cannot run here, in one line.
    pub(crate) fn start(self, plan: &ServePlan) -> Result<SocketAddr, String> {
        let claims = matches!(plan.workload, Workload::Storm { .. });
        match self {
            Contender::AcceptUring => service::start::<AcceptUring>(plan),
            Contender::AcceptEpoll => service::start::<AcceptEpoll>(plan),
            Contender::BareUring if claims => service::start::<ClaimUring>(plan),
            Contender::BareUring => service::start::<BareUring>(plan),
            Contender::BareEpoll if claims => service::start::<ClaimEpoll>(plan),
            Contender::BareEpoll => service::start::<BareEpoll>(plan),
            Contender::HeartringUring => gateway::start(BackendChoice::Uring, plan),
            Contender::HeartringEpoll => gateway::start(BackendChoice::Epoll, plan),
            Contender::Mio
            | Contender::Tokio
            | Contender::TokioUring
            | Contender::Monoio
            | Contender::Compio
            | Contender::Glommio => Err(format!("{} is a program of its own", self.name())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Contender;

    #[test]
    fn name_is_the_name_in_the_json_and_leads_back() {
        for contender in Contender::ALL {
            assert_eq!(serde_json::to_string(&contender).unwrap(), format!("\"{}\"", contender.name()));
            assert_eq!(Contender::from_name(contender.name()), Some(contender));
        }
    }

    #[test]
    fn heartring_is_compared_with_every_runtime() {
        for runtime in Contender::ALL.into_iter().filter(|contender| contender.is_runtime()) {
            assert!(Contender::HeartringUring.opponents().contains(&runtime), "{runtime:?}");
            assert!(Contender::HeartringEpoll.opponents().contains(&runtime), "{runtime:?}");
        }
    }
}
