//! How many are let in per second: the others wait in the kernel's queue.

use std::time::Duration;

use heartring::{Config, Instant, Limits, Lines};
use heartring_socket::now;
use heartring_tests::{Device, Event, GatewayProbe, On, accept_queues, alone, cpu_time};

use super::claimant::DRAIN_WITHIN;

const CLIENTS: usize = 300;
const PER_SECOND: u32 = 100;
const BURST: u32 = 20;

/// (300 - 20) / 100 s.
const SHORTEST: Duration = Duration::from_millis(2800);

fn config(on: On, shards: u16) -> Config {
    let limits = Limits {
        accepts_per_second: Some(PER_SECOND),
        accept_burst: BURST,
        conns_max: Some(1000),
        ..Limits::default()
    };
    let mut config = Config { limits, shards: Some(shards), ..on.config(Duration::from_mins(1)) };
    config.overrides.drain_within = DRAIN_WITHIN;
    config
}

/// Alone in its process, so that the CPU time of a thread of that name is this gateway's.
pub(crate) fn a_burst_over_the_rate_waits_and_is_not_reset(on: On) {
    alone(&format!("{}::a_burst_over_the_rate_waits_and_is_not_reset", on.module), || {
        let probe = GatewayProbe::start::<Lines>(config(on, 1));
        let began = now();
        let mut clients = burst(&probe);
        let (first, last) = clients.split_at_mut(BURST as usize);
        first.iter_mut().for_each(has_answer);
        assert!(accept_queues(probe.addr())[0] > 0, "the others wait");
        let (cpu_before, waiting_since) = (shard_cpu(), now());
        last.iter_mut().for_each(has_answer);
        let (cpu, waited) = (shard_cpu().saturating_sub(cpu_before), now().saturating_since(waiting_since));
        let took = now().saturating_since(began);
        println!("{}: {CLIENTS} clients in {took:?}, {cpu:?} of CPU while they waited", on.module);
        assert!(cpu < waited / 10, "{cpu:?} of CPU in {waited:?}: it spins");
        // Up to now it is what the rate says; beyond that only the machine can make it later.
        assert!((SHORTEST..SHORTEST * 3).contains(&took), "{took:?}");
        was_never_too_fast(&probe, began);
        let stats = probe.finish().stats;
        assert_eq!((stats.accepted, stats.closed("draining")), (CLIENTS as u64, CLIENTS as u64), "{stats:?}");
        assert!(stats.accept_throttles > 0, "{stats:?}");
    });
}

/// Each shard has its half. The kernel does not halve the clients, so that the fuller one takes longer.
pub(crate) fn the_rate_holds_for_all_shards_together(on: On) {
    let probe = GatewayProbe::start::<Lines>(config(on, 2));
    let began = now();
    let mut clients = burst(&probe);
    clients.iter_mut().for_each(has_answer);
    let took = now().saturating_since(began);
    assert!((SHORTEST..SHORTEST * 4).contains(&took), "{took:?}");
    was_never_too_fast(&probe, began);
    let stats = probe.finish().stats;
    assert_eq!(stats.closed("draining"), CLIENTS as u64, "{stats:?}");
}

/// All clients at once, each with its question.
fn burst(probe: &GatewayProbe) -> Vec<Device> {
    (0..CLIENTS).map(|_| Device::connect_and_send(probe.addr(), b"echo well\n")).collect()
}

fn has_answer(client: &mut Device) {
    client.expect(b"well\n");
}

/// At no moment were there more than the burst and what the rate has allowed since `began`.
fn was_never_too_fast(probe: &GatewayProbe, began: Instant) {
    let entries = probe.log().entries();
    let opened = entries.iter().filter(|entry| entry.event == Event::Opened);
    for (nth, entry) in opened.enumerate() {
        let allowed = entry.at.saturating_since(began).as_secs_f64() * f64::from(PER_SECOND);
        let count = (nth + 1) as f64;
        assert!(count <= allowed + f64::from(BURST), "{count} after {:?}", entry.at.saturating_since(began));
    }
}

/// The CPU time of the only shard's thread.
fn shard_cpu() -> Duration {
    cpu_time("self", |thread| thread == "heartring-0")
}
