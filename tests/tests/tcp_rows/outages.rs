//! The path is gone for a while, or for everybody.

use std::thread;
use std::time::Duration;

use heartring::Cause;
use heartring_socket::now;
use heartring_tests::{Device, Fleet, kernel_forgets};

use super::row::{Case, Measured, start_gateway};

/// `Liveness::outage_survived`, with the outage placed so that a beat is sent into its beginning: it arrives with the
/// device's own, ever rarer, retransmissions.
pub(crate) fn a_healed_outage_is_survived(case: &Case) -> Measured {
    let config = case.on.config(Duration::from_secs(12));
    let liveness = config.liveness().expect("the configuration is valid");
    let (beat_every, outage) = (liveness.beat_every, liveness.outage_survived());
    let (probe, device) = case.start(config, b"hello\n");
    let addr = device.addr();
    let fleet = Fleet::beat(vec![device], beat_every, b"\n");
    thread::sleep(beat_every.saturating_sub(Duration::from_millis(200)));
    case.wire.cut();
    let began = now();
    thread::sleep(outage.saturating_sub(Duration::from_millis(100)));
    case.wire.heal();
    let seconds = now().saturating_since(began);
    thread::sleep(Duration::from_secs(16));
    assert!(!probe.is_closed(addr), "closed after an outage of {seconds:?}: {:?}", probe.log().of(addr));
    fleet.stop();
    let summary = probe.finish();
    assert!(summary.stats.overdue >= 1, "the outage was noticed");
    let setting = format!("dead_within 12 s, beat {beat_every:?}");
    Measured { setting, seconds, outcome: "(survives)".into(), errno: None }
}

/// A router dies. All are found within their deadline, none before.
pub(crate) fn two_hundred_vanish_together(case: &Case) -> Measured {
    const DEVICES: usize = 200;
    let (dead_within, beat_every) = (Duration::from_secs(3), Duration::from_millis(300));
    let mut config = case.on.config(dead_within);
    config.overrides.grace = Some(Duration::ZERO);
    let probe = start_gateway(config);
    let addr = probe.addr();
    let connect = move || (0..DEVICES).map(|_| Device::connect_and_send(addr, b"hello\n")).collect();
    let devices: Vec<Device> = case.wire.at_far_end(connect);
    let addrs: Vec<_> = devices.iter().map(Device::addr).collect();
    let fleet = Fleet::beat(devices, beat_every, b"\n");
    thread::sleep(Duration::from_secs(2));
    case.wire.cut();
    let cut_at = now();
    let all = probe.closed_count(DEVICES, Duration::from_secs(30));
    for closed in &all {
        assert_eq!(closed.cause, Cause::HeartbeatMissed, "{closed:?}");
        assert!(closed.evidence.silence >= dead_within, "{closed:?}");
        assert!(closed.lateness.is_some_and(|late| late < Duration::from_secs(5)), "{closed:?}");
    }
    for peer in addrs {
        kernel_forgets(addr, peer, Duration::from_secs(2));
    }
    let last = all.iter().map(|closed| closed.decided_at).max().expect("there are 200");
    fleet.stop();
    let lateness = probe.finish().stats.lateness;
    Measured {
        setting: format!("dead_within 3 s (late p99 {:.1} ms)", lateness.quantile(0.99).as_secs_f64() * 1e3),
        seconds: last.saturating_since(cut_at),
        outcome: Cause::HeartbeatMissed.name().into(),
        errno: None,
    }
}
