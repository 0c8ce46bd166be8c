//! The simulator as a rig, as it is and with faults by chance.

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::Duration;

use heartring_core::{BackendConfig, Errno, Instant};
use heartring_sim::{Dice, Fault, FaultOdds, Saw, SimBackend, SimPeer, World};

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

/// How many seeds each clause is tried with.
const SEEDS: u64 = 100;

/// These take away what a test is about: a client, a connection, or what an examination was to find.
const SPARED: [Fault; 6] = [
    Fault::AcceptLosesClient,
    Fault::AcceptShortage,
    Fault::RecvFails,
    Fault::SendFails,
    Fault::WatchFails,
    Fault::ExamineBlank,
];

thread_local! {
    static SEED: Cell<u64> = const { Cell::new(0) };
}

/// The simulator with faults, whose odds and whose moments follow from a seed: [`on_seeds`] chooses it.
pub struct SimFaulty(SimRig);

/// Runs `test` with one seed after the other. The one with which it fails is printed.
pub fn on_seeds(ip: IpAddr, test: fn(IpAddr)) {
    struct Told(u64);
    impl Drop for Told {
        fn drop(&mut self) {
            if thread::panicking() {
                eprintln!("with the faults of seed {}", self.0);
            }
        }
    }
    for seed in 0..SEEDS {
        SEED.set(seed);
        let _told = Told(seed);
        test(ip);
    }
}

impl Rig for SimFaulty {
    type Backend = SimBackend;
    type Peer = SimRigPeer;

    const NAME: &'static str = "sim_faulty";
    const STARVES: bool = SimRig::STARVES;

    fn open(config: &BackendConfig) -> Result<Self, String> {
        let rig = SimRig::open(config)?;
        let mut dice = Dice::new(SEED.get());
        let mut odds = FaultOdds::draw(&mut dice);
        for fault in SPARED {
            odds.set(fault, 0);
        }
        // The tests call five seconds of lateness too much.
        odds.stall_max = odds.delay_max + Duration::from_millis(100);
        rig.world.inject(dice.roll(), odds);
        Ok(Self(rig))
    }

    fn backend(&mut self) -> &mut SimBackend {
        self.0.backend()
    }

    fn clock(&self) -> Instant {
        self.0.clock()
    }

    fn connect(&mut self, listener: SocketAddr) -> SimRigPeer {
        self.0.connect(listener)
    }

    fn stall(&mut self, duration: Duration) {
        self.0.stall(duration);
    }

    fn starve(&mut self, accepts: usize) {
        self.0.starve(accepts);
    }

    fn feed(&mut self) {
        self.0.feed();
    }

    fn kernel_keeps(&self, listener: SocketAddr, peer: SocketAddr) -> bool {
        self.0.kernel_keeps(listener, peer)
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

    fn close(&mut self) {
        self.finished = true;
        self.peer.close();
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
