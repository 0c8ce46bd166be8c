//! What a seed decides before anything happens: what the gateway is configured to, who comes, and how likely what goes wrong is.

use std::time::Duration;

use heartring_core::{
    Config, DEAD_WITHIN_MAX, DeadlineStrategy, FlapGuard, Instant, Keepalive, Limits, Liveness, Overrides,
};
use heartring_sim::{Dice, Fault, FaultOdds};

use crate::character::Character;
use crate::post::Habits;

/// A tick of core's deadlines lasts 2^16 ns, and its counter has 32 bits: here it begins anew.
const TICKS_WRAP_AT: Instant = Instant::from_nanos(1 << 48);

/// What is to happen.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// From which all of it follows.
    pub seed: u64,
    /// The gateway's configuration.
    pub config: Config,
    /// The timings that follow from it.
    pub liveness: Liveness,
    /// Who keeps the deadlines.
    pub strategy: DeadlineStrategy,
    /// How many shards.
    pub shards: u16,
    /// Connections of each shard.
    pub conns_max: u32,
    /// How many identities the clients share.
    pub identities: u32,
    /// How many hosts they come from.
    pub sources: u32,
    /// How many clients come, those not counted that come back.
    pub clients: u32,
    /// What goes wrong in the kernels.
    pub odds: FaultOdds,
    /// When the clocks start.
    pub starts_at: Instant,
    /// How long clients come.
    pub span: Duration,
    /// One client in so many comes with others in one instant.
    pub rush_in: u64,
    /// How many of each character there are, in proportion.
    pub cast: Vec<(Character, u64)>,
    /// How long a client stays at the most, in beats.
    pub beats_max: u64,
    /// How long a segment takes at the most.
    pub latency_max: Duration,
    /// One transmission in so many arrives in several segments.
    pub segmented_in: u64,
    /// One client in so many has its path cut for a while.
    pub outage_in: u64,
    /// One client in so many claims an identity.
    pub claims_in: u64,
    /// One data frame in so many asks for something.
    pub asks_in: u64,
    /// Filler of a data frame at the most.
    pub filler_max: u32,
    /// Bytes that a client asks for at once at the most.
    pub answer_max: u32,
    /// What the kernel buffers of what we send.
    pub send_buffer_bytes: u32,
    /// The size of a receive buffer.
    pub receive_buffer_bytes: u32,
    /// What the post is like.
    pub habits: Habits,
    /// How long a turn of a thread takes at the most.
    pub turn_takes_max: Duration,
    /// How often threads are away for a while, each.
    pub absences: u64,
    /// For how long, at the most.
    pub absence_max: Duration,
    /// How many letters come from outside: broadcasts, closes, payloads for identities.
    pub letters_from_outside: u64,
    /// How often a thread is woken for nothing.
    pub wakes: u64,
    /// Many clients vanish in the same instant.
    pub mass_death: bool,
    /// A shard is drained while everything goes on.
    pub drains_early: bool,
    /// Before the end nothing goes wrong any more; else the kernels' faults go on, and clients come, until the last shard is drained.
    pub calms_down: bool,
}

impl Plan {
    /// The plan of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        // The seeds of a run are neighbours, and so would be the first rolls.
        let dice = &mut Dice::new(Dice::new(seed).roll());
        let clients = dice.between(380, 760);
        let shards = dice.between(1, 4) as u16;
        let dead_within = any_magnitude(dice, Duration::from_millis(200), Duration::from_hours(4));
        let config = config_of(dice, dead_within, clients);
        let liveness = config.liveness().expect("what is drawn is valid");
        let span = dead_within * dice.between(2, 6) as u32;
        let frame_room = (config.limits.frame_bytes_max as usize).saturating_sub(crate::speech::LEAST_FRAME);
        Self {
            seed,
            strategy: *dice.pick(&[
                DeadlineStrategy::Linked,
                DeadlineStrategy::Lease,
                DeadlineStrategy::Sweep,
            ]),
            shards,
            conns_max: if dice.one_in(8) { dice.between(8, 128) as u32 } else { 1_024 },
            identities: if dice.one_in(2) { clients as u32 } else { any_number(dice, 1, clients) as u32 },
            sources: any_number(dice, 2, clients) as u32,
            clients: clients as u32,
            odds: odds_of(dice, dead_within),
            starts_at: starts_at(dice, span),
            rush_in: *dice.pick(&[2, 10, 1_000]),
            cast: Character::cast(dice),
            beats_max: dice.between(2, 12),
            latency_max: dead_within / *dice.pick(&[20, 200, 2_000, u32::MAX]),
            segmented_in: *dice.pick(&[2, 10, 1_000]),
            outage_in: *dice.pick(&[3, 20, 1_000_000]),
            // Who must claim and does not is found by the hello deadline: some are enough.
            claims_in: if config.claim_required && dice.below(4) > 0 { 1 } else { *dice.pick(&[1, 2, 10]) },
            asks_in: *dice.pick(&[1, 2, 10]),
            filler_max: any_number(dice, 1, 4_000).min(frame_room as u64) as u32,
            answer_max: any_number(dice, 1, 32_000) as u32,
            send_buffer_bytes: *dice.pick(&[16, 512, 4_096, 65_536]),
            receive_buffer_bytes: *dice.pick(&[64, 512, 2_048, 2_048]),
            habits: habits_of(dice, dead_within),
            turn_takes_max: Duration::from_micros(*dice.pick(&[0, 0, 10, 1_000])).min(dead_within / 2_000),
            absences: *dice.pick(&[0, 2, 10]),
            absence_max: dead_within * *dice.pick(&[1, 2]),
            letters_from_outside: dice.between(0, 60),
            wakes: dice.between(0, 60),
            mass_death: dice.one_in(4),
            drains_early: dice.one_in(5),
            calms_down: dice.below(4) > 0,
            span,
            liveness,
            config,
        }
    }
}

fn config_of(dice: &mut Dice, dead_within: Duration, clients: u64) -> Config {
    let config = Config {
        dead_within,
        limits: limits_of(dice, dead_within, clients),
        tick_every: dice.one_in(2).then(|| (dead_within / 20).max(Duration::from_millis(1))),
        claim_required: dice.one_in(3),
        flap_guard: dice.one_in(2).then(|| FlapGuard {
            takeovers_max: any_number(dice, 0, 20) as u32,
            window: up_to(dice, dead_within * 2).max(Duration::from_nanos(1)),
            cool_down: up_to(dice, dead_within).max(Duration::from_nanos(1)),
        }),
        ..Config::default()
    };
    let overrides = overrides_of(dice, dead_within);
    let by_hand = Config { overrides, ..config.clone() };
    if by_hand.validate().is_ok() { by_hand } else { config }
}

/// Timings set by hand, each in one plan of three; those that contradict each other are dropped, all together.
fn overrides_of(dice: &mut Dice, dead_within: Duration) -> Overrides {
    let mut drawn = |least: Duration, most: Duration| {
        dice.one_in(3).then(|| any_magnitude(dice, least, most.min(DEAD_WITHIN_MAX)))
    };
    let (short, tick) = (dead_within / 100, Duration::from_millis(1));
    let mut overrides = Overrides {
        beat_every: drawn(dead_within / 6, dead_within / 2),
        overdue_after: drawn(dead_within / 2, dead_within * 9 / 10),
        grace: drawn(tick, dead_within * 2),
        hello_within: drawn(dead_within / 10, dead_within * 2),
        frame_within: drawn(short, dead_within * 2),
        send_stall_within: drawn(short, dead_within * 2),
        drain_within: drawn(short, dead_within * 2),
        stall_tolerance: drawn(tick, dead_within),
        ..Overrides::default()
    };
    match dice.below(6) {
        0 => overrides.grace = Some(Duration::ZERO),
        1 => overrides.keepalive = Some(None),
        2 => overrides.user_timeout = Some(None),
        3 => overrides.keepalive = Some(Some(Keepalive { idle_s: 1, interval_s: 1, probes: 1 })),
        _ => {}
    }
    overrides
}

fn limits_of(dice: &mut Dice, dead_within: Duration, clients: u64) -> Limits {
    let frame_bytes_max = *dice.pick(&[32, 300, 5_000, 64 << 10]);
    let send_queue_bytes_max = *dice.pick(&[64, 2_000, 60_000, 256 << 10]);
    let share = 1_000 / dead_within.as_millis().max(1) as u64;
    Limits {
        conns_per_source_max: dice.one_in(8).then(|| any_number(dice, 1, 50) as u32),
        accepts_per_second: dice.one_in(8).then(|| (clients * share).clamp(2, 1 << 20) as u32),
        accept_burst: any_number(dice, 1, 256) as u32,
        held_bytes_max: *dice.pick(&[16, 256, 256 << 10]),
        outbox_letters_max: *dice.pick(&[1, 8, 4_096]),
        accepts_in_flight: *dice.pick(&[1, 2, 32]),
        frame_bytes_max,
        partial_bytes_max: u64::from(frame_bytes_max) * *dice.pick(&[1, 10, 10_000]),
        send_queue_bytes_max,
        send_queue_high: send_queue_bytes_max / 2,
        send_queue_low: send_queue_bytes_max / 8,
        dead_within_min: (dead_within / 8).max(Duration::from_millis(100)),
        dead_within_max: (dead_within * 8).min(DEAD_WITHIN_MAX),
        verdicts_per_turn_max: *dice.pick(&[1, 2, 8, 1_024, 1_024]),
        // Not drawn, so that the rest of a plan stays what it was. One fleet in eight is mostly left to the sweep.
        watches_max: if clients.is_multiple_of(8) { 2 } else { 1024 },
        ..Limits::default()
    }
}

/// Faults that need others to be possible are drawn together with them in some plans: by themselves they would meet too rarely.
fn odds_of(dice: &mut Dice, dead_within: Duration) -> FaultOdds {
    let mut odds = if dice.one_in(10) { FaultOdds::NONE } else { FaultOdds::draw(dice) };
    odds.delay_max = odds.delay_max.min(dead_within / 20);
    odds.stall_max = odds.stall_max.clamp(odds.delay_max, dead_within * 2);
    // Who cannot be examined twice in a row is convicted, bytes or not: that is to be as rare as it is.
    odds.set(Fault::ExamineBlank, odds.get(Fault::ExamineBlank).min(5_000));
    let (accepts, closes) = (
        [Fault::AcceptLate, Fault::AcceptedAfterUnlisten],
        [Fault::CloseJoinsSlowly, Fault::SendParks, Fault::SentAfterClose, Fault::WatchedAfterClose],
    );
    if dice.one_in(3) {
        for fault in accepts {
            odds.set(fault, 500_000);
        }
    }
    if dice.one_in(3) {
        for fault in closes {
            odds.set(fault, 500_000);
        }
    }
    odds
}

fn habits_of(dice: &mut Dice, dead_within: Duration) -> Habits {
    Habits {
        delay_max: dead_within / *dice.pick(&[2, 100, 10_000, u32::MAX]),
        letters_max: *dice.pick(&[1, 5, 4_096]),
        strike_in: *dice.pick(&[20, 1_000, 1 << 40]),
        strike_max: dead_within / *dice.pick(&[1, 100]),
    }
}

/// At zero, anywhere, or so that the ticks begin anew somewhere within the span.
fn starts_at(dice: &mut Dice, span: Duration) -> Instant {
    match dice.below(4) {
        0 => Instant::ZERO,
        1 => Instant::ZERO + up_to(dice, Duration::from_hours(1_000)),
        _ => TICKS_WRAP_AT - up_to(dice, span),
    }
}

/// A duration from zero to `most`.
pub(crate) fn up_to(dice: &mut Dice, most: Duration) -> Duration {
    Duration::from_nanos(dice.between(0, most.as_nanos() as u64))
}

/// A duration between the two; short ones are as likely as long ones.
fn any_magnitude(dice: &mut Dice, least: Duration, most: Duration) -> Duration {
    Duration::from_nanos(any_number(dice, least.as_nanos() as u64, most.as_nanos() as u64))
}

/// A number between the two; small ones are as likely as large ones.
pub(crate) fn any_number(dice: &mut Dice, least: u64, most: u64) -> u64 {
    let least = least.min(most);
    let doublings = (most / least.max(1)).max(1).ilog2() as usize;
    let bound = (least.max(1) << dice.below(doublings + 1)).saturating_mul(2);
    dice.between(least, bound.min(most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_plan_has_a_valid_configuration_and_the_plans_differ() {
        let plans: Vec<Plan> = (0..500).map(Plan::new).collect();
        assert!(plans.iter().all(|plan| plan.config.validate().is_ok()));
        let by_hand = plans.iter().filter(|plan| plan.config.overrides != Overrides::default()).count();
        assert!(by_hand > 250, "timings set by hand: {by_hand} of 500");
        let wraps = plans
            .iter()
            .filter(|plan| plan.starts_at < TICKS_WRAP_AT && plan.starts_at + plan.span > TICKS_WRAP_AT);
        assert!(wraps.count() > 100);
    }

    #[test]
    fn a_seed_has_one_plan() {
        let text = |seed| format!("{:?}", Plan::new(seed));
        assert_eq!(text(3), text(3));
        assert_ne!(text(3), text(4));
    }
}
