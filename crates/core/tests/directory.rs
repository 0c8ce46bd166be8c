//! A partition of the directory: the flap guard, reports of takeovers, owners; and, in whatever order letters arrive, the model of
//! `heartring-fuzz`.

use std::collections::hash_map::DefaultHasher;
use std::hash::BuildHasherDefault;
use std::time::Duration;

use heartring_core::{
    ConnAt, ConnId, Directory, FlapGuard, Identity, Instant, Order, Partition, Request, ShardId,
};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn of_those_who_ask_one_remains_and_has_the_identity(choices in prop::collection::vec(any::<u8>(), 0..600)) {
        heartring_fuzz::directory(&choices);
    }
}

fn name() -> Identity {
    Identity::from("pump")
}

/// A partition with one identity, and what it orders.
struct Alone(Partition<BuildHasherDefault<DefaultHasher>>, u32);

impl Alone {
    fn new(guard: FlapGuard) -> Self {
        Self(Partition::new(ShardId(0), 1, BuildHasherDefault::default(), Some(guard)), 0)
    }

    /// A new connection claims, and whoever makes room for it does. Returns for how long it is refused.
    fn claim(&mut self, millis: u64) -> Option<Duration> {
        let now = Instant::from_nanos(millis * 1_000_000);
        let by = ConnAt { shard: ShardId(0), conn: ConnId::new(self.1, 0) };
        self.1 += 1;
        let (mut refused, mut evicted) = (None, None);
        self.0.handle(now, Request::Claim { identity: name(), by }, &mut |_, order| match order {
            Order::Refuse { retry_after, .. } => refused = Some(retry_after),
            Order::Evict { by, .. } => evicted = Some(by),
            Order::Grant { .. } | Order::Send { .. } | Order::Deliver { .. } | Order::Close { .. } => {}
        });
        if let Some(epoch) = evicted {
            self.0.handle(now, Request::Evicted { identity: name(), epoch }, &mut |_, _| ());
        }
        refused
    }
}

#[test]
fn so_many_takeovers_are_allowed_within_a_window_and_then_none_for_a_while() {
    let millis = Duration::from_millis;
    let guard = FlapGuard { takeovers_max: 3, window: millis(1_000), cool_down: millis(500) };
    let mut alone = Alone::new(guard);
    assert_eq!(alone.claim(0), None, "nobody has it");
    for at in [100, 200, 300] {
        assert_eq!(alone.claim(at), None, "{at}");
    }
    assert_eq!(alone.claim(400), Some(millis(500)), "one too many");
    assert_eq!(alone.claim(600), Some(millis(300)), "what is left of the pause");
    assert_eq!(alone.claim(899), Some(millis(1)));
    for at in [900, 910, 920] {
        assert_eq!(alone.claim(at), None, "after the pause it counts from zero");
    }
    assert_eq!(alone.claim(930), Some(millis(500)));
}

#[test]
fn takeovers_that_are_far_apart_are_nothing_unusual() {
    let millis = Duration::from_millis;
    let guard = FlapGuard { takeovers_max: 2, window: millis(1_000), cool_down: millis(500) };
    let mut alone = Alone::new(guard);
    for nth in 0..100 {
        assert_eq!(alone.claim(nth * 500), None, "{nth}");
    }
}

#[test]
fn a_report_of_another_takeover_ends_none() {
    let mut partition = Alone::new(FlapGuard::default()).0;
    let mut ask = |request| {
        let mut orders = Vec::new();
        partition.handle(Instant::ZERO, request, &mut |_, order| orders.push(order));
        orders
    };
    for slot in 0..3 {
        let by = ConnAt { shard: ShardId(0), conn: ConnId::new(slot, 0) };
        ask(Request::Claim { identity: name(), by });
    }
    let mut report = |epoch| ask(Request::Evicted { identity: name(), epoch });
    for other in [1, 3, 7] {
        assert_eq!(report(other), []);
    }
    assert!(matches!(report(2).as_slice(), [Order::Evict { by: 3, .. }]), "the one that waited is next");
    assert_eq!(report(2), [], "it is over");
}

#[test]
fn all_partitions_agree_on_the_owner_and_share_the_identities_evenly() {
    let partitions: Vec<_> = (0..4)
        .map(|shard| Partition::new(ShardId(shard), 4, BuildHasherDefault::<DefaultHasher>::default(), None))
        .collect();
    let mut owned = [0; 4];
    for nth in 0..4_000 {
        let identity = Identity::from(format!("pump-{nth}").as_str());
        let owner = partitions[0].owner(&identity);
        assert!(partitions.iter().all(|partition| partition.owner(&identity) == owner));
        owned[usize::from(owner.0)] += 1;
    }
    assert!(owned.iter().all(|count| (800..1_200).contains(count)), "{owned:?}");
}
