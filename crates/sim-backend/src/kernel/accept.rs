//! Clients and accepts: who is given to whom.

use heartring_core::{AcceptNews, Completion, ConnId, Errno, ListenerId};

use super::Kernel;
use crate::agenda::Event;
use crate::fault::Fault;
use crate::peer::Harm;

/// What an accept fails with when the machine lacks something.
const SHORTAGES: [Errno; 4] = [Errno::EMFILE, Errno::ENFILE, Errno::ENOBUFS, Errno::ENOMEM];

/// What an accept fails with when it takes a client and cannot give it.
const LOSSES: [Errno; 3] = [Errno::ECONNABORTED, Errno::EPROTO, Errno::EPERM];

impl Kernel {
    pub(super) fn accept(&mut self, listener: ListenerId, conn: ConnId) {
        let at = usize::from(listener.0);
        assert!(self.inboxes[at].open, "{conn}: an Accept after Unlisten");
        self.inboxes[at].accepts.push_back(conn);
        // A machine without descriptors refuses before it looks for a client.
        let scarce =
            self.faults.accept_errnos.front().is_some_and(|e| e.accept_news() == AcceptNews::BackOff);
        if scarce {
            let errno = self.faults.accept_errnos.pop_front();
            self.fail_accept(at, errno.expect("it was looked at"));
        } else if self.faults.strikes(Fault::AcceptShortage) {
            let errno = *self.faults.dice().pick(&SHORTAGES);
            self.fail_accept(at, errno);
        }
        self.match_accepts(at);
    }

    /// Gives waiting clients to waiting accepts.
    pub(super) fn match_accepts(&mut self, at: usize) {
        let slow = self.inboxes[at].slow;
        if slow || !self.inboxes[at].has_match() {
            return;
        }
        if self.faults.strikes(Fault::AcceptLate) {
            self.inboxes[at].slow = true;
            let later = self.agenda.now() + self.faults.delay();
            return self.agenda.schedule(later, Event::Accept { inbox: at });
        }
        self.match_all(at);
    }

    /// A listener that was slow looks at its queue.
    pub(crate) fn accept_at_last(&mut self, at: usize) {
        self.inboxes[at].slow = false;
        self.match_all(at);
    }

    fn match_all(&mut self, at: usize) {
        while self.inboxes[at].has_match() {
            if let Some(errno) = self.faults.accept_errnos.pop_front() {
                self.fail_accept(at, errno);
            } else if self.faults.strikes(Fault::AcceptLosesClient) {
                let errno = *self.faults.dice().pick(&LOSSES);
                self.fail_accept(at, errno);
            } else {
                self.bind_client(at);
            }
        }
    }

    fn bind_client(&mut self, at: usize) {
        let inbox = &mut self.inboxes[at];
        let (Some(socket), Some(conn)) = (inbox.clients.pop_front(), inbox.accepts.pop_front()) else {
            return;
        };
        let peer = self.sockets[socket.0].peer_addr;
        self.sockets[socket.0].conn = Some(conn);
        self.slots[conn.slot() as usize] = Some(socket);
        self.news.push_back(Completion::Accepted { listener: ListenerId(at as u8), conn, peer });
    }

    fn fail_accept(&mut self, at: usize, errno: Errno) {
        let inbox = &mut self.inboxes[at];
        let Some(conn) = inbox.accepts.pop_front() else { return };
        let lost = if errno.accept_news() == AcceptNews::BackOff { None } else { inbox.clients.pop_front() };
        if let Some(client) = lost {
            self.sockets[client.0].harm = Some(Harm::LostInAccept);
            self.sockets[client.0].close(true);
        }
        self.news.push_back(Completion::AcceptFailed { listener: ListenerId(at as u8), conn, errno });
    }

    pub(super) fn unlisten(&mut self, listener: ListenerId) {
        let at = usize::from(listener.0);
        assert!(self.inboxes[at].open, "a second Unlisten of {listener:?}");
        self.inboxes[at].open = false;
        while self.inboxes[at].has_match() && self.faults.strikes(Fault::AcceptedAfterUnlisten) {
            self.bind_client(at);
        }
        let inbox = &mut self.inboxes[at];
        for conn in inbox.accepts.drain(..) {
            self.news.push_back(Completion::AcceptFailed { listener, conn, errno: Errno::ECANCELED });
        }
        for client in inbox.clients.drain(..) {
            self.sockets[client.0].close(true);
        }
        self.news.push_back(Completion::Unlistened { listener });
    }
}
