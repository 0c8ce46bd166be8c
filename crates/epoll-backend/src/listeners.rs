//! Listening sockets and the accepts that core has granted them.
//!
//! A client is taken from the kernel's queue only against a grant. Whether clients may be waiting is remembered, because
//! an edge comes once: without that memory a listener whose edge came while it had no grant would never accept again.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use heartring_core::{AcceptNews, ConnId, Errno, ListenerId};
use rustix::net::{SocketFlags, acceptfrom_with};

struct Listening {
    fd: OwnedFd,
    queue: Queue,
    /// `Op::Accept`s in flight, oldest first.
    grants: VecDeque<ConnId>,
}

/// What is known about the kernel's queue of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Queue {
    /// The last accept found it empty: an edge will say when it no longer is.
    Empty,
    /// An edge came, and since then nobody has found it empty.
    Clients,
    /// The machine lacked descriptors, memory or epoll watches for a client. No edge will come, for the queue is not empty, and
    /// trying again is core's decision: it submits another `Op::Accept` when it has waited long enough.
    Paused,
}

/// What came of one grant.
pub(crate) enum Accepted {
    /// A client.
    Client(ConnId, OwnedFd, SocketAddr),
    /// No client, but an error that uses the grant up.
    Failed(ConnId, Errno),
}

/// All listeners that this backend has opened, by the number in their id. Ids are not reused.
#[derive(Default)]
pub(crate) struct Listeners(Vec<Option<Listening>>);

impl Listeners {
    /// The id that the next listener will get.
    pub(crate) fn next_id(&self) -> io::Result<ListenerId> {
        let number = u8::try_from(self.0.len());
        number
            .map(ListenerId)
            .map_err(|_| io::Error::other("a backend opens at most 256 listeners in its life"))
    }

    /// Enters the listener that `next_id` has named.
    pub(crate) fn push(&mut self, fd: OwnedFd) {
        self.0.push(Some(Listening { fd, queue: Queue::Empty, grants: VecDeque::new() }));
    }

    /// Core wants a client.
    pub(crate) fn grant(&mut self, id: ListenerId, conn: ConnId) {
        let listening = self.0[id.0 as usize].as_mut().expect("accepts are submitted before the unlisten");
        listening.grants.push_back(conn);
        if listening.queue == Queue::Paused {
            listening.queue = Queue::Clients;
        }
    }

    /// The machine lacks what a client needs: takes none before the next grant.
    pub(crate) fn pause(&mut self, id: ListenerId) {
        if let Some(listening) = &mut self.0[id.0 as usize] {
            listening.queue = Queue::Paused;
        }
    }

    /// An edge has come: clients are waiting.
    pub(crate) fn note_edge(&mut self, id: ListenerId) {
        if let Some(listening) = &mut self.0[id.0 as usize]
            && listening.queue == Queue::Empty
        {
            listening.queue = Queue::Clients;
        }
    }

    /// Whether some listener can use a grant now.
    pub(crate) fn any_eager(&self) -> bool {
        self.0.iter().flatten().any(Listening::is_eager)
    }

    /// Uses one grant of one listener, if clients may be waiting there. Empty-handed when no listener is left that can.
    pub(crate) fn accept(&mut self) -> Option<(ListenerId, Accepted)> {
        for (number, listening) in self.0.iter_mut().enumerate() {
            let Some(listening) = listening else { continue };
            if let Some(accepted) = listening.accept() {
                return Some((ListenerId(number as u8), accepted));
            }
        }
        None
    }

    /// The socket of a listener that is open.
    pub(crate) fn socket(&self, id: ListenerId) -> Option<BorrowedFd<'_>> {
        self.0.get(usize::from(id.0))?.as_ref().map(|listening| listening.fd.as_fd())
    }

    /// Takes a listener out: its socket and the grants that it has not used.
    pub(crate) fn remove(&mut self, id: ListenerId) -> (OwnedFd, VecDeque<ConnId>) {
        let listening = self.0[id.0 as usize].take().expect("a listener is closed once");
        (listening.fd, listening.grants)
    }
}

impl Listening {
    fn is_eager(&self) -> bool {
        self.queue == Queue::Clients && !self.grants.is_empty()
    }

    fn accept(&mut self) -> Option<Accepted> {
        if self.queue != Queue::Clients {
            return None;
        }
        let conn = *self.grants.front()?;
        let accepted = match accept_client(&self.fd) {
            Err(Errno::EAGAIN) => {
                self.queue = Queue::Empty;
                return None;
            }
            Err(errno) => {
                if errno.accept_news() == AcceptNews::BackOff {
                    self.queue = Queue::Paused;
                }
                Accepted::Failed(conn, errno)
            }
            Ok((fd, peer)) => Accepted::Client(conn, fd, peer),
        };
        self.grants.pop_front();
        Some(accepted)
    }
}

fn accept_client(listener: &OwnedFd) -> Result<(OwnedFd, SocketAddr), Errno> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let (fd, peer) = rustix::io::retry_on_intr(|| acceptfrom_with(listener, flags)).map_err(errno)?;
    let peer = peer.ok_or(Errno::ECONNABORTED)?; // the kernel always gives one for TCP
    Ok((fd, peer.try_into().map_err(errno)?))
}

fn errno(error: rustix::io::Errno) -> Errno {
    Errno(error.raw_os_error())
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::os::fd::AsFd;

    use heartring_core::ListenOptions;
    use heartring_socket::{listen, local_addr};

    use super::*;

    const ID: ListenerId = ListenerId(0);

    fn listeners_with_clients(clients: usize) -> (Listeners, Vec<TcpStream>) {
        let fd = listen("127.0.0.1:0".parse().unwrap(), &ListenOptions::default()).unwrap();
        let addr = local_addr(fd.as_fd()).unwrap();
        let clients = (0..clients).map(|_| TcpStream::connect(addr).unwrap()).collect();
        let mut listeners = Listeners::default();
        assert_eq!(listeners.next_id().unwrap(), ID);
        listeners.push(fd);
        (listeners, clients)
    }

    #[test]
    fn an_edge_without_a_grant_is_remembered() {
        let (mut listeners, _clients) = listeners_with_clients(1);
        listeners.note_edge(ID);
        assert!(!listeners.any_eager() && listeners.accept().is_none());
        listeners.grant(ID, ConnId::new(0, 1));
        assert!(listeners.any_eager());
        assert!(matches!(listeners.accept(), Some((ID, Accepted::Client(..)))));
    }

    #[test]
    fn an_empty_queue_keeps_the_grant_and_waits_for_an_edge() {
        let (mut listeners, _clients) = listeners_with_clients(1);
        listeners.note_edge(ID);
        listeners.grant(ID, ConnId::new(0, 1));
        listeners.grant(ID, ConnId::new(1, 1));
        assert!(listeners.accept().is_some());
        assert!(listeners.accept().is_none() && !listeners.any_eager());
        assert_eq!(listeners.remove(ID).1, [ConnId::new(1, 1)]);
    }

    #[test]
    fn a_paused_listener_waits_for_a_grant_and_not_for_an_edge() {
        let (mut listeners, _clients) = listeners_with_clients(1);
        listeners.grant(ID, ConnId::new(0, 1));
        listeners.pause(ID);
        listeners.note_edge(ID);
        assert!(listeners.accept().is_none() && !listeners.any_eager());
        listeners.grant(ID, ConnId::new(1, 1));
        assert!(matches!(listeners.accept(), Some((ID, Accepted::Client(conn, ..))) if conn.slot() == 0));
    }
}
