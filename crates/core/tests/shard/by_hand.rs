//! A shard without a backend: the test is the backend, and tells the shard what it likes, in any order that the contract
//! allows.

use std::time::Duration;

use heartring_core::{
    Closed, Completion, Config, ConnId, DeadlineStrategy, Errno, Instant, Lines, Listener, ListenerId, Op,
    OpKind, Place, Protocol, RecvEnd, Shard, SocketEvidence, WatchEnd,
};

use crate::recorder::{Recorder, Told};
use crate::world::kind_of;

const LISTENER: ListenerId = ListenerId(0);

/// See the module's own text.
pub(crate) struct ByHand<P: Protocol + Default = Lines> {
    pub(crate) shard: Shard<Recorder<P>>,
    pub(crate) now: Instant,
    in_flight: Vec<Op>,
}

impl ByHand {
    pub(crate) fn new(strategy: DeadlineStrategy) -> Self {
        Self::speaking(strategy, |_| ())
    }
}

impl<P: Protocol + Default> ByHand<P> {
    pub(crate) fn speaking(strategy: DeadlineStrategy, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        config.limits.accepts_in_flight = 1;
        change(&mut config);
        let listener = Listener { id: LISTENER, addr: "10.0.0.1:7000".parse().unwrap() };
        let shard = Shard::new(Place::alone(8, strategy), &config, &[listener], Recorder::default()).unwrap();
        // Not at the clock's origin, so that subtracting does not saturate.
        let mut by_hand = Self { shard, now: Instant::from_nanos(1 << 40), in_flight: Vec::new() };
        by_hand.turn();
        by_hand
    }

    /// Ends the turn and takes its ops.
    pub(crate) fn turn(&mut self) {
        let in_flight = &mut self.in_flight;
        self.shard.end_turn(self.now, &mut |op| in_flight.push(op));
        self.shard.wake_at();
    }

    /// Lets time pass, in steps that are too small to look like a stall, without any news.
    pub(crate) fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.now < end {
            self.now = end.min(self.now + Duration::from_millis(20));
            self.turn();
        }
    }

    pub(crate) fn tell(&mut self, completion: Completion<'_>) {
        self.shard.handle(self.now, completion);
    }

    /// A client is accepted and its first bytes are received.
    pub(crate) fn accept(&mut self, bytes: &[u8]) -> ConnId {
        let Op::Accept { conn, .. } = self.take(OpKind::Accept) else {
            unreachable!("an Accept was asked for")
        };
        let peer = "10.0.0.2:50000".parse().unwrap();
        self.tell(Completion::Accepted { listener: LISTENER, conn, peer });
        self.turn();
        self.tell(Completion::Received { conn, bytes });
        self.turn();
        conn
    }

    /// Has the handler answer whoever says `ask`.
    pub(crate) fn answer(&mut self) {
        self.shard.handler().act = Box::new(|conn, told| {
            if *told == Told::Received(b"ask".to_vec()) {
                conn.send_copy(b"answer").unwrap();
            }
        });
    }

    /// The accept in flight ends without a client.
    pub(crate) fn fail_accept(&mut self, errno: Errno) {
        let Op::Accept { conn, listener } = self.take(OpKind::Accept) else {
            unreachable!("an Accept was asked for")
        };
        self.tell(Completion::AcceptFailed { listener, conn, errno });
    }

    /// Takes the first op of this kind out of flight: the test has its completion.
    pub(crate) fn take(&mut self, kind: OpKind) -> Op {
        let at = self.position(kind).unwrap_or_else(|| panic!("no {kind:?} among {:?}", self.in_flight));
        self.in_flight.remove(at)
    }

    pub(crate) fn has(&self, kind: OpKind) -> bool {
        self.position(kind).is_some()
    }

    /// Where the first op of this kind stands among those in flight, in the order of their submission.
    pub(crate) fn position(&self, kind: OpKind) -> Option<usize> {
        self.in_flight.iter().position(|op| kind_of(op) == Some(kind))
    }

    /// When the watch in flight expires.
    pub(crate) fn watched_until(&self) -> Option<Instant> {
        self.in_flight
            .iter()
            .find_map(|op| if let Op::Watch { deadline, .. } = op { Some(*deadline) } else { None })
    }

    /// When the lease of the recv in flight runs out.
    pub(crate) fn leased_until(&self) -> Option<Instant> {
        self.in_flight.iter().find_map(|op| if let Op::Recv { deadline, .. } = op { *deadline } else { None })
    }

    /// Bytes come, and the recv goes on.
    pub(crate) fn receive(&mut self, conn: ConnId, bytes: &[u8]) {
        assert!(self.has(OpKind::Recv), "bytes come out of a recv");
        self.tell(Completion::Received { conn, bytes });
    }

    /// The recv in flight ends.
    pub(crate) fn end_recv(&mut self, conn: ConnId, end: RecvEnd) {
        self.take(OpKind::Recv);
        self.tell(Completion::RecvEnded { conn, end });
    }

    pub(crate) fn end_watch(&mut self, conn: ConnId, end: WatchEnd) {
        self.take(OpKind::Watch);
        self.tell(Completion::WatchEnded { conn, end });
    }

    pub(crate) fn examine(&mut self, conn: ConnId, evidence: SocketEvidence) {
        self.take(OpKind::Examine);
        self.tell(Completion::Examined { conn, evidence });
    }

    /// The names of the methods that were called for a connection.
    pub(crate) fn calls(&mut self, conn: ConnId) -> Vec<&'static str> {
        self.shard.handler().of(conn).map(|(_, told)| told.name()).collect()
    }

    pub(crate) fn end_of(&mut self, conn: ConnId) -> Option<Closed> {
        let mut told = self.shard.handler().of(conn);
        told.find_map(|(_, told)| if let Told::Closed(end) = told { Some(**end) } else { None })
    }

    /// Drains, with a backend that does what it is asked, and checks that nothing is left.
    pub(crate) fn finish(mut self) {
        self.shard.drain(self.now);
        while !self.shard.is_empty() {
            self.turn();
            assert!(!self.in_flight.is_empty(), "nothing is in flight and yet something is open");
            for op in std::mem::take(&mut self.in_flight) {
                self.obey(op);
            }
            self.now = self.now + Duration::from_millis(20);
        }
        assert_eq!(self.shard.open_total(), 0);
        self.shard.handler().assert_each_life_is_whole();
    }

    fn obey(&mut self, op: Op) {
        match op {
            Op::Accept { listener, conn } => {
                self.tell(Completion::AcceptFailed { listener, conn, errno: Errno::ECANCELED });
            }
            Op::Recv { conn, .. } => self.tell(Completion::RecvEnded { conn, end: RecvEnd::Eof }),
            Op::Watch { conn, .. } => self.tell(Completion::WatchEnded { conn, end: WatchEnd::Cancelled }),
            Op::Send { conn, payload, .. } => {
                let result = Ok(payload.len());
                self.tell(Completion::Sent { conn, payload, result });
            }
            Op::Examine { conn } => {
                self.tell(Completion::Examined { conn, evidence: SocketEvidence::default() });
            }
            Op::Shutdown { conn } => self.tell(Completion::ShutDown { conn, result: Ok(()) }),
            // Everything before it in the list has ended: a close joins.
            Op::Close { conn, .. } => self.tell(Completion::Closed { conn }),
            Op::Unlisten { listener } => self.tell(Completion::Unlistened { listener }),
        }
    }
}
