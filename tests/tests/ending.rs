//! How a whole gateway ends: by a signal, by a handler that panics, by being dropped; and that nothing of it stays.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use heartring::{BackendChoice, Config, Conn, DeadlineStrategy, Error, Gateway, Handler, Lines, Summary};
use heartring_tests::{On, alone};
use rustix::process::{Signal, getpid, kill_process};

/// Echoes, and panics when it is asked to.
struct Fragile;

impl Handler for Fragile {
    type Protocol = Lines;

    fn received(&mut self, conn: &mut Conn<'_>, line: &[u8]) {
        assert_ne!(line, b"panic", "as it was asked to");
        conn.send_copy(&[line, b"\n"].concat()).expect("a small answer fits");
    }
}

fn config(backend: BackendChoice) -> Config {
    let on = On { backend, deadlines: None::<DeadlineStrategy>, module: "ending" };
    Config { shards: Some(2), ..on.config(Duration::from_secs(5)) }
}

/// A client that has had an answer, so that a shard certainly knows it.
fn client(gateway: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(gateway).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(b"hello\n").unwrap();
    let mut answer = [0; 6];
    stream.read_exact(&mut answer).expect("it answers");
    stream
}

fn reads_end_of_stream(mut stream: TcpStream) -> bool {
    stream.read(&mut [0; 8]).is_ok_and(|count| count == 0)
}

/// A port that nobody uses.
fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Runs a gateway until a signal comes, which `clients` cause.
fn run_until_signal(backend: BackendChoice, signal: Signal) -> (Result<Summary, Error>, bool) {
    let addr = free_port();
    let visitors = std::thread::spawn(move || {
        while TcpStream::connect(addr).is_err() {
            std::thread::sleep(Duration::from_millis(10));
        }
        let clients: Vec<_> = (0..20).map(|_| client(addr)).collect();
        kill_process(getpid(), signal).unwrap();
        clients.into_iter().all(reads_end_of_stream)
    });
    let ended = Gateway::new(config(backend)).listen(addr.to_string()).run(|_shard| Fragile);
    (ended, visitors.join().unwrap())
}

fn a_signal_ends_it_in_order(backend: BackendChoice) {
    for signal in [Signal::INT, Signal::TERM] {
        let (ended, all_saw_the_end) = run_until_signal(backend, signal);
        let summary = ended.expect("a signal is no error");
        assert_eq!((summary.ledger_open, all_saw_the_end), (0, true), "{signal:?}");
        assert_eq!(summary.stats.closed("draining"), 20, "{signal:?}");
    }
}

fn a_panic_stops_the_other_shards(backend: BackendChoice) {
    let running = Gateway::new(config(backend)).listen("127.0.0.1:0").start(|_shard| Fragile).unwrap();
    let addr = running.addrs()[0];
    let mut clients: Vec<_> = (0..20).map(|_| client(addr)).collect();
    clients.pop().unwrap().write_all(b"panic\n").unwrap();
    let error = running.join().expect_err("a shard has panicked");
    assert!(matches!(error, Error::Panicked(0 | 1)), "{error}");
    // Those of the other shard were closed in order, those of the broken one by the kernel; nobody is left waiting.
    for mut client in clients {
        assert!(client.read(&mut [0; 8]).map_or(true, |count| count == 0));
    }
    TcpStream::connect(addr).expect_err("nothing listens any more");
}

fn dropping_it_stops_it(backend: BackendChoice) {
    let running = Gateway::new(config(backend)).listen("127.0.0.1:0").start(|_shard| Fragile).unwrap();
    let addr = running.addrs()[0];
    let client = client(addr);
    drop(running);
    assert!(reads_end_of_stream(client));
    TcpListener::bind(addr).expect("the port is free again");
}

fn two_gateways_do_not_share_a_port(backend: BackendChoice) {
    let first = Gateway::new(config(backend)).listen("127.0.0.1:0").start(|_shard| Fragile).unwrap();
    let addr = first.addrs()[0].to_string();
    let second = Gateway::new(config(backend)).listen(addr).start(|_shard| Fragile);
    let error = second.err().expect("the port is in use").to_string();
    assert!(error.contains("EADDRINUSE") && !error.contains('\n'), "{error}");
    first.stop();
    assert_eq!(first.join().unwrap().ledger_open, 0);
}

macro_rules! on_each_backend {
    ($($name:ident)*) => {
        mod uring {
            $(#[test]
            fn $name() {
                let on = heartring_tests::On {
                    backend: heartring::BackendChoice::Uring,
                    deadlines: None,
                    module: "uring",
                };
                on.run(|on| super::alone(concat!("uring::", stringify!($name)), || super::$name(on.backend)));
            })*
        }

        mod epoll {
            $(#[test]
            fn $name() {
                super::alone(concat!("epoll::", stringify!($name)), || {
                    super::$name(heartring::BackendChoice::Epoll);
                });
            })*
        }
    };
}

on_each_backend! {
    a_signal_ends_it_in_order
    a_panic_stops_the_other_shards
    dropping_it_stops_it
    two_gateways_do_not_share_a_port
}
