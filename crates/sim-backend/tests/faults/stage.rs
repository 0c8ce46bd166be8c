//! A backend in a world with the faults of a test, and everything that it tells.

use std::time::Duration;

use heartring_core::{
    Backend, BackendConfig, CloseHow, Completion, ConnId, Errno, Instant, ListenOptions, Listener, Op,
    RecvEnd, SocketEvidence, WatchEnd,
};
use heartring_sim::{Fault, FaultOdds, SimBackend, SimPeer, World};

/// A completion, kept.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Told {
    Accepted(ConnId),
    AcceptFailed(ConnId, Errno),
    Received(ConnId, Vec<u8>),
    RecvEnded(ConnId, RecvEnd),
    WatchEnded(ConnId, WatchEnd),
    Sent(ConnId, Result<usize, Errno>),
    Examined(ConnId, SocketEvidence),
    ShutDown(ConnId, Result<(), Errno>),
    Closed(ConnId),
    Unlistened,
    Woken,
}

impl Told {
    pub(crate) fn of(completion: &Completion<'_>) -> Self {
        match *completion {
            Completion::Accepted { conn, .. } => Self::Accepted(conn),
            Completion::AcceptFailed { conn, errno, .. } => Self::AcceptFailed(conn, errno),
            Completion::Received { conn, bytes } => Self::Received(conn, bytes.to_vec()),
            Completion::RecvEnded { conn, end } => Self::RecvEnded(conn, end),
            Completion::WatchEnded { conn, end } => Self::WatchEnded(conn, end),
            Completion::Sent { conn, result, .. } => Self::Sent(conn, result),
            Completion::Examined { conn, evidence } => Self::Examined(conn, evidence),
            Completion::ShutDown { conn, result } => Self::ShutDown(conn, result),
            Completion::Closed { conn } => Self::Closed(conn),
            Completion::Unlistened { .. } => Self::Unlistened,
            Completion::Woken => Self::Woken,
        }
    }
}

/// See the module's own text.
pub(crate) struct Stage {
    pub(crate) backend: SimBackend,
    pub(crate) world: World,
    pub(crate) listener: Listener,
    /// Everything that was told, and when.
    pub(crate) log: Vec<(Instant, Told)>,
    slots: u32,
}

impl Stage {
    /// Without faults.
    pub(crate) fn new() -> Self {
        let mut backend = SimBackend::new(&BackendConfig::default());
        let world = backend.world();
        let addr = "127.0.0.1:7000".parse().unwrap();
        let options = ListenOptions { send_buffer_bytes: Some(1000), ..ListenOptions::default() };
        let listener = backend.listen(addr, &options).unwrap();
        Self { backend, world, listener, log: Vec::new(), slots: 0 }
    }

    /// From now on `fault` happens wherever it can.
    pub(crate) fn always(&self, fault: Fault) {
        self.sometimes(1, fault, 1_000_000);
    }

    pub(crate) fn sometimes(&self, seed: u64, fault: Fault, per_million: u32) {
        let mut odds = FaultOdds::NONE;
        odds.set(fault, per_million);
        self.world.inject(seed, odds);
    }

    /// From now on nothing goes wrong.
    pub(crate) fn never(&self) {
        self.world.inject(0, FaultOdds::NONE);
    }

    pub(crate) fn count(&self, fault: Fault) -> u64 {
        self.world.fault_counts().get(fault)
    }

    pub(crate) fn now(&self) -> Instant {
        self.world.now()
    }

    pub(crate) fn after(&self, nanos: u64) -> Instant {
        self.world.now() + Duration::from_nanos(nanos)
    }

    /// Waits once and returns what it told.
    pub(crate) fn wait(&mut self, until: Option<Instant>) -> Vec<Told> {
        let before = self.log.len();
        let log = &mut self.log;
        self.backend.wait(until, &mut |now, completion| log.push((now, Told::of(&completion)))).unwrap();
        self.log[before..].iter().map(|(_, told)| told.clone()).collect()
    }

    /// Waits until `instant` has come, and returns everything that was told.
    pub(crate) fn pass_until(&mut self, instant: Instant) -> Vec<Told> {
        let mut told = Vec::new();
        loop {
            told.extend(self.wait(Some(instant)));
            if self.world.now() >= instant && self.world.next_at().is_none_or(|next| next > self.world.now())
            {
                return told;
            }
        }
    }

    pub(crate) fn pass(&mut self, duration: Duration) -> Vec<Told> {
        self.pass_until(self.world.now() + duration)
    }

    /// Hears everything that is there now and within the longest delay.
    pub(crate) fn settle(&mut self) -> Vec<Told> {
        self.pass(2 * FaultOdds::NONE.delay_max)
    }

    /// When something was told for the first time.
    pub(crate) fn when(&self, told: &Told) -> Instant {
        let found = self.log.iter().find(|(_, other)| other == told);
        found.unwrap_or_else(|| panic!("{told:?} was not told: {:?}", self.log)).0
    }

    pub(crate) fn submit(&mut self, op: Op) {
        self.backend.submit(op);
    }

    pub(crate) fn submit_accept(&mut self) -> ConnId {
        let conn = ConnId::new(self.slots, 1);
        self.slots += 1;
        self.backend.submit(Op::Accept { listener: self.listener.id, conn });
        conn
    }

    /// Connects a client and accepts it.
    pub(crate) fn accept(&mut self) -> (ConnId, SimPeer) {
        let (conn, peer) = (self.submit_accept(), self.world.connect(self.listener.addr));
        assert_eq!(self.wait(Some(self.now())), [Told::Accepted(conn)]);
        (conn, peer)
    }

    /// Connects a client, accepts it and arms its recv.
    pub(crate) fn accept_and_recv(&mut self) -> (ConnId, SimPeer) {
        let (conn, peer) = self.accept();
        self.recv(conn, None);
        self.wait(Some(self.now()));
        (conn, peer)
    }

    pub(crate) fn recv(&mut self, conn: ConnId, deadline: Option<Instant>) {
        self.backend.submit(Op::Recv { conn, deadline });
    }

    pub(crate) fn watch(&mut self, conn: ConnId, deadline: Instant) {
        self.backend.submit(Op::Watch { conn, deadline });
    }

    pub(crate) fn send(&mut self, conn: ConnId, payload: &'static [u8]) {
        self.backend.submit(Op::Send { conn, payload: payload.into(), more: false });
    }

    pub(crate) fn close(&mut self, conn: ConnId, how: CloseHow) {
        self.backend.submit(Op::Close { conn, how });
    }
}
