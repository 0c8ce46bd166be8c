//! What a gateway looks like from outside.

use std::time::Duration;

use heartring::{ShardId, StateCounts};
use heartring_tests::On;

use super::trial::{Trial, config};

/// Longer than any shard that turns needs to answer, and waited for once.
const WITHIN: Duration = Duration::from_secs(3);

pub(crate) fn a_snapshot_names_the_shard_that_does_not_answer(on: On) {
    const DEVICES: u32 = 32;
    let trial = Trial::begin(config(on, 3));
    let devices = trial.devices(DEVICES as usize);
    let held = ShardId(1);
    trial.hold(held);
    let snapshot = trial.handle.snapshot(WITHIN).unwrap();
    assert_eq!(snapshot.silent().collect::<Vec<_>>(), [held]);
    let there = devices.iter().filter(|(_, at)| at.shard != held).count();
    assert_eq!(snapshot.stats().accepted, there as u64);

    trial.board.release();
    let snapshot = trial.handle.snapshot(Duration::from_mins(1)).unwrap();
    assert_eq!(snapshot.silent().count(), 0);
    assert_eq!(snapshot.states(), StateCounts { greeting: DEVICES, ..StateCounts::default() });
    assert_eq!((snapshot.stats().accepted, snapshot.letters_waiting()), (u64::from(DEVICES), 0));
    for (nth, shard) in snapshot.answered().enumerate() {
        let own = devices.iter().filter(|(_, at)| at.shard == shard.shard).count() as u32;
        assert_eq!((usize::from(shard.shard.0), shard.states.greeting), (nth, own));
        assert_eq!((shard.ledger.sockets, shard.ledger.listeners), (own, 1));
        assert!(shard.open_total > u64::from(own), "the connections and the listener");
    }
    trial.finish();
}
