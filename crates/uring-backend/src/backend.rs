//! The backend: ops become requests, completions of the kernel become completions of the contract.
//!
//! Owns the turn: what is handed over, how long to sleep, who hears what. How each op begins and ends is in the file of its
//! noun: `listeners.rs`, `receiving.rs`, `sending.rs`, `closing.rs`. Invariant: when `wait` sleeps, everything that could
//! be told without the kernel has been told.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use heartring_core::{
    Backend, BackendConfig, Completion, ConnId, Instant, Ledger, ListenOptions, Listener, ListenerId, Op,
    OpKind, Wake,
};
use heartring_socket::now;

use crate::completion::Cqe;
use crate::examinations::Examinations;
use crate::listeners::ListenSocket;
use crate::refusal::{Refusal, Step, Surroundings, classify};
use crate::request_unsafe::Request;
use crate::ring_fd_unsafe::Sleep;
use crate::ring_unsafe::Ring;
use crate::setup::{Descriptors, Features, Sizes};
use crate::slots::Slots;
use crate::user_data::Kind;
use crate::waker::{Messages, RingWaker};

/// Completions that one `wait` tells at most, so that the shard looks at its clock and mailbox in between. The rest is
/// told by the next, which does not sleep.
const TELL_MAX: usize = 4096;

/// Something that ends without the kernel, but not inside `submit`.
#[derive(Debug)]
pub(crate) enum Settled {
    /// A parked `Recv` of a connection that is closing.
    RecvCancelled(ConnId),
    /// A plain descriptor is to be examined.
    Examine(ConnId),
    /// A direct one, through the plain one that it was given for the moment.
    ExamineInstalled(ConnId, OwnedFd),
    /// A plain descriptor is to be closed: every op of the connection has ended.
    Close(ConnId),
    /// A listener is to be closed: every accept has ended.
    Unlisten(ListenerId),
}

/// heartring's backend on io_uring: one ring, for one shard, on one thread.
///
/// Memory, per slot in use: 12 bytes here and 8 in the kernel's table of descriptors; what is in flight costs more, in the
/// kernel 864 bytes for a parked receive and 352 for a deadline.
pub struct UringBackend {
    // The ring first: it is dropped first, and with it every request on the descriptors below.
    pub(crate) ring: Ring,
    pub(crate) slots: Slots,
    pub(crate) listeners: Vec<ListenSocket>,
    /// Connections whose `Recv` found no buffer.
    pub(crate) parked: VecDeque<ConnId>,
    pub(crate) examinations: Examinations,
    pub(crate) settled: VecDeque<Settled>,
    pub(crate) ledger: Ledger,
    pub(crate) now: Instant,
    pub(crate) waker: Arc<RingWaker>,
    pub(crate) messages: Messages,
    batch_within: Duration,
    /// No kernel or sandbox has refused a [`Request::reset`] so far.
    pub(crate) resets: bool,
    /// The last wait brought company enough: the next one does not gather more.
    busy: bool,
}

/// Looks whether a backend could be made here, and with which features. It opens a small ring and closes it again, in a
/// thread of its own: the kernel takes a closed ring apart later and interrupts the thread that opened it, whose next read
/// with a bound would fail with EINTR.
///
/// # Errors
///
/// Why not, with a remedy.
pub fn probe(config: &BackendConfig) -> Result<Features, Refusal> {
    let small = BackendConfig { receive_buffers: 1, ..*config };
    crate::setup::check(config)?;
    let body = || Ring::open(&small, Sizes::PROBE, None).map(|ring| ring.features().clone());
    let step = Step { name: "clone", demands: None };
    thread::scope(|scope| {
        let prober = thread::Builder::new().name("heartring-probe".into()).spawn_scoped(scope, body);
        let prober = prober.map_err(|error| classify(step, error, Surroundings::read()))?;
        prober.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

impl UringBackend {
    /// A backend for the calling thread.
    ///
    /// # Errors
    ///
    /// Why the kernel refuses it, with a remedy.
    pub fn new(config: &BackendConfig) -> Result<Self, Refusal> {
        Self::open(config, None)
    }

    /// A backend whose sockets are direct or plain descriptors whatever the kernel: for comparing the two, and for testing
    /// what older kernels get.
    ///
    /// # Errors
    ///
    /// As for [`UringBackend::new`].
    pub fn with_descriptors(config: &BackendConfig, descriptors: Descriptors) -> Result<Self, Refusal> {
        Self::open(config, Some(descriptors))
    }

    fn open(config: &BackendConfig, descriptors: Option<Descriptors>) -> Result<Self, Refusal> {
        let mut ring = Ring::open(config, Sizes::FULL, descriptors)?;
        let step = Step { name: "eventfd", demands: None };
        let waker = RingWaker::new(ring.features().messages.then(|| ring.fd()))
            .map_err(|error| classify(step, error, Surroundings::read()))?;
        ring.push(Request::wake(waker.bell().as_fd().as_raw_fd()));
        if !config.batch_within.is_zero() && !ring.features().gather {
            tracing::warn!("io_uring: batch_within does nothing before Linux 6.12");
        }
        Ok(Self {
            ring,
            slots: Slots::new(config.slots),
            listeners: Vec::new(),
            parked: VecDeque::new(),
            examinations: Examinations::default(),
            settled: VecDeque::new(),
            ledger: Ledger::default(),
            now: now(),
            waker,
            messages: Messages::default(),
            batch_within: config.batch_within,
            resets: true,
            busy: false,
        })
    }

    /// What the kernel offers to this backend.
    pub const fn features(&self) -> &Features {
        self.ring.features()
    }

    fn sleep(&mut self, until: Option<Instant>) -> Sleep {
        if !self.settled.is_empty() || !self.parked.is_empty() || self.ring.has_completions() {
            return Sleep::No;
        }
        let rest = until.map_or(Duration::MAX, |until| until.saturating_since(self.now));
        let gather = if self.busy { Duration::ZERO } else { self.batch_within.min(rest) };
        if gather.is_zero()
            && let Some(until) = until
            && until > self.now
            && self.ring.has_alarm_by(until)
        {
            return Sleep::UntilAlarm;
        }
        Sleep::Until { until, gather }
    }

    /// Tells what the kernel has completed; how much that was.
    fn reap(&mut self, sink: &mut impl FnMut(Instant, Completion<'_>)) -> usize {
        for told in 0..TELL_MAX {
            let Some(cqe) = self.ring.pop() else { return told };
            self.complete(cqe, sink);
        }
        TELL_MAX
    }

    fn complete(&mut self, cqe: Cqe, sink: &mut impl FnMut(Instant, Completion<'_>)) {
        let (kind, conn) = cqe.name().parts();
        match kind {
            Kind::Accept => self.accept_ended(conn, cqe, sink),
            Kind::Recv => self.recv_brought(conn, cqe, sink),
            Kind::Watch => self.watch_ended(conn, cqe.result(), sink),
            Kind::RecvDeadline => self.timeout_failed(conn, Kind::Recv, cqe.result()),
            Kind::WatchDeadline => self.timeout_failed(conn, Kind::Watch, cqe.result()),
            Kind::Send => self.send_ended(conn, cqe, sink),
            Kind::Examine => self.install_ended(conn, cqe),
            Kind::ExamineUnread => self.unread_ended(conn, cqe.result(), sink),
            Kind::Shutdown => self.shutdown_ended(conn, cqe.result(), sink),
            Kind::Close => self.close_ended(conn, cqe.result(), sink),
            Kind::Reset => self.reset_refused(conn, cqe.result()),
            Kind::Linger => Self::linger_ended(conn, cqe.result()),
            // It found nothing: its victim had ended, and says so itself.
            Kind::Cancel => {}
            Kind::Wake => self.woken(&cqe, sink),
            // The target has ended, or has no memory.
            Kind::Message => self.messages.failed(conn.slot()),
            Kind::Rung => sink(self.now, Completion::Woken),
            // It has said nothing but that it is time to look.
            Kind::Alarm => {}
        }
    }

    /// Tells what has ended without the kernel, `max` of it.
    fn settle(&mut self, max: usize, sink: &mut impl FnMut(Instant, Completion<'_>)) {
        for _ in 0..max {
            match self.settled.pop_front() {
                Some(Settled::RecvCancelled(conn)) => self.parked_recv_cancelled(conn, sink),
                Some(Settled::Examine(conn)) => self.examine_plain(conn, sink),
                Some(Settled::ExamineInstalled(conn, fd)) => self.examine_installed(conn, &fd, sink),
                Some(Settled::Close(conn)) => self.close_plain(conn, sink),
                Some(Settled::Unlisten(listener)) => self.unlisten_ended(listener, sink),
                None => return,
            }
        }
    }

    /// Notes that an op has begun.
    pub(crate) fn begin(&mut self, conn: ConnId, kind: OpKind) {
        let slot = self.slots.get(conn);
        assert!(slot.phase == crate::slots::Phase::Open, "{kind:?} of {conn}, which is {:?}", slot.phase);
        assert!(slot.ops.insert(kind), "{kind:?} of {conn} is in flight already");
        self.ledger.open(kind);
    }

    /// Notes that an op has ended; its completion is told right after.
    pub(crate) fn end(&mut self, conn: ConnId, kind: OpKind) {
        assert!(self.slots.get(conn).ops.remove(kind), "{kind:?} of {conn} ends twice");
        self.ledger.close(kind);
    }

    fn woken(&mut self, cqe: &Cqe, sink: &mut impl FnMut(Instant, Completion<'_>)) {
        // Drained before it is told: a wake from here on rings again. One that came before may have a completion of its
        // own behind this one, which then finds nothing.
        let rung = self.waker.bell().drain();
        if cqe.is_final() {
            self.ring.push(Request::wake(self.waker.bell().as_fd().as_raw_fd()));
        }
        if rung {
            sink(self.now, Completion::Woken);
        }
    }
}

impl Backend for UringBackend {
    fn name(&self) -> &'static str {
        "uring"
    }

    fn listen(&mut self, addr: SocketAddr, options: &ListenOptions) -> io::Result<Listener> {
        self.open_listener(addr, options)
    }

    fn now(&self) -> Instant {
        self.now
    }

    fn submit(&mut self, op: Op) {
        match op {
            Op::Accept { listener, conn } => self.accept(listener, conn),
            Op::Recv { conn, deadline } => self.recv(conn, deadline),
            Op::Watch { conn, deadline } => self.watch(conn, deadline),
            Op::Send { conn, payload, more } => self.send(conn, payload, more),
            Op::Examine { conn } => self.examine(conn),
            Op::Shutdown { conn } => self.shutdown(conn),
            Op::Close { conn, how } => self.close(conn, how),
            Op::Unlisten { listener } => self.unlisten(listener),
        }
    }

    fn wait(
        &mut self,
        until: Option<Instant>,
        sink: &mut impl FnMut(Instant, Completion<'_>),
    ) -> io::Result<()> {
        self.rearm_parked();
        let sleep = self.sleep(until);
        self.ring.enter(sleep)?;
        self.now = self.now.max(now());
        let told = self.reap(sink);
        // What the kernel has taken out of a socket is told before that socket is examined: the bytes of a completion that still
        // waits are neither unread nor received, and a peer that has spoken would be convicted of silence. Behind the last
        // completion nothing follows before the kernel is entered again (DEFER_TASKRUN).
        if !self.ring.has_completions() {
            self.settle(TELL_MAX - told, sink);
        }
        if self.ring.is_handed_over() && !self.ring.has_completions() {
            self.messages.settle();
        }
        self.busy = told >= Sleep::COMPANY as usize;
        Ok(())
    }

    fn waker(&self) -> Arc<dyn Wake> {
        self.waker.clone()
    }

    fn ring(&mut self, other: &Arc<dyn Wake>) {
        // A kernel that sends no messages takes none either, so the target's handle speaks for both ends.
        match self.messages.address(other) {
            Some((number, ring)) => self.ring.push(Request::message(number, ring)),
            None => other.wake(),
        }
    }

    fn listening_socket(&self, listener: ListenerId) -> Option<BorrowedFd<'_>> {
        match self.listeners.get(usize::from(listener.0))? {
            ListenSocket::Open { fd, .. } | ListenSocket::Closing { fd, .. } => Some(fd.as_fd()),
            ListenSocket::Closed => None,
        }
    }

    fn ledger(&self) -> Ledger {
        self.ledger
    }
}
