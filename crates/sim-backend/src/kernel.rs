//! What a kernel would do: takes ops, lets events happen to sockets, and says what came of it.
//!
//! Core's names are checked elsewhere (`slots.rs`): here every op is one that core may submit. The invariant: a socket
//! with a recv in flight and something to read is in `ready`, once.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use heartring_core::{
    AcceptNews, BackendConfig, CloseHow, Completion, ConnId, Errno, ListenOptions, Listener, ListenerId, Op,
    RecvEnd, WatchEnd,
};

use crate::agenda::{Agenda, Event};
use crate::faults::Faults;
use crate::inbox::Inbox;
use crate::peer::Saw;
use crate::socket::{Readable, Socket, SocketId};

/// The kernel's side of everything.
pub(crate) struct Kernel {
    pub(crate) agenda: Agenda,
    pub(crate) faults: Faults,
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

    pub(crate) fn submit(&mut self, op: Op) {
        match op {
            Op::Accept { listener, conn } => self.accept(listener, conn),
            Op::Recv { conn, deadline } => {
                let (socket, serial) = (self.socket_of(conn), self.next_serial());
                self.socket_mut(socket).recv = Some(serial);
                if let Some(at) = deadline {
                    self.agenda.schedule(at, Event::LeaseDeadline { socket, serial });
                }
                self.socket_changed(socket);
            }
            Op::Watch { conn, deadline } => {
                let (socket, serial) = (self.socket_of(conn), self.next_serial());
                self.socket_mut(socket).watch = Some(serial);
                self.agenda.schedule(deadline, Event::WatchDeadline { socket, serial });
                self.socket_changed(socket);
            }
            Op::Send { conn, payload, more: _ } => {
                let socket = self.socket_of(conn);
                self.socket_mut(socket).send = Some(payload);
                self.socket_changed(socket);
            }
            Op::Examine { conn } => {
                let evidence = self.socket(self.socket_of(conn)).evidence(self.agenda.now());
                self.news.push_back(Completion::Examined { conn, evidence });
            }
            Op::Shutdown { conn } => {
                let socket = self.socket_of(conn);
                let result = self.socket_mut(socket).shut_down();
                self.news.push_back(Completion::ShutDown { conn, result });
                self.socket_changed(socket);
            }
            Op::Close { conn, how } => self.close(conn, how),
            Op::Unlisten { listener } => self.unlisten(listener),
        }
    }

    fn accept(&mut self, listener: ListenerId, conn: ConnId) {
        let at = usize::from(listener.0);
        assert!(self.inboxes[at].open, "{conn}: an Accept after Unlisten");
        self.inboxes[at].accepts.push_back(conn);
        // A machine without descriptors refuses before it looks for a client.
        let scarce =
            self.faults.accept_errnos.front().is_some_and(|e| e.accept_news() == AcceptNews::BackOff);
        if scarce {
            self.fail_accept(at);
        }
        self.match_accepts(at);
    }

    /// Gives waiting clients to waiting accepts.
    fn match_accepts(&mut self, at: usize) {
        while !self.inboxes[at].clients.is_empty() && !self.inboxes[at].accepts.is_empty() {
            if self.faults.accept_errnos.is_empty() {
                self.bind_client(at);
            } else {
                self.fail_accept(at);
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

    fn fail_accept(&mut self, at: usize) {
        let inbox = &mut self.inboxes[at];
        let Some(errno) = self.faults.accept_errnos.pop_front() else { return };
        let Some(conn) = inbox.accepts.pop_front() else { return };
        let lost = if errno.accept_news() == AcceptNews::BackOff { None } else { inbox.clients.pop_front() };
        if let Some(client) = lost {
            self.sockets[client.0].close(true);
        }
        self.news.push_back(Completion::AcceptFailed { listener: ListenerId(at as u8), conn, errno });
    }

    fn close(&mut self, conn: ConnId, how: CloseHow) {
        let id = self.socket_of(conn);
        let socket = &mut self.sockets[id.0];
        if socket.recv.take().is_some() {
            self.news.push_back(Completion::RecvEnded { conn, end: RecvEnd::Cancelled });
        }
        if socket.watch.take().is_some() {
            self.news.push_back(Completion::WatchEnded { conn, end: WatchEnd::Cancelled });
        }
        if let Some(payload) = socket.send.take() {
            self.news.push_back(Completion::Sent { conn, payload, result: Err(Errno::ECANCELED) });
        }
        socket.close(how == CloseHow::Abortive);
        self.slots[conn.slot() as usize] = None;
        self.news.push_back(Completion::Closed { conn });
    }

    fn unlisten(&mut self, listener: ListenerId) {
        let inbox = &mut self.inboxes[usize::from(listener.0)];
        assert!(inbox.open, "a second Unlisten of {listener:?}");
        inbox.open = false;
        for conn in inbox.accepts.drain(..) {
            self.news.push_back(Completion::AcceptFailed { listener, conn, errno: Errno::ECANCELED });
        }
        for client in inbox.clients.drain(..) {
            self.sockets[client.0].close(true);
        }
        self.news.push_back(Completion::Unlistened { listener });
    }

    // What happens to sockets.

    /// Ends the ops that what has just happened to the socket ends.
    pub(crate) fn socket_changed(&mut self, id: SocketId) {
        let now = self.agenda.now();
        let send_max = self.faults.send_bytes_max.unwrap_or(usize::MAX);
        let socket = &mut self.sockets[id.0];
        let Some(conn) = socket.conn else { return };
        if let Some(payload) = socket.send.take() {
            match socket.write(&payload, send_max, now) {
                Some(result) => self.news.push_back(Completion::Sent { conn, payload, result }),
                None => socket.send = Some(payload),
            }
        }
        if socket.readable() == Readable::Nothing {
            return;
        }
        if socket.watch.take().is_some() {
            self.news.push_back(Completion::WatchEnded { conn, end: WatchEnd::Ready });
        }
        if socket.recv.is_some() && !socket.queued {
            socket.queued = true;
            self.ready.push_back(id);
        }
    }

    pub(crate) fn watch_deadline(&mut self, id: SocketId, serial: u64) {
        let socket = &mut self.sockets[id.0];
        if let Some(conn) = socket.conn.filter(|_| socket.watch == Some(serial)) {
            socket.watch = None;
            self.news.push_back(Completion::WatchEnded { conn, end: WatchEnd::Expired });
        }
    }

    /// What is unread stays unread: the next recv finds it.
    pub(crate) fn lease_deadline(&mut self, id: SocketId, serial: u64) {
        let socket = &mut self.sockets[id.0];
        if let Some(conn) = socket.conn.filter(|_| socket.recv == Some(serial)) {
            socket.recv = None;
            self.news.push_back(Completion::RecvEnded { conn, end: RecvEnd::Expired });
        }
    }

    // What there is to tell.

    pub(crate) fn has_news(&self) -> bool {
        !self.news.is_empty() || !self.ready.is_empty()
    }

    pub(crate) fn take_news(&mut self) -> Option<Completion<'static>> {
        self.news.pop_front()
    }

    /// How many sockets have something to receive: each has one turn per `wait`, which is what makes it fair.
    pub(crate) fn ready_len(&self) -> usize {
        self.ready.len()
    }

    /// The turn of the next ready socket: a piece of its stream in `buffer`, or the end of its recv.
    pub(crate) fn receive<'a>(&mut self, buffer: &'a mut Vec<u8>) -> Option<Completion<'a>> {
        let id = self.ready.pop_front()?;
        let socket = &mut self.sockets[id.0];
        socket.queued = false;
        // The recv may have ended while the socket stood in the list.
        socket.recv?;
        let conn = socket.conn?;
        let end = match socket.readable() {
            Readable::Nothing => return None,
            Readable::Bytes => {
                socket.read(self.piece_bytes_max, buffer);
                self.socket_changed(id);
                return Some(Completion::Received { conn, bytes: buffer });
            }
            Readable::Eof => RecvEnd::Eof,
            Readable::Failed(errno) => {
                socket.take_error();
                RecvEnd::Failed(errno)
            }
        };
        socket.recv = None;
        Some(Completion::RecvEnded { conn, end })
    }

    /// What the kernel holds for a program that ends: everything is closed.
    pub(crate) fn end_program(&mut self) {
        let conns: Vec<ConnId> = self.sockets.iter().filter_map(|socket| socket.conn).collect();
        for conn in conns {
            self.close(conn, CloseHow::Orderly);
        }
        for at in 0..self.inboxes.len() {
            if self.inboxes[at].open {
                self.unlisten(ListenerId(at as u8));
            }
        }
        self.news.clear();
        self.ready.clear();
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
}
