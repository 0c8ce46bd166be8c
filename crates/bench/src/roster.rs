//! Who takes part in which workload, and whom each contender is compared with.

use crate::contender::{Contender, Mode, Server};
use crate::workload::Workload;

const BARE: [Server; 2] = [Server::BareUring, Server::BareEpoll];
const HEARTRING: [Server; 2] = [Server::HeartringUring, Server::HeartringEpoll];

/// Those that are measured unless others are named, in the order of the report.
pub(crate) fn usual(workload: Workload) -> Vec<Contender> {
    let usual = |servers: &[Server]| servers.iter().map(|server| server.usual()).collect::<Vec<_>>();
    match workload {
        Workload::Echo { .. } => [usual(&BARE), usual(&HEARTRING), usual(&Server::RUNTIMES)].concat(),
        // Nobody's runtime is asked what it costs to hear nothing: with its timers it is the price of an idle timeout.
        Workload::Beats { .. } => {
            let batched = [BARE, HEARTRING].concat().into_iter().map(|server| server.in_mode(Mode::Batched));
            [usual(&BARE), usual(&HEARTRING), batched.collect(), usual(&Server::RUNTIMES)].concat()
        }
        Workload::Storm { .. } => {
            let accepting = usual(&[Server::AcceptUring, Server::AcceptEpoll]);
            [accepting, usual(&BARE), usual(&HEARTRING), usual(&Server::RUNTIMES)].concat()
        }
        Workload::Fanout { .. } => [usual(&BARE), usual(&HEARTRING)].concat(),
        Workload::Detect { .. } => by_strategy(),
        Workload::Memory { .. } => {
            let sockets = usual(&[Server::BareSockets]);
            [sockets, usual(&BARE), by_strategy(), usual(&Server::RUNTIMES)].concat()
        }
        Workload::Scale { .. } => usual(&[Server::HeartringUring]),
    }
}

/// All that can do the work: the usual ones first.
pub(crate) fn able(workload: Workload) -> Vec<Contender> {
    let mut able = usual(workload);
    let more = match workload {
        Workload::Echo { .. } | Workload::Beats { .. } => ablation().to_vec(),
        Workload::Scale { .. } => vec![Server::HeartringEpoll.usual()],
        Workload::Storm { .. }
        | Workload::Fanout { .. }
        | Workload::Detect { .. }
        | Workload::Memory { .. } => Vec::new(),
    };
    able.extend(more.into_iter().filter(|contender| !usual(workload).contains(contender)));
    able
}

/// The same server with and without deadlines, kept in every way.
pub(crate) fn ablation() -> [Contender; 7] {
    let (heartring, bare) = (Server::HeartringUring, Server::BareUring);
    [
        heartring.in_mode(Mode::NoDeadlines),
        heartring.usual(),
        heartring.in_mode(Mode::Lease),
        heartring.in_mode(Mode::Sweep),
        bare.usual(),
        bare.in_mode(Mode::Rearmed),
        bare.in_mode(Mode::Wheel),
    ]
}

fn by_strategy() -> Vec<Contender> {
    let uring = Server::HeartringUring;
    vec![
        uring.usual(),
        uring.in_mode(Mode::Lease),
        uring.in_mode(Mode::Sweep),
        Server::HeartringEpoll.usual(),
    ]
}

/// Whom `of` is compared with, if both were measured. To its own bare limit: the price of the manager. To epoll: the gain of
/// the ring. To what only accepts: the price of everything that follows. To the runtimes: what a user of theirs gains. To
/// itself without deadlines, or without batching: the price or gain of these.
pub(crate) fn opponents(of: Contender) -> Vec<Contender> {
    match of.mode {
        Mode::Usual => opponents_of_server(of.server),
        Mode::Batched => {
            let bare = match of.server {
                Server::HeartringUring => Some(Server::BareUring.in_mode(Mode::Batched)),
                Server::HeartringEpoll => Some(Server::BareEpoll.in_mode(Mode::Batched)),
                Server::BareSockets
                | Server::AcceptUring
                | Server::AcceptEpoll
                | Server::BareUring
                | Server::BareEpoll
                | Server::Mio
                | Server::Tokio
                | Server::TokioUring
                | Server::Monoio
                | Server::Compio
                | Server::Glommio => None,
            };
            [of.server.usual()].into_iter().chain(bare).collect()
        }
        Mode::Sweep | Mode::Lease => vec![of.server.in_mode(Mode::NoDeadlines), of.server.usual()],
        Mode::Rearmed | Mode::Wheel | Mode::NoDeadlines => vec![Server::BareUring.usual()],
    }
}

fn opponents_of_server(of: Server) -> Vec<Contender> {
    let first: &[Server] = match of {
        Server::BareSockets => &[],
        Server::AcceptEpoll => &[Server::BareEpoll],
        Server::AcceptUring => &[Server::AcceptEpoll, Server::BareEpoll],
        Server::BareEpoll => &[Server::AcceptEpoll],
        Server::BareUring => &[Server::AcceptUring, Server::BareEpoll],
        Server::HeartringEpoll => &[Server::AcceptEpoll, Server::BareEpoll],
        Server::HeartringUring => {
            &[Server::AcceptUring, Server::BareUring, Server::BareEpoll, Server::HeartringEpoll]
        }
        Server::Mio
        | Server::Tokio
        | Server::TokioUring
        | Server::Monoio
        | Server::Compio
        | Server::Glommio => &[Server::BareEpoll],
    };
    let mut opponents: Vec<Contender> = first.iter().map(|server| server.usual()).collect();
    if of.usual().is_heartring() {
        opponents.push(of.in_mode(Mode::NoDeadlines));
        opponents.extend([Mode::Rearmed, Mode::Wheel].map(|mode| Server::BareUring.in_mode(mode)));
        opponents.extend(Server::RUNTIMES.map(Server::usual));
    }
    opponents
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEATS: Workload = Workload::Beats { connections: 1, rate: 1, answered: false };

    #[test]
    fn heartring_is_compared_with_every_runtime() {
        for runtime in Server::RUNTIMES {
            for heartring in HEARTRING {
                assert!(opponents(heartring.usual()).contains(&runtime.usual()), "{runtime:?}");
            }
        }
    }

    #[test]
    fn the_batched_are_compared_with_themselves_unbatched() {
        for contender in usual(BEATS).into_iter().filter(|contender| contender.mode == Mode::Batched) {
            assert_eq!(opponents(contender)[0], contender.server.usual());
        }
    }

    #[test]
    fn nobody_takes_part_twice() {
        let able = able(BEATS);
        for (place, contender) in able.iter().enumerate() {
            assert!(!able[..place].contains(contender), "{}", contender.name());
        }
    }
}
