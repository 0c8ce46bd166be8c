//! Nothing is in flight: keepalive, and what a user timeout does to it.

use std::time::Duration;

use heartring::{Cause, Errno, Keepalive, PathDeath};

use super::row::{Case, HOUR, Measured, end, short};

const QUICK: Keepalive = Keepalive { idle_s: 5, interval_s: 2, probes: 3 };
const ARTICLE: Keepalive = Keepalive { idle_s: 10, interval_s: 3, probes: 3 };

/// Idle 5, interval 2, 3 probes: 11 s.
pub(crate) fn keepalive_finds_it(case: &Case) -> Measured {
    vanish(case, QUICK, None, QUICK.nominal_bound())
}

/// Idle 10, interval 3, 3 probes: 19 s, as the article computes (S7).
pub(crate) fn the_articles_settings(case: &Case) -> Measured {
    vanish(case, ARTICLE, None, Duration::from_secs(19))
}

/// It is looked at when a probe is due, from the second on: at 5, 7 and 9 s.
pub(crate) fn a_user_timeout_replaces_the_probes_downwards(case: &Case) -> Measured {
    vanish(case, QUICK, Some(8), Duration::from_secs(9))
}

/// The first probe leaves at 10 s and must have had its interval.
pub(crate) fn a_user_timeout_below_the_idle_time(case: &Case) -> Measured {
    vanish(case, ARTICLE, Some(8), Duration::from_secs(13))
}

/// Three probes would have ended it at 11 s.
pub(crate) fn a_user_timeout_replaces_the_probes_upwards(case: &Case) -> Measured {
    vanish(case, QUICK, Some(20), Duration::from_secs(21))
}

/// The kernel of a device that has rebooted knows no such connection.
pub(crate) fn a_reboot_answers_the_first_probe(case: &Case) -> Measured {
    let (probe, device) = case.start(case.tcp_first(Some(QUICK), None), HOUR);
    let (addr, spoke_at) = (device.addr(), device.spoke_at);
    case.wire.cut();
    device.reset(); // Its RST arrives nowhere.
    case.wire.heal();
    let closed = probe.closed_within(Duration::from_secs(30), addr);
    probe.finish();
    let seconds = closed.decided_at.saturating_since(spoke_at);
    let expected = (Cause::PeerReset, Some(Errno::ECONNRESET));
    let interval = Duration::from_secs(QUICK.interval_s.into());
    Measured::new(short(QUICK), &closed, expected, seconds, (Duration::from_secs(5), interval))
}

fn vanish(case: &Case, keepalive: Keepalive, user_timeout_s: Option<u64>, nominal: Duration) -> Measured {
    let user_timeout = user_timeout_s.map(Duration::from_secs);
    let (probe, device) = case.start(case.tcp_first(Some(keepalive), user_timeout), HOUR);
    case.wire.cut();
    let closed = end(&probe, &device);
    probe.finish();
    let setting = user_timeout_s.map_or(String::new(), |s| format!(", UTO {s} s"));
    let seconds = closed.decided_at.saturating_since(device.spoke_at);
    let expected = (Cause::PathDead(PathDeath::Keepalive), Some(Errno::ETIMEDOUT));
    let interval = Duration::from_secs(keepalive.interval_s.into());
    Measured::new(short(keepalive) + &setting, &closed, expected, seconds, (nominal, interval))
}
