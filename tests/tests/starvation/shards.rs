//! Causes 6 and 7: clients that one wake-up does not cover, and clients that the kernel has given to a shard that does not
//! turn.

use std::time::Duration;

use heartring::{Config, Limits};
use heartring_tests::{Device, Event, GatewayProbe, On, TcpState, accept_queues, client_sockets, eventually};
use rustix::event::{Timespec, epoll};

use super::site::{
    addr_of, any_port, ask, config, has_answer, held, is_drained, is_served, naive_listener, queued, serves,
};

/// An edge-triggered listener tells of five clients once. A server that accepts one per event leaves four behind.
pub(crate) fn cause_6_many_clients_in_one_event_are_all_accepted(on: On) {
    const CLIENTS: usize = 100;
    one_accept_per_event_leaves_four_of_five();
    // Fewer accepts at a time than clients: the rest of them comes without an event of its own.
    let limits = Limits { accepts_in_flight: 4, ..config(on).limits };
    let (probe, _holder) = held(Config { limits, ..config(on) });
    let mut clients = queued(probe.addr(), CLIENTS);
    probe.release();
    clients.iter_mut().for_each(is_served);
    let stats = probe.finish().stats;
    assert_eq!(stats.accepted, 1 + CLIENTS as u64);
}

fn one_accept_per_event_leaves_four_of_five() {
    let listener = naive_listener(any_port(), 128);
    let poller = epoll::create(epoll::CreateFlags::CLOEXEC).expect("a descriptor is left");
    let data = epoll::EventData::new_u64(0);
    epoll::add(&poller, &listener, data, epoll::EventFlags::IN | epoll::EventFlags::ET).expect("it is open");
    let clients = queued(addr_of(&listener), 5);
    let events = |timeout: Duration| {
        let timeout = Timespec { tv_sec: 0, tv_nsec: timeout.as_nanos() as _ };
        let mut events = Vec::with_capacity(8);
        let poll = || epoll::wait(&poller, rustix::buffer::spare_capacity(&mut events), Some(&timeout));
        rustix::io::retry_on_intr(poll).expect("it polls")
    };
    assert_eq!(events(Duration::from_millis(500)), 1);
    let _accepted = listener.accept().expect("there are five");
    assert_eq!(events(Duration::from_millis(100)), 0, "no other event comes");
    assert_eq!(accept_queues(addr_of(&listener)), [clients.len() - 1]);
}

/// The kernel goes on giving a stalled shard its share of the clients. They wait, and are served when it turns again; those
/// of the other shards do not notice. (Closing a stuck shard's listener is the watchdog's affair.)
pub(crate) fn cause_7_a_stalled_shard_loses_nobody_and_stops_nobody_else(on: On) {
    const CLIENTS: usize = 40;
    a_stalled_worker_starves_its_share(CLIENTS);
    let (probe, _holder) = held(Config { shards: Some(2), watchdog: None, ..config(on) });
    let mut clients = queued_or_answered(&probe, CLIENTS);
    let waiting: usize = accept_queues(probe.addr()).iter().sum();
    println!("{waiting} of {CLIENTS} wait for the stalled shard");
    assert!((1..CLIENTS).contains(&waiting), "the kernel spreads them over both");
    assert_eq!(client_sockets(probe.addr(), TcpState::Established), 1 + CLIENTS);
    probe.release();
    clients.iter_mut().for_each(has_answer);
    eventually("the queues are empty", || is_drained(probe.addr()));
    let healthy = serves(probe.addr(), 20);
    let stats = probe.finish().stats;
    let all = 1 + CLIENTS + healthy.len();
    assert_eq!(stats.closed("draining"), all as u64, "{stats:?}");
}

/// Clients that have asked, each of which has been heard by a shard that turns or waits for the one that does not.
fn queued_or_answered(probe: &GatewayProbe, count: usize) -> Vec<Device> {
    let mut clients: Vec<Device> = (0..count).map(|_| Device::connect(probe.addr())).collect();
    clients.iter_mut().for_each(ask);
    let is_heard = |client: &Device| {
        probe.log().of(client.addr()).iter().any(|event| matches!(event, Event::Received(_)))
    };
    eventually("each of them is heard or waits", || {
        let heard = clients.iter().filter(|client| is_heard(client)).count();
        let queues = accept_queues(probe.addr());
        // The shard that turns has emptied its own queue.
        queues.contains(&0) && heard + queues.iter().sum::<usize>() == count
    });
    clients
}

fn a_stalled_worker_starves_its_share(clients: usize) {
    let worker = naive_listener(any_port(), 128);
    let stalled = naive_listener(addr_of(&worker), 128);
    let _clients = queued(addr_of(&worker), clients);
    worker.set_nonblocking(true).expect("a socket can be non-blocking");
    let accepted = std::iter::from_fn(|| worker.accept().ok()).count();
    let starving: usize = accept_queues(addr_of(&stalled)).iter().sum();
    assert!(starving > 0 && accepted + starving == clients, "{accepted} of {clients} were accepted");
}
