//! The turn of the epoll backend: perform what was submitted, sleep, serve what is ready, expire what is overdue.
//!
//! Completions are told as they come about; the sink cannot submit, so nothing here is re-entered.

mod ops;
mod readiness;

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use heartring_core::{
    Backend, BackendConfig, Completion, ConnId, Instant, Ledger, ListenOptions, Listener, ListenerId, Op,
    OpKind, Wake,
};
use heartring_socket::WakeFd;

use crate::conns::Conns;
use crate::deadlines::Deadlines;
use crate::listeners::Listeners;
use crate::poller::{Poller, Source};

/// One buffer per backend, so it stays in the cache. A message larger than it arrives in pieces, and a connection that
/// fills it waits for its next turn: this is also how many bytes one connection gets per turn.
const RECEIVE_BUFFER_BYTES: usize = 64 * 1024;

/// Where completions go.
trait Sink: FnMut(Instant, Completion<'_>) {}

impl<F: FnMut(Instant, Completion<'_>)> Sink for F {}

/// The contract of [`Backend`] on epoll, edge-triggered.
///
/// It takes from [`BackendConfig`] the slots and `batch_within`. The receive buffers described there are those of a ring;
/// here one buffer of 64 KiB serves all connections.
///
/// Batching: when nothing is ready and `batch_within` is not zero, the thread first sleeps that long (never beyond the
/// next deadline) without looking at any socket, and only then until the first event. So steady traffic costs one wake-up
/// per `batch_within`, and the first event after a quiet time is told at once. A doorbell can wait as long as a byte.
/// What was submitted is performed before, and while a send waits for room the thread does not sleep in this way.
pub struct EpollBackend {
    poller: Poller,
    conns: Conns,
    listeners: Listeners,
    deadlines: Deadlines,
    waker: Arc<WakeFd>,
    /// Ops that the next `wait` performs.
    submitted: Vec<Op>,
    receive_buffer: Box<[u8]>,
    batch_within: Duration,
    now: Instant,
    ledger: Ledger,
    /// Completions told in this turn.
    told: u64,
    last_turn: LastTurn,
}

/// Whether the turn before this one asked the kernel what is ready.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LastTurn {
    Polled,
    /// It had completions to tell without.
    Skipped,
}

impl EpollBackend {
    /// A backend for the calling thread, whose timer slack it sets to its minimum: by default Linux lets every nap
    /// (`batch_within`) last 50 µs longer than asked, and deadlines would all be that late.
    ///
    /// # Errors
    ///
    /// `EMFILE`, `ENFILE` or `ENOMEM`.
    pub fn new(config: &BackendConfig) -> io::Result<Self> {
        let poller = Poller::new()?;
        let waker = WakeFd::new()?;
        poller.register(&*waker, Source::Waker)?;
        Ok(Self {
            poller,
            conns: Conns::new(config.slots),
            listeners: Listeners::default(),
            deadlines: Deadlines::default(),
            waker,
            submitted: Vec::new(),
            receive_buffer: vec![0; RECEIVE_BUFFER_BYTES].into_boxed_slice(),
            batch_within: config.batch_within,
            now: heartring_socket::now(),
            ledger: Ledger::default(),
            told: 0,
            last_turn: LastTurn::Polled,
        })
    }

    fn perform_submitted(&mut self, sink: &mut impl Sink) {
        if self.submitted.is_empty() {
            return;
        }
        self.now = heartring_socket::now();
        let mut submitted = mem::take(&mut self.submitted);
        for op in submitted.drain(..) {
            self.perform(op, sink);
        }
        self.submitted = submitted; // keeps its capacity
    }

    /// Whether this turn can do without asking the kernel.
    ///
    /// A turn that has completed a send has something to tell. If it polled, too, a message and its answer would cost two
    /// epoll_waits where a server that sends at once has one. But never twice in a row: a handler that answers every
    /// `Sent` with the next `Send` would shut out everybody else.
    fn skips_poll(&mut self) -> bool {
        let skips = self.told > 0 && self.last_turn == LastTurn::Polled;
        self.last_turn = if skips { LastTurn::Skipped } else { LastTurn::Polled };
        skips
    }

    fn poll(&mut self, until: Option<Instant>) -> io::Result<()> {
        if self.told > 0 || self.conns.line_len() > 0 || self.listeners.any_eager() {
            return self.poller.poll();
        }
        let wake_at = [until, self.deadlines.first()].into_iter().flatten().min();
        if !self.batch_within.is_zero() && !self.conns.any_parked() {
            // A busy shard finds something here and does not wait for more.
            self.poller.poll()?;
            if self.poller.found() > 0 {
                return Ok(());
            }
            let company = heartring_socket::now() + self.batch_within;
            Poller::nap(wake_at.map_or(company, |wake_at| wake_at.min(company)));
        }
        self.poller.sleep(wake_at, self.now)
    }

    /// Enters an op as in flight.
    fn begin(&mut self, id: ConnId, kind: OpKind) {
        if kind == OpKind::Accept {
            self.conns.reserve(id);
        }
        let conn = self.conns.conn(id);
        assert!(conn.is_open() || kind == OpKind::Accept, "{kind:?} {id} before Accepted or after Closed");
        assert!(!conn.ops.contains(OpKind::Close), "{kind:?} {id} after Close");
        let is_new = conn.ops.insert(kind);
        assert!(is_new, "{kind:?} {id} while another is in flight");
        self.ledger.open(kind);
    }

    /// Tells the terminal completion of an op.
    fn end(&mut self, conn: ConnId, kind: OpKind, completion: Completion<'_>, sink: &mut impl Sink) {
        let was_in_flight = self.conns.conn(conn).ops.remove(kind);
        assert!(was_in_flight, "a terminal completion without an op in flight: {completion:?}");
        self.ledger.close(kind);
        self.tell(completion, sink);
    }

    fn tell(&mut self, completion: Completion<'_>, sink: &mut impl Sink) {
        self.told += 1;
        sink(self.now, completion);
    }
}

impl Backend for EpollBackend {
    fn name(&self) -> &'static str {
        "epoll"
    }

    fn listen(&mut self, addr: SocketAddr, options: &ListenOptions) -> io::Result<Listener> {
        let id = self.listeners.next_id()?;
        let fd = heartring_socket::listen(addr, options)?;
        let addr = heartring_socket::local_addr(fd.as_fd())?;
        self.poller.register(&fd, Source::Listener(id))?;
        self.listeners.push(fd);
        self.ledger.listeners += 1;
        Ok(Listener { id, addr })
    }

    fn now(&self) -> Instant {
        self.now
    }

    fn submit(&mut self, op: Op) {
        if let Some((conn, kind)) = ops::conn_and_kind(&op) {
            self.begin(conn, kind);
        }
        self.submitted.push(op);
    }

    fn wait(
        &mut self,
        until: Option<Instant>,
        sink: &mut impl FnMut(Instant, Completion<'_>),
    ) -> io::Result<()> {
        self.told = 0;
        self.perform_submitted(sink);
        if self.skips_poll() {
            return Ok(());
        }
        self.poll(until)?;
        self.now = heartring_socket::now();
        self.note_edges(sink);
        self.accept_clients(sink);
        self.serve_line(sink);
        // Last, and only after a poll: whatever came in time has been seen by now.
        self.expire(sink);
        Ok(())
    }

    fn waker(&self) -> Arc<dyn Wake> {
        Arc::clone(&self.waker) as Arc<dyn Wake>
    }

    fn listening_socket(&self, listener: ListenerId) -> Option<BorrowedFd<'_>> {
        self.listeners.socket(listener)
    }

    fn ledger(&self) -> Ledger {
        self.ledger
    }
}
