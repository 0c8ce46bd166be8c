//! Requests to the kernel, as entries of the submission queue.
//!
//! Owns the choice of opcode, flags and name for each thing the backend asks. It does not queue them (`ring_unsafe.rs`
//! does). Invariant: an entry that a *safe* function here returns points at no memory, or only at a static. The two that
//! lend memory are `unsafe fn`, and only [`Ring`](crate::ring_unsafe::Ring), which owns that memory, calls them.

use std::os::fd::RawFd;

use bytes::Bytes;
use heartring_core::{ConnId, Instant};
use io_uring::squeue::{Entry, Flags};
use io_uring::types::{CancelBuilder, DestinationSlot, Fd, Fixed};
use io_uring::{opcode, squeue};

use crate::buffers_unsafe::BufferRing;
use crate::loans::AddressBuffer;
use crate::user_data::{Kind, UserData};

/// Where a connection's socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// In the ring's table of direct descriptors, at the connection's slot.
    Direct(u32),
    /// A plain descriptor of the process.
    Plain(RawFd),
}

/// What follows the entry in the same chain. A chain is pushed as a whole: split over two submits, a linked timeout
/// fails with EINVAL and the op before it has no deadline.
pub(crate) enum Then {
    /// Nothing.
    End,
    /// The entry is cancelled at the instant; the timeout's own completion is skipped.
    Deadline(UserData, Instant),
    /// Another entry, whatever becomes of the first.
    Entry(Entry),
}

/// One entry or one chain.
pub(crate) struct Request {
    pub(crate) entry: Entry,
    pub(crate) then: Then,
    /// How many final completions the kernel owes for it, whatever happens ([`Kind::is_owed`]).
    pub(crate) owes: usize,
}

impl Request {
    fn one(entry: Entry, name: UserData) -> Self {
        Self { entry: entry.user_data(name.raw()), then: Then::End, owes: 1 }
    }

    fn by(mut self, timeout: UserData, deadline: Option<Instant>) -> Self {
        if let Some(deadline) = deadline {
            self.then = Then::Deadline(timeout, deadline);
        }
        self
    }

    /// Multishot receive into the ring's buffers, until `deadline` if there is one.
    pub(crate) fn recv(conn: ConnId, target: Target, deadline: Option<Instant>) -> Self {
        let entry = match target {
            Target::Direct(slot) => opcode::RecvMulti::new(Fixed(slot), BufferRing::GROUP).build(),
            Target::Plain(fd) => opcode::RecvMulti::new(Fd(fd), BufferRing::GROUP).build(),
        };
        Self::one(entry, UserData::new(Kind::Recv, conn))
            .by(UserData::new(Kind::RecvDeadline, conn), deadline)
    }

    /// One-shot poll for anything to read, until `deadline`.
    pub(crate) fn watch(conn: ConnId, target: Target, deadline: Instant) -> Self {
        let events = (libc::POLLIN | libc::POLLRDHUP) as u32;
        let entry = match target {
            Target::Direct(slot) => opcode::PollAdd::new(Fixed(slot), events).build(),
            Target::Plain(fd) => opcode::PollAdd::new(Fd(fd), events).build(),
        };
        Self::one(entry, UserData::new(Kind::Watch, conn))
            .by(UserData::new(Kind::WatchDeadline, conn), Some(deadline))
    }

    /// `SHUT_WR`. The kernel runs it on a worker thread.
    pub(crate) fn shutdown(conn: ConnId, target: Target) -> Self {
        let entry = match target {
            Target::Direct(slot) => opcode::Shutdown::new(Fixed(slot), libc::SHUT_WR).build(),
            Target::Plain(fd) => opcode::Shutdown::new(Fd(fd), libc::SHUT_WR).build(),
        };
        Self::one(entry, UserData::new(Kind::Shutdown, conn))
    }

    /// A plain descriptor beside the direct one.
    pub(crate) fn install(conn: ConnId) -> Self {
        let entry = opcode::FixedFdInstall::new(Fixed(conn.slot()), 0).build();
        Self::one(entry, UserData::new(Kind::Examine, conn))
    }

    /// SIOCINQ of a direct descriptor; `SOCKET_URING_OP_SIOCINQ` is command zero.
    pub(crate) fn unread(conn: ConnId) -> Self {
        let entry = opcode::UringCmd16::new(Fixed(conn.slot()), 0).build();
        Self::one(entry, UserData::new(Kind::ExamineUnread, conn))
    }

    /// Closes the direct descriptor.
    pub(crate) fn close(conn: ConnId) -> Self {
        let entry = opcode::Close::new(Fixed(conn.slot())).build();
        Self::one(entry, UserData::new(Kind::Close, conn))
    }

    /// Resets the connection in the direct descriptor at once: `connect` to no address. What is parked on the socket ends
    /// with an error, where a cancellation would walk a chain of the kernel's for each. The kernel runs it in place, and it
    /// completes only if it is refused.
    pub(crate) fn reset(conn: ConnId) -> Self {
        static NO_ADDRESS: libc::sockaddr =
            libc::sockaddr { sa_family: libc::AF_UNSPEC as libc::sa_family_t, sa_data: [0; 14] };
        let entry = opcode::Connect::new(
            Fixed(conn.slot()),
            &raw const NO_ADDRESS,
            size_of::<libc::sockaddr>() as libc::socklen_t,
        )
        .build()
        .flags(Flags::SKIP_SUCCESS);
        Self { owes: 0, ..Self::one(entry, UserData::new(Kind::Reset, conn)) }
    }

    /// Closes the direct descriptor with an RST, where [`Request::reset`] was refused. Hard-linked: were SO_LINGER ever refused, it would still be closed.
    pub(crate) fn close_abortively(conn: ConnId) -> Self {
        static ZERO_LINGER: libc::linger = libc::linger { l_onoff: 1, l_linger: 0 };
        let entry = opcode::SetSockOpt::new(
            Fixed(conn.slot()),
            libc::SOL_SOCKET as u32,
            libc::SO_LINGER as u32,
            (&raw const ZERO_LINGER).cast(),
            size_of::<libc::linger>() as u32,
        )
        .build()
        .flags(Flags::IO_HARDLINK);
        let linger = Self::one(entry, UserData::new(Kind::Linger, conn));
        Self { then: Then::Entry(Self::close(conn).entry), owes: 2, ..linger }
    }

    /// Ends the request of that kind, by its name: by descriptor the kernel would search all of them, for 14 ms at
    /// 100 000. It completes only if it finds nothing, which is as good.
    pub(crate) fn cancel(kind: Kind, conn: ConnId) -> Self {
        let victim = UserData::new(kind, conn);
        let entry = opcode::AsyncCancel2::new(CancelBuilder::user_data(victim.raw()))
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS);
        Self { owes: 0, ..Self::one(entry, UserData::new(Kind::Cancel, conn)) }
    }

    /// Watches the wakers' eventfd for good.
    pub(crate) fn wake(eventfd: RawFd) -> Self {
        let entry = opcode::PollAdd::new(Fd(eventfd), libc::POLLIN as u32).multi(true).build();
        Self::one(entry, UserData::wake())
    }

    /// The timer that ends sleeps: `entry` is one that [`Ring`](crate::ring_unsafe::Ring) has made, which owns the time.
    pub(crate) fn alarm(entry: Entry) -> Self {
        Self::one(entry, UserData::alarm())
    }

    /// Wakes another ring, of which `ring` is a descriptor. It completes there, and here only if it fails. The kernel is
    /// done with it when it has taken it from the queue: it does not wait for the target.
    pub(crate) fn message(number: u32, ring: RawFd) -> Self {
        let entry = opcode::MsgRingData::new(Fd(ring), 0, UserData::rung().raw(), None)
            .build()
            .flags(Flags::SKIP_SUCCESS);
        Self { owes: 0, ..Self::one(entry, UserData::new(Kind::Message, ConnId::new(number, 0))) }
    }

    /// Sends from the front of `payload`.
    ///
    /// # Safety
    ///
    /// The bytes stay where they are, unchanged, until the final completion.
    pub(crate) unsafe fn send(conn: ConnId, target: Target, payload: &Bytes, more: bool) -> Self {
        let flags = libc::MSG_NOSIGNAL | if more { libc::MSG_MORE } else { 0 };
        // A result is an i32, so no send takes more than that; the rest stays for the next one.
        let len = payload.len().min(i32::MAX as usize) as u32;
        let entry = match target {
            Target::Direct(slot) => {
                opcode::Send::new(Fixed(slot), payload.as_ptr(), len).flags(flags).build()
            }
            Target::Plain(fd) => opcode::Send::new(Fd(fd), payload.as_ptr(), len).flags(flags).build(),
        };
        Self::one(entry, UserData::new(Kind::Send, conn))
    }

    /// Accepts one client, into the direct descriptor of `conn` or as a plain one, and has its address written.
    ///
    /// # Safety
    ///
    /// `address` stays where it is, and nobody else touches it, until the final completion.
    pub(crate) unsafe fn accept(
        conn: ConnId,
        listener: RawFd,
        direct: bool,
        address: &mut AddressBuffer,
    ) -> Self {
        let (bytes, len) = (address.bytes.as_mut_ptr().cast(), &raw mut address.len);
        let accept = opcode::Accept::new(Fd(listener), bytes, len);
        let entry = if direct {
            let slot = DestinationSlot::try_from_slot_target(conn.slot()).expect("a slot is 24 bits");
            accept.file_index(Some(slot)).flags(libc::SOCK_NONBLOCK)
        } else {
            accept.flags(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC)
        };
        Self::one(entry.build(), UserData::new(Kind::Accept, conn))
    }
}
