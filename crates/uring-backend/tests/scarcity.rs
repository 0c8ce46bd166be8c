//! What only this backend can run out of: receive buffers, queue entries, descriptors to examine with. The contract itself
//! is tested on all backends by the conformance tests of the workspace.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use heartring_core::{
    Backend, BackendConfig, CloseHow, Completion, ConnId, Errno, Instant, ListenOptions, ListenerId, Op,
    OpKind, RecvEnd, SocketEvidence, WatchEnd,
};
use heartring_socket::now;
use heartring_uring::{Descriptors, Refusal, UringBackend};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// One test at a time: one of them takes the descriptors of the whole process.
static TURN: Mutex<()> = Mutex::new(());

/// Everything that a backend has told, and how often it was waited for.
struct World {
    backend: UringBackend,
    addr: SocketAddr,
    listener: ListenerId,
    accepted: u32,
    received: HashMap<ConnId, Vec<u8>>,
    recv_ends: HashMap<ConnId, RecvEnd>,
    watch_ends: HashMap<ConnId, (Instant, WatchEnd)>,
    sent: Vec<(ConnId, Result<usize, Errno>)>,
    examined: HashMap<ConnId, SocketEvidence>,
    closed: u32,
    woken: u32,
    waits: u32,
    _turn: MutexGuard<'static, ()>,
}

impl World {
    /// `None`, aloud, where there is no io_uring.
    fn open(config: &BackendConfig, descriptors: Descriptors) -> Option<Self> {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let mut backend = match UringBackend::with_descriptors(config, descriptors) {
            Ok(backend) => backend,
            Err(refusal) => {
                let required = std::env::var("HEARTRING_REQUIRE_ALL").is_ok_and(|value| value == "1");
                assert!(!required, "HEARTRING_REQUIRE_ALL=1, but: {refusal}");
                println!("SKIPPED: {refusal}");
                return None;
            }
        };
        let addr = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = backend.listen(addr, &ListenOptions::default()).unwrap();
        Some(Self {
            backend,
            addr: listener.addr,
            listener: listener.id,
            accepted: 0,
            received: HashMap::new(),
            recv_ends: HashMap::new(),
            watch_ends: HashMap::new(),
            sent: Vec::new(),
            examined: HashMap::new(),
            closed: 0,
            woken: 0,
            waits: 0,
            _turn: turn,
        })
    }

    fn wait(&mut self, until: Option<Instant>) {
        self.waits += 1;
        let Self {
            backend, accepted, received, recv_ends, watch_ends, sent, examined, closed, woken, ..
        } = self;
        backend
            .wait(until, &mut |now, completion| match completion {
                Completion::Accepted { .. } => *accepted += 1,
                Completion::Received { conn, bytes } => received.entry(conn).or_default().extend(bytes),
                Completion::RecvEnded { conn, end } => drop(recv_ends.insert(conn, end)),
                Completion::WatchEnded { conn, end } => drop(watch_ends.insert(conn, (now, end))),
                Completion::Sent { conn, result, .. } => sent.push((conn, result)),
                Completion::Examined { conn, evidence } => drop(examined.insert(conn, evidence)),
                Completion::Closed { .. } => *closed += 1,
                Completion::Woken => *woken += 1,
                Completion::AcceptFailed { .. }
                | Completion::ShutDown { .. }
                | Completion::Unlistened { .. } => {}
            })
            .unwrap();
    }

    fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let patience = now() + Duration::from_secs(20);
        while !done(self) {
            assert!(now() < patience, "waited for {what}; {}", self.backend.ledger());
            self.wait(Some(now() + Duration::from_millis(20)));
        }
    }

    fn fleet(&mut self, count: u32) -> Vec<(ConnId, TcpStream)> {
        let fleet = (0..count).map(|slot| {
            let conn = ConnId::new(slot, 1);
            self.backend.submit(Op::Accept { listener: self.listener, conn });
            let stream = TcpStream::connect(self.addr).unwrap();
            // One by one, so that each stream is known to be the slot's.
            self.until("Accepted", |world| world.accepted == slot + 1);
            (conn, stream)
        });
        fleet.collect()
    }

    fn close_all(&mut self, fleet: &[(ConnId, TcpStream)]) {
        for (conn, _) in fleet {
            self.backend.submit(Op::Close { conn: *conn, how: CloseHow::Abortive });
        }
        self.until("Closed", |world| world.closed as usize == fleet.len());
        assert_eq!(self.backend.ledger().sockets, 0);
    }
}

fn small(slots: u32) -> BackendConfig {
    BackendConfig { slots, receive_buffers: 2, receive_buffer_bytes: 512, ..BackendConfig::default() }
}

#[test]
fn two_buffers_serve_two_hundred_connections_without_spinning() {
    let Some(mut world) = World::open(&small(200), Descriptors::Direct) else { return };
    let mut fleet = world.fleet(200);
    let message: Vec<u8> = (0..2000_u32).map(|at| (at % 251) as u8).collect();
    for (_, stream) in &mut fleet {
        stream.write_all(&message).unwrap();
    }
    for (conn, _) in &fleet {
        world.backend.submit(Op::Recv { conn: *conn, deadline: None });
    }
    let waits = world.waits;
    world.until("every byte", |world| {
        world.received.len() == 200 && world.received.values().all(|bytes| bytes.len() == 2000)
    });
    assert!(world.received.values().all(|bytes| *bytes == message));
    // 800 pieces, two a turn, and a turn for each pair that is armed again.
    assert!(world.waits - waits < 2000, "{} waits", world.waits - waits);
    // All are armed again and idle: now it sleeps.
    for _ in 0..300 {
        world.wait(Some(now()));
    }
    let waits = world.waits;
    let end = now() + Duration::from_millis(100);
    while now() < end {
        world.wait(Some(end));
    }
    assert!(world.waits - waits < 10, "{} waits in 100 ms of silence", world.waits - waits);
    // And none was forgotten.
    for (_, stream) in &mut fleet {
        stream.write_all(b"!").unwrap();
    }
    world.until("a last byte", |world| world.received.values().all(|bytes| bytes.len() == 2001));
    world.close_all(&fleet);
}

#[test]
fn a_parked_recv_is_cancelled_and_a_parked_lease_expires() {
    let Some(mut world) = World::open(&small(40), Descriptors::Direct) else { return };
    let mut fleet = world.fleet(40);
    for (_, stream) in &mut fleet {
        stream.write_all(&[7; 1500]).unwrap();
    }
    let deadline = now() + Duration::from_millis(5);
    for (conn, _) in &fleet {
        world.backend.submit(Op::Recv { conn: *conn, deadline: Some(deadline) });
    }
    // Most are parked after the first turn; a third is closed in that state.
    world.wait(Some(now()));
    let (third, rest) = fleet.split_at(13);
    for (conn, _) in third {
        world.backend.submit(Op::Close { conn: *conn, how: CloseHow::Abortive });
    }
    world.until("every end", |world| world.recv_ends.len() == 40 && world.closed == 13);
    assert!(rest.iter().all(|(conn, _)| world.recv_ends[conn] == RecvEnd::Expired), "{:?}", world.recv_ends);
    // What a lease leaves in the socket comes with the next receive.
    for (conn, _) in rest {
        world.backend.submit(Op::Recv { conn: *conn, deadline: None });
    }
    world.until("the rest", |world| rest.iter().all(|(conn, _)| world.received[conn].len() == 1500));
    world.closed = 0;
    world.close_all(rest);
}

#[test]
fn a_turn_larger_than_the_queue_is_handed_over_whole() {
    let config = BackendConfig { slots: 1200, ..BackendConfig::default() };
    let Some(mut world) = World::open(&config, Descriptors::Direct) else { return };
    let mut fleet = world.fleet(1200);
    let deadline = now() + Duration::from_millis(300);
    // 4800 entries in a queue of 1024.
    for (conn, _) in &fleet {
        world.backend.submit(Op::Recv { conn: *conn, deadline: None });
        world.backend.submit(Op::Watch { conn: *conn, deadline });
        world.backend.submit(Op::Send { conn: *conn, payload: Bytes::from_static(b"beat?"), more: false });
    }
    world.until("Sent and judged", |world| world.sent.len() == 1200 && world.watch_ends.len() == 1200);
    assert!(world.sent.iter().all(|(_, result)| *result == Ok(5)));
    for (conn, (at, end)) in &world.watch_ends {
        assert!(*end == WatchEnd::Expired && *at >= deadline, "{conn}: {end:?} at {at}, due {deadline}");
    }
    for (_, stream) in &mut fleet {
        let mut bytes = [0; 5];
        stream.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"beat?");
    }
    world.close_all(&fleet);
}

/// A multishot request whose completion finds no room in the queue ends with it, without `F_MORE`: here receives, with their
/// last bytes, and the poll of the bell.
#[test]
fn what_a_full_completion_queue_has_ended_goes_on() {
    // 400 connections with 64 pieces each, and room for 8192 completions.
    let config = BackendConfig {
        slots: 400,
        receive_buffers: 16_384,
        receive_buffer_bytes: 64,
        ..BackendConfig::default()
    };
    let Some(mut world) = World::open(&config, Descriptors::Direct) else { return };
    let mut fleet = world.fleet(400);
    let message: Vec<u8> = (0..4096_u32).map(|at| (at % 251) as u8).collect();
    for (_, stream) in &mut fleet {
        stream.write_all(&message).unwrap();
    }
    for (conn, _) in &fleet {
        world.backend.submit(Op::Recv { conn: *conn, deadline: None });
    }
    let waker = world.backend.waker();
    waker.wake();
    let whole = |bytes: &Vec<u8>| bytes.len() == 4096;
    world.until("every byte", |world| world.received.len() == 400 && world.received.values().all(whole));
    assert!(world.received.values().all(|bytes| *bytes == message));
    world.until("the bell", |world| world.woken > 0);
    let woken = world.woken;
    waker.wake();
    for (_, stream) in &mut fleet {
        stream.write_all(b"!").unwrap();
    }
    world.until("a last byte", |world| world.received.values().all(|bytes| bytes.len() == 4097));
    world.until("the bell again", |world| world.woken > woken);
    world.close_all(&fleet);
}

#[test]
fn many_examinations_take_turns_and_do_not_need_a_descriptor_to_see_unread_bytes() {
    let config = BackendConfig { slots: 300, ..BackendConfig::default() };
    let Some(mut world) = World::open(&config, Descriptors::Direct) else { return };
    let mut fleet = world.fleet(300);
    for (_, stream) in &mut fleet {
        stream.write_all(b"late").unwrap();
    }
    for (conn, _) in &fleet {
        world.backend.submit(Op::Examine { conn: *conn });
    }
    world.until("the evidence", |world| world.examined.len() == 300);
    assert!(world.examined.values().all(|evidence| evidence.unread == Some(4)));
    assert!(world.examined.values().all(|evidence| evidence.tcp.is_some_and(|tcp| tcp.state == 1)));

    // Below what is open: it fails nothing but new descriptors.
    world.examined.clear();
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(3), ..limit }).unwrap();
    for (conn, _) in &fleet {
        world.backend.submit(Op::Examine { conn: *conn });
    }
    for _ in 0..50 {
        world.wait(Some(now()));
    }
    setrlimit(Resource::Nofile, limit).unwrap();
    world.until("the evidence", |world| world.examined.len() == 300);
    assert!(world.examined.values().all(|evidence| evidence.unread == Some(4)));
    assert!(world.examined.values().any(|evidence| evidence.tcp.is_none()), "no descriptor was left for it");
    assert_eq!(world.backend.ledger().ops(OpKind::Examine), 0);
    world.close_all(&fleet);
}

#[test]
fn more_slots_than_descriptors_are_refused_with_both_numbers() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let Ok(slots) = u32::try_from(limit + 1) else {
        return println!("SKIPPED: RLIMIT_NOFILE is unlimited");
    };
    match heartring_uring::probe(&BackendConfig { slots, ..BackendConfig::default() }) {
        Err(Refusal::Slots { slots: asked, limit: allowed }) => {
            assert_eq!((asked, allowed), (slots, limit));
        }
        // Plain descriptors need no table; other refusals mean that there is no io_uring here.
        Ok(features) => assert_eq!(features.descriptors, Descriptors::Plain),
        Err(refusal) => println!("SKIPPED: {refusal}"),
    }
}
