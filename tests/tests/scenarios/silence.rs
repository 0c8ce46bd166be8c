//! S4: silence, and what kind of silence it is.

use std::thread;
use std::time::Duration;

use heartring::{Cause, Lines};
use heartring_socket::now;
use heartring_tests::{Device, End, Event, Fleet, GatewayProbe, On, PingLines, kernel_forgets};

const DEAD_WITHIN: Duration = Duration::from_secs(1);

/// Ten of them, one after another, beside one that lives.
pub(crate) fn a_silent_peer_is_closed_once_and_leaves_nothing(on: On) {
    let probe = GatewayProbe::start::<Lines>(on.config(DEAD_WITHIN));
    let living = Device::connect(probe.addr());
    let witness = living.addr();
    let fleet = Fleet::beat(vec![living], DEAD_WITHIN / 10, b"\n");
    let silent = |nth: u64| {
        thread::sleep(Duration::from_millis(nth * 7));
        Device::connect_and_send(probe.addr(), b"hello\n")
    };
    for mut device in (0..10).map(silent).collect::<Vec<_>>() {
        let closed = probe.closed(device.addr());
        assert_eq!((closed.cause, closed.late_bytes), (Cause::HeartbeatMissed, 0));
        assert!(closed.decided_at >= device.spoke_at + DEAD_WITHIN, "early: {closed:?}");
        assert!(closed.decided_at <= now(), "{closed:?}");
        kernel_forgets(probe.addr(), device.addr(), Duration::from_secs(5));
        // It reads our FIN first, then finds out that the connection is gone.
        assert_eq!(device.read_to_end(), (vec![], End::Eof));
        assert!(device.try_send(b"anybody there?\n").is_err(), "reset after the grace period");
    }
    assert!(!probe.is_closed(witness), "{:?}", probe.log().of(witness));
    fleet.stop();
    let stats = probe.finish().stats;
    assert_eq!((stats.closed("heartbeat_missed"), stats.lateness.count()), (10, 10));
}

pub(crate) fn a_peer_without_hello_is_cut(on: On) {
    let hello_within = Duration::from_millis(700);
    let mut config = on.config(Duration::from_mins(1));
    config.overrides.hello_within = Some(hello_within);
    let probe = GatewayProbe::start::<Lines>(config);
    let talker = Device::connect_and_send(probe.addr(), b"hello\n");
    let connected_at = now();
    let mut mute = Device::connect(probe.addr());
    assert_eq!(mute.read_to_end(), (vec![], End::Reset));
    let closed = probe.closed(mute.addr());
    assert_eq!(closed.cause, Cause::HelloMissed);
    assert!(closed.decided_at >= connected_at + hello_within, "early: {closed:?}");
    assert!(!probe.is_closed(talker.addr()));
    probe.finish();
}

/// Bytes alone prove nothing.
pub(crate) fn garbage_is_no_hello(on: On) {
    let mut config = on.config(Duration::from_mins(1));
    config.overrides.hello_within = Some(DEAD_WITHIN);
    config.overrides.frame_within = Some(Duration::from_mins(1));
    let probe = GatewayProbe::start::<Lines>(config);
    let mut device = Device::connect(probe.addr());
    let connected_at = device.spoke_at;
    for _ in 0..200 {
        if device.try_send(b"?").is_err() {
            break;
        }
        thread::sleep(Duration::from_millis(50));
    }
    let closed = probe.closed(device.addr());
    assert_eq!(closed.cause, Cause::HelloMissed);
    // Connected before it was heard of.
    assert!(closed.decided_at.saturating_since(connected_at) >= DEAD_WITHIN, "early: {closed:?}");
    probe.finish();
}

/// Its kernel acknowledges our ping, its program does not answer. At many moments within the kernel's tick, because the
/// evidence is counted in ticks.
pub(crate) fn a_hanging_program_is_told_from_a_dead_peer(on: On) {
    const DEVICES: u64 = 40;
    // Not a multiple of any tick.
    let probe = GatewayProbe::start::<PingLines>(on.config(Duration::from_millis(1006)));
    let hang = |_| {
        thread::sleep(Duration::from_micros(3300));
        Device::connect_and_send(probe.addr(), b"hello\n")
    };
    let devices: Vec<Device> = (0..DEVICES).map(hang).collect();
    for device in &devices {
        let closed = probe.closed(device.addr());
        assert!(closed.decided_at >= device.spoke_at + Duration::from_millis(1006), "early: {closed:?}");
    }
    let stats = probe.finish().stats;
    let (stuck, missed) = (stats.closed("peer_stuck"), stats.closed("heartbeat_missed"));
    assert_eq!((stuck, missed), (DEVICES, 0), "stuck and missed");
}

/// It never beats of its own accord, and answers every ping.
pub(crate) fn a_pong_in_time_keeps_a_connection_alive(on: On) {
    let dead_within = Duration::from_secs(2);
    let probe = GatewayProbe::start::<PingLines>(on.config(dead_within));
    let mut device = Device::connect_and_send(probe.addr(), b"hello\n");
    for _ in 0..3 {
        device.expect(b"ping\n");
        device.send(b"pong\n");
    }
    device.send(b"ping\n");
    device.expect(b"pong\n");
    assert!(!probe.is_closed(device.addr()));
    let overdue = probe.log().of(device.addr()).iter().filter(|event| **event == Event::Overdue).count();
    assert_eq!(overdue, 3);
    let stats = probe.finish().stats;
    assert_eq!((stats.beats, stats.closed("draining")), (4, 1));
}
