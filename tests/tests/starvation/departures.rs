//! Causes 3 and 9: clients that leave before they are accepted.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};

use heartring::Cause;
use heartring_tests::{
    Device, On, TcpState, accept_queues, client_sockets, eventually, gateway_sockets, in_own_network,
};

use super::site::{
    BACKLOG, LONG, QUEUE, addr_of, any_port, config, held, is_drained, keeps_out, naive_listener, queued,
    serves, short_queue,
};

/// Their sockets are gone at both ends, and their places in the queue are taken all the same.
pub(crate) fn cause_3_clients_reset_in_the_queue_give_their_places_back(on: On) {
    let name = "cause_3_clients_reset_in_the_queue_give_their_places_back";
    in_own_network(&format!("{}::{name}", on.module), &[], || reset_in_the_queue(on));
}

fn reset_in_the_queue(on: On) {
    let naive = naive_listener(any_port(), BACKLOG);
    fill_with_resets(addr_of(&naive));
    let (probe, _holder) = held(short_queue(on));
    fill_with_resets(probe.addr());
    probe.release();
    eventually("the queue is empty", || is_drained(probe.addr()));
    let _clients = serves(probe.addr(), 20);
    let closed = probe.closed_count(QUEUE, LONG);
    assert!(closed.iter().all(|closed| closed.cause == Cause::PeerReset), "{closed:?}");
    let stats = probe.finish().stats;
    assert_eq!((stats.closed("peer_reset"), stats.closed("draining")), (QUEUE as u64, 21), "{stats:?}");
}

fn fill_with_resets(addr: SocketAddr) {
    let others = gateway_sockets(addr, TcpState::Established);
    queued(addr, QUEUE).into_iter().for_each(Device::reset);
    assert_eq!(client_sockets(addr, TcpState::Established), others);
    eventually("no socket is left of them", || gateway_sockets(addr, TcpState::Established) == others);
    assert_eq!(accept_queues(addr), [QUEUE], "and yet they fill the queue");
    assert!(keeps_out(addr), "a healthy client finds it full");
}

/// Who asks the accepted socket for its peer learns that there is none. The address that accept itself gives is good.
pub(crate) fn cause_9_a_client_gone_before_its_accept_still_has_an_address(on: On) {
    a_naive_server_asks_for_the_peer();
    let (probe, _holder) = held(config(on));
    let mut gone = Vec::new();
    for (nth, mut client) in queued(probe.addr(), 20).into_iter().enumerate() {
        gone.push(client.addr());
        if nth % 2 == 0 {
            client.send(b"echo never read\n");
        }
        client.reset();
    }
    probe.release();
    for addr in gone {
        // Found by its address: it is in the log under that.
        assert_eq!(probe.closed(addr).cause, Cause::PeerReset);
    }
    let _clients = serves(probe.addr(), 20);
    let stats = probe.finish().stats;
    assert_eq!((stats.closed("peer_reset"), stats.accept_failures), (20, 0), "{stats:?}");
}

fn a_naive_server_asks_for_the_peer() {
    let listener = TcpListener::bind(any_port()).expect("loopback can be listened on");
    let client = Device::connect(listener.local_addr().expect("it is bound"));
    let its_addr = client.addr();
    client.reset();
    let (socket, addr) = listener.accept().expect("the client has left, and accept succeeds");
    assert_eq!(addr, its_addr);
    assert_eq!(socket.peer_addr().expect_err("there is no peer").kind(), ErrorKind::NotConnected);
}
