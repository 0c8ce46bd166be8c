//! One connection: our end of it with the ops in flight on it, the peer's end, and what is on the way between them.
//!
//! Nothing takes time here: what one end sends is at the other at once. Delays are events of the agenda.

use std::collections::VecDeque;
use std::net::SocketAddr;

use heartring_core::{ConnId, Errno, Instant, SocketEvidence, TcpEvidence};

use crate::in_flight::InFlight;
use crate::peer::{Harm, Saw};
use crate::wire::{HeldEnd, Wire};

/// A connection's place in the kernel's table. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SocketId(pub(crate) usize);

/// What a socket buffer holds unless `SO_SNDBUF` says otherwise.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// What the peer's machine does with what reaches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PeerState {
    /// Its program reads everything.
    Reading,
    /// Its program reads nothing: what we send stays in the socket buffers.
    Stopped,
    /// Its program is gone, its kernel is not: data is answered with RST.
    Closed,
    /// Nothing reaches it and nothing comes from it.
    Vanished,
}

/// How far our end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OurState {
    Open,
    /// Our FIN follows what is unsent.
    Shut,
    /// As `Shut`, and whatever still comes is answered with RST.
    Closed,
    /// Nothing more goes, and whatever still comes is answered with RST.
    Aborted,
}

/// What the next read of our end gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readable {
    Nothing,
    Bytes,
    Eof,
    Failed(Errno),
}

/// One connection.
pub(crate) struct Socket {
    pub(crate) peer_addr: SocketAddr,
    /// Who we are to the program; `None` while nobody has accepted us and after the close.
    pub(crate) conn: Option<ConnId>,
    pub(crate) in_flight: InFlight,
    /// In the kernel's list of sockets with something to receive.
    pub(crate) queued: bool,

    pub(crate) harm: Option<Harm>,

    // Towards us.
    wire: Wire,
    unread: VecDeque<u8>,
    arrived: u64,
    fin: bool,
    /// Handed out once, to whichever op comes first.
    error: Option<Errno>,
    /// TCP's state is CLOSE: no more comes, no more goes.
    dead: bool,

    // Towards the peer.
    unsent: Vec<u8>,
    unsent_max: usize,
    ours: OurState,
    pub(crate) peer: PeerState,
    pub(crate) received: Vec<u8>,
    pub(crate) saw: Saw,

    last_received_at: Instant,
    last_sent_at: Instant,
}

impl Socket {
    pub(crate) fn new(peer_addr: SocketAddr, send_buffer_bytes: Option<u32>, now: Instant) -> Self {
        Self {
            peer_addr,
            conn: None,
            in_flight: InFlight::default(),
            queued: false,
            harm: None,
            wire: Wire::default(),
            unread: VecDeque::new(),
            arrived: 0,
            fin: false,
            error: None,
            dead: false,
            unsent: Vec::new(),
            unsent_max: send_buffer_bytes.map_or(SEND_BUFFER_BYTES, |bytes| bytes as usize),
            ours: OurState::Open,
            peer: PeerState::Reading,
            received: Vec::new(),
            saw: Saw::Open,
            last_received_at: now,
            last_sent_at: now,
        }
    }

    // What the peer does.

    /// Bytes from the peer arrive, unless the path is cut.
    pub(crate) fn arrive(&mut self, bytes: &[u8], now: Instant) {
        if self.peer == PeerState::Vanished || self.dead || self.saw == Saw::Reset {
            return;
        }
        assert!(!self.fin, "the peer sends after its FIN");
        if self.wire.is_cut() {
            return self.wire.hold(bytes);
        }
        if self.is_closed() {
            return self.show_reset();
        }
        self.unread.extend(bytes);
        self.arrived += bytes.len() as u64;
        self.last_received_at = now;
    }

    /// The peer's FIN arrives, unless the path is cut.
    pub(crate) fn arrive_fin(&mut self) {
        if self.wire.is_cut() {
            return self.wire.hold_end(HeldEnd::Fin);
        }
        if self.peer != PeerState::Vanished && !self.dead {
            self.fin = true;
        }
    }

    /// The peer's RST arrives, unless the path is cut.
    pub(crate) fn arrive_reset(&mut self) {
        if self.wire.is_cut() {
            self.wire.hold_end(HeldEnd::Reset);
        } else if self.peer != PeerState::Vanished {
            self.fail(Errno::ECONNRESET);
        }
    }

    pub(crate) fn cut(&mut self) {
        self.wire.cut();
    }

    /// What the peer has sent since the cut arrives, and then what we have sent reaches it.
    pub(crate) fn mend(&mut self, now: Instant) {
        let held = self.wire.mend();
        if !held.bytes.is_empty() {
            self.arrive(&held.bytes, now);
        }
        match held.end {
            Some(HeldEnd::Fin) => self.arrive_fin(),
            Some(HeldEnd::Reset) => self.arrive_reset(),
            None => {}
        }
        self.flush();
    }

    /// The connection fails: an RST arrives, or our kernel gives up on the peer.
    pub(crate) fn fail(&mut self, errno: Errno) {
        if !self.dead && !self.is_closed() {
            self.dead = true;
            self.error = Some(errno);
            // After a time-out SIOCOUTQ says what it said before: there is nobody who has reset anything.
            if errno != Errno::ETIMEDOUT {
                self.unsent.clear();
            }
        }
    }

    /// The peer changes its ways. One that closed reads no more, one that vanished does nothing more.
    pub(crate) fn set_peer(&mut self, state: PeerState) {
        let may = match self.peer {
            PeerState::Reading | PeerState::Stopped => true,
            PeerState::Closed => state == PeerState::Vanished,
            PeerState::Vanished => false,
        };
        if may {
            self.peer = state;
            if state == PeerState::Vanished {
                self.wire.lose();
            }
            self.flush();
        }
    }

    // What our kernel does.

    pub(crate) fn readable(&self) -> Readable {
        match self.error {
            _ if !self.unread.is_empty() => Readable::Bytes,
            _ if self.fin => Readable::Eof,
            Some(errno) => Readable::Failed(errno),
            None if self.dead => Readable::Eof,
            None => Readable::Nothing,
        }
    }

    /// Whether there is something to read, and only bytes: neither the end of the stream nor an error.
    pub(crate) fn has_only_bytes(&self) -> bool {
        !self.unread.is_empty() && !self.fin && !self.dead
    }

    pub(crate) fn unread_bytes(&self) -> u64 {
        self.unread.len() as u64
    }

    pub(crate) fn arrived_bytes(&self) -> u64 {
        self.arrived
    }

    /// Moves up to `max` unread bytes to `buffer`.
    pub(crate) fn read(&mut self, max: usize, buffer: &mut Vec<u8>) {
        let count = self.unread.len().min(max);
        let (front, back) = self.unread.as_slices();
        let in_front = count.min(front.len());
        buffer.clear();
        buffer.extend_from_slice(&front[..in_front]);
        buffer.extend_from_slice(&back[..count - in_front]);
        self.unread.drain(..count);
    }

    /// Hands out the error.
    pub(crate) fn take_error(&mut self) -> Option<Errno> {
        self.error.take()
    }

    /// Tries to send from the front of `payload`; `None` if the buffer is full.
    ///
    /// A recv in flight has the first claim on an error, as it is woken first; then the send gets EPIPE.
    pub(crate) fn write(&mut self, payload: &[u8], max: usize, now: Instant) -> Option<Result<usize, Errno>> {
        if !self.can_send() {
            let errno = if self.in_flight.recv.is_some() { None } else { self.take_error() };
            return Some(Err(errno.unwrap_or(Errno::EPIPE)));
        }
        let count = payload.len().min(max).min(self.room());
        if count == 0 {
            return None;
        }
        self.unsent.extend_from_slice(&payload[..count]);
        self.last_sent_at = now;
        self.flush();
        Some(Ok(count))
    }

    /// Whether a send can succeed, now or later.
    pub(crate) fn can_send(&self) -> bool {
        self.ours == OurState::Open && !self.dead
    }

    /// How many bytes the send buffer takes now.
    pub(crate) fn room(&self) -> usize {
        self.unsent_max.saturating_sub(self.unsent.len())
    }

    /// Shuts our sending side.
    pub(crate) fn shut_down(&mut self) -> Result<(), Errno> {
        if self.dead {
            return Err(Errno::ENOTCONN);
        }
        self.ours = OurState::Shut;
        self.flush();
        Ok(())
    }

    /// Closes our end. With unread input even an orderly close is an RST, as in Linux.
    pub(crate) fn close(&mut self, abortive: bool) {
        assert!(self.in_flight.is_joined(), "closed with ops in flight");
        self.conn = None;
        self.in_flight.close = None;
        if abortive || !self.unread.is_empty() {
            self.ours = OurState::Aborted;
            self.unsent = Vec::new();
            self.show_reset();
        } else {
            self.ours = OurState::Closed;
            self.flush();
        }
        // Given back, since the socket stays for as long as its peer may ask about it.
        self.unread = VecDeque::new();
    }

    fn is_closed(&self) -> bool {
        match self.ours {
            OurState::Open | OurState::Shut => false,
            OurState::Closed | OurState::Aborted => true,
        }
    }

    /// What `getsockopt(TCP_INFO)`, SIOCINQ and SIOCOUTQ would say.
    pub(crate) fn evidence(&self, now: Instant) -> SocketEvidence {
        const ESTABLISHED: u8 = 1;
        const CLOSE: u8 = 7;
        const CLOSE_WAIT: u8 = 8;
        let state = match (self.dead, self.fin) {
            (true, _) => CLOSE,
            (false, true) => CLOSE_WAIT,
            (false, false) => ESTABLISHED,
        };
        let tcp = TcpEvidence {
            state,
            unacked: u32::from(!self.is_reached() && !self.unsent.is_empty()),
            last_data_received: now.saturating_since(self.last_received_at),
            last_ack_received: now.saturating_since(self.last_received_at),
            last_data_sent: now.saturating_since(self.last_sent_at),
            ..TcpEvidence::default()
        };
        SocketEvidence {
            unread: Some(self.unread.len() as u32),
            unsent: Some(self.unsent.len() as u32),
            tcp: Some(tcp),
        }
    }

    /// Lets the peer have what is on the way to it, as far as it takes it.
    fn flush(&mut self) {
        if self.dead || !self.is_reached() {
            return;
        }
        match self.peer {
            PeerState::Reading if self.saw == Saw::Open && self.ours != OurState::Aborted => {
                self.received.append(&mut self.unsent);
                if self.ours != OurState::Open {
                    self.saw = Saw::Eof;
                    self.unsent = Vec::new();
                }
            }
            PeerState::Closed if !self.unsent.is_empty() => self.fail(Errno::ECONNRESET),
            PeerState::Reading | PeerState::Stopped | PeerState::Closed | PeerState::Vanished => {}
        }
    }

    /// Whether what we send reaches the peer's machine.
    fn is_reached(&self) -> bool {
        self.peer != PeerState::Vanished && !self.wire.is_cut()
    }

    fn show_reset(&mut self) {
        if self.is_reached() && !self.dead {
            self.saw = Saw::Reset;
        }
    }
}
