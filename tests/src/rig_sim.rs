//! The simulator as a rig.

use std::net::SocketAddr;
use std::time::Duration;

use heartring_core::{BackendConfig, Errno, Instant};
use heartring_sim::{Saw, SimBackend, SimPeer, World};

use crate::rig::{End, Peer, Rig};

/// A backend in virtual time.
pub struct SimRig {
    backend: SimBackend,
    world: World,
}

impl Rig for SimRig {
    type Backend = SimBackend;
    type Peer = SimRigPeer;

    const NAME: &'static str = "sim";
    const STARVES: bool = true;

    fn open(config: &BackendConfig) -> Result<Self, String> {
        let backend = SimBackend::new(config);
        let world = backend.world();
        Ok(Self { backend, world })
    }

    fn backend(&mut self) -> &mut SimBackend {
        &mut self.backend
    }

    fn clock(&self) -> Instant {
        self.world.now()
    }

    fn connect(&mut self, listener: SocketAddr) -> SimRigPeer {
        let peer = self.world.connect(listener);
        peer.stop_reading();
        SimRigPeer { world: self.world.clone(), peer, finished: false, read: Vec::new() }
    }

    fn stall(&mut self, duration: Duration) {
        self.world.stall(duration);
    }

    fn starve(&mut self, accepts: usize) {
        self.world.fail_accepts(Errno::EMFILE, accepts);
    }

    fn feed(&mut self) {}

    fn kernel_keeps(&self, _listener: SocketAddr, _peer: SocketAddr) -> bool {
        false
    }
}

/// A scripted peer that reads only when told.
pub struct SimRigPeer {
    world: World,
    peer: SimPeer,
    finished: bool,
    read: Vec<u8>,
}

impl Peer for SimRigPeer {
    fn addr(&self) -> SocketAddr {
        self.peer.addr()
    }

    fn write(&mut self, bytes: &[u8]) -> usize {
        if self.finished {
            return 0;
        }
        self.peer.send(bytes);
        bytes.len()
    }

    fn write_after(&mut self, delay: Duration, bytes: &[u8]) {
        self.peer.send_at(self.world.now() + delay, bytes);
    }

    fn fin(&mut self) {
        self.finished = true;
        self.peer.fin();
    }

    fn reset(&mut self) {
        self.finished = true;
        self.peer.reset();
    }

    fn read(&mut self) -> &[u8] {
        self.peer.start_reading();
        self.peer.stop_reading();
        self.read.extend(self.peer.take_received());
        &self.read
    }

    fn end(&mut self) -> End {
        self.read();
        match self.peer.saw() {
            Saw::Open => End::Open,
            Saw::Eof => End::Eof,
            Saw::Reset => End::Reset,
        }
    }
}
