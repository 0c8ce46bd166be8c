//! What a kernel would do: takes ops, lets events happen to sockets, and says what came of it.
//!
//! Core's names are checked elsewhere (`slots.rs`): here every op is one that core may submit. The invariant: a socket
//! with a recv that takes and something to read is in `ready`, once.

mod accept;
mod batch;
mod close;
mod receive;
mod send;
mod watch;

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use heartring_core::{
    BackendConfig, Completion, ConnId, Errno, Instant, ListenOptions, Listener, ListenerId, Op,
};

use crate::agenda::{Agenda, Event, Step};
use crate::fault::Fault;
use crate::faults::Faults;
use crate::in_flight::InFlight;
use crate::inbox::Inbox;
use crate::peer::Saw;
use crate::socket::{Readable, Socket, SocketId};
use crate::waker::SimWaker;

/// The kernel's side of everything.
pub(crate) struct Kernel {
    pub(crate) agenda: Agenda,
    pub(crate) faults: Faults,
    pub(crate) waker: Arc<SimWaker>,
    /// What the program has submitted and not yet handed over.
    pub(crate) submitted: VecDeque<Op>,
    inboxes: Vec<Inbox>,
    sockets: Vec<Socket>,
    /// The socket of each slot.
    slots: Vec<Option<SocketId>>,
    /// Sockets whose recv has something to take, in the order in which they became so.
    ready: VecDeque<SocketId>,
    /// What else there is to tell.
    news: VecDeque<Completion<'static>>,
    serial: u64,
    clients: u32,
    piece_bytes_max: usize,
}

impl Kernel {
    pub(crate) fn new(config: &BackendConfig) -> Self {
        Self {
            agenda: Agenda::default(),
            faults: Faults::default(),
            waker: Arc::default(),
            submitted: VecDeque::new(),
            inboxes: Vec::new(),
            sockets: Vec::new(),
            slots: vec![None; config.slots as usize],
            ready: VecDeque::new(),
            news: VecDeque::new(),
            serial: 0,
            clients: 0,
            piece_bytes_max: config.receive_buffer_bytes as usize,
        }
    }

    // Listening and connecting.

    pub(crate) fn listen(&mut self, addr: SocketAddr, options: &ListenOptions) -> Result<Listener, Errno> {
        let id = ListenerId(u8::try_from(self.inboxes.len()).map_err(|_| Errno::EMFILE)?);
        let mut addr = addr;
        if addr.port() == 0 {
            // The range that Linux takes ephemeral ports from begins here.
            addr.set_port(32_768 + u16::from(id.0));
        }
        let shared = |other: &Inbox| other.options.reuse_port && options.reuse_port;
        if self.inboxes.iter().any(|other| other.open && other.addr == addr && !shared(other)) {
            return Err(Errno::EADDRINUSE);
        }
        self.inboxes.push(Inbox::new(addr, options));
        Ok(Listener { id, addr })
    }

    /// An address that no client had before, of the family of `listener`.
    pub(crate) fn fresh_addr(&mut self, listener: SocketAddr) -> SocketAddr {
        self.clients += 1;
        let n = self.clients;
        let ip = match listener.ip() {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from_bits(10 << 24 | n)),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(0xfd00 << 112 | u128::from(n))),
        };
        SocketAddr::new(ip, 49_152 + (n % 16_384) as u16)
    }

    pub(crate) fn connect(&mut self, listener: SocketAddr, from: SocketAddr) -> SocketId {
        let id = SocketId(self.sockets.len());
        let serving = self.inboxes.iter().position(|inbox| inbox.serves(listener));
        let send_buffer = serving.and_then(|at| self.inboxes[at].options.send_buffer_bytes);
        self.sockets.push(Socket::new(from, send_buffer, self.agenda.now()));
        match serving {
            Some(at) => {
                self.inboxes[at].clients.push_back(id);
                self.match_accepts(at);
            }
            None => self.sockets[id.0].saw = Saw::Reset,
        }
        id
    }

    pub(crate) fn socket(&self, id: SocketId) -> &Socket {
        &self.sockets[id.0]
    }

    pub(crate) fn socket_mut(&mut self, id: SocketId) -> &mut Socket {
        &mut self.sockets[id.0]
    }

    // What core asks for.

    /// Takes on everything that was submitted.
    pub(crate) fn take_ops(&mut self) {
        while let Some(op) = self.submitted.pop_front() {
            match op {
                Op::Accept { listener, conn } => self.accept(listener, conn),
                Op::Recv { conn, deadline } => self.recv(conn, deadline),
                Op::Watch { conn, deadline } => self.watch(conn, deadline),
                Op::Send { conn, payload, more: _ } => self.send(conn, payload),
                Op::Examine { conn } => self.examine(conn),
                Op::Shutdown { conn } => self.shut_down(conn),
                Op::Close { conn, how } => self.close(conn, how),
                Op::Unlisten { listener } => self.unlisten(listener),
            }
        }
    }

    // What happens.

    /// Does what the agenda holds for an op, if that is still in flight.
    pub(crate) fn step(&mut self, id: SocketId, serial: u64, step: Step) {
        if !self.sockets[id.0].in_flight.contains(serial) {
            return;
        }
        match step {
            Step::LeaseDue => self.lease_due(id, serial),
            Step::LeaseOver => self.lease_over(id),
            Step::Buffer => self.buffer_back(id),
            Step::WatchDue => self.watch_due(id, serial),
            Step::WatchOver => self.watch_over(id),
            Step::WatchReady => self.watch_ready(id),
            Step::SendAgain => self.send_again(id),
            Step::Examined => self.examined(id),
            Step::ShutDown => self.shutdown_done(id),
            Step::Cancel => self.cancel(id, serial),
        }
    }

    /// Ends the ops that what has just happened to the socket ends.
    pub(crate) fn socket_changed(&mut self, id: SocketId) {
        self.try_send(id);
        if self.sockets[id.0].readable() != Readable::Nothing {
            self.wake_watch(id);
            self.wake_recv(id);
        }
    }

    /// The earliest instant at which the program's thread would find something new, or something changes by itself.
    pub(crate) fn next_at(&mut self) -> Option<Instant> {
        let earliest = self.agenda.thread_runs_at();
        if self.has_news() || !self.submitted.is_empty() {
            return Some(earliest);
        }
        loop {
            let (at, event) = self.agenda.first()?;
            if self.is_pending(event) {
                return Some(at.max(earliest));
            }
            self.agenda.drop_first();
        }
    }

    /// Whether this `wait` returns before its time. Not while the thread is away: it cannot return at all.
    pub(crate) fn may_return_early(&mut self) -> bool {
        self.agenda.thread_runs_at() == self.agenda.now() && self.faults.strikes(Fault::WaitEarly)
    }

    /// Whether an event would still change something: the deadlines of ops outlive them.
    fn is_pending(&self, event: &Event) -> bool {
        match *event {
            Event::Op { socket, serial, .. } => self.sockets[socket.0].in_flight.contains(serial),
            Event::Accept { inbox } => self.inboxes[inbox].open,
            Event::Act(_) => true,
        }
    }

    /// What the kernel holds for a program that ends: everything is closed.
    pub(crate) fn end_program(&mut self) {
        self.submitted.clear();
        for socket in self.sockets.iter_mut().filter(|socket| socket.conn.is_some()) {
            socket.in_flight = InFlight::default();
            socket.close(false);
        }
        for inbox in self.inboxes.iter_mut().filter(|inbox| inbox.open) {
            inbox.open = false;
            for client in inbox.clients.drain(..) {
                self.sockets[client.0].close(true);
            }
        }
        self.news.clear();
        self.ready.clear();
    }

    // Helpers of what is below.

    /// Says that an op of the socket has ended, and goes on with the close that may have waited for it.
    fn ended(&mut self, id: SocketId, completion: Completion<'static>) {
        self.news.push_back(completion);
        self.join(id);
    }

    /// The connection's name: it has one while ops are in flight on it.
    fn conn_of(&self, id: SocketId) -> ConnId {
        self.sockets[id.0].conn.expect("an op is in flight on the socket, so it belongs to a connection")
    }

    fn socket_of(&self, conn: ConnId) -> SocketId {
        match self.slots[conn.slot() as usize] {
            Some(socket) => socket,
            None => panic!("{conn}: no socket in its slot"),
        }
    }

    fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// Has an op go on after a delay by chance.
    fn step_later(&mut self, socket: SocketId, serial: u64, step: Step) {
        let at = self.agenda.now() + self.faults.delay();
        self.agenda.schedule(at, Event::Op { socket, serial, step });
    }

    fn step_at(&mut self, at: Instant, socket: SocketId, serial: u64, step: Step) {
        self.agenda.schedule(at, Event::Op { socket, serial, step });
    }
}
