//! Who does what, and when: a pure function of the seed, so that gateway and fleet need not talk about it.

use std::time::Duration;

use heartring::Liveness;
use serde::{Deserialize, Serialize};

use crate::duration::show;
use crate::failure::Failure;
use crate::random::Random;

/// Devices connect at this pace: a burst that a gateway on the same two cores accepts without falling behind.
const CONNECTS_PER_SECOND: u32 = 5000;
/// The connect phase of a small fleet.
const CONNECT_WITHIN_MIN: Duration = Duration::from_millis(500);
/// When a healthy device meets its fate.
const NEVER: Duration = Duration::MAX;
/// The default run, unless the deadline or the fleet's size asks for more.
const RUN_FOR: Duration = Duration::from_secs(12);

/// What happens to a device. The situations are numbered as in ARCHITECTURE.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fate {
    /// Beats until the gateway stops (S2: it is never answered).
    Healthy,
    /// Closes in order, with a FIN (S1).
    Closes,
    /// Aborts, with an RST (S1).
    Resets,
    /// Stops beating, hears our FIN at the deadline, and still has data to send (S3).
    Late,
    /// Never sends anything again, and never closes (S4).
    Silent,
}

impl Fate {
    pub(crate) const ALL: [Self; 5] = [Self::Healthy, Self::Closes, Self::Resets, Self::Late, Self::Silent];

    /// Devices of this fate, per hundred.
    const fn share_percent(self) -> u64 {
        match self {
            Self::Healthy => 55,
            Self::Closes | Self::Resets => 10,
            Self::Late => 12,
            Self::Silent => 13,
        }
    }

    /// What such devices do.
    pub(crate) const fn describe(self) -> &'static str {
        match self {
            Self::Healthy => "stay healthy",
            Self::Closes => "close (FIN)",
            Self::Resets => "reset (RST)",
            Self::Late => "beat late and send data",
            Self::Silent => "fall silent for ever",
        }
    }
}

/// The run's timetable, in time since its start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Timetable {
    pub(crate) beat_every: Duration,
    pub(crate) dead_within: Duration,
    pub(crate) grace: Duration,
    connect_within: Duration,
    /// Fates begin in this span: everybody has connected, and every deadline still falls into the run.
    fates_from: Duration,
    fates_until: Duration,
    pub(crate) run_for: Duration,
}

impl Timetable {
    /// Fits every fate and its consequences into the run.
    pub(crate) fn new(liveness: &Liveness, devices: u32, run_for: Option<Duration>) -> Result<Self, Failure> {
        let Liveness { beat_every, dead_within, grace, .. } = *liveness;
        let connect_within = (Duration::from_secs(1) * devices / CONNECTS_PER_SECOND).max(CONNECT_WITHIN_MIN);
        let settle = Duration::from_millis(300) + dead_within / 10;
        let fates_from = connect_within + settle;
        let aftermath = dead_within + grace + settle;
        let run_for_min = fates_from + dead_within / 2 + aftermath;
        let run_for = run_for.unwrap_or_else(|| RUN_FOR.max(whole_seconds_up(run_for_min)));
        if run_for < run_for_min {
            return Err(Failure::new(
                format!("--for {} ends before the last deadline has passed", show(run_for)),
                format!(
                    "use --for {}s or more, or a shorter --dead-within",
                    whole_seconds_up(run_for_min).as_secs()
                ),
            ));
        }
        let fates_until = run_for.saturating_sub(aftermath);
        Ok(Self { beat_every, dead_within, grace, connect_within, fates_from, fates_until, run_for })
    }
}

fn whole_seconds_up(duration: Duration) -> Duration {
    Duration::from_secs(duration.as_secs() + u64::from(duration.subsec_nanos() > 0))
}

/// The whole run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) devices: u32,
    pub(crate) timetable: Timetable,
}

/// One device's part in it, in time since the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Script {
    pub(crate) connect_at: Duration,
    pub(crate) fate: Fate,
    pub(crate) fate_at: Duration,
    /// For the jitter of its beats.
    pub(crate) random: Random,
}

impl Plan {
    pub(crate) fn script(&self, device: u32) -> Script {
        let mut random = Random::new(self.seed, u64::from(device));
        let times = &self.timetable;
        let fate = draw_fate(&mut random);
        let fate_at = match fate {
            Fate::Healthy => NEVER,
            Fate::Closes | Fate::Resets | Fate::Late | Fate::Silent => {
                random.between(times.fates_from, times.fates_until)
            }
        };
        Script { connect_at: times.connect_within * device / self.devices, fate, fate_at, random }
    }

    /// How many devices each fate has, in the order of [`Fate::ALL`].
    pub(crate) fn census(&self) -> [u32; Fate::ALL.len()] {
        let mut census = [0; Fate::ALL.len()];
        for device in 0..self.devices {
            census[self.script(device).fate as usize] += 1;
        }
        census
    }
}

fn draw_fate(random: &mut Random) -> Fate {
    let mut ticket = random.below(100);
    for fate in Fate::ALL {
        match ticket.checked_sub(fate.share_percent()) {
            None => return fate,
            Some(rest) => ticket = rest,
        }
    }
    unreachable!("the shares are percentages of a whole")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn liveness() -> Liveness {
        Liveness::from_dead_within(Duration::from_secs(3)).unwrap()
    }

    fn plan(seed: u64, devices: u32) -> Plan {
        Plan { seed, devices, timetable: Timetable::new(&liveness(), devices, None).unwrap() }
    }

    #[test]
    fn the_same_seed_gives_the_same_plan_also_through_the_pipe_to_the_fleet() {
        let here = plan(7, 500);
        let there: Plan = serde_json::from_str(&serde_json::to_string(&here).unwrap()).unwrap();
        assert!((0..500).all(|device| here.script(device) == there.script(device)));
        assert!((0..500).any(|device| here.script(device) != plan(8, 500).script(device)));
    }

    #[test]
    fn every_fate_gets_its_share() {
        assert_eq!(Fate::ALL.iter().map(|fate| fate.share_percent()).sum::<u64>(), 100);
        let census = plan(1, 10_000).census();
        for fate in Fate::ALL {
            assert_eq!(Fate::ALL[fate as usize], fate, "the census is in the order of ALL");
            let percent = u64::from(census[fate as usize]) / 100;
            assert!(percent.abs_diff(fate.share_percent()) <= 1, "{fate:?}: {percent} %");
        }
    }

    #[test]
    fn fates_begin_after_the_last_connect_and_every_deadline_falls_into_the_run() {
        for devices in [1, 1000, 15_000, 100_000] {
            let plan = plan(3, devices);
            let times = &plan.timetable;
            for device in (0..devices).step_by(7) {
                let script = plan.script(device);
                assert!(script.connect_at < times.connect_within);
                assert!(script.fate_at > times.connect_within);
                let aftermath = times.dead_within + times.grace;
                assert!(script.fate == Fate::Healthy || script.fate_at + aftermath < times.run_for);
            }
        }
    }

    #[test]
    fn the_default_run_is_short_and_a_run_that_is_too_short_says_how_long_it_must_be() {
        assert_eq!(plan(0, 1000).timetable.run_for, RUN_FOR);
        let failure = Timetable::new(&liveness(), 1000, Some(Duration::from_secs(5))).unwrap_err();
        assert!(failure.to_string().contains("use --for 8s or more"), "{failure}");
    }
}
