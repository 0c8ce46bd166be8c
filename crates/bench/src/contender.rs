//! Who is measured: the contenders, their names, and whom each is compared with.

use std::net::SocketAddr;

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
}

impl Contender {
    /// All of them, in the order of the report.
    pub(crate) const ALL: [Contender; 6] = [
        Contender::AcceptUring,
        Contender::AcceptEpoll,
        Contender::BareUring,
        Contender::BareEpoll,
        Contender::HeartringUring,
        Contender::HeartringEpoll,
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
            | Contender::HeartringEpoll => false,
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
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Contender> {
        Contender::ALL.into_iter().find(|contender| contender.name() == name)
    }

    /// Whom this one is compared with. To its own bare limit: the price of the manager. To epoll: the gain of
    /// the ring. To what only accepts: the price of everything that follows.
    pub(crate) fn opponents(self) -> &'static [Contender] {
        match self {
            Contender::AcceptEpoll => &[Contender::BareEpoll],
            Contender::AcceptUring => &[Contender::AcceptEpoll, Contender::BareEpoll],
            Contender::BareEpoll => &[Contender::AcceptEpoll],
            Contender::BareUring => &[Contender::AcceptUring, Contender::BareEpoll],
            Contender::HeartringEpoll => &[Contender::AcceptEpoll, Contender::BareEpoll],
            Contender::HeartringUring => &[
                Contender::AcceptUring,
                Contender::BareUring,
                Contender::BareEpoll,
                Contender::HeartringEpoll,
            ],
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
}
