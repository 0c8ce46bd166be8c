//! One knob, and everything that follows from it.
//!
//! `dead_within` says by when a peer that vanished must be known dead. This file is the one place that derives the other
//! timings from it, explains them and refuses combinations that contradict each other.

use std::time::Duration;

use crate::config_error::ConfigError;
use crate::deadlines::DEADLINE_AHEAD_MAX;
use crate::keepalive::Keepalive;

/// Shortest `dead_within`: below it, the scheduling noise of a busy machine accuses the living.
pub const DEAD_WITHIN_MIN: Duration = Duration::from_millis(100);

/// Longest `dead_within`. MQTT's longest keep-alive, 65 535 s, times 1.5 would be 27 hours; a device that may be silent for
/// a day needs no connection.
pub const DEAD_WITHIN_MAX: Duration = DEADLINE_AHEAD_MAX;

/// Timings set by hand; `None` derives them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// See [`Liveness::beat_every`].
    pub beat_every: Option<Duration>,
    /// See [`Liveness::overdue_after`].
    pub overdue_after: Option<Duration>,
    /// See [`Liveness::grace`].
    pub grace: Option<Duration>,
    /// See [`Liveness::hello_within`].
    pub hello_within: Option<Duration>,
    /// See [`Liveness::frame_within`].
    pub frame_within: Option<Duration>,
    /// See [`Liveness::send_stall_within`].
    pub send_stall_within: Option<Duration>,
    /// See [`Liveness::drain_within`].
    pub drain_within: Option<Duration>,
    /// See [`Liveness::stall_tolerance`].
    pub stall_tolerance: Option<Duration>,
    /// See [`Liveness::user_timeout`]; `Some(None)` leaves it off.
    pub user_timeout: Option<Option<Duration>>,
    /// See [`Liveness::keepalive`]; `Some(None)` leaves it off.
    pub keepalive: Option<Option<Keepalive>>,
    /// See [`Liveness::rto_max`]; `Some(None)` leaves it at the kernel's 120 s.
    pub rto_max: Option<Option<Duration>>,
}

/// All timings of a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Liveness {
    /// By when a peer that vanished is known dead: the time since its last complete valid frame.
    pub dead_within: Duration,
    /// How often to tell devices to beat: a third of `dead_within`. One beat may then be lost altogether, or the path be
    /// gone for a third of `dead_within` (a device's own retransmission backs off, so that a beat sent into an outage of x
    /// arrives up to 2x later).
    pub beat_every: Duration,
    /// Silence after which a beat is overdue, the handler is told and the protocol may ping: a quarter of the way from
    /// `beat_every` to `dead_within`, which is half of `dead_within` unless `beat_every` is set by hand.
    pub overdue_after: Duration,
    /// How long bytes that come after the deadline are still delivered, while only our sending side is shut: a third of
    /// `dead_within`, at most 10 s. Zero closes at once.
    pub grace: Duration,
    /// By when the first valid frame must come: `dead_within`, at most 10 s. An unidentified connection costs as much as a
    /// real one.
    pub hello_within: Duration,
    /// By when a frame that was begun must be complete: half of `dead_within`, so that a client which feeds a frame drop by
    /// drop is named for what it does before its heartbeat is missed.
    pub frame_within: Duration,
    /// For how long a peer may take nothing of what is queued for it: `dead_within`.
    pub send_stall_within: Duration,
    /// How long an orderly close may take (sending what is queued, the peer's FIN) before it becomes abortive: 5 s, or
    /// `dead_within` if that is less.
    pub drain_within: Duration,
    /// How late the shard's own thread may wake up before it doubts its own judgement and gives every peer another
    /// `beat_every`: a tenth of `dead_within`, within 50 ms and 1 s. A frozen process must not blame its clients.
    pub stall_tolerance: Duration,
    /// `TCP_USER_TIMEOUT`: 1.5 × `dead_within`. Later than the deadline, which is the authority; a backstop for
    /// connections in other states. It also ends clients that never read.
    pub user_timeout: Option<Duration>,
    /// Keepalive that never probes a healthy device and has given up by `user_timeout`.
    pub keepalive: Option<Keepalive>,
    /// `TCP_RTO_MAX_MS`: 2 to 5 s. Without it the kernel's retransmission backs off so far that a path which healed is
    /// not noticed before the user timeout.
    pub rto_max: Option<Duration>,
}

/// One row of [`Liveness::explain`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainRow {
    /// What fails.
    pub failure: &'static str,
    /// Who notices.
    pub noticed_by: String,
    /// By when; `None` where it is at once.
    pub within: Option<Duration>,
    /// What the handler is told: a name of [`Cause::NAMES`](crate::Cause::NAMES), or what happens instead.
    pub outcome: &'static str,
}

impl Liveness {
    /// Everything that follows from `dead_within`.
    ///
    /// # Errors
    ///
    /// If `dead_within` is outside [`DEAD_WITHIN_MIN`]..=[`DEAD_WITHIN_MAX`].
    pub fn from_dead_within(dead_within: Duration) -> Result<Self, ConfigError> {
        Self::derive(dead_within, &Overrides::default())
    }

    /// The same, with some timings set by hand; what is derived follows those.
    ///
    /// # Errors
    ///
    /// The first contradiction, and what to change.
    pub fn derive(dead_within: Duration, by_hand: &Overrides) -> Result<Self, ConfigError> {
        check_dead_within(dead_within)?;
        let beat_every = by_hand.beat_every.unwrap_or(dead_within / 3);
        let user_timeout = by_hand.user_timeout.unwrap_or(Some(dead_within.mul_f64(1.5)));
        let probing_ends = user_timeout.unwrap_or(dead_within.mul_f64(1.5));
        let liveness = Self {
            dead_within,
            beat_every,
            overdue_after: by_hand
                .overdue_after
                .unwrap_or_else(|| beat_every + dead_within.saturating_sub(beat_every) / 4),
            grace: by_hand.grace.unwrap_or((dead_within / 3).min(Duration::from_secs(10))),
            hello_within: by_hand.hello_within.unwrap_or(dead_within.min(Duration::from_secs(10))),
            frame_within: by_hand.frame_within.unwrap_or(dead_within / 2),
            send_stall_within: by_hand.send_stall_within.unwrap_or(dead_within),
            drain_within: by_hand.drain_within.unwrap_or(dead_within.min(Duration::from_secs(5))),
            stall_tolerance: by_hand.stall_tolerance.unwrap_or_else(|| stall_tolerance_of(dead_within)),
            user_timeout,
            keepalive: by_hand.keepalive.unwrap_or(Some(Keepalive::between(beat_every, probing_ends))),
            rto_max: by_hand.rto_max.unwrap_or(Some(rto_max_of(dead_within))),
        };
        liveness.validate()?;
        Ok(liveness)
    }

    /// Refuses timings that contradict each other.
    ///
    /// # Errors
    ///
    /// The first contradiction, and what to change.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let refuse = |wrong: bool, why: String| if wrong { Err(ConfigError::new(why)) } else { Ok(()) };
        let Self { dead_within, beat_every, overdue_after, .. } = *self;
        refuse(beat_every.is_zero(), "beat_every is 0; choose a third of dead_within".into())?;
        refuse(
            beat_every >= dead_within,
            format!(
                "beat_every {beat_every:?} is not below dead_within {dead_within:?}: every device would be declared dead between two beats; beat at least every {:?}",
                dead_within / 2
            ),
        )?;
        refuse(
            overdue_after < beat_every || overdue_after >= dead_within,
            format!(
                "overdue_after {overdue_after:?} is not between beat_every {beat_every:?} and dead_within {dead_within:?}: a punctual beat would be overdue, or none ever; choose {:?}",
                (beat_every + dead_within) / 2
            ),
        )?;
        for (name, value) in [
            ("hello_within", self.hello_within),
            ("frame_within", self.frame_within),
            ("send_stall_within", self.send_stall_within),
            ("drain_within", self.drain_within),
            ("stall_tolerance", self.stall_tolerance),
        ] {
            refuse(
                value.is_zero() || value > DEAD_WITHIN_MAX,
                format!("{name} {value:?} is outside 1ns..=24h; leave it out to have it derived"),
            )?;
        }
        refuse(self.grace > DEAD_WITHIN_MAX, format!("grace {:?} is above 24h; leave it out", self.grace))?;
        self.validate_tcp()
    }

    fn validate_tcp(&self) -> Result<(), ConfigError> {
        if let Some(user_timeout) = self.user_timeout
            && user_timeout <= self.dead_within
        {
            return Err(ConfigError::new(format!(
                "user_timeout {user_timeout:?} is not above dead_within {:?}: TCP would give up on peers that the deadline still trusts; choose {:?}",
                self.dead_within,
                self.dead_within.mul_f64(1.5)
            )));
        }
        if let Some(keepalive) = self.keepalive {
            keepalive.validate().map_err(ConfigError::new)?;
        }
        let rto_range = Duration::from_secs(1)..=Duration::from_mins(2);
        match self.rto_max {
            Some(rto_max) if !rto_range.contains(&rto_max) => Err(ConfigError::new(format!(
                "rto_max {rto_max:?} is outside 1s..=120s, which is what the kernel takes"
            ))),
            Some(_) | None => Ok(()),
        }
    }

    /// The longest outage that a healthy device which beats every `beat_every` survives: its retransmission backs off, so
    /// that a beat sent into an outage of x may arrive 2x after it was sent.
    pub fn outage_survived(&self) -> Duration {
        self.dead_within.saturating_sub(self.beat_every) / 2
    }

    /// What fails, who notices, and by when.
    pub fn explain(&self) -> Vec<ExplainRow> {
        let row = |failure, noticed_by: &str, within, outcome| ExplainRow {
            failure,
            noticed_by: noticed_by.to_owned(),
            within,
            outcome,
        };
        let deadline = Some(self.dead_within);
        let mut rows = vec![
            row("the device closes", "FIN, on the parked recv", None, "peer_closed"),
            row("the device's program crashes", "RST, on the parked recv", None, "peer_reset"),
            row(
                "the device loses power or network while idle",
                "heartbeat deadline",
                deadline,
                "heartbeat_missed",
            ),
            row("the same while our data is in flight", "heartbeat deadline", deadline, "heartbeat_missed"),
            row(
                "the device's program hangs, its kernel lives",
                "heartbeat deadline",
                deadline,
                "heartbeat_missed",
            ),
            row(
                "the same, and it was pinged while overdue",
                "heartbeat deadline, TCP_INFO",
                deadline,
                "peer_stuck",
            ),
            row("a beat is late", "overdue: ping, watch", Some(self.overdue_after), "(told: overdue)"),
            row(
                "a device that was declared dead speaks after all",
                "grace: our side is shut, its bytes are delivered as late",
                Some(self.dead_within + self.grace),
                "heartbeat_missed",
            ),
            row("it connects and says nothing", "hello deadline", Some(self.hello_within), "hello_missed"),
            row(
                "it sends half a frame, or one drop by drop",
                "frame deadline",
                Some(self.frame_within),
                "frame_stalled",
            ),
            row(
                "it does not read what we send",
                "send stall deadline",
                Some(self.send_stall_within),
                "slow_consumer",
            ),
            row(
                "an outage of the path, then it heals",
                "nobody, up to",
                Some(self.outage_survived()),
                "(survives)",
            ),
            row(
                "this gateway itself is frozen",
                "the shard, when it wakes this late; every peer then gets another beat",
                Some(self.stall_tolerance),
                "(nobody is blamed)",
            ),
        ];
        rows.extend(self.explain_tcp());
        rows
    }

    fn explain_tcp(&self) -> Vec<ExplainRow> {
        let mut rows = Vec::new();
        if let Some(keepalive) = self.keepalive {
            rows.push(ExplainRow {
                failure: "the device rebooted and does not reconnect",
                noticed_by: format!("RST to the first keepalive probe ({keepalive})"),
                within: Some(Duration::from_secs(u64::from(keepalive.idle_s)).mul_f64(1.125)),
                outcome: "peer_reset",
            });
            // Where both are set, the user timeout replaces the probe count (facts: measured both ways); it is checked when
            // a probe fires, so it can be late by one interval.
            let nominal = self.user_timeout.map_or(keepalive.nominal_bound(), |user_timeout| {
                user_timeout + Duration::from_secs(u64::from(keepalive.interval_s))
            });
            rows.push(ExplainRow {
                failure: "a vanished peer, were there no deadline: idle",
                noticed_by: "keepalive (backstop)".into(),
                within: Some(nominal.mul_f64(1.125)),
                outcome: "path_dead_keepalive",
            });
        }
        if let Some(user_timeout) = self.user_timeout {
            rows.push(ExplainRow {
                failure: "a vanished peer, were there no deadline: data in flight",
                noticed_by: "TCP_USER_TIMEOUT (backstop)".into(),
                within: Some(user_timeout.mul_f64(1.125) + self.rto_max.unwrap_or(Duration::from_mins(2))),
                outcome: "path_dead_user_timeout",
            });
        }
        rows
    }
}

/// Refuses a deadline that cannot be kept.
pub(crate) fn check_dead_within(dead_within: Duration) -> Result<(), ConfigError> {
    if (DEAD_WITHIN_MIN..=DEAD_WITHIN_MAX).contains(&dead_within) {
        return Ok(());
    }
    Err(ConfigError::new(format!(
        "dead_within {dead_within:?} is outside {DEAD_WITHIN_MIN:?}..=24h; choose the time by which a vanished peer must be known dead, for example 30s"
    )))
}

fn stall_tolerance_of(dead_within: Duration) -> Duration {
    (dead_within / 10).clamp(Duration::from_millis(50), Duration::from_secs(1))
}

fn rto_max_of(dead_within: Duration) -> Duration {
    (dead_within / 6).clamp(Duration::from_secs(2), Duration::from_secs(5))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    fn refusal(dead_within: Duration, by_hand: Overrides) -> String {
        Liveness::derive(dead_within, &by_hand).unwrap_err().to_string()
    }

    #[test]
    fn what_is_derived_is_consistent_over_the_whole_range() {
        let mut dead_within = DEAD_WITHIN_MIN;
        while dead_within <= DEAD_WITHIN_MAX {
            let liveness = Liveness::from_dead_within(dead_within).unwrap();
            assert!(liveness.user_timeout.unwrap() > dead_within);
            let idle = secs(u64::from(liveness.keepalive.unwrap().idle_s));
            assert!(idle > liveness.beat_every, "a healthy device is never probed: {liveness:?}");
            dead_within = dead_within.mul_f64(1.7);
        }
    }

    #[test]
    fn thirty_seconds_give_the_documented_timings() {
        let liveness = Liveness::from_dead_within(secs(30)).unwrap();
        assert_eq!(liveness.beat_every, secs(10));
        assert_eq!(liveness.overdue_after, secs(15));
        assert_eq!(liveness.grace, secs(10));
        assert_eq!(liveness.user_timeout, Some(secs(45)));
        assert_eq!(liveness.keepalive, Some(Keepalive { idle_s: 12, interval_s: 8, probes: 5 }));
        assert_eq!(liveness.rto_max, Some(secs(5)));
        assert_eq!(liveness.outage_survived(), secs(10));
    }

    #[test]
    fn a_slow_beat_set_by_hand_is_not_overdue_when_it_is_punctual() {
        let by_hand = Overrides { beat_every: Some(secs(20)), ..Overrides::default() };
        let liveness = Liveness::derive(secs(30), &by_hand).unwrap();
        assert_eq!(liveness.overdue_after, Duration::from_millis(22_500));
    }

    #[test]
    fn contradictions_are_refused_with_a_remedy() {
        assert!(
            refusal(Duration::ZERO, Overrides::default()).contains("dead_within 0ns is outside 100ms..=24h")
        );
        let slow_beat = Overrides { beat_every: Some(secs(30)), ..Overrides::default() };
        assert!(refusal(secs(30), slow_beat).contains("beat at least every 15s"));
        let early_overdue = Overrides { overdue_after: Some(secs(5)), ..Overrides::default() };
        assert!(refusal(secs(30), early_overdue).contains("choose 20s"));
        let eager_tcp = Overrides { user_timeout: Some(Some(secs(20))), ..Overrides::default() };
        assert!(refusal(secs(30), eager_tcp).contains("choose 45s"));
        let no_hello = Overrides { hello_within: Some(Duration::ZERO), ..Overrides::default() };
        assert!(refusal(secs(30), no_hello).contains("hello_within 0ns"));
        let keepalive = Some(Some(Keepalive { idle_s: 0, interval_s: 1, probes: 1 }));
        assert!(
            refusal(secs(30), Overrides { keepalive, ..Overrides::default() }).contains("keepalive idle 0")
        );
    }

    #[test]
    fn the_explanation_names_only_causes_that_exist() {
        for row in Liveness::from_dead_within(secs(30)).unwrap().explain() {
            let known = row.outcome.starts_with('(') || crate::cause::Cause::NAMES.contains(&row.outcome);
            assert!(known, "{row:?}");
        }
    }
}
