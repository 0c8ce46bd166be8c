//! Causes 4 and 5: the queue is full when the third packet of a handshake arrives.
//!
//! The client is ESTABLISHED then, and the server is not (`tcp_abort_on_overflow` is 0). What it sends is thrown away until
//! there is room; whatever it repeats after that brings it in.
//!
//! - While SYN-RECV is remembered, the server repeats its own packet, too: after about 1, 3 and 7 seconds and so on up to 63.
//!   So even a client that says nothing comes in, once a queue has had room at such a moment.
//! - With SYN cookies the server remembers nothing. A client that speaks comes in, for its data carries the cookie; one that
//!   waits for the server to speak first waits for ever, and no server can know of it. Against that helps only a timeout on
//!   the device: a login that is not answered is begun anew.
//!
//! A client with TCP_QUICKACK off keeps its third packet back for a delayed acknowledgement (40 to 200 ms). That gives time to
//! fill the queue between the second packet and the third.

use std::net::{SocketAddr, TcpStream};

use heartring::Lines;
use heartring_tests::{
    Device, Event, GatewayProbe, On, TcpState, accept_queues, client_sockets, eventually, gateway_sockets,
    in_own_network, network_counter,
};
use socket2::{Domain, Socket, Type};

use super::site::{
    BACKLOG, QUEUE, addr_of, any_port, ask, has_answer, held, is_drained, is_served, naive_listener, queued,
    serves, short_queue,
};

/// Clients whose third packet comes late. Fewer than the backlog, which bounds the handshakes under way, too.
const LATE: usize = 6;

/// Every client of the own network sends SYN cookies' answers.
const ALWAYS_COOKIES: (&str, &str) = ("tcp_syncookies", "2");
const NEVER_ABORT: (&str, &str) = ("tcp_abort_on_overflow", "0");

pub(crate) fn cause_4_a_queue_full_at_the_third_packet_loses_nobody(on: On) {
    let name = "cause_4_a_queue_full_at_the_third_packet_loses_nobody";
    let body = || {
        let naive = naive_listener(any_port(), BACKLOG);
        let _clients = overflow(addr_of(&naive));
        assert_eq!(gateway_sockets(addr_of(&naive), TcpState::SynRecv), LATE, "it waits for them");
        nobody_is_stuck_while_it_turns(on);
        who_was_stuck_is_served_when_it_turns_again(on, true);
    };
    in_own_network(&format!("{}::{name}", on.module), &[NEVER_ABORT], body);
}

pub(crate) fn cause_5_behind_syn_cookies_who_speaks_is_served(on: On) {
    let name = "cause_5_behind_syn_cookies_who_speaks_is_served";
    let body = || {
        let naive = naive_listener(any_port(), BACKLOG);
        let _clients = overflow(addr_of(&naive));
        assert_eq!(gateway_sockets(addr_of(&naive), TcpState::SynRecv), 0, "nothing is remembered");
        assert!(network_counter("SyncookiesSent") >= LATE as u64);
        nobody_is_stuck_while_it_turns(on);
        who_was_stuck_is_served_when_it_turns_again(on, false);
    };
    in_own_network(&format!("{}::{name}", on.module), &[NEVER_ABORT, ALWAYS_COOKIES], body);
}

/// As many as four queues full, at once, some of them with a late third packet: whom the short queue turns away for a
/// moment, its own repetition brings in.
fn nobody_is_stuck_while_it_turns(on: On) {
    let probe = GatewayProbe::start::<Lines>(short_queue(on));
    let mut clients = late_clients(probe.addr());
    clients.extend((0..4 * QUEUE).map(|_| Device::connect(probe.addr())));
    clients.iter_mut().for_each(ask);
    clients.iter_mut().for_each(has_answer);
    eventually("no handshake is unfinished", || gateway_sockets(probe.addr(), TcpState::SynRecv) == 0);
    assert!(is_drained(probe.addr()));
    let stats = probe.finish().stats;
    assert_eq!(stats.closed("draining"), clients.len() as u64, "{stats:?}");
}

/// `is_remembered`: the server knows of the handshakes that found no room.
fn who_was_stuck_is_served_when_it_turns_again(on: On, is_remembered: bool) {
    let (probe, _holder) = held(short_queue(on));
    let Overflow { mut late, mut queued } = overflow(probe.addr());
    let stuck = if is_remembered { LATE } else { 0 };
    assert_eq!(gateway_sockets(probe.addr(), TcpState::SynRecv), stuck);
    let mut silent = late.split_off(LATE / 2);
    let speakers = &mut late;
    queued.iter_mut().chain(speakers.iter_mut()).for_each(ask);
    probe.release();
    queued.iter_mut().chain(speakers.iter_mut()).for_each(has_answer);
    let healthy = serves(probe.addr(), 20);
    if is_remembered {
        for client in &silent {
            probe.wait(client.addr(), "a silent client", |event| *event == Event::Opened);
        }
    } else {
        let known = |client: &Device| !probe.log().of(client.addr()).is_empty();
        assert!(!silent.iter().any(known), "nobody can know of them");
    }
    silent.iter_mut().for_each(is_served);
    eventually("no handshake is unfinished", || gateway_sockets(probe.addr(), TcpState::SynRecv) == 0);
    let stats = probe.finish().stats;
    let all = 1 + queued.len() + LATE + healthy.len();
    assert_eq!(stats.closed("draining"), all as u64, "{stats:?}");
}

/// Clients of a listener that stands still.
struct Overflow {
    /// Their third packet found the queue full.
    late: Vec<Device>,
    /// They fill it.
    queued: Vec<Device>,
}

/// Makes the queue of a listener that stands still overflow at the third packet, and shows it.
fn overflow(addr: SocketAddr) -> Overflow {
    let (overflows, others) =
        (network_counter("ListenOverflows"), client_sockets(addr, TcpState::Established));
    let late = late_clients(addr);
    let queued = queued(addr, QUEUE);
    eventually("the late packets have found the queue full", || {
        network_counter("ListenOverflows") >= overflows + LATE as u64
    });
    assert_eq!(accept_queues(addr), [QUEUE]);
    // All of them believe that they are connected.
    assert_eq!(client_sockets(addr, TcpState::Established), others + LATE + QUEUE);
    assert_eq!(gateway_sockets(addr, TcpState::Established), others + QUEUE);
    Overflow { late, queued }
}

/// Clients that are connected and keep their third packet back for a while.
fn late_clients(addr: SocketAddr) -> Vec<Device> {
    let connect = |_| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a descriptor is left");
        socket.set_tcp_quickack(false).expect("TCP_QUICKACK can be set");
        socket.connect(&addr.into()).expect("the second packet comes at once");
        Device::from_stream(TcpStream::from(socket))
    };
    (0..LATE).map(connect).collect()
}
