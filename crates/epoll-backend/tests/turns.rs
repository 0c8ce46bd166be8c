//! What is particular to epoll, on loopback sockets: batching, fairness between sends and everything else, urgent marks.
//! The contract that all backends share is tested in the workspace's `tests` crate.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::Bytes;
use heartring_core::{
    Backend, BackendConfig, Completion, ConnId, Errno, Instant, ListenOptions, ListenerId, Op, OpKind,
    RecvEnd, WatchEnd,
};
use heartring_epoll::EpollBackend;
use heartring_socket::now;
use socket2::SockRef;

const SECOND: Duration = Duration::from_secs(1);

/// One turn in which nobody sleeps for long: what it told, in words.
fn turn(backend: &mut EpollBackend, within: Duration) -> Vec<String> {
    let mut told = Vec::new();
    backend.wait(Some(now() + within), &mut |_, completion| told.push(words(&completion))).unwrap();
    told
}

fn words(completion: &Completion<'_>) -> String {
    match completion {
        Completion::Received { conn, bytes } => format!("received {} {}", conn.slot(), bytes.len()),
        Completion::RecvEnded { conn, end } => format!("recv-ended {} {end:?}", conn.slot()),
        Completion::WatchEnded { conn, end } => format!("watch-ended {} {end:?}", conn.slot()),
        Completion::Accepted { conn, .. } => format!("accepted {}", conn.slot()),
        Completion::Sent { conn, result, .. } => format!("sent {} {result:?}", conn.slot()),
        Completion::AcceptFailed { .. }
        | Completion::Examined { .. }
        | Completion::ShutDown { .. }
        | Completion::Closed { .. }
        | Completion::Unlistened { .. }
        | Completion::Woken => format!("{completion:?}"),
    }
}

/// Turns until `wanted` was told; everything that was.
fn turns_until(backend: &mut EpollBackend, wanted: &str) -> Vec<String> {
    let (mut all, deadline) = (Vec::new(), now() + 10 * SECOND);
    while !all.iter().any(|told: &String| told.starts_with(wanted)) {
        assert!(now() < deadline, "{wanted} was not told, but {all:?}");
        all.extend(turn(backend, SECOND));
    }
    all
}

fn conn(slot: u32) -> ConnId {
    ConnId::new(slot, 1)
}

fn listen(backend: &mut EpollBackend) -> (ListenerId, SocketAddr) {
    let listener = backend.listen("127.0.0.1:0".parse().unwrap(), &ListenOptions::default()).unwrap();
    (listener.id, listener.addr)
}

/// A backend that serves `clients` connections, with a `Recv` on each, and has nothing left to tell.
fn serving(clients: u32, config: &BackendConfig) -> (EpollBackend, Vec<TcpStream>) {
    let mut backend = EpollBackend::new(config).unwrap();
    let (listener, addr) = listen(&mut backend);
    let mut streams = Vec::new();
    for slot in 0..clients {
        backend.submit(Op::Accept { listener, conn: conn(slot) });
        streams.push(TcpStream::connect(addr).unwrap());
        turns_until(&mut backend, &format!("accepted {slot}"));
        backend.submit(Op::Recv { conn: conn(slot), deadline: None });
    }
    assert_eq!(turn(&mut backend, Duration::from_millis(20)), [""; 0]);
    (backend, streams)
}

fn send(slot: u32, payload: &[u8]) -> Op {
    Op::Send { conn: conn(slot), payload: Bytes::copy_from_slice(payload), more: false }
}

fn batching() -> BackendConfig {
    BackendConfig { batch_within: Duration::from_millis(100), ..BackendConfig::default() }
}

#[test]
fn completions_wait_for_company() {
    let (mut backend, mut peers) = serving(3, &batching());
    let beats = std::thread::spawn(move || {
        for peer in &mut peers {
            std::thread::sleep(Duration::from_millis(15));
            peer.write_all(b"beat").unwrap();
        }
        peers
    });
    assert_eq!(turn(&mut backend, SECOND), ["received 0 4", "received 1 4", "received 2 4"]);
    beats.join().unwrap();
}

#[test]
fn waiting_for_company_ends_at_until_and_at_a_deadline() {
    let (mut backend, _peers) = serving(1, &batching());
    let start = now();
    assert_eq!(turn(&mut backend, Duration::from_millis(10)), [""; 0]);
    backend.submit(Op::Watch { conn: conn(0), deadline: now() + Duration::from_millis(10) });
    assert_eq!(turn(&mut backend, SECOND), ["watch-ended 0 Expired"]);
    assert!(now().saturating_since(start) < Duration::from_millis(90));
}

#[test]
fn a_send_does_not_wait_for_company_and_a_busy_shard_does_not_either() {
    let (mut backend, mut peers) = serving(1, &batching());
    let start = now();
    backend.submit(send(0, b"hello"));
    assert_eq!(turn(&mut backend, SECOND), ["sent 0 Ok(5)"]);
    peers[0].read_exact(&mut [0; 5]).unwrap();
    peers[0].write_all(b"answer").unwrap();
    assert_eq!(turn(&mut backend, SECOND), ["received 0 6"]);
    assert!(now().saturating_since(start) < Duration::from_millis(90));
}

#[test]
fn a_handler_that_sends_without_end_does_not_shut_the_others_out() {
    let (mut backend, mut peers) = serving(2, &BackendConfig::default());
    let mut greedy = peers[0].try_clone().unwrap();
    let reader = std::thread::spawn(move || while greedy.read(&mut [0; 4096]).is_ok_and(|n| n > 0) {});
    peers[1].write_all(b"beat").unwrap();
    let mut told = Vec::new();
    for _ in 0..4 {
        backend.submit(send(0, b"more and more"));
        told.extend(turn(&mut backend, SECOND));
    }
    assert!(told.contains(&"received 1 4".to_owned()), "{told:?}");
    drop((backend, peers));
    reader.join().unwrap();
}

#[test]
fn one_turn_gives_a_flood_one_buffer_and_the_others_their_turn() {
    let (mut backend, mut peers) = serving(2, &BackendConfig::default());
    let mut flood = peers[0].try_clone().unwrap();
    flood.set_nonblocking(true).unwrap();
    while flood.write(&[0; 8192]).is_ok() {}
    peers[1].write_all(b"beat").unwrap();
    std::thread::sleep(Duration::from_millis(50)); // BBR paces
    let told = turn(&mut backend, SECOND);
    assert_eq!(told, ["received 0 65536", "received 1 4"]);
    let told = turn(&mut backend, SECOND);
    assert!(told.len() == 1 && told[0].starts_with("received 0"), "without another edge: {told:?}");
}

#[test]
fn an_urgent_mark_does_not_strand_the_bytes_behind_it() {
    let (mut backend, mut peers) = serving(1, &BackendConfig::default());
    peers[0].write_all(b"before").unwrap();
    SockRef::from(&peers[0]).send_out_of_band(b"!").unwrap();
    peers[0].write_all(b"behind").unwrap();
    let (mut bytes, deadline) = (0, now() + 5 * SECOND);
    while bytes < 12 && now() < deadline {
        for told in turn(&mut backend, SECOND) {
            bytes += told.strip_prefix("received 0 ").unwrap().parse::<usize>().unwrap();
        }
    }
    assert_eq!(bytes, 12);
}

#[test]
fn what_came_before_the_recv_and_the_lease_is_delivered_without_an_edge() {
    let (mut backend, mut peers) = serving(1, &BackendConfig::default());
    backend.submit(Op::Close { conn: conn(0), how: heartring_core::CloseHow::Orderly });
    turns_until(&mut backend, "Closed");
    let (listener, addr) = listen(&mut backend);
    peers[0] = TcpStream::connect(addr).unwrap();
    let id = ConnId::new(0, 2);
    backend.submit(Op::Accept { listener, conn: id });
    turns_until(&mut backend, "accepted");
    peers[0].write_all(b"early").unwrap();
    assert_eq!(turn(&mut backend, Duration::from_millis(20)), [""; 0], "the edge, with nobody to tell");
    let deadline = Some(now() + Duration::from_millis(30));
    backend.submit(Op::Recv { conn: id, deadline });
    assert_eq!(turn(&mut backend, SECOND), ["received 0 5"]);
    assert_eq!(turns_until(&mut backend, "recv-ended"), [format!("recv-ended 0 {:?}", RecvEnd::Expired)]);
    assert!(Some(now()) >= deadline);
}

#[test]
fn readiness_that_is_known_wins_over_a_deadline_that_has_passed() {
    let (mut backend, mut peers) = serving(1, &BackendConfig::default());
    backend.submit(Op::Watch { conn: conn(0), deadline: now() + Duration::from_millis(10) });
    assert_eq!(turn(&mut backend, Duration::ZERO), [""; 0]);
    peers[0].write_all(b"beat").unwrap();
    std::thread::sleep(Duration::from_millis(20)); // the thread is late, the peer was not
    assert_eq!(
        turns_until(&mut backend, "watch-ended"),
        ["received 0 4".to_owned(), format!("watch-ended 0 {:?}", WatchEnd::Ready)]
    );
}

#[test]
fn a_parked_send_goes_on_when_there_is_room() {
    let (mut backend, peers) = serving(1, &batching());
    let payload = vec![7; 1 << 20];
    let mut sent = Vec::new();
    while sent.len() < 2 || backend.ledger().ops(OpKind::Send) == 0 {
        assert!(sent.len() < 100, "the socket buffer never fills");
        backend.submit(send(0, &payload));
        sent.extend(turn(&mut backend, Duration::ZERO));
    }
    let mut peer = peers.into_iter().next().unwrap();
    let reader = std::thread::spawn(move || {
        while peer.read(&mut [0; 8192]).is_ok_and(|n| n > 0) {}
        peer
    });
    turns_until(&mut backend, "sent 0 Ok");
    backend.submit(Op::Close { conn: conn(0), how: heartring_core::CloseHow::Abortive });
    turns_until(&mut backend, "Closed");
    assert_eq!(backend.ledger().sockets, 0);
    reader.join().unwrap();
}

#[test]
fn instants_never_go_back_and_no_client_is_taken_unasked() {
    let mut backend = EpollBackend::new(&BackendConfig::default()).unwrap();
    let (listener, addr) = listen(&mut backend);
    let _clients: Vec<_> = (0..5).map(|_| TcpStream::connect(addr).unwrap()).collect();
    let mut last = Instant::ZERO;
    let mut accepted = 0;
    for round in 0..4 {
        backend.submit(Op::Accept { listener, conn: conn(round) });
        for _ in 0..2 {
            let told = &mut |at, completion: Completion<'_>| {
                assert!(at >= last && matches!(completion, Completion::Accepted { .. }));
                (last, accepted) = (at, accepted + 1);
            };
            backend.wait(Some(now() + Duration::from_millis(5)), told).unwrap();
            assert!(backend.now() >= last);
        }
        assert_eq!(accepted, round + 1);
    }
    backend.submit(Op::Accept { listener, conn: conn(4) });
    backend.submit(Op::Accept { listener, conn: conn(5) });
    backend.submit(Op::Unlisten { listener });
    let told = turns_until(&mut backend, "Unlistened");
    assert_eq!(told.iter().filter(|told| told.contains(Errno::ECANCELED.name())).count(), 2);
    assert_eq!(backend.ledger().ops(OpKind::Accept), 0);
}
