//! Peers that do not take what is sent to them.

use std::thread;
use std::time::Duration;

use heartring::{Cause, Config, Lines};
use heartring_tests::{Device, Event, Fleet, GatewayProbe, On, kernel_forgets};

const STALL_WITHIN: Duration = Duration::from_secs(2);

fn config(on: On) -> Config {
    let mut config = on.config(Duration::from_mins(1));
    config.overrides.send_stall_within = Some(STALL_WITHIN);
    config
}

/// It beats all the while: a beat is no excuse for not reading.
pub(crate) fn a_peer_that_never_reads_is_a_slow_consumer(on: On) {
    let probe = GatewayProbe::start::<Lines>(config(on));
    let mut witness = Device::connect_and_send(probe.addr(), b"hello\n");
    let sleeper = Device::connect_and_send(probe.addr(), b"flood\n");
    let (addr, asked_at) = (sleeper.addr(), sleeper.spoke_at);
    let fleet = Fleet::beat(vec![sleeper], Duration::from_millis(50), b"\n");
    probe.wait(addr, "full queue", |event| *event == Event::Full);
    while !probe.is_closed(addr) {
        witness.send(b"echo quick\n");
        witness.expect(b"quick\n");
        thread::sleep(Duration::from_millis(20));
    }
    let closed = probe.closed(addr);
    assert_eq!(closed.cause, Cause::SlowConsumer);
    assert!(closed.decided_at >= asked_at + STALL_WITHIN, "early: {closed:?}");
    assert!(closed.evidence.socket.unsent.is_some_and(|bytes| bytes > 0), "{closed:?}");
    kernel_forgets(probe.addr(), addr, Duration::from_secs(5));
    assert!(!probe.is_closed(witness.addr()));
    fleet.stop();
    probe.finish();
}

/// Slow, but moving: what counts is that bytes are taken, not how many.
pub(crate) fn a_slow_reader_is_not_cut(on: On) {
    let probe = GatewayProbe::start::<Lines>(config(on));
    let mut reader = Device::connect_and_send(probe.addr(), b"flood\n");
    probe.wait(reader.addr(), "full queue", |event| *event == Event::Full);
    let mut taken = 0;
    for _ in 0..12 {
        thread::sleep(STALL_WITHIN / 4);
        taken += reader.read_for(Duration::from_millis(30)).0.len();
    }
    assert!(!probe.is_closed(reader.addr()), "{:?}", probe.log().of(reader.addr()).last());
    assert!(taken > 0);
    reader.reset();
    assert!(probe.finish().stats.sent_bytes >= taken as u64);
}
