//! Every runtime's server does its work under the load generator, closes who is silent, and ends with its suite.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

use heartring_bench::server::{ServePlan, has_io_uring, try_out};
use heartring_tests::skip;
use serde_json::{Value, json};

/// One server's program.
struct Peer {
    contender: &'static str,
    program: &'static str,
    on_ring: bool,
}

const PEERS: [Peer; 6] = [
    Peer { contender: "mio", program: env!("CARGO_BIN_EXE_heartring-peer-mio"), on_ring: false },
    Peer { contender: "tokio", program: env!("CARGO_BIN_EXE_heartring-peer-tokio"), on_ring: false },
    Peer {
        contender: "tokio_uring",
        program: env!("CARGO_BIN_EXE_heartring-peer-tokio-uring"),
        on_ring: true,
    },
    Peer { contender: "monoio", program: env!("CARGO_BIN_EXE_heartring-peer-monoio"), on_ring: true },
    Peer { contender: "compio", program: env!("CARGO_BIN_EXE_heartring-peer-compio"), on_ring: true },
    Peer { contender: "glommio", program: env!("CARGO_BIN_EXE_heartring-peer-glommio"), on_ring: true },
];

/// A server under way.
struct Server {
    process: Child,
    stdout: BufReader<ChildStdout>,
    addr: SocketAddr,
    plan: ServePlan,
}

impl Server {
    fn start(peer: &Peer, workload: &Value, dead_within: Duration) -> Server {
        let plan = json!({
            "contender": peer.contender,
            "workload": workload,
            "core": rustix::thread::sched_getcpu(),
            "congestion": null,
            "batch_within": Duration::ZERO,
            "dead_within": dead_within,
        });
        let mut process = Command::new(peer.program)
            .arg(plan.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let report: Value = serde_json::from_str(&line).unwrap();
        let addr = report["ready"]["addr"].as_str().unwrap_or_else(|| panic!("{}: {line}", peer.contender));
        let addr = addr.parse().unwrap();
        Server { process, stdout, addr, plan: serde_json::from_value(plan).unwrap() }
    }

    fn connect(&self) -> TcpStream {
        let device = TcpStream::connect(self.addr).unwrap();
        // Against a server that hangs; no test waits that long for one that does not.
        device.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        device
    }

    fn stop(mut self) {
        drop(self.process.stdin.take());
        assert!(self.process.wait().unwrap().success());
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "", "it has nothing to report");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs `test` with every server that can run here, side by side.
fn with_each(test: fn(&Peer)) {
    let io_uring = has_io_uring();
    thread::scope(|scope| {
        for peer in &PEERS {
            if peer.on_ring && !io_uring {
                skip(peer.contender, "no io_uring here");
            } else {
                thread::Builder::new()
                    .name(peer.contender.into())
                    .spawn_scoped(scope, || test(peer))
                    .unwrap();
            }
        }
    });
}

fn echo() -> Value {
    json!({ "echo": { "connections": 20, "bytes": 32 } })
}

fn beats() -> Value {
    json!({ "beats": { "connections": 20, "rate": 1000 } })
}

fn answered_beats() -> Value {
    json!({ "beats": { "connections": 20, "rate": 1000, "answered": true } })
}

fn storm() -> Value {
    json!({ "storm": { "identities": 50, "at_once": 20, "shards": 1 } })
}

/// One device's claim.
const CLAIM: &[u8] = b"\0\0\0\x10device-4711-\0\0\0\x07";
const GRANTED: &[u8] = b"\0\0\0\x07granted";

const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(200);

/// Waits until the server has ended it.
fn see_end(device: &mut TcpStream) {
    match device.read(&mut [0]) {
        Ok(0) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        other => panic!("{}: it should have ended: {other:?}", thread::current().name().unwrap()),
    }
}

fn claim(server: &Server) -> TcpStream {
    let mut device = server.connect();
    device.write_all(CLAIM).unwrap();
    let mut answer = [0; GRANTED.len()];
    device.read_exact(&mut answer).unwrap();
    assert_eq!(answer, GRANTED);
    device
}

#[test]
fn messages_are_echoed_and_counted() {
    with_each(|peer| {
        let server = Server::start(peer, &echo(), LONG);
        let units = try_out(&server.plan, server.addr).unwrap();
        assert!(units > 100, "{}: {units}", peer.contender);
        server.stop();
    });
}

#[test]
fn beats_are_taken() {
    with_each(|peer| {
        let server = Server::start(peer, &beats(), LONG);
        let units = try_out(&server.plan, server.addr).unwrap();
        // Most of 300: a loaded machine may begin or end the window late.
        assert!((200..=400).contains(&units), "{}: {units}", peer.contender);
        server.stop();
    });
}

#[test]
fn beats_are_answered_each_with_one() {
    with_each(|peer| {
        let server = Server::start(peer, &answered_beats(), LONG);
        let mut device = server.connect();
        let mut answer = [0; 12];
        for (beats, answered) in [(&[0; 4][..], 4), (&[0; 7], 4), (&[0; 5], 8)] {
            device.write_all(beats).unwrap();
            device.read_exact(&mut answer[..answered]).unwrap();
        }
        device.set_nonblocking(true).unwrap();
        assert_eq!(device.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock, "{}", peer.contender);
        server.stop();
    });
}

#[test]
fn storms_are_weathered() {
    with_each(|peer| {
        let server = Server::start(peer, &storm(), LONG);
        let units = try_out(&server.plan, server.addr).unwrap();
        assert!(units > 50, "{}: {units}", peer.contender);
        server.stop();
    });
}

#[test]
fn a_message_longer_than_any_buffer_comes_back_whole() {
    with_each(|peer| {
        let server = Server::start(peer, &echo(), LONG);
        let mut device = server.connect();
        let sent: Vec<u8> = (0..4_000_000_u32).map(|number| (number / 4) as u8).collect();
        let mut returned = vec![0; sent.len()];
        thread::scope(|scope| {
            let mut writer = device.try_clone().unwrap();
            let sent = &sent;
            scope.spawn(move || writer.write_all(sent).unwrap());
            device.read_exact(&mut returned).unwrap();
        });
        assert!(returned == sent, "{}", peer.contender);
        drop(device);
        server.stop();
    });
}

#[test]
fn who_is_silent_for_too_long_is_closed() {
    with_each(|peer| {
        for (workload, first) in [(echo(), &b"."[..]), (beats(), &[0; 4]), (storm(), CLAIM)] {
            let server = Server::start(peer, &workload, SHORT);
            let mut mute = server.connect();
            let mut device = server.connect();
            device.write_all(first).unwrap();
            let answer = match first {
                b"." => 1,
                CLAIM => GRANTED.len(),
                _ => 0,
            };
            device.read_exact(&mut vec![0; answer]).unwrap();
            see_end(&mut device);
            see_end(&mut mute);
            server.stop();
        }
    });
}

#[test]
fn what_is_no_beat_ends_the_connection_and_pieces_of_beats_do_not() {
    with_each(|peer| {
        let server = Server::start(peer, &beats(), LONG);
        let mut device = server.connect();
        for piece in [&[0; 3][..], &[0; 6], &[0; 3]] {
            device.write_all(piece).unwrap();
            device.set_nodelay(true).unwrap();
        }
        device.set_nonblocking(true).unwrap();
        assert_eq!(device.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        device.set_nonblocking(false).unwrap();
        device.write_all(&[0, 0, 0, 1]).unwrap();
        see_end(&mut device);
        server.stop();
    });
}

#[test]
fn a_claim_ends_the_former_connection_and_no_other() {
    with_each(|peer| {
        let server = Server::start(peer, &storm(), LONG);
        let mut first = claim(&server);
        let mut second = claim(&server);
        see_end(&mut first);
        second.write_all(&[0; 4]).unwrap();
        // One that leaves by itself holds nothing.
        drop(first);
        let mut third = claim(&server);
        see_end(&mut second);
        third.write_all(&[0; 4]).unwrap();
        drop(third);
        drop(claim(&server));
        server.stop();
    });
}
