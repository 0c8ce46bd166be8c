//! Histories from seeds.

use std::time::Duration;

use heartring_core::{Config, DeadlineStrategy, FlapGuard};

use crate::dice::Dice;
use crate::post::Habits;
use crate::village::{Plan, Village};

/// How many seeds a usual run plays: some seventy thousand claims in a few seconds.
const SEEDS: u64 = 500;

/// The plan of a seed.
fn plan(dice: &mut Dice) -> Plan {
    let mut config = Config {
        dead_within: *dice.pick(&[
            Duration::from_millis(200),
            Duration::from_secs(2),
            Duration::from_secs(30),
        ]),
        claim_required: dice.one_in(2),
        flap_guard: None,
        ..Config::default()
    };
    if dice.one_in(3) {
        config.flap_guard = Some(FlapGuard {
            takeovers_max: dice.between(0, 6) as u32,
            window: Duration::from_millis(dice.between(1, 2_000)),
            cool_down: Duration::from_millis(dice.between(1, 500)),
        });
    }
    config.limits.outbox_letters_max = *dice.pick(&[1, 8, 4096]);
    config.limits.held_bytes_max = *dice.pick(&[16, 256, 256 << 10]);
    let strategies = [DeadlineStrategy::Linked, DeadlineStrategy::Lease, DeadlineStrategy::Sweep];
    Plan {
        shards: dice.between(1, 4) as u16,
        identities: dice.between(1, 12) as usize,
        clients: dice.between(50, 250) as usize,
        strategy: *dice.pick(&strategies),
        config,
        habits: Habits {
            delay_max: Duration::from_micros(*dice.pick(&[0, 300, 20_000, 500_000])),
            letters_max: *dice.pick(&[1, 5, 4096]),
            strike_in: *dice.pick(&[20, 1_000, 1 << 40]),
            strike_max: Duration::from_millis(*dice.pick(&[5, 5_000])),
        },
        crowd: dice.between(2, 24) as usize,
        step_max: Duration::from_micros(*dice.pick(&[200, 2_000, 20_000])),
        absent_in: *dice.pick(&[200, 1 << 40]),
    }
}

/// Says how to replay a seed that failed.
struct Announce(u64, Plan);

impl Drop for Announce {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "failed: HEARTRING_SEED={} cargo test -p heartring-core --test village\n{:?}",
                self.0, self.1
            );
        }
    }
}

fn number_from(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}

#[test]
fn whatever_happens_an_identity_has_one_holder_and_every_claim_an_end() {
    let seeds = match number_from("HEARTRING_SEED") {
        Some(seed) => seed..=seed,
        None => 1..=number_from("HEARTRING_SEEDS").unwrap_or(SEEDS),
    };
    let (mut claims, mut grants, mut mail, mut given_back) = (0, 0, 0, 0);
    let mut causes = std::collections::BTreeMap::new();
    for seed in seeds {
        let mut dice = Dice::new(seed);
        let plan = plan(&mut dice);
        let announce = Announce(seed, plan.clone());
        let mut village = Village::new(plan, dice);
        village.play();
        village.every_holder_is_found();
        (mail, given_back) = (mail + village.mail().0, given_back + village.mail().1);
        let (history, deeds) = village.finish();
        history.borrow().check(&deeds);
        let (asked, granted) = history.borrow().claims();
        (claims, grants) = (claims + asked, grants + granted);
        for (cause, count) in history.borrow().causes() {
            *causes.entry(cause).or_insert(0) += count;
        }
        drop(announce);
    }
    println!("{claims} claims, {grants} granted, {mail} letters, {given_back} given back, ends: {causes:?}");
}
