//! What the nine tests have in common: a gateway that stands still, a queue that fills, and the proof that clients are
//! served.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use heartring::{Config, Lines};
use heartring_socket::now;
use heartring_tests::{Device, Event, GatewayProbe, On, accept_queues, eventually};
use socket2::{Domain, Socket, Type};

/// Nothing here ends by a deadline that a test does not set itself.
pub(crate) const LONG: Duration = Duration::from_mins(1);

/// The kernel admits one more than the backlog.
pub(crate) const BACKLOG: u32 = 8;
pub(crate) const QUEUE: usize = BACKLOG as usize + 1;

/// A healthy client is served within this. What the tests measure is some milliseconds; the machine may be busy.
const SERVED_WITHIN: Duration = Duration::from_secs(5);

const QUESTION: &[u8] = b"echo well?\n";
const ANSWER: &[u8] = b"well?\n";

/// One shard. The clients stay to the end and do not close: the stop need not wait for them.
pub(crate) fn config(on: On) -> Config {
    let mut config = on.config(LONG);
    config.overrides.drain_within = Some(Duration::from_millis(100));
    config
}

/// The same with a short queue.
pub(crate) fn short_queue(on: On) -> Config {
    Config { backlog: BACKLOG, ..config(on) }
}

/// A gateway one of whose shards stands still, and the device that made it.
pub(crate) fn held(config: Config) -> (GatewayProbe, Device) {
    let probe = GatewayProbe::start::<Lines>(config);
    let holder = Device::connect_and_send(probe.addr(), b"hold\n");
    probe.wait(holder.addr(), "hold", |event| *event == Event::Received(b"hold".to_vec()));
    (probe, holder)
}

/// A listener with a short queue that nobody accepts from: what a server is whose accept loop stands still.
pub(crate) fn naive_listener(addr: SocketAddr, backlog: u32) -> Socket {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None).expect("a descriptor is left");
    socket.set_reuse_port(true).expect("SO_REUSEPORT can be set");
    socket.bind(&addr.into()).expect("the address is this machine's");
    socket.listen(backlog.cast_signed()).expect("a bound socket can listen");
    socket
}

/// A port of loopback that the kernel chooses.
pub(crate) fn any_port() -> SocketAddr {
    "127.0.0.1:0".parse().expect("it is an address")
}

pub(crate) fn addr_of(listener: &Socket) -> SocketAddr {
    let addr = listener.local_addr().expect("it is bound");
    addr.as_socket().expect("it is an IP address")
}

/// Clients of a listener that stands still, all of them in its queue.
pub(crate) fn queued(addr: SocketAddr, count: usize) -> Vec<Device> {
    let waiting = || accept_queues(addr).iter().sum::<usize>();
    let before = waiting();
    let clients = (0..count).map(|_| Device::connect(addr)).collect();
    eventually("the clients are in the queue", || waiting() == before + count);
    clients
}

/// Whether a client that comes now is kept out: its SYN is ignored.
pub(crate) fn keeps_out(addr: SocketAddr) -> bool {
    TcpStream::connect_timeout(&addr, Duration::from_millis(300)).is_err()
}

pub(crate) fn is_drained(addr: SocketAddr) -> bool {
    accept_queues(addr).iter().sum::<usize>() == 0
}

/// Has healthy clients come, ask and be answered, all within a bound; they stay.
pub(crate) fn serves(gateway: SocketAddr, count: usize) -> Vec<Device> {
    let serve = |_| {
        let began = now();
        let mut client = Device::connect(gateway);
        is_served(&mut client);
        let took = now().saturating_since(began);
        assert!(took < SERVED_WITHIN, "a healthy client was served after {took:?}");
        client
    };
    (0..count).map(serve).collect()
}

/// Sends the question.
pub(crate) fn ask(client: &mut Device) {
    client.send(QUESTION);
}

/// Waits for the answer.
pub(crate) fn has_answer(client: &mut Device) {
    client.expect(ANSWER);
}

/// Both.
pub(crate) fn is_served(client: &mut Device) {
    ask(client);
    has_answer(client);
}
