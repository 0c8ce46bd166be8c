//! The servers that are measured, one file each. None knows the suite; each gets a plan and serves.

mod accept_epoll;
mod accept_uring;
mod bare_epoll;
mod bare_sockets;
mod bare_uring;
mod claim_epoll;
mod claim_uring;
mod epoll_conns;
mod fanout_epoll;
mod fanout_uring;
mod heartring;
mod keepers;
mod wheel;

use crate::contender::{Mode, Server};
use crate::plan::ServePlan;
use crate::serve::Served;
use crate::service;
use crate::workload::Workload;

use ::heartring::BackendChoice;
use bare_uring::BareUring;
use keepers::{Nobody, Rearmed};
use wheel::Wheel;

/// Starts the server on threads of this process. It then serves until the process ends.
///
/// # Errors
///
/// Why this contender cannot run here, in one line.
pub(crate) fn start(plan: &ServePlan) -> Result<Served, String> {
    match plan.contender.server {
        Server::BareSockets => service::start::<bare_sockets::BareSockets>(plan),
        Server::AcceptUring => service::start::<accept_uring::AcceptUring>(plan),
        Server::AcceptEpoll => service::start::<accept_epoll::AcceptEpoll>(plan),
        Server::BareUring => start_bare_uring(plan),
        Server::BareEpoll => match plan.workload {
            Workload::Storm { .. } => service::start::<claim_epoll::ClaimEpoll>(plan),
            Workload::Fanout { .. } => service::start::<fanout_epoll::FanoutEpoll>(plan),
            Workload::Echo { .. }
            | Workload::Beats { .. }
            | Workload::Detect { .. }
            | Workload::Memory { .. }
            | Workload::Scale { .. } => service::start::<bare_epoll::BareEpoll>(plan),
        },
        Server::HeartringUring => heartring::start(BackendChoice::Uring, plan),
        Server::HeartringEpoll => heartring::start(BackendChoice::Epoll, plan),
        Server::Mio
        | Server::Tokio
        | Server::TokioUring
        | Server::Monoio
        | Server::Compio
        | Server::Glommio => Err(format!("{} is a program of its own", plan.contender.name())),
    }
}

fn start_bare_uring(plan: &ServePlan) -> Result<Served, String> {
    match (plan.contender.mode, plan.workload) {
        (Mode::Rearmed, _) => service::start::<BareUring<Rearmed>>(plan),
        (Mode::Wheel, _) => service::start::<BareUring<Wheel>>(plan),
        (_, Workload::Storm { .. }) => service::start::<claim_uring::ClaimUring>(plan),
        (_, Workload::Fanout { .. }) => service::start::<fanout_uring::FanoutUring>(plan),
        (
            Mode::Usual | Mode::Batched | Mode::NoDeadlines | Mode::Sweep | Mode::Lease,
            Workload::Echo { .. }
            | Workload::Beats { .. }
            | Workload::Detect { .. }
            | Workload::Memory { .. }
            | Workload::Scale { .. },
        ) => service::start::<BareUring<Nobody>>(plan),
    }
}
