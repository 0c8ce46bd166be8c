//! Something of ours is in flight: keepalive is silent then.

use std::time::Duration;

use heartring::{Cause, Config, Errno, Keepalive, PathDeath};
use heartring_socket::now;
use heartring_tests::Event;

use super::row::{Case, HOUR, Measured, end, greet, short, start_gateway};

const QUICK: Keepalive = Keepalive { idle_s: 5, interval_s: 2, probes: 3 };
const TEN: Duration = Duration::from_secs(10);

/// 10 s after the data left.
pub(crate) fn the_user_timeout_finds_it(case: &Case) -> Measured {
    let (probe, device) = case.start(case.tcp_first(Some(QUICK), Some(TEN)), HOUR);
    case.wire.cut();
    let sent_at = now();
    probe.send_to_all("into the hole\n");
    let closed = end(&probe, &device);
    probe.finish();
    let seconds = closed.decided_at.saturating_since(sent_at);
    let expected = (Cause::PathDead(PathDeath::UserTimeout), Some(Errno::ETIMEDOUT));
    Measured::new(short(QUICK) + ", UTO 10 s", &closed, expected, seconds, (TEN, Duration::ZERO))
}

/// Without a user timeout TCP says nothing for a quarter of an hour, whatever keepalive says: the deadline is what counts.
pub(crate) fn without_it_the_heartbeat_decides(case: &Case) -> Measured {
    let dead_within = Duration::from_secs(20);
    let mut config = case.tcp_first(Some(QUICK), None);
    config.dead_within = dead_within;
    config.overrides.grace = Some(Duration::ZERO);
    let (probe, device) = case.start(config, b"hello\n");
    case.wire.cut();
    probe.send_to_all("into the hole\n");
    let closed = end(&probe, &device);
    probe.finish();
    let tcp = closed.evidence.socket.tcp.expect("the socket was examined");
    assert!(tcp.unacked >= 1 && tcp.retransmits >= 3, "the evidence shows it: {closed:?}");
    let seconds = closed.decided_at.saturating_since(device.spoke_at);
    let (expected, bound) = ((Cause::HeartbeatMissed, None), (dead_within, Duration::ZERO));
    Measured::new(short(QUICK) + ", dead_within 20 s", &closed, expected, seconds, bound)
}

/// The first thing that we send is answered with RST.
pub(crate) fn a_reboot_answers_at_once(case: &Case) -> Measured {
    let (probe, device) = case.start(case.tcp_first(None, None), HOUR);
    let addr = device.addr();
    case.wire.cut();
    device.reset();
    case.wire.heal();
    let sent_at = now();
    probe.send_to_all("who are you?\n");
    let closed = probe.closed_within(TEN, addr);
    probe.finish();
    let seconds = closed.decided_at.saturating_since(sent_at);
    let expected = (Cause::PeerReset, Some(Errno::ECONNRESET));
    Measured::new("no keepalive".into(), &closed, expected, seconds, Default::default())
}

/// Nobody answers ARP: TCP remembers why when the user timeout comes.
pub(crate) fn an_unplugged_peer_is_unreachable(case: &Case) -> Measured {
    let (probe, device) = case.start(case.tcp_first(None, Some(TEN)), HOUR);
    case.wire.unplug_far();
    let sent_at = now();
    probe.send_to_all("is the cable in?\n");
    let closed = end(&probe, &device);
    probe.finish();
    let seconds = closed.decided_at.saturating_since(sent_at);
    let expected = (Cause::PathDead(PathDeath::Unreachable), Some(Errno::EHOSTUNREACH));
    Measured::new("UTO 10 s".into(), &closed, expected, seconds, (TEN, Duration::ZERO))
}

/// Its kernel acknowledges and its program does not read: our stall deadline comes before the user timeout.
pub(crate) fn a_closed_window_is_a_slow_consumer(case: &Case) -> Measured {
    let stall = Duration::from_secs(6);
    let mut config = case.tcp_first(None, Some(Duration::from_secs(20)));
    config.overrides.send_stall_within = Some(stall);
    let (closed, seconds) = flood_a_sleeper(case, config);
    let expected = (Cause::SlowConsumer, None);
    Measured::new("UTO 20 s, stall 6 s".into(), &closed, expected, seconds, (stall, Duration::ZERO))
}

/// The user timeout does not tell a slow consumer from a dead path.
pub(crate) fn a_user_timeout_ends_a_closed_window(case: &Case) -> Measured {
    let (closed, seconds) = flood_a_sleeper(case, case.tcp_first(None, Some(TEN)));
    let expected = (Cause::PathDead(PathDeath::UserTimeout), Some(Errno::ETIMEDOUT));
    // Window probes back off: the one that finds it may be as late as all before it together.
    Measured::new("UTO 10 s, no stall deadline".into(), &closed, expected, seconds, (TEN, TEN / 2))
}

fn flood_a_sleeper(case: &Case, config: Config) -> (heartring::Closed, Duration) {
    let probe = start_gateway(config);
    let mut device = greet(&probe, case.wire.connect_small(probe.addr()), HOUR);
    device.send(b"flood\n");
    probe.wait(device.addr(), "full queue", |event| *event == Event::Full);
    let closed = end(&probe, &device);
    probe.finish();
    (closed, closed.decided_at.saturating_since(device.spoke_at))
}
