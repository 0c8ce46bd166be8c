//! S2: heartbeats that nobody answers, and deadlines that a connection negotiates.

use std::thread;
use std::time::Duration;

use heartring::{Cause, Lines};
use heartring_tests::{Device, End, Event, Fleet, GatewayProbe, On};

const DEAD_WITHIN: Duration = Duration::from_secs(1);

/// Ten beats per deadline: a busy machine may lose some.
const BEAT_EVERY: Duration = Duration::from_millis(100);

/// Nothing in the other direction, for several deadlines.
pub(crate) fn one_way_beats_keep_a_connection_alive(on: On) {
    let probe = GatewayProbe::start::<Lines>(on.config(DEAD_WITHIN));
    let device = Device::connect(probe.addr());
    let addr = device.addr();
    let fleet = Fleet::beat(vec![device], BEAT_EVERY, b"\n");
    thread::sleep(DEAD_WITHIN * 4);
    assert!(!probe.is_closed(addr), "{:?}", probe.log().of(addr));
    let mut device = fleet.stop().remove(0);
    let (sent, end) = device.read_for(Duration::from_millis(1));
    assert_eq!((sent, end), (vec![], End::Open), "the gateway has sent nothing");
    let stats = probe.finish().stats;
    assert_eq!(stats.sent_bytes, 0);
    assert!(stats.beats >= 20, "{stats:?}");
    assert_eq!(stats.closed("draining"), 1);
}

/// Twice, so that what was armed for the first time is there for the second.
pub(crate) fn a_beat_in_time_brings_an_overdue_connection_back(on: On) {
    let dead_within = Duration::from_secs(2);
    let mut config = on.config(dead_within);
    config.overrides.grace = Some(Duration::ZERO);
    let probe = GatewayProbe::start::<Lines>(config);
    let mut device = Device::connect_and_send(probe.addr(), b"hello\n");
    for times in 1..=2 {
        probe.log().wait("overdue", dead_within * 5, |entries| {
            let overdue = entries.iter().filter(|entry| entry.event == Event::Overdue);
            (overdue.count() == times).then_some(())
        });
        device.send(b"\n");
    }
    // Beyond the deadline that the first beat had, on a live connection.
    device.send(b"echo alive\n");
    device.expect(b"alive\n");
    assert!(!probe.is_closed(device.addr()));
    // And a third time without a beat: now it is over.
    let closed = probe.closed(device.addr());
    assert_eq!(closed.cause, Cause::HeartbeatMissed);
    assert!(closed.decided_at >= device.spoke_at + dead_within, "early: {closed:?}");
    assert_eq!(probe.finish().stats.overdue, 3);
}

pub(crate) fn a_negotiated_deadline_is_kept(on: On) {
    let mut config = on.config(Duration::from_mins(1));
    config.overrides.grace = Some(Duration::ZERO); // Else its ten seconds, which nobody has negotiated, come after.
    let probe = GatewayProbe::start::<Lines>(config);
    let patient = Device::connect_and_send(probe.addr(), b"hello\n");
    let hasty = Device::connect_and_send(probe.addr(), b"dead 500\n");
    let closed = probe.closed(hasty.addr());
    assert_eq!(closed.cause, Cause::HeartbeatMissed);
    assert!(closed.decided_at >= hasty.spoke_at + Duration::from_millis(500), "early: {closed:?}");
    assert!(!probe.is_closed(patient.addr()), "the other's deadline is its own");
    probe.finish();
}

pub(crate) fn a_longer_negotiated_deadline_is_kept(on: On) {
    let probe = GatewayProbe::start::<Lines>(on.config(DEAD_WITHIN));
    let patient = Device::connect_and_send(probe.addr(), b"dead 3000\n");
    let usual = Device::connect_and_send(probe.addr(), b"hello\n");
    assert_eq!(probe.closed(usual.addr()).cause, Cause::HeartbeatMissed);
    let closed = probe.closed(patient.addr());
    assert_eq!(closed.cause, Cause::HeartbeatMissed);
    assert!(closed.decided_at >= patient.spoke_at + Duration::from_secs(3), "early: {closed:?}");
    probe.finish();
}
