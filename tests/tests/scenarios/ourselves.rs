//! When we are the ones who are late.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use heartring::{Cause, DeadlineStrategy, Lines};
use heartring_tests::{Device, Event, Fleet, GatewayProbe, On, PingLines};

const DEAD_WITHIN: Duration = Duration::from_secs(1);

/// As after SIGSTOP, a page fault storm or a handler that blocks: the thread is away for two deadlines while the beats of
/// twenty devices pile up, and some have just become overdue.
pub(crate) fn a_blocked_handler_blames_nobody(on: On) {
    let probe = GatewayProbe::start::<Lines>(on.config(DEAD_WITHIN));
    let devices: Vec<Device> = (0..20).map(|_| Device::connect(probe.addr())).collect();
    let addrs: Vec<_> = devices.iter().map(Device::addr).collect();
    let fleet = Fleet::beat(devices, DEAD_WITHIN / 10, b"\n");
    // One that beats rarely: silent for most of its deadline when the thread goes away.
    let mut rare = Device::connect_and_send(probe.addr(), b"hello\n");
    thread::sleep(DEAD_WITHIN * 6 / 10);
    let mut culprit = Device::connect_and_send(probe.addr(), b"block 2000\n");
    thread::sleep(Duration::from_millis(200));
    rare.send(b"\n"); // In time, into a gateway that does not listen.
    culprit.send(b"echo awake\n");
    culprit.expect(b"awake\n");
    rare.send(b"\n");
    culprit.send(b"\n");
    thread::sleep(DEAD_WITHIN / 4);
    for addr in addrs.into_iter().chain([rare.addr(), culprit.addr()]) {
        assert!(!probe.is_closed(addr), "a false close: {:?}", probe.log().of(addr));
    }
    // The rare one falls silent for good: that is still found.
    let closed = probe.closed(rare.addr());
    assert_eq!(closed.cause, Cause::HeartbeatMissed);
    assert!(closed.decided_at >= rare.spoke_at + DEAD_WITHIN, "early: {closed:?}");
    fleet.stop();
    let stats = probe.finish().stats;
    // With leases nobody's deadline was seen to pass: every socket had something to read.
    let leased = on.deadlines == Some(DeadlineStrategy::Lease);
    assert!(leased || stats.stalls >= 1, "{stats:?}");
}

/// Devices that speak only when they are asked cannot have spoken while nobody asked them.
pub(crate) fn a_blocked_handler_gives_the_asked_time_to_answer(on: On) {
    let probe = GatewayProbe::start::<PingLines>(on.config(DEAD_WITHIN));
    let connect = |_| Device::connect_and_send(probe.addr(), b"hello\n");
    let devices: Vec<Device> = (0..5).map(connect).collect();
    let addrs: Vec<_> = devices.iter().map(Device::addr).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let answering: Vec<_> = devices
        .into_iter()
        .map(|device| (device, Arc::clone(&stop)))
        .map(|(device, stop)| thread::spawn(move || answer_pings(device, &stop)))
        .collect();
    let mut culprit = Device::connect_and_send(probe.addr(), b"block 2000\n");
    thread::sleep(DEAD_WITHIN / 5); // So that it is another turn's: a send has a deadline of its own.
    culprit.send(b"echo awake\n");
    culprit.expect(b"awake\n");
    thread::sleep(DEAD_WITHIN * 2);
    for addr in addrs {
        let events = probe.log().of(addr);
        let blamed = events.iter().any(|event| matches!(event, Event::Closing(_) | Event::Closed(_)));
        assert!(!blamed, "blamed for our absence: {events:?}");
    }
    stop.store(true, Ordering::Release);
    for thread in answering {
        thread.join().expect("it does not panic");
    }
    let stats = probe.finish().stats;
    assert!(stats.stalls >= 1, "{stats:?}");
}

fn answer_pings(mut device: Device, stop: &AtomicBool) {
    while !stop.load(Ordering::Acquire) {
        let (asked, _) = device.read_for(Duration::from_millis(20));
        for _ in asked.iter().filter(|byte| **byte == b'\n') {
            // If it was cut, the test finds that out at the gateway.
            let _ = device.try_send(b"pong\n");
        }
    }
}
