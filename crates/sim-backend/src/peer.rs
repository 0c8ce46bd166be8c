//! The other end of a connection, as a test scripts it.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use heartring_core::{Errno, Instant};

use crate::kernel::Kernel;
use crate::socket::{PeerState, Socket, SocketId};
use crate::world::World;

/// How the stream from us looks to the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saw {
    /// Nothing has ended.
    Open,
    /// Our FIN, after every byte before it.
    Eof,
    /// An RST. Also what a client sees where nobody listens.
    Reset,
}

/// What a fault of this machine has done to a connection: no fault of the peer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harm {
    /// Its accept failed and took it along. The program never knew it; it saw a reset.
    LostInAccept,
    /// A recv failed for a reason of this machine's.
    RecvFailed(Errno),
    /// A send failed for a reason of this machine's.
    SendFailed(Errno),
}

/// A handle to the other end of one connection. Clones name the same end.
#[derive(Clone)]
pub struct SimPeer {
    world: World,
    socket: SocketId,
}

impl SimPeer {
    pub(crate) fn new(world: World, socket: SocketId) -> Self {
        Self { world, socket }
    }

    /// The address that our side accepts it with.
    pub fn addr(&self) -> SocketAddr {
        self.world.kernel().socket(self.socket).peer_addr
    }

    /// Sends `bytes` now.
    pub fn send(&self, bytes: &[u8]) {
        self.change(|socket, now| socket.arrive(bytes, now));
    }

    /// Sends `bytes` at `instant`.
    pub fn send_at(&self, instant: Instant, bytes: &[u8]) {
        let (peer, bytes) = (self.clone(), bytes.to_vec());
        self.world.at(instant, move |_| peer.send(&bytes));
    }

    /// Sends `bytes` after `delay`.
    pub fn send_after(&self, delay: Duration, bytes: &[u8]) {
        self.send_at(self.world.now() + delay, bytes);
    }

    /// Shuts its sending side: a FIN. It still receives.
    pub fn fin(&self) {
        self.change(|socket, _| socket.arrive_fin());
    }

    /// Closes: a FIN, and an RST to whatever we send from now on.
    pub fn close(&self) {
        self.change(|socket, _| {
            socket.arrive_fin();
            socket.set_peer(PeerState::Closed);
        });
    }

    /// Closes abortively: an RST.
    pub fn reset(&self) {
        self.change(|socket, _| {
            socket.arrive_reset();
            socket.set_peer(PeerState::Closed);
        });
    }

    /// Disappears: from now on nothing reaches it and nothing comes from it, no FIN and no RST.
    pub fn vanish(&self) {
        self.change(|socket, _| socket.set_peer(PeerState::Vanished));
    }

    /// The path to it is gone. What it sends, the end of its stream too, waits; what we send stays in our socket buffer.
    pub fn cut(&self) {
        self.change(|socket, _| socket.cut());
    }

    /// The path is back, and what waited arrives in order; nothing is lost. If our side has closed meanwhile, the peer
    /// learns it as TCP would tell it: the FIN of an orderly close is sent again; the RST of an abortive one is not, and is
    /// given again as soon as something comes from the peer.
    pub fn mend(&self) {
        self.change(|socket, now| socket.mend(now));
    }

    /// Our kernel gives up on it with `errno`: `ETIMEDOUT` as keepalive or the user timeout would, `EHOSTUNREACH` as a
    /// router would.
    pub fn fail(&self, errno: Errno) {
        self.change(|socket, _| socket.fail(errno));
    }

    /// Stops reading: what we send fills the socket buffer, and then our sends park.
    pub fn stop_reading(&self) {
        self.change(|socket, _| socket.set_peer(PeerState::Stopped));
    }

    /// Reads again, at first what piled up.
    pub fn start_reading(&self) {
        self.change(|socket, _| socket.set_peer(PeerState::Reading));
    }

    /// Everything that it has read so far.
    pub fn received(&self) -> Vec<u8> {
        self.world.kernel().socket(self.socket).received.clone()
    }

    /// The same, and forgets it.
    pub fn take_received(&self) -> Vec<u8> {
        std::mem::take(&mut self.world.kernel().socket_mut(self.socket).received)
    }

    /// How our stream looks to it.
    pub fn saw(&self) -> Saw {
        self.world.kernel().socket(self.socket).saw
    }

    /// How many bytes from it have reached our kernel so far, or had when the program closed the connection.
    pub fn arrived_bytes(&self) -> u64 {
        self.world.kernel().socket(self.socket).arrived_bytes()
    }

    /// How many of them the program has not taken. Zero once it has closed.
    pub fn unread_bytes(&self) -> u64 {
        self.world.kernel().socket(self.socket).unread_bytes()
    }

    /// The first harm that a fault of this machine has done to the connection.
    pub fn harm(&self) -> Option<Harm> {
        self.world.kernel().socket(self.socket).harm
    }

    fn change(&self, change: impl FnOnce(&mut Socket, Instant)) {
        let kernel: &mut Kernel = &mut self.world.kernel();
        let now = kernel.agenda.now();
        change(kernel.socket_mut(self.socket), now);
        kernel.socket_changed(self.socket);
    }
}

impl fmt::Debug for SimPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimPeer({}, {:?})", self.addr(), self.saw())
    }
}
