//! Examinations: what the kernel knows of a connection, asked before the verdict.
//!
//! Owns the limit on how many run at once. TCP_INFO can be asked of plain descriptors only, so a direct one gets a plain
//! one beside it for that moment; when very many connections die together, that must not exhaust the process's table.
//! Invariant: at most [`Examinations::MAX`] such descriptors exist, and none outlives the completion that it is for.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};

use heartring_core::{Completion, ConnId, Errno, Instant, OpKind, SocketEvidence};

use crate::backend::{Settled, UringBackend};
use crate::completion::Cqe;
use crate::request_unsafe::{Request, Target};
use crate::ring_unsafe::Ring;

/// Examinations of direct descriptors.
#[derive(Debug, Default)]
pub(crate) struct Examinations {
    in_flight: usize,
    /// Those that wait for others to end.
    queue: VecDeque<ConnId>,
}

impl Examinations {
    /// A fraction of the descriptors that even a small RLIMIT_NOFILE (1024) leaves, and enough for a turn.
    const MAX: usize = 64;
}

impl UringBackend {
    pub(crate) fn examine(&mut self, conn: ConnId) {
        self.begin(conn, OpKind::Examine);
        match self.slots.target(conn) {
            Target::Plain(_) => self.settled.push_back(Settled::Examine(conn)),
            Target::Direct(_) if self.examinations.in_flight < Examinations::MAX => {
                self.examinations.in_flight += 1;
                self.ring.push(Request::install(conn));
            }
            Target::Direct(_) => self.examinations.queue.push_back(conn),
        }
    }

    pub(crate) fn examine_plain(&mut self, conn: ConnId, sink: &mut impl FnMut(Instant, Completion<'_>)) {
        let evidence = self.slots.fd(conn).map(|fd| heartring_socket::examine(fd.as_fd()));
        self.examined(conn, evidence.unwrap_or_default(), sink);
    }

    pub(crate) fn install_ended(&mut self, conn: ConnId, cqe: Cqe) {
        match Ring::adopt(cqe) {
            Some(fd) => self.settled.push_back(Settled::ExamineInstalled(conn, fd)),
            // No descriptor was left. Whether bytes lie unread, which would acquit the peer, can be asked without one.
            None => self.ring.push(Request::unread(conn)),
        }
    }

    pub(crate) fn examine_installed(
        &mut self,
        conn: ConnId,
        fd: &OwnedFd,
        sink: &mut impl FnMut(Instant, Completion<'_>),
    ) {
        let evidence = heartring_socket::examine(fd.as_fd());
        self.direct_examined(conn, evidence, sink);
    }

    pub(crate) fn unread_ended(
        &mut self,
        conn: ConnId,
        result: Result<u32, Errno>,
        sink: &mut impl FnMut(Instant, Completion<'_>),
    ) {
        let evidence = SocketEvidence { unread: result.ok(), ..SocketEvidence::default() };
        self.direct_examined(conn, evidence, sink);
    }

    fn direct_examined(
        &mut self,
        conn: ConnId,
        evidence: SocketEvidence,
        sink: &mut impl FnMut(Instant, Completion<'_>),
    ) {
        match self.examinations.queue.pop_front() {
            Some(next) => self.ring.push(Request::install(next)),
            None => self.examinations.in_flight -= 1,
        }
        self.examined(conn, evidence, sink);
    }

    fn examined(
        &mut self,
        conn: ConnId,
        evidence: SocketEvidence,
        sink: &mut impl FnMut(Instant, Completion<'_>),
    ) {
        self.end(conn, OpKind::Examine);
        sink(self.now, Completion::Examined { conn, evidence });
        self.join(conn);
    }
}
