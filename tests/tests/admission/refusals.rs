//! Those who were let in and are refused later, each counted by its reason.

use std::time::Duration;

use heartring::{Cause, Config, FlapGuard, Limits, Refusal};
use heartring_tests::{Device, End, On};

use super::claimant::{Claims, Told};

const LONG: Duration = Duration::from_mins(1);

/// The shard that decides half of the claims stands still. Who waits for it is refused when `hello_within` is over, or, if it
/// goes on sending, when `held_bytes_max` is reached; the claims that the other shard decides do not wait.
pub(crate) fn a_claim_that_a_stalled_shard_decides_is_refused_in_time(on: On) {
    const CLIENTS: usize = 60;
    let limits = Limits { held_bytes_max: 4096, ..on.config(LONG).limits };
    let mut config = Config { shards: Some(2), watchdog: None, limits, ..on.config(LONG) };
    config.overrides.hello_within = Some(Duration::from_secs(1));
    let claims = Claims::start(config);
    let gate = claims.gate();
    let holder = claims.connect_and_say("hold");
    claims.wait(&holder, &Told::Received("hold".into()));
    let mut devices: Vec<Device> =
        (0..CLIENTS).map(|nth| claims.connect_and_say(&format!("claim device {nth}"))).collect();
    // Half of them do not wait with what they have to say. A refused one meets a reset.
    for device in devices.iter_mut().step_by(2) {
        let _ = device.try_send(&[b'x'; 8192]);
    }
    let mut refused = [0, 0];
    while refused.contains(&0) {
        let (reason, _) = claims.refusal();
        refused[0] += u64::from(reason == Refusal::HeldBytesMax);
        refused[1] += u64::from(reason == Refusal::ClaimUndecided);
    }
    drop(gate);
    drop(devices);
    let stats = claims.finish().stats;
    let counted = [stats.refused("held_bytes_max"), stats.refused("claim_undecided")];
    assert!(counted[0] >= refused[0] && counted[1] >= refused[1], "{refused:?}: {stats:?}");
    assert_eq!(stats.closed("refused"), counted.iter().sum::<u64>(), "{stats:?}");
    assert!(stats.grants > 0, "the other shard's claims were decided: {stats:?}");
}

/// Two devices with one identity: after a few takeovers it stays with its present holder for a while.
pub(crate) fn an_identity_that_is_fought_for_cools_down(on: On) {
    let guard = FlapGuard { takeovers_max: 3, window: LONG, cool_down: LONG };
    let claims = Claims::start(Config { flap_guard: Some(guard), ..on.config(LONG) });
    let mut holders: Vec<Device> = Vec::new();
    for _ in 0..4 {
        let device = claims.connect_and_say("claim pump");
        claims.granted(&device);
        holders.push(device);
    }
    for _ in 0..5 {
        let mut device = claims.connect_and_say("claim pump");
        let (reason, closed) = claims.refusal();
        let Refusal::Flapping { retry_after } = reason else { panic!("{closed:?}") };
        assert!(retry_after <= LONG && retry_after > Duration::ZERO, "{retry_after:?}");
        assert_eq!(device.read_to_end().1, End::Reset);
    }
    let holder = holders.last_mut().expect("there were four");
    holder.send(b"still the holder\n");
    holder.expect(b"claim pump\nstill the holder\n");
    let stats = claims.finish().stats;
    assert_eq!((stats.refused("flapping"), stats.closed("superseded")), (5, 3), "{stats:?}");
}

/// The first half frame fills what half frames may fill; the second finds no room.
pub(crate) fn half_frames_cannot_fill_the_memory(on: On) {
    let limits = Limits { frame_bytes_max: 4096, partial_bytes_max: 4096, ..on.config(LONG).limits };
    let claims = Claims::start(Config { limits, ..on.config(LONG) });
    let mut first = claims.connect_and_say("hello");
    first.expect(b"hello\n");
    first.send(&[b'x'; 3000]);
    let mut second = claims.connect();
    second.send(&[b'x'; 3000]);
    let (reason, closed) = claims.refusal();
    assert_eq!(reason, Refusal::PartialBytesMax, "{closed:?}");
    assert!(matches!(closed.cause, Cause::Refused(_)));
    let stats = claims.finish().stats;
    assert_eq!(stats.refused("partial_bytes_max"), 1, "{stats:?}");
}
