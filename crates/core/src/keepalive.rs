//! TCP keepalive, as arithmetic: how soon a probe finds a peer that vanished.

use std::fmt;
use std::time::Duration;

/// TCP keepalive (tcp(7): `TCP_KEEPIDLE`, `TCP_KEEPINTVL`, `TCP_KEEPCNT`). The kernel counts in whole seconds, so the
/// fields do too.
///
/// Keepalive sees only an *idle* connection: while sent data is unacknowledged the kernel does not probe, and with the
/// default settings such a connection to a dead peer stays for 15 minutes. `TCP_USER_TIMEOUT` covers that case, and where
/// both are set it replaces the probe count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// Silence before the first probe, in seconds: 1 to 32767.
    pub idle_s: u16,
    /// Between probes, in seconds: 1 to 32767.
    pub interval_s: u16,
    /// Unanswered probes before the connection fails with ETIMEDOUT: 1 to 127.
    pub probes: u8,
}

impl Keepalive {
    /// The settings of Redis's `anetKeepAlive`: the first probe after `interval`, then three probes a third of it apart, so
    /// that a peer is known dead after twice `interval`.
    ///
    /// `interval` is rounded up to whole seconds and kept within what the kernel takes.
    pub fn from_interval(interval: Duration) -> Self {
        let idle_s = whole_seconds(interval);
        Self { idle_s, interval_s: (idle_s / 3).max(1), probes: 3 }
    }

    /// By when the kernel has given up on an idle peer that vanished, as it is usually computed: idle 10, interval 3,
    /// 3 probes: 19 s.
    pub const fn nominal_bound(self) -> Duration {
        Duration::from_secs(self.idle_s as u64 + self.interval_s as u64 * self.probes as u64)
    }

    /// The same with the kernel's rounding: its timer wheel fires up to 12.5 % late, and never early.
    pub fn detection_bound(self) -> Duration {
        self.nominal_bound() + self.nominal_bound() / 8
    }

    /// Keepalive that stays silent towards a device which beats every `beat_every`, and that has given up by
    /// `user_timeout`.
    ///
    /// The first probe waits 1.2 × the beat interval: a healthy device then never causes one.
    pub fn between(beat_every: Duration, user_timeout: Duration) -> Self {
        let idle_s = whole_seconds(beat_every.mul_f64(1.2));
        let rest_s = whole_seconds(user_timeout).saturating_sub(idle_s).max(1);
        let interval_s = (rest_s / 4).max(1);
        let probes = rest_s.div_ceil(interval_s).clamp(1, 127) as u8;
        Self { idle_s, interval_s, probes }
    }

    /// Says which field the kernel would refuse.
    ///
    /// # Errors
    ///
    /// The field, its value and its range.
    pub fn validate(self) -> Result<(), String> {
        let check = |name: &str, value: u32, max: u32| match value {
            v if (1..=max).contains(&v) => Ok(()),
            v => Err(format!("keepalive {name} {v} is outside 1..={max}, which is what the kernel takes")),
        };
        check("idle", u32::from(self.idle_s), 32_767)?;
        check("interval", u32::from(self.interval_s), 32_767)?;
        check("probes", u32::from(self.probes), 127)
    }
}

impl fmt::Display for Keepalive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "idle {} s, interval {} s, {} probes", self.idle_s, self.interval_s, self.probes)
    }
}

/// Rounded up, at least one, at most what the kernel takes.
fn whole_seconds(duration: Duration) -> u16 {
    let up = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    up.clamp(1, 32_767) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_articles_arithmetic_holds() {
        let article = Keepalive { idle_s: 10, interval_s: 3, probes: 3 };
        assert_eq!(article.nominal_bound(), Duration::from_secs(19));
        assert_eq!(article.detection_bound(), Duration::from_millis(21_375));
    }

    #[test]
    fn from_interval_is_the_articles_helper() {
        let six = Keepalive { idle_s: 6, interval_s: 2, probes: 3 };
        assert_eq!(Keepalive::from_interval(Duration::from_secs(6)), six);
        let tiny = Keepalive { idle_s: 1, interval_s: 1, probes: 3 };
        assert_eq!(
            Keepalive::from_interval(Duration::from_millis(200)),
            tiny,
            "a third of it never becomes 0"
        );
    }

    #[test]
    fn a_healthy_device_is_never_probed_and_a_dead_one_is_found_by_the_user_timeout() {
        for beat_s in [1, 2, 5, 10, 30, 60, 600] {
            let beat = Duration::from_secs(beat_s);
            let user_timeout = beat.mul_f64(4.5);
            let keepalive = Keepalive::between(beat, user_timeout);
            assert!(Duration::from_secs(u64::from(keepalive.idle_s)) > beat, "{keepalive}");
            assert!(keepalive.nominal_bound() >= user_timeout, "{keepalive}");
            keepalive.validate().unwrap();
        }
    }

    #[test]
    fn values_that_the_kernel_refuses_are_named() {
        let zero = Keepalive { idle_s: 0, interval_s: 1, probes: 1 };
        assert!(zero.validate().unwrap_err().starts_with("keepalive idle 0 is outside 1..=32767"));
        let many = Keepalive { idle_s: 1, interval_s: 1, probes: 200 };
        assert!(many.validate().unwrap_err().contains("probes 200"));
    }
}
