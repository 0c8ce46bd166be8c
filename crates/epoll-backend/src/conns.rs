//! The table of connections: the sockets, what is in flight on them, and what is known about their readiness.
//!
//! Readiness is remembered in both directions, so that no system call is made that is known to fail. An edge sets it;
//! only a call that found the socket drained or full takes it back.

use std::collections::{HashMap, VecDeque};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use bytes::Bytes;
use heartring_core::{ConnId, Errno, OpKind, OpSet};
use rustix::event::epoll::EventFlags;
use rustix::net::{RecvFlags, SendFlags, recv, send};

/// Slots for which memory is set aside at once. The kernel gives it page by page; what grows by being copied leaves its former
/// places behind.
const SET_ASIDE_MAX: u32 = 1 << 15;

/// What a connection costs while it is idle: 12 bytes.
pub(crate) struct Conn {
    fd: Option<OwnedFd>,
    generation: u32,
    pub(crate) ops: OpSet,
    input: Input,
    output: Output,
    place: Place,
}

/// What is known about the receiving side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    /// Nothing to read until the next edge.
    Drained,
    /// Bytes. A `recv` that does not fill its buffer has drained the socket (epoll(7)), so no second one is spent on
    /// hearing EAGAIN.
    Bytes,
    /// Perhaps bytes, and behind them a FIN or an error that would not give another edge; or an urgent mark, at which
    /// `recv` stops. Read on until the end or EAGAIN.
    BytesAndMore,
}

/// What is known about the sending side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Output {
    /// There may be room.
    Room,
    /// The last `send` did not take everything: an edge will say when there is room.
    Full,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Aside,
    /// In the list of those that wait to be served.
    InLine,
}

/// What one `recv` brought.
pub(crate) enum Taken {
    /// That many bytes, more than none.
    Bytes(usize),
    /// The peer's FIN.
    Eof,
    /// Nothing now.
    Nothing,
    /// An error of the socket.
    Failed(Errno),
}

/// An `Op::Send` that waits for room.
pub(crate) struct Parcel {
    pub(crate) payload: Bytes,
    pub(crate) more: bool,
}

/// The connections by slot, those of them that wait to be served, and the sends that wait for room.
pub(crate) struct Conns {
    /// Grows with the highest slot used; free slots below it cost 12 bytes each.
    slots: Vec<Conn>,
    slots_max: u32,
    /// First come, first served; each at most once. A connection that is closed stays until its turn comes.
    line: VecDeque<ConnId>,
    /// By slot. Few: a socket takes thousands of bytes from a handler before it is full.
    parcels: HashMap<u32, Parcel>,
}

impl Conns {
    pub(crate) fn new(slots_max: u32) -> Self {
        let slots = Vec::with_capacity(slots_max.min(SET_ASIDE_MAX) as usize);
        Self { slots, slots_max, line: VecDeque::new(), parcels: HashMap::new() }
    }

    /// Takes over a slot that core has reserved for the client of an `Op::Accept`.
    pub(crate) fn reserve(&mut self, id: ConnId) {
        assert!(id.slot() < self.slots_max, "slot {id} is beyond the {} of the config", self.slots_max);
        if self.slots.len() <= id.slot() as usize {
            self.slots.resize_with(id.slot() as usize + 1, || Conn::new(0));
        }
        let vacant = &mut self.slots[id.slot() as usize];
        assert!(vacant.fd.is_none() && vacant.ops.is_empty(), "slot {id} is occupied");
        *vacant = Conn::new(id.generation());
    }

    /// The connection `id`, which the caller knows to exist.
    pub(crate) fn conn(&mut self, id: ConnId) -> &mut Conn {
        let conn = &mut self.slots[id.slot() as usize];
        assert_eq!(conn.generation, id.generation(), "an op for a connection that has ceased to exist");
        conn
    }

    /// The connection `id`, if it still exists.
    pub(crate) fn find(&mut self, id: ConnId) -> Option<&mut Conn> {
        let conn = self.slots.get_mut(id.slot() as usize)?;
        (conn.generation == id.generation() && conn.is_open()).then_some(conn)
    }

    /// Who occupies `slot`.
    pub(crate) fn occupant(&self, slot: u32) -> ConnId {
        ConnId::new(slot, self.slots[slot as usize].generation)
    }

    /// Puts the connection at the end of the line, if there is something to do for it and it does not stand there yet.
    pub(crate) fn line_up(&mut self, id: ConnId) {
        let conn = self.conn(id);
        if conn.place == Place::Aside && (conn.can_receive() || conn.can_send()) {
            conn.place = Place::InLine;
            self.line.push_back(id);
        }
    }

    /// Takes the first out of the line; it may have been closed while it waited.
    pub(crate) fn call_next(&mut self) -> Option<ConnId> {
        let id = self.line.pop_front()?;
        if let Some(conn) = self.find(id) {
            conn.place = Place::Aside;
        }
        Some(id)
    }

    /// How many stand in line.
    pub(crate) fn line_len(&self) -> usize {
        self.line.len()
    }

    /// Keeps a send until there is room.
    pub(crate) fn park(&mut self, id: ConnId, parcel: Parcel) {
        let before = self.parcels.insert(id.slot(), parcel);
        assert!(before.is_none(), "one send in flight per connection");
    }

    /// Takes back the send that waits for room.
    pub(crate) fn unpark(&mut self, id: ConnId) -> Option<Parcel> {
        self.parcels.remove(&id.slot())
    }

    /// Whether any send waits for room.
    pub(crate) fn any_parked(&self) -> bool {
        !self.parcels.is_empty()
    }
}

impl Conn {
    fn new(generation: u32) -> Self {
        Self {
            fd: None,
            generation,
            ops: OpSet::EMPTY,
            input: Input::Drained,
            output: Output::Room,
            place: Place::Aside,
        }
    }

    /// Gives it the socket of the client.
    pub(crate) fn open(&mut self, fd: OwnedFd) {
        self.fd = Some(fd);
    }

    /// Whether it has a socket.
    pub(crate) fn is_open(&self) -> bool {
        self.fd.is_some()
    }

    /// Takes the socket away, to close it.
    pub(crate) fn take_fd(&mut self) -> OwnedFd {
        self.fd.take().expect("a connection is closed once")
    }

    /// Its socket.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_ref().expect("ops come between Accepted and Close").as_fd()
    }

    /// Remembers what an edge said.
    pub(crate) fn note_edge(&mut self, flags: EventFlags) {
        if flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR | EventFlags::PRI) {
            self.input = Input::BytesAndMore;
        } else if flags.contains(EventFlags::IN) && self.input == Input::Drained {
            self.input = Input::Bytes;
        }
        if flags.intersects(EventFlags::OUT | EventFlags::HUP | EventFlags::ERR) {
            self.output = Output::Room;
        }
    }

    /// Whether something may be there to read.
    pub(crate) fn is_readable(&self) -> bool {
        self.input != Input::Drained
    }

    /// Whether something may be there to read, and somebody waits for it.
    pub(crate) fn can_receive(&self) -> bool {
        self.is_readable() && (self.ops.contains(OpKind::Recv) || self.ops.contains(OpKind::Watch))
    }

    /// Whether there may be room, and a send waits for it.
    pub(crate) fn can_send(&self) -> bool {
        self.output == Output::Room && self.ops.contains(OpKind::Send)
    }

    /// One `recv`.
    pub(crate) fn take(&mut self, buffer: &mut [u8]) -> Taken {
        let length = buffer.len();
        match rustix::io::retry_on_intr(|| recv(self.fd(), &mut *buffer, RecvFlags::empty())) {
            // The state stays: whoever reads again shall hear it again.
            Ok((0, _)) => Taken::Eof,
            Ok((taken, _)) => {
                if taken < length && self.input == Input::Bytes {
                    self.input = Input::Drained;
                }
                Taken::Bytes(taken)
            }
            Err(rustix::io::Errno::AGAIN) => {
                self.input = Input::Drained;
                Taken::Nothing
            }
            Err(error) => Taken::Failed(Errno(error.raw_os_error())),
        }
    }

    /// One `send`, unless it is known to be in vain. `None` if there is no room.
    pub(crate) fn put(&mut self, payload: &[u8], more: bool) -> Option<Result<usize, Errno>> {
        if self.output == Output::Full {
            return None;
        }
        let flags = if more { SendFlags::NOSIGNAL | SendFlags::MORE } else { SendFlags::NOSIGNAL };
        match rustix::io::retry_on_intr(|| send(self.fd(), payload, flags)) {
            Ok(sent) => {
                // Less than everything means that the buffer is full, and that the kernel owes us an edge.
                if sent < payload.len() {
                    self.output = Output::Full;
                }
                Some(Ok(sent))
            }
            Err(rustix::io::Errno::AGAIN) => {
                self.output = Output::Full;
                None
            }
            Err(error) => Some(Err(Errno(error.raw_os_error()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener, TcpStream};

    use super::*;

    const ID: ConnId = ConnId::new(3, 9);

    /// A table with one connection and the peer of that.
    fn table() -> (Conns, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (served, _) = listener.accept().unwrap();
        served.set_nonblocking(true).unwrap();
        let mut conns = Conns::new(8);
        conns.reserve(ID);
        conns.conn(ID).open(served.into());
        (conns, peer)
    }

    #[test]
    fn an_idle_slot_is_small() {
        assert_eq!(size_of::<Conn>(), 12);
    }

    #[test]
    fn the_table_grows_only_as_far_as_it_is_used() {
        let (conns, _peer) = table();
        assert_eq!(conns.slots.len(), 4);
    }

    #[test]
    fn a_short_read_drains_unless_the_edge_said_more() {
        let (mut conns, mut peer) = table();
        let conn = conns.conn(ID);
        peer.write_all(b"beat").unwrap();
        conn.note_edge(EventFlags::IN);
        assert!(matches!(conn.take(&mut [0; 16]), Taken::Bytes(4)));
        assert!(!conn.is_readable());
        peer.write_all(b"last").unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        conn.note_edge(EventFlags::IN | EventFlags::RDHUP);
        conn.note_edge(EventFlags::IN);
        assert!(matches!(conn.take(&mut [0; 16]), Taken::Bytes(4)));
        assert!(conn.is_readable() && matches!(conn.take(&mut [0; 16]), Taken::Eof));
        assert!(matches!(conn.take(&mut [0; 16]), Taken::Eof), "and again");
    }

    #[test]
    fn a_full_read_does_not_drain() {
        let (mut conns, mut peer) = table();
        let conn = conns.conn(ID);
        peer.write_all(b"beat").unwrap();
        conn.note_edge(EventFlags::IN);
        assert!(matches!(conn.take(&mut [0; 4]), Taken::Bytes(4)));
        assert!(conn.is_readable() && matches!(conn.take(&mut [0; 4]), Taken::Nothing));
        assert!(!conn.is_readable());
    }

    #[test]
    fn a_full_socket_is_not_asked_again_before_an_edge() {
        let (mut conns, mut peer) = table();
        let conn = conns.conn(ID);
        let payload = vec![0; 1 << 24];
        let sent = conn.put(&payload, false).unwrap().unwrap();
        assert!(sent < payload.len() && conn.output == Output::Full);
        peer.read_exact(&mut vec![0; sent]).unwrap();
        assert!(conn.put(&payload, false).is_none(), "there is room, but nobody has said so");
        conn.note_edge(EventFlags::OUT);
        assert!(conn.put(b"x", false).unwrap().is_ok());
    }

    #[test]
    fn those_in_line_are_called_once() {
        let (mut conns, _peer) = table();
        conns.line_up(ID);
        assert_eq!(conns.call_next(), None, "nobody waits for its bytes");
        conns.conn(ID).ops.insert(OpKind::Recv);
        conns.conn(ID).note_edge(EventFlags::IN);
        conns.line_up(ID);
        conns.line_up(ID);
        assert_eq!((conns.call_next(), conns.call_next()), (Some(ID), None));
    }

    #[test]
    fn a_late_event_does_not_find_the_next_occupant() {
        let (mut conns, _peer) = table();
        let fd = conns.conn(ID).take_fd();
        let next = ConnId::new(ID.slot(), ID.generation() + 1);
        conns.reserve(next);
        conns.conn(next).open(fd);
        assert!(conns.find(ID).is_none() && conns.find(next).is_some());
    }
}
