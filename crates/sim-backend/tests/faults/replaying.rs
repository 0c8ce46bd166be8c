//! All faults together, from seeds: the same seed tells the same, no byte is lost, and nothing is left.

use std::collections::BTreeMap;
use std::time::Duration;

use heartring_core::{Backend, CloseHow, ConnId, Instant, Op, OpKind};
use heartring_sim::{Dice, Fault, FaultCounts, FaultOdds, SimPeer};

use crate::stage::{Stage, Told};

/// How many clients come in a play.
const CLIENTS: usize = 60;

/// A client, and everything that it has sent: its number, and then a pattern.
struct Client {
    peer: SimPeer,
    sent: Vec<u8>,
    finished: bool,
}

/// A connection as its program sees it.
#[derive(Default)]
struct Open {
    received: Vec<u8>,
    in_flight: Vec<OpKind>,
}

/// Clients that come, talk and go, and a program that uses every op on them, all by the dice.
struct Play {
    stage: Stage,
    dice: Dice,
    open: BTreeMap<ConnId, Open>,
    clients: Vec<Client>,
    accepting: Vec<ConnId>,
    generation: u32,
    streams: Vec<Vec<u8>>,
}

impl Play {
    fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let stage = Stage::new();
        let odds = FaultOdds::draw(&mut dice);
        stage.world.inject(dice.roll(), odds);
        Self {
            stage,
            dice,
            open: BTreeMap::new(),
            clients: Vec::new(),
            accepting: Vec::new(),
            generation: 0,
            streams: Vec::new(),
        }
    }

    fn run(mut self) -> Outcome {
        while self.clients.len() < CLIENTS || !self.open.is_empty() {
            self.peers_act();
            self.program_acts();
            let until = self.stage.now() + Duration::from_micros(self.dice.between(0, 3000));
            self.turn(until);
        }
        self.unlisten_while_clients_come();
        while self.stage.backend.ledger().open_total() > 0 {
            let conns: Vec<ConnId> = self.open.keys().copied().collect();
            for conn in conns {
                self.close(conn);
            }
            self.turn(self.stage.now() + Duration::from_millis(1));
        }
        self.streams.iter().for_each(|stream| self.is_a_prefix_of_a_stream(stream));
        Outcome { log: self.stage.log, counts: self.stage.world.fault_counts() }
    }

    fn unlisten_while_clients_come(&mut self) {
        self.program_acts();
        let late = [(); 3].map(|()| self.stage.world.connect(self.stage.listener.addr));
        self.turn(self.stage.now());
        let listener = self.stage.listener.id;
        self.stage.submit(Op::Unlisten { listener });
        drop(late);
    }

    /// What was received is the beginning of what one client sent.
    fn is_a_prefix_of_a_stream(&self, received: &[u8]) {
        let Some(name) = received.first() else { return };
        let client = &self.clients[usize::from(*name)];
        assert!(client.sent.starts_with(received), "{:?} has not sent this", client.peer);
        assert!(
            received.len() as u64 <= client.peer.arrived_bytes(),
            "{:?} has not sent it yet",
            client.peer
        );
    }

    fn peers_act(&mut self) {
        if self.clients.len() < CLIENTS && self.dice.one_in(2) {
            let peer = self.stage.world.connect(self.stage.listener.addr);
            self.clients.push(Client { peer, sent: Vec::new(), finished: false });
        }
        for (number, client) in self.clients.iter_mut().enumerate() {
            match self.dice.below(100) {
                0..10 if !client.finished => {
                    let (begin, more) = (client.sent.len(), self.dice.between(1, 300) as usize);
                    let byte = |at: usize| if at == 0 { number as u8 } else { (at % 251) as u8 };
                    client.sent.extend((begin..begin + more).map(byte));
                    client.peer.send(&client.sent[begin..]);
                }
                10 => client.peer.cut(),
                11..15 => client.peer.mend(),
                15 => client.peer.stop_reading(),
                16 => client.peer.start_reading(),
                17 => {
                    client.finished = true;
                    client.peer.fin();
                }
                18 => {
                    client.finished = true;
                    client.peer.reset();
                }
                _ => {}
            }
        }
    }

    fn program_acts(&mut self) {
        if self.accepting.len() < 3 && self.clients.len() <= CLIENTS {
            self.generation += 1;
            let conn = ConnId::new(self.generation % 1024, self.generation);
            self.stage.submit(Op::Accept { listener: self.stage.listener.id, conn });
            self.accepting.push(conn);
        }
        let conns: Vec<ConnId> = self.open.keys().copied().collect();
        for conn in conns {
            let deadline = self.stage.now() + Duration::from_micros(self.dice.between(0, 5000));
            match self.dice.below(30) {
                0..8 => {
                    let lease = self.dice.one_in(2).then_some(deadline);
                    self.submit(OpKind::Recv, conn, Op::Recv { conn, deadline: lease });
                }
                8..12 if self.has(conn, OpKind::Recv) => {
                    self.submit(OpKind::Watch, conn, Op::Watch { conn, deadline });
                }
                12..15 => {
                    let payload = vec![0; self.dice.between(1, 400) as usize].into();
                    self.submit(OpKind::Send, conn, Op::Send { conn, payload, more: false });
                }
                15..17 => self.submit(OpKind::Examine, conn, Op::Examine { conn }),
                17 => self.submit(OpKind::Shutdown, conn, Op::Shutdown { conn }),
                18 => self.close(conn),
                _ => {}
            }
        }
    }

    fn has(&self, conn: ConnId, kind: OpKind) -> bool {
        self.open[&conn].in_flight.contains(&kind)
    }

    fn submit(&mut self, kind: OpKind, conn: ConnId, op: Op) {
        if !self.has(conn, kind) && !self.has(conn, OpKind::Close) {
            self.open.get_mut(&conn).unwrap().in_flight.push(kind);
            self.stage.submit(op);
        }
    }

    fn close(&mut self, conn: ConnId) {
        let how = if self.dice.one_in(2) { CloseHow::Orderly } else { CloseHow::Abortive };
        self.submit(OpKind::Close, conn, Op::Close { conn, how });
    }

    fn turn(&mut self, until: Instant) {
        for told in self.stage.wait(Some(until)) {
            let (conn, kind) = match told {
                Told::Accepted(conn) => {
                    self.accepting.retain(|other| *other != conn);
                    self.open.insert(conn, Open::default());
                    continue;
                }
                Told::AcceptFailed(conn, _) => {
                    self.accepting.retain(|other| *other != conn);
                    continue;
                }
                Told::Received(conn, bytes) => {
                    self.open.get_mut(&conn).unwrap().received.extend(bytes);
                    continue;
                }
                Told::RecvEnded(conn, _) => (conn, OpKind::Recv),
                Told::WatchEnded(conn, _) => (conn, OpKind::Watch),
                Told::Sent(conn, _) => (conn, OpKind::Send),
                Told::Examined(conn, _) => (conn, OpKind::Examine),
                Told::ShutDown(conn, _) => (conn, OpKind::Shutdown),
                Told::Closed(conn) => {
                    let open = self.open.remove(&conn).unwrap();
                    assert_eq!(open.in_flight, [OpKind::Close], "{conn} closed before its ops");
                    self.streams.push(open.received);
                    continue;
                }
                Told::Unlistened | Told::Woken => continue,
            };
            self.open.get_mut(&conn).unwrap().in_flight.retain(|other| *other != kind);
        }
    }
}

#[derive(PartialEq)]
struct Outcome {
    log: Vec<(Instant, Told)>,
    counts: FaultCounts,
}

#[test]
fn the_same_seed_tells_the_same() {
    for seed in 0..10 {
        let (one, other) = (Play::new(seed).run(), Play::new(seed).run());
        assert!(one == other, "seed {seed} plays twice in two ways");
        assert!(one != Play::new(seed + 1000).run(), "seeds {seed} and {} play alike", seed + 1000);
    }
}

#[test]
fn every_fault_happens_and_no_byte_is_lost_and_nothing_is_left() {
    let mut counts = FaultCounts::default();
    for seed in 0..500 {
        counts.merge(&Play::new(seed).run().counts);
    }
    for (fault, count) in counts.iter() {
        assert!(count > 0, "{} happened {count} times in 500 plays", fault.name());
    }
    assert_eq!(counts.iter().count(), Fault::COUNT);
}
