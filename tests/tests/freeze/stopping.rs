//! A gateway that is frozen while it stops: it is past the time at which it would give up when it goes on.

use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use heartring_tests::{Device, GatewayChild, On};

/// Clients that do not close: the stop waits for them until `drain_within`.
const CLIENTS: usize = 20;

/// Longer than `drain_within` of these tests, and the two seconds after which a shard gives up.
const FROZEN: Duration = Duration::from_secs(4);

pub(crate) fn run(on: On, test: &str) {
    if GatewayChild::is_child(test) {
        return GatewayChild::serve(on.config(Duration::from_secs(30)));
    }
    let mut gateway = GatewayChild::spawn(test);
    let clients: Vec<Device> =
        (0..CLIENTS).map(|_| Device::connect_and_send(gateway.addr(), b"hello\n")).collect();
    // Once the door is shut, the end has begun.
    gateway.begin_end();
    while TcpStream::connect(gateway.addr()).is_ok() {
        thread::yield_now();
    }
    gateway.freeze();
    thread::sleep(FROZEN);
    gateway.thaw();
    // The child fails if anything was left open.
    gateway.ended();
    drop(clients);
}
