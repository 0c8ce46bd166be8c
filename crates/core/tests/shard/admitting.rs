//! Limits at the door: so many per second, so many of one source.

use std::net::SocketAddr;
use std::time::Duration;

use heartring_core::{
    Completion, Config, DeadlineStrategy, Errno, Instant, Lines, Listener, ListenerId, Op, Place, Shard,
};
use heartring_sim::{Saw, SimPeer};

use crate::recorder::Recorder;
use crate::world::{World, beats, under_each_strategy};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_hours(1);

fn limited(strategy: DeadlineStrategy, per_second: u32, burst: u32) -> World {
    World::with(strategy, |config| {
        config.limits.accepts_per_second = Some(per_second);
        config.limits.accept_burst = burst;
        config.overrides.hello_within = Some(HOUR);
    })
}

fn let_in(world: &mut World, fleet: &[SimPeer]) -> usize {
    fleet.iter().filter(|peer| !world.calls(peer).is_empty()).count()
}

#[test]
fn clients_above_the_rate_wait_in_the_queue_and_are_not_reset() {
    under_each_strategy(|strategy| {
        let mut world = limited(strategy, 10, 20);
        world.run_for(HOUR);
        let fleet: Vec<_> = (0..100).map(|_| world.connect()).collect();
        assert_eq!(let_in(&mut world, &fleet), 20, "the burst, and no more however long it was quiet");
        for passed in 1..=8 {
            world.run_for(SECOND);
            assert_eq!(let_in(&mut world, &fleet), 20 + 10 * passed, "after {passed} s");
        }
        assert!(fleet.iter().all(|peer| peer.saw() == Saw::Open));
        assert!(world.calls(&fleet[0]) == ["opened"] && world.calls(&fleet[99]) == ["opened"]);
        assert!(world.shard.stats().accept_throttles > 0);
        world.finish();
    });
}

#[test]
fn a_rate_costs_no_wake_ups_while_nobody_comes() {
    under_each_strategy(|strategy| {
        for burst in [1, 2, 1000] {
            let mut world = limited(strategy, 1000, burst);
            let fleet: Vec<_> = (0..burst.min(50)).map(|_| world.connect()).collect();
            world.run_for(10 * SECOND);
            assert_eq!(let_in(&mut world, &fleet), fleet.len());
            fleet.iter().for_each(SimPeer::close);
            world.run_for(SECOND);
            let before = world.shard.stats().turns;
            world.run_for(600 * SECOND);
            let turns = world.shard.stats().turns - before;
            assert!(turns < 100, "{turns} turns in ten quiet minutes, with a burst of {burst}");
            world.finish();
        }
    });
}

/// A shard with several listeners and no backend: which of them have accepts in flight.
struct Doorway {
    shard: Shard<Recorder<Lines>>,
    now: Instant,
    in_flight: Vec<Vec<heartring_core::ConnId>>,
}

impl Doorway {
    fn new(listeners: u8, burst: u32) -> Self {
        let mut config = Config::default();
        (config.limits.accepts_per_second, config.limits.accept_burst) = (Some(10), burst);
        config.overrides.hello_within = Some(HOUR);
        let addr = "10.0.0.1:7000".parse().unwrap();
        let list: Vec<_> = (0..listeners).map(|id| Listener { id: ListenerId(id), addr }).collect();
        let place = Place::alone(10_000, DeadlineStrategy::Sweep);
        let shard = Shard::new(place, &config, &list, Recorder::default()).unwrap();
        let in_flight = list.iter().map(|_| Vec::new()).collect();
        Self { shard, now: Instant::from_nanos(1 << 40), in_flight }
    }

    fn turn(&mut self) -> Option<Instant> {
        let in_flight = &mut self.in_flight;
        self.shard.end_turn(self.now, &mut |op| {
            if let Op::Accept { listener, conn } = op {
                in_flight[usize::from(listener.0)].push(conn);
            }
        });
        self.shard.wake_at()
    }

    /// A client comes to a listener; false if it has to wait.
    fn client(&mut self, listener: u8) -> bool {
        let Some(conn) = self.in_flight[usize::from(listener)].pop() else { return false };
        let peer = "10.0.0.2:50000".parse().unwrap();
        self.shard.handle(self.now, Completion::Accepted { listener: ListenerId(listener), conn, peer });
        true
    }
}

#[test]
fn a_quiet_listener_does_not_keep_the_tokens_from_a_busy_one() {
    for (listeners, burst) in [(2, 1), (2, 2), (3, 16), (3, 4), (2, 256)] {
        let mut doorway = Doorway::new(listeners, burst);
        for busy in 0..listeners {
            let mut came = 0;
            for _ in 0..300 {
                let wake_at = doorway.turn();
                assert!(
                    wake_at.is_none_or(|at| at > doorway.now),
                    "it spins: {listeners} listeners, {burst}"
                );
                while doorway.client(busy) {
                    came += 1;
                    doorway.turn();
                }
                doorway.now = doorway.now + SECOND / 100;
            }
            let most = 30 + burst.max(u32::from(listeners)) + 1;
            assert!((29..=most).contains(&came), "{came} in 3 s at listener {busy} of {listeners}, {burst}");
        }
    }
}

#[test]
fn a_source_has_so_many_connections_and_its_count_comes_back() {
    under_each_strategy(|strategy| {
        let mut world = World::with(strategy, |config| config.limits.conns_per_source_max = Some(3));
        let listener: SocketAddr = "10.0.0.1:7000".parse().unwrap();
        let mut ports = 40_000..;
        let mut connect = |world: &mut World, host: &str| {
            let from = SocketAddr::new(host.parse().unwrap(), ports.next().unwrap());
            let peer = world.net.connect_from(listener, from);
            peer.send(b"\n");
            beats(&peer, SECOND, 20 * SECOND);
            world.run_for(Duration::ZERO);
            peer
        };
        let first: Vec<_> = (0..5).map(|_| connect(&mut world, "192.0.2.1")).collect();
        let other = connect(&mut world, "192.0.2.2");
        let saw: Vec<_> = first.iter().map(SimPeer::saw).collect();
        assert_eq!(saw, [Saw::Open, Saw::Open, Saw::Open, Saw::Reset, Saw::Reset]);
        assert_eq!((other.saw(), world.calls(&first[4])), (Saw::Open, vec![]));
        assert_eq!(world.shard.stats().refused("source_max"), 2);
        assert_eq!(world.shard.stats().closed("refused"), 2);
        // However a connection ends, its place is free again.
        first[0].fail(Errno::EHOSTUNREACH);
        first[1].reset();
        world.run_for(SECOND);
        let again: Vec<_> = (0..3).map(|_| connect(&mut world, "192.0.2.1").saw()).collect();
        assert_eq!(again, [Saw::Open, Saw::Open, Saw::Reset]);
        let by_reason: u64 = world.shard.stats().refused_by_reason().map(|(_, count)| count).sum();
        assert_eq!(by_reason, 3);
        world.finish();
    });
}

#[test]
fn who_is_refused_for_the_gateway_is_not_counted_for_its_source() {
    under_each_strategy(|strategy| {
        let mut world = World::with(strategy, |config| {
            config.limits.conns_max = Some(2);
            config.limits.conns_per_source_max = Some(2);
        });
        let listener: SocketAddr = "10.0.0.1:7000".parse().unwrap();
        let fleet = world.connect_fleet(2);
        for port in 1..20 {
            let peer = world.net.connect_from(listener, SocketAddr::new("192.0.2.1".parse().unwrap(), port));
            world.run_for(Duration::ZERO);
            assert_eq!(peer.saw(), Saw::Reset);
        }
        assert_eq!(
            (world.shard.stats().refused("conns_max"), world.shard.stats().refused("source_max")),
            (19, 0)
        );
        fleet[0].close();
        fleet[1].close();
        world.run_for(SECOND);
        for port in 30..32 {
            let peer = world.net.connect_from(listener, SocketAddr::new("192.0.2.1".parse().unwrap(), port));
            world.run_for(Duration::ZERO);
            assert_eq!(peer.saw(), Saw::Open);
        }
        world.finish();
    });
}
