//! Causes 1 and 2: clients that are there and do not go on, and clients that are not there any more.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::Duration;

use heartring::{Cause, Lines};
use heartring_tests::{
    Device, GatewayProbe, On, TcpState, accept_queues, client_sockets, eventually, gateway_sockets,
    in_own_network, vanish,
};

use super::site::{
    BACKLOG, LONG, QUEUE, addr_of, any_port, ask, config, has_answer, held, is_drained, keeps_out,
    naive_listener, queued, serves, short_queue,
};

/// What a ghost sends before it falls silent: nothing, half a TLS ClientHello (a TLS server waits for the rest), and half a
/// frame.
const BEGINNINGS: [&[u8]; 3] =
    [b"", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03half a random", b"half a frame"];

/// A server that accepts a client, serves it, and only then accepts the next, is blocked by each of these ghosts.
pub(crate) fn cause_1_a_ghost_that_does_not_go_on_blocks_nobody(on: On) {
    BEGINNINGS.into_iter().for_each(blocks_a_naive_server);
    let probe = GatewayProbe::start::<Lines>(config(on));
    let ghosts: Vec<Device> =
        BEGINNINGS.iter().map(|bytes| Device::connect_and_send(probe.addr(), bytes)).collect();
    let clients = serves(probe.addr(), 20);
    assert!(ghosts.iter().all(|ghost| !probe.is_closed(ghost.addr())), "all the while they were there");
    drop(clients);
    probe.closed_count(20, LONG);
    let stats = probe.finish().stats;
    assert_eq!((stats.accepted, stats.closed("peer_closed"), stats.closed("draining")), (23, 20, 3));
}

fn blocks_a_naive_server(beginning: &[u8]) {
    const CLIENTS: usize = 6;
    let listener = TcpListener::bind(any_port()).expect("loopback can be listened on");
    let addr = listener.local_addr().expect("it is bound");
    let server = thread::spawn(move || {
        for client in listener.incoming().take(1 + CLIENTS) {
            let mut client = BufReader::new(client.expect("accept works"));
            let mut line = String::new();
            if client.read_line(&mut line).is_ok_and(|count| count > 0) {
                client.get_ref().write_all(b"well?\n").expect("the client is there");
            }
        }
    });
    let ghost = Device::connect_and_send(addr, beginning);
    eventually("the server has accepted the ghost", || is_drained(addr));
    let mut clients = queued(addr, CLIENTS);
    clients.iter_mut().for_each(ask);
    // They are connected, they have asked, and nobody is going to look at them.
    assert_eq!(client_sockets(addr, TcpState::Established), 1 + CLIENTS);
    assert_eq!(accept_queues(addr), [CLIENTS], "{beginning:?} blocks a naive server");
    drop(ghost);
    clients.iter_mut().for_each(has_answer);
    server.join().expect("the server does not panic");
}

/// The devices have died without a word; the kernel has taken each of them for a client.
pub(crate) fn cause_2_a_queue_full_of_reboot_ghosts_is_emptied(on: On) {
    let name = "cause_2_a_queue_full_of_reboot_ghosts_is_emptied";
    in_own_network(&format!("{}::{name}", on.module), &[], || reboot_ghosts(on));
}

fn reboot_ghosts(on: On) {
    let naive = naive_listener(any_port(), BACKLOG);
    fill_with_ghosts(addr_of(&naive));
    let mut config = short_queue(on);
    config.overrides.hello_within = Some(Duration::from_secs(1));
    let (probe, holder) = held(config);
    fill_with_ghosts(probe.addr());
    probe.release();
    eventually("the queue is empty", || is_drained(probe.addr()));
    let clients = serves(probe.addr(), 20);
    // The ghosts say nothing: the hello deadline ends them, and the kernel keeps nothing of them.
    probe.closed_count(QUEUE, LONG);
    assert!(clients.iter().all(|client| !probe.is_closed(client.addr())));
    drop((clients, holder));
    eventually("the kernel has forgotten them", || gateway_sockets(probe.addr(), TcpState::Established) == 0);
    let stats = probe.finish().stats;
    assert_eq!(stats.closed(Cause::HelloMissed.name()), QUEUE as u64, "{stats:?}");
}

/// Fills the queue of a listener that stands still, and shows that nobody else gets in.
fn fill_with_ghosts(addr: SocketAddr) {
    let others = client_sockets(addr, TcpState::Established);
    for ghost in queued(addr, QUEUE) {
        vanish(ghost).expect("a network of one's own allows TCP_REPAIR");
    }
    assert_eq!(client_sockets(addr, TcpState::Established), others, "the devices are gone");
    assert_eq!(gateway_sockets(addr, TcpState::Established), others + QUEUE, "for the kernel they are there");
    assert_eq!(accept_queues(addr), [QUEUE]);
    assert!(keeps_out(addr), "a healthy client finds the queue full");
}
