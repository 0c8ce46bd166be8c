//! The end is known at once; what matters is what stays in the kernel.

use std::process::Command;
use std::thread;
use std::time::Duration;

use heartring::{Cause, Errno};
use heartring_socket::now;
use heartring_tests::{Event, FAR, kernel_forgets, kernel_states, skip};

use super::row::{Case, HOUR, Measured, end, greet, start_gateway};

/// Where our FIN goes nobody answers. The connection is over at once; the kernel's orphan in LAST-ACK goes with the inherited
/// user timeout, instead of after 108 s.
pub(crate) fn a_fin_before_the_path_is_gone(case: &Case) -> Measured {
    let user_timeout = Duration::from_secs(8);
    let (probe, device) = case.start(case.tcp_first(None, Some(user_timeout)), HOUR);
    case.wire.cut_to_far();
    let fin_at = now();
    device.fin();
    let closed = probe.closed(device.addr());
    let seconds = closed.decided_at.saturating_since(fin_at);
    let kept = kernel_forgets(probe.addr(), device.addr(), user_timeout * 2);
    probe.finish();
    let setting = format!("UTO 8 s (orphan gone after {:.1})", kept.as_secs_f64());
    Measured::new(setting, &closed, (Cause::PeerClosed, None), seconds, Default::default())
}

/// What is queued cannot be sent any more: the drain deadline ends it.
pub(crate) fn a_fin_with_a_full_queue(case: &Case) -> Measured {
    let drain_within = Duration::from_secs(3);
    let mut config = case.tcp_first(None, Some(Duration::from_mins(1)));
    config.overrides.drain_within = Some(drain_within);
    let probe = start_gateway(config);
    let mut device = greet(&probe, case.wire.connect_small(probe.addr()), HOUR);
    device.send(b"flood\n");
    probe.wait(device.addr(), "full queue", |event| *event == Event::Full);
    let fin_at = now();
    device.fin();
    let closed = probe.closed(device.addr());
    case.wire.cut();
    let seconds = closed.decided_at.saturating_since(fin_at);
    let kept = kernel_forgets(probe.addr(), device.addr(), drain_within + Duration::from_secs(5));
    probe.finish();
    let setting = format!("drain 3 s (gone after {:.1})", kept.as_secs_f64());
    Measured::new(setting, &closed, (Cause::PeerClosed, None), seconds, Default::default())
}

/// `ss -K` ends a connection with ECONNABORTED and sends RST.
pub(crate) fn an_operator_kills_it(case: &Case) -> Measured {
    let (probe, mut device) = case.start(case.tcp_first(None, None), HOUR);
    let asked_at = now();
    let killed = Command::new("ss").args(["-K", "-H", "-t", "dst", &FAR.to_string()]).output();
    let killed = killed.is_ok_and(|output| !output.stdout.is_empty());
    if !killed {
        skip("ss -K", "no ss here, or a kernel without CONFIG_INET_DIAG_DESTROY");
        device.send(b"close\n");
        let closed = probe.closed(device.addr());
        probe.finish();
        let expected = (Cause::Local, None);
        return Measured::new("SKIPPED".into(), &closed, expected, Duration::ZERO, Default::default());
    }
    let closed = end(&probe, &device);
    probe.finish();
    let seconds = closed.decided_at.saturating_since(asked_at);
    let expected = (Cause::PeerReset, Some(Errno::ECONNABORTED));
    Measured::new("no keepalive".into(), &closed, expected, seconds, Default::default())
}

/// After our SHUT_WR the kernel would wait for ever for the dead device's FIN: the grace period has its own end.
pub(crate) fn grace_leaves_nothing(case: &Case) -> Measured {
    let (dead_within, grace) = (Duration::from_secs(4), Duration::from_secs(3));
    let mut config = case.on.config(dead_within);
    config.overrides.grace = Some(grace);
    config.overrides.keepalive = Some(None);
    config.overrides.user_timeout = Some(None);
    let (probe, device) = case.start(config, b"hello\n");
    case.wire.cut();
    let began = probe.wait(device.addr(), "grace", |event| matches!(event, Event::Closing(_))).at;
    // The handler is told in the turn in which our side is shut: a little before it.
    thread::sleep(Duration::from_millis(300));
    let states = kernel_states(probe.addr(), device.addr());
    assert!(states.iter().all(|state| [4, 5].contains(state)), "FIN-WAIT in grace, not {states:?}");
    let closed = end(&probe, &device);
    let kept = now().saturating_since(began);
    assert!(kept >= grace, "the grace period lasted {kept:?}");
    probe.finish();
    let setting = format!("dead_within 4 s (gone after {:.1})", kept.as_secs_f64());
    let seconds = closed.decided_at.saturating_since(device.spoke_at);
    let expected = (Cause::HeartbeatMissed, None);
    Measured::new(setting, &closed, expected, seconds, (dead_within, Duration::ZERO))
}
