//! Five thousand clients at once.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread;

use heartring_tests::{eventually, skip};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect as connect_to, socket_with};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::client::now;
use crate::common::client;
use crate::common::server::{Server, backends};
use crate::wire::{DISCONNECT, PINGREQ, PINGRESP, Raw, connect, packet, text};

const CLIENTS: usize = 5000;
const PUBLISHERS: usize = 5;

/// A client has one descriptor here and one in the gateway.
const DESCRIPTORS: u64 = CLIENTS as u64 + 200;

#[test]
fn five_thousand_clients_each_get_what_is_theirs() {
    if !has_descriptors("five_thousand_clients_each_get_what_is_theirs") {
        return;
    }
    for backend in backends() {
        let server = Server::start("mqtt", backend, &["--shards", "2"]);
        play(backend, server.addr(), CLIENTS);
        server.stop();
    }
}

/// The script is no invention of this gateway's: another broker does the same.
#[test]
fn mosquitto_agrees() {
    let test = "mosquitto_agrees";
    if !client::has(test, "mosquitto") || !has_descriptors(test) {
        return;
    }
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let addr = free.expect("a port is free");
    let mut mosquitto = Command::new("mosquitto");
    let mosquitto =
        mosquitto.args(["-p", &addr.port().to_string()]).stdout(Stdio::null()).stderr(Stdio::null());
    let mut mosquitto = mosquitto.spawn().expect("it starts");
    eventually("mosquitto listens", || TcpStream::connect(addr).is_ok());
    let played = thread::spawn(move || play("mosquitto", addr, 64)).join(); // Its backlog is 100.
    mosquitto.kill().and_then(|()| mosquitto.wait()).expect("it runs until now");
    played.expect("the script succeeds");
}

/// All connect and subscribe, so many at once, each to a topic of its own; each gets one message; all ping; all leave.
fn play(broker: &str, addr: SocketAddr, at_once: usize) {
    let began = now();
    let mut clients = Vec::new();
    while clients.len() < CLIENTS {
        let first = clients.len();
        clients.extend((first..CLIENTS.min(first + at_once)).map(|nth| connect_from(nth, addr)));
        for (nth, client) in clients.iter_mut().enumerate().skip(first) {
            // A client need not wait for CONNACK.
            let subscribe = packet(0x82, &[b"\0\x01", &text(&topic(nth)), b"\0"]);
            client.say(&[connect(4, &format!("crowd-{nth}"), 60), subscribe].concat());
        }
        each(&mut clients[first..], |client| client.hear(b"\x20\x02\0\0\x90\x03\0\x01\0"));
    }
    let connected = began.elapsed();
    for publisher in 0..PUBLISHERS {
        let (mut raw, _) = Raw::let_in(addr, &connect(4, &format!("publisher-{publisher}"), 60));
        let ours = (publisher..CLIENTS).step_by(PUBLISHERS);
        ours.clone().for_each(|nth| raw.say(&publish(0x32, nth, &[0, 1])));
        ours.for_each(|_| raw.hear(b"\x40\x02\0\x01"));
    }
    for (nth, client) in clients.iter_mut().enumerate() {
        client.hear(&publish(0x30, nth, &[]));
        client.say(PINGREQ);
    }
    // Had a message come twice, it would come before.
    each(&mut clients, |client| client.hear(PINGRESP));
    each(&mut clients, |client| client.say(DISCONNECT));
    for client in clients {
        assert_eq!(client.last_words(), b"");
    }
    println!(
        "{CLIENTS} clients on {broker}: connected within {connected:?}, all done after {:?}",
        began.elapsed()
    );
}

fn each(clients: &mut [Raw], turn: impl Fn(&mut Raw)) {
    for client in clients {
        turn(client);
    }
}

/// From one of a hundred addresses. Clients that another test starts meanwhile must not inherit it.
fn connect_from(nth: usize, addr: SocketAddr) -> Raw {
    let source = SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, 2 + (nth % 100) as u8), 0);
    let stream = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None);
    let stream = stream.expect("a descriptor is left");
    bind(&stream, &source).and_then(|()| connect_to(&stream, &addr)).expect("a broker takes clients");
    Raw::from_stream(TcpStream::from(stream))
}

fn topic(nth: usize) -> String {
    format!("crowd/{nth}/down")
}

fn publish(header: u8, nth: usize, id: &[u8]) -> Vec<u8> {
    packet(header, &[&text(&topic(nth)), id, nth.to_string().as_bytes()])
}

/// Moves the limit of this process, and of the brokers that it starts, up as far as it goes.
fn has_descriptors(test: &str) -> bool {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("a soft limit can be moved");
    let enough = maximum.is_none_or(|maximum| maximum >= DESCRIPTORS);
    if !enough {
        skip(test, &format!("RLIMIT_NOFILE is {maximum:?}, and {DESCRIPTORS} descriptors are needed"));
    }
    enough
}
