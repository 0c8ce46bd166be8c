//! Letters and sockets share a thread, and neither has it for itself.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use heartring::{Bytes, ShardId};
use heartring_tests::{Device, On};

use super::trial::{Trial, config, insist};

/// Each waits for the one before, so a shard that serves the other side first would never come to the end.
const ROUND_TRIPS: usize = 100;

pub(crate) fn a_flood_of_letters_does_not_starve_the_sockets(on: On) {
    let trial = Trial::begin(config(on, 1));
    let mut device = Device::connect(trial.addr());
    // Every letter that is taken puts one in again: the mailbox is never empty.
    trial.handle.post(ShardId(0), Bytes::from_static(b"again")).unwrap();
    for _ in 0..ROUND_TRIPS {
        device.send(b"hello\n");
        device.expect(b"hello\n");
    }
    trial.finish();
}

pub(crate) fn a_flood_of_frames_does_not_starve_the_letters(on: On) {
    let trial = Trial::begin(config(on, 1));
    let device = Device::connect(trial.addr());
    let lines = b"noise\n".repeat(1000);
    let write = || {
        device.stream().write_all(&lines).expect("the gateway reads");
    };
    during(write, || {
        for number in 1..=ROUND_TRIPS {
            insist(|| trial.handle.post(ShardId(0), Bytes::from_static(b"a 0"))).unwrap();
            trial.board.wait("message", |notes| (notes.messages.len() == number).then_some(()));
        }
    });
    trial.finish();
}

/// Has `flood` repeated by another thread during `body`.
fn during(flood: impl Fn() + Send + Sync, body: impl FnOnce()) {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                flood();
            }
        });
        body();
        over.store(true, Ordering::Relaxed);
    });
}
