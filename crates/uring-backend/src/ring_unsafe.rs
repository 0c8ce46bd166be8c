//! The ring: requests go in, completions come out, and all memory that the kernel may touch lives here.
//!
//! Owns the io_uring instance, the receive buffers, the lent payloads and address buffers, and the end of them all. It does
//! not know what a request is for. Invariant: memory that a request in the kernel may touch is freed only after that
//! request's final completion, or never.

use std::collections::VecDeque;
use std::io;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use bytes::Bytes;
use heartring_core::{BackendConfig, ConnId, Errno, Instant};
use heartring_socket::now;
use io_uring::squeue::{Entry, Flags};
use io_uring::types::{CancelBuilder, TimeoutFlags, Timespec};
use io_uring::{EnterFlags, IoUring, opcode};

use crate::buffers_unsafe::BufferRing;
use crate::completion::Cqe;
use crate::loans::{AddressBuffer, Loans};
use crate::refusal::{Refusal, Step};
use crate::request_unsafe::{Request, Target, Then};
use crate::ring_fd_unsafe::{RingFd, Sleep, timespec};
use crate::setup::{self, Descriptors, Features, Sizes};
use crate::user_data::{Kind, UserData};

/// How long [`Ring::drop`] waits for the kernel to let go of our memory before it leaks it.
const QUIESCE_WITHIN: Duration = Duration::from_secs(2);

/// How long one attempt of it waits.
const QUIESCE_STEP: Duration = Duration::from_millis(10);

/// A chain has at most two entries.
const CHAIN_MAX: usize = 2;

/// A timeout request of which at most one is under way.
struct Alarm {
    /// What the kernel reads when the request is handed over. Written only while there is none.
    time: Box<Timespec>,
    /// When it goes off; `None` if it has.
    at: Option<Instant>,
}

/// One io_uring instance. It belongs to the thread that made it (`SINGLE_ISSUER`), hence the raw pointer: `IoUring` is
/// `Send` and `Sync` although the kernel forbids it.
pub(crate) struct Ring {
    fd: RingFd,
    // Closed before the memory below it is freed.
    uring: IoUring,
    features: Features,
    buffers: BufferRing,
    payloads: Loans<Bytes>,
    addresses: Loans<Box<AddressBuffer>>,
    /// Address buffers between two accepts: as many as were ever lent at once.
    #[expect(clippy::vec_box, reason = "what is lent must not move")]
    addresses_spare: Vec<Box<AddressBuffer>>,
    /// Deadlines of linked timeouts, which the kernel copies when the chain is handed over. As many as the submission
    /// queue has entries, used in turn: when one comes round again, its chain has left the queue.
    timespecs: Box<[Timespec]>,
    timespec_next: usize,
    /// The timer that ends sleeps. A timeout given to each enter would be armed and taken back once per wake-up.
    alarm: Alarm,
    /// Requests for which the queue had no room and the kernel no time.
    backlog: VecDeque<Request>,
    /// Final completions that are owed for the requests pushed so far.
    owed: usize,
    /// Those of them whose requests the kernel cannot have seen yet.
    owed_unseen: usize,
    not_send: PhantomData<*const ()>,
}

impl Ring {
    pub(crate) fn open(
        config: &BackendConfig,
        sizes: Sizes,
        descriptors: Option<Descriptors>,
    ) -> Result<Self, Refusal> {
        let (uring, features) = setup::open(config, sizes, descriptors)?;
        let buffers = BufferRing::new(config.receive_buffers, config.receive_buffer_bytes);
        let step = Step { name: "IORING_REGISTER_PBUF_RING", demands: Some(("buffer rings", "5.19")) };
        setup::attempt(step, || buffers.register(&uring))?;
        let timespecs = vec![Timespec::new(); uring.params().sq_entries() as usize];
        Ok(Self {
            fd: RingFd::new(&uring),
            uring,
            features,
            buffers,
            payloads: Loans::new(),
            addresses: Loans::new(),
            addresses_spare: Vec::new(),
            timespecs: timespecs.into_boxed_slice(),
            timespec_next: 0,
            alarm: Alarm { time: Box::new(Timespec::new()), at: None },
            backlog: VecDeque::new(),
            owed: 0,
            owed_unseen: 0,
            not_send: PhantomData,
        })
    }

    pub(crate) const fn features(&self) -> &Features {
        &self.features
    }

    pub(crate) const fn receive_buffers(&self) -> u16 {
        self.buffers.len()
    }

    /// Queues a request that lends nothing.
    pub(crate) fn push(&mut self, request: Request) {
        if self.backlog.is_empty() {
            if self.try_push(&request) {
                return;
            }
            // The queue is full: hand it over without collecting anything. If the kernel refuses, the backlog waits.
            let submit = self.uring_submission_len();
            let _ = self.fd.enter(submit, EnterFlags::empty());
            self.owed_unseen = 0;
            if self.try_push(&request) {
                return;
            }
        }
        self.backlog.push_back(request);
    }

    /// Sends from the front of `payload`, and keeps it. The number is for [`Ring::take_payload`].
    pub(crate) fn send(&mut self, conn: ConnId, target: Target, payload: Bytes, more: bool) -> u32 {
        // SAFETY: `payload` goes into `payloads` unchanged, which gives it back for the final completion only; the bytes
        // of a `Bytes` do not move with it.
        let request = unsafe { Request::send(conn, target, &payload, more) };
        let loan = self.payloads.lend(UserData::new(Kind::Send, conn), payload);
        self.push(request);
        loan
    }

    /// The payload of a send that has ended with `cqe`.
    pub(crate) fn take_payload(&mut self, loan: u32, cqe: Cqe) -> Bytes {
        self.payloads.reclaim(loan, cqe)
    }

    /// Accepts one client. The number is for [`Ring::accepted`].
    pub(crate) fn accept(&mut self, conn: ConnId, listener: RawFd) -> u32 {
        let mut address = self.addresses_spare.pop().unwrap_or_default();
        address.reset();
        let direct = self.features.descriptors == Descriptors::Direct;
        // SAFETY: the box goes into `addresses`, which nobody reads, and which gives it back for the final completion only;
        // what a `Box` points at does not move with it.
        let request = unsafe { Request::accept(conn, listener, direct, &mut address) };
        let loan = self.addresses.lend(UserData::new(Kind::Accept, conn), address);
        self.push(request);
        loan
    }

    /// What an accept brought that has ended with `cqe`: the client's address, and its descriptor if it is a plain one.
    pub(crate) fn accepted(&mut self, loan: u32, cqe: Cqe) -> Result<(SocketAddr, Option<OwnedFd>), Errno> {
        let result = cqe.result();
        let buffer = self.addresses.reclaim(loan, cqe);
        let address = buffer.address();
        self.addresses_spare.push(buffer);
        let fd = result?;
        let plain = self.features.descriptors == Descriptors::Plain;
        // SAFETY: the kernel made the descriptor for this request, which nobody else owns; `cqe` is gone.
        Ok((address, plain.then(|| unsafe { OwnedFd::from_raw_fd(fd.cast_signed()) })))
    }

    /// Shows the bytes of a receive, if it brought any, and gives the buffer back.
    pub(crate) fn read(&mut self, cqe: &mut Cqe, reader: impl FnOnce(&[u8])) {
        let len = cqe.result().unwrap_or(0) as usize;
        let Some(buffer) = cqe.take_buffer() else { return };
        let reader = |bytes: &[u8]| {
            if !bytes.is_empty() {
                reader(bytes);
            }
        };
        // SAFETY: the kernel named the buffer in `cqe`, and `take_buffer` hands it over once.
        unsafe { self.buffers.read_and_give_back(buffer, len, reader) };
    }

    /// Takes the plain descriptor that a request (accept or install) made. `cqe` is used up: it proves one descriptor.
    pub(crate) fn adopt(cqe: Cqe) -> Option<OwnedFd> {
        let (kind, _) = cqe.name().parts();
        assert!(matches!(kind, Kind::Accept | Kind::Examine), "{kind:?} makes no descriptor");
        let fd = cqe.into_result().ok()?;
        // SAFETY: the kernel made the descriptor for this request, which nobody else owns; `cqe` is gone.
        Some(unsafe { OwnedFd::from_raw_fd(fd.cast_signed()) })
    }

    /// Sees to it that a completion comes at `until` or before; false if a timer is under way that goes off too late. Nearly always
    /// the sleep ends by something else, and the next one has a later end.
    pub(crate) fn has_alarm_by(&mut self, until: Instant) -> bool {
        if let Some(at) = self.alarm.at {
            return at <= until;
        }
        self.alarm.at = Some(until);
        *self.alarm.time = timespec(until);
        let entry = opcode::Timeout::new(&raw const *self.alarm.time).flags(TimeoutFlags::ABS).build();
        self.push(Request::alarm(entry));
        true
    }

    /// Hands everything over and waits as told.
    ///
    /// # Errors
    ///
    /// Only when the ring is broken.
    pub(crate) fn enter(&mut self, sleep: Sleep) -> io::Result<()> {
        let all = self.drain_backlog()?;
        let submit = self.uring_submission_len();
        let result = match sleep {
            Sleep::Until { until, gather } if all => self.fd.sleep(submit, until, gather, &self.features),
            Sleep::UntilAlarm if all => self.fd.sleep_until_completion(submit, &self.features),
            Sleep::Until { .. } | Sleep::UntilAlarm | Sleep::No => {
                self.fd.enter(submit, EnterFlags::GETEVENTS)
            }
        };
        // Which of them the kernel took we know only if all: assume the worst.
        self.owed_unseen = 0;
        tolerate(result)
    }

    /// The next completion that is there already.
    pub(crate) fn pop(&mut self) -> Option<Cqe> {
        let entry = self.uring.completion().next()?;
        let cqe = Cqe::new(UserData::from_raw(entry.user_data()), entry.result(), entry.flags());
        if cqe.name().parts().0.is_owed() && cqe.is_final() {
            self.owed = self.owed.checked_sub(1).expect("a second final completion of one request");
        }
        if cqe.name() == UserData::alarm() {
            self.alarm.at = None;
        }
        Some(cqe)
    }

    /// Whether completions wait to be popped, here or in the kernel's overflow.
    pub(crate) fn has_completions(&mut self) -> bool {
        !self.uring.completion().is_empty() || self.uring.submission().cq_overflow()
    }

    /// Whether the kernel has taken every request that was pushed.
    pub(crate) fn is_handed_over(&mut self) -> bool {
        self.backlog.is_empty() && self.uring.submission().is_empty()
    }

    /// The ring's own descriptor.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.uring.as_fd()
    }

    fn uring_submission_len(&mut self) -> u32 {
        self.uring.submission().len() as u32
    }

    /// Moves the backlog into the queue, handing over as it fills; whether nothing is left of it.
    fn drain_backlog(&mut self) -> io::Result<bool> {
        while let Some(request) = self.backlog.pop_front() {
            if self.try_push(&request) {
                continue;
            }
            self.backlog.push_front(request);
            let submit = self.uring_submission_len();
            tolerate(self.fd.enter(submit, EnterFlags::GETEVENTS))?;
            self.owed_unseen = 0;
            if self.uring_submission_len() == submit {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn try_push(&mut self, request: &Request) -> bool {
        let queue = self.uring.submission();
        if queue.capacity() - queue.len() < CHAIN_MAX {
            return false;
        }
        drop(queue);
        let chain;
        let entries = match &request.then {
            Then::End => std::slice::from_ref(&request.entry),
            Then::Entry(next) => {
                chain = [request.entry.clone(), next.clone()];
                &chain[..]
            }
            Then::Deadline(name, deadline) => {
                let timeout = self.link_timeout(*name, *deadline);
                chain = [request.entry.clone().flags(Flags::IO_LINK), timeout];
                &chain[..]
            }
        };
        let mut queue = self.uring.submission();
        // SAFETY: whatever the entries point at lives until their final completions: lent memory in `payloads` and
        // `addresses` (see `send` and `accept`), timespecs until the hand-over (see `timespecs` and `Alarm`), statics for ever. The
        // safe constructors of `Request` point at nothing else.
        unsafe { queue.push_multiple(entries) }.expect("there was room");
        self.owed += request.owes;
        self.owed_unseen += request.owes;
        true
    }

    fn link_timeout(&mut self, name: UserData, deadline: Instant) -> Entry {
        let index = self.timespec_next;
        self.timespec_next = (index + 1) % self.timespecs.len();
        let slot = &mut self.timespecs[index];
        *slot = timespec(deadline);
        opcode::LinkTimeout::new(slot)
            .flags(TimeoutFlags::ABS)
            .build()
            .flags(Flags::SKIP_SUCCESS)
            .user_data(name.raw())
    }
}

/// The end: nothing that the kernel may touch is freed before it has let go.
impl Drop for Ring {
    fn drop(&mut self) {
        let quiet = self.quiesce();
        if self.features.descriptors == Descriptors::Direct {
            // At once: closing the ring would close its sockets too, but some time later.
            let _ = self.uring.submitter().unregister_files();
        }
        let unregistered = BufferRing::unregister(&self.uring).is_ok();
        if !quiet || !unregistered {
            tracing::error!(owed = self.owed, "io_uring: requests did not end, their memory is leaked");
            std::mem::forget(std::mem::replace(&mut self.buffers, BufferRing::new(1, 1)));
            std::mem::forget(std::mem::replace(&mut self.payloads, Loans::new()));
            std::mem::forget(std::mem::replace(&mut self.addresses, Loans::new()));
        }
    }
}

impl Ring {
    /// Cancels the request of that name, if there is one, without handing over what is queued. For the end only: it costs
    /// a system call.
    pub(crate) fn cancel_now(&self, name: UserData) {
        // ENOENT if there is none. The timeout is for requests that a worker is running; those end by themselves.
        let victim = CancelBuilder::user_data(name.raw());
        let _ = self.uring.submitter().register_sync_cancel(Some(Timespec::new()), victim);
    }

    /// Collects what is owed, and cancels what does not come. False if something did not end in time.
    fn quiesce(&mut self) -> bool {
        let give_up = now() + QUIESCE_WITHIN;
        // What was owed before the last attempt; there was none yet.
        let mut before = usize::MAX;
        loop {
            while let Some(cqe) = self.pop() {
                self.close_descriptor_of(cqe);
            }
            let seen = self.owed - self.owed_unseen;
            if seen == 0 {
                return true;
            }
            if now() >= give_up {
                return false;
            }
            if self.owed == before {
                // For stragglers: the time that it takes grows with the square of what it finds, because the cancelled
                // stay in the kernel's table until they are collected.
                let _ =
                    self.uring.submitter().register_sync_cancel(Some(Timespec::new()), CancelBuilder::any());
            }
            before = self.owed;
            // Submits nothing: what the kernel has not seen it never will. ETIME and the like end at `give_up`.
            let want = seen.min(self.uring.params().cq_entries() as usize) as u32;
            let _ = self.fd.collect(want, QUIESCE_STEP);
        }
    }

    /// Nobody will take the descriptor that a late completion brings.
    fn close_descriptor_of(&self, cqe: Cqe) {
        match cqe.name().parts().0 {
            Kind::Accept if self.features.descriptors == Descriptors::Direct => {}
            Kind::Accept | Kind::Examine => drop(Self::adopt(cqe)),
            Kind::Recv
            | Kind::RecvDeadline
            | Kind::Watch
            | Kind::WatchDeadline
            | Kind::Send
            | Kind::ExamineUnread
            | Kind::Shutdown
            | Kind::Reset
            | Kind::Linger
            | Kind::Close
            | Kind::Cancel
            | Kind::Wake
            | Kind::Message
            | Kind::Rung
            | Kind::Alarm => {}
        }
    }
}

/// What an enter may say without being broken: it timed out, a signal came, or completions must be reaped first.
fn tolerate(result: io::Result<u32>) -> io::Result<()> {
    match result {
        Ok(_) => Ok(()),
        Err(error) => match error.raw_os_error() {
            Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => Ok(()),
            _ => Err(error),
        },
    }
}
