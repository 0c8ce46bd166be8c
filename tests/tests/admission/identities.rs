//! What a client may claim, and when.

use std::thread;
use std::time::Duration;

use heartring::{Cause, ClaimError, Config};
use heartring_socket::now;
use heartring_tests::{Device, On};

use super::claimant::Claims;

const LONG: Duration = Duration::from_mins(1);
const HELLO_WITHIN: Duration = Duration::from_millis(700);

/// The default of `identity_bytes_max`.
const BYTES_MAX: u32 = 1024;

fn claim_required(on: On) -> Config {
    let mut config = Config { claim_required: true, ..on.config(LONG) };
    config.overrides.hello_within = Some(HELLO_WITHIN);
    config
}

/// A claim of `bytes` bytes is refused, and the connection can still make a good one.
fn is_refused_and_changes_nothing(on: On, bytes: usize, why: ClaimError) {
    let claims = Claims::start(on.config(LONG));
    let mut device = claims.connect_and_say(&format!("length {bytes}"));
    assert_eq!(claims.asked(&device), Err(why));
    device.send(b"claim pump\n");
    assert_eq!(claims.asked(&device), Ok(()));
    claims.granted(&device);
    device.expect(format!("length {bytes}\nclaim pump\n").as_bytes());
    let stats = claims.finish().stats;
    assert_eq!((stats.claims, stats.grants, stats.closed("draining")), (1, 1, 1), "{stats:?}");
}

pub(crate) fn an_empty_identity_is_refused_and_changes_nothing(on: On) {
    is_refused_and_changes_nothing(on, 0, ClaimError::Empty);
}

pub(crate) fn an_identity_of_1025_bytes_is_refused_and_changes_nothing(on: On) {
    is_refused_and_changes_nothing(on, 1025, ClaimError::TooLong { bytes: 1025, max: BYTES_MAX });
}

pub(crate) fn an_identity_of_64_kib_is_refused_and_changes_nothing(on: On) {
    is_refused_and_changes_nothing(on, 64 << 10, ClaimError::TooLong { bytes: 64 << 10, max: BYTES_MAX });
}

pub(crate) fn an_identity_of_1024_bytes_is_granted(on: On) {
    let claims = Claims::start(on.config(LONG));
    let first = claims.connect_and_say("length 1024");
    assert_eq!(claims.asked(&first), Ok(()));
    claims.granted(&first);
    // All of its bytes count: it is another than one that is a byte shorter, and the same as one of that length.
    let other = claims.connect_and_say("length 1023");
    claims.granted(&other);
    let second = claims.connect_and_say("length 1024");
    let cause = claims.closed(&first).cause;
    assert_eq!(cause, Cause::Superseded { by: claims.granted(&second) });
    let stats = claims.finish().stats;
    assert_eq!((stats.closed("superseded"), stats.closed("draining")), (1, 2), "{stats:?}");
}

/// The client has said nothing: its address, say, is who it is. It is identified, and the hello deadline has nothing to wait
/// for.
pub(crate) fn a_claim_before_the_hello_is_granted(on: On) {
    let claims = Claims::start_claiming(claim_required(on), Some("pump"));
    let mut device = claims.connect();
    assert_eq!(claims.asked(&device), Ok(()));
    claims.granted(&device);
    // A silence longer than the hello deadline is the point here.
    thread::sleep(HELLO_WITHIN * 2);
    device.send(b"still here\n");
    device.expect(b"still here\n");
    let stats = claims.finish().stats;
    assert_eq!((stats.grants, stats.closed("draining")), (1, 1), "{stats:?}");
}

pub(crate) fn a_second_claim_is_refused_and_changes_nothing(on: On) {
    let claims = Claims::start(on.config(LONG));
    let mut device = claims.connect_and_say("claim pump");
    assert_eq!(claims.asked(&device), Ok(()));
    claims.granted(&device);
    for line in ["claim valve\n", "claim pump\n"] {
        device.send(line.as_bytes());
        assert_eq!(claims.asked(&device), Err(ClaimError::Claimed), "{line}");
    }
    // It holds what it held, and not what it asked for next.
    let other = claims.connect_and_say("claim valve");
    claims.granted(&other);
    device.expect(b"claim pump\nclaim valve\nclaim pump\n");
    let successor = claims.connect_and_say("claim pump");
    let cause = claims.closed(&device).cause;
    assert_eq!(cause, Cause::Superseded { by: claims.granted(&successor) });
    let stats = claims.finish().stats;
    assert_eq!((stats.claims, stats.grants, stats.closed("draining")), (3, 3, 2), "{stats:?}");
}

/// In the handler's last calls, whatever the cause is. (A claim in the call that closes is one of a connection that is still
/// there; it ends all the same, and gives the identity back.)
pub(crate) fn a_claim_while_closing_is_refused(on: On) {
    let claims = Claims::start(on.config(LONG));
    let (closer, leaver) = (claims.connect_and_say("close"), claims.connect_and_say("claim pump"));
    for (device, cause) in [(closer, Cause::Local), (leaver, Cause::PeerClosed)] {
        if cause == Cause::PeerClosed {
            claims.granted(&device);
            device.fin();
        }
        assert_eq!(claims.asked_too_late(&device), Err(ClaimError::Closed), "in closing");
        assert_eq!(claims.asked_too_late(&device), Err(ClaimError::Closed), "in closed");
        assert_eq!(claims.closed(&device).cause, cause);
    }
    // Whoever comes next does not supersede anybody.
    for name in ["pump", "closing"] {
        let next = claims.connect_and_say(&format!("claim {name}"));
        claims.granted(&next);
    }
    let stats = claims.finish().stats;
    assert_eq!(stats.closed("superseded"), 0, "{stats:?}");
}

/// It speaks all the time, and never says who it is.
pub(crate) fn valid_frames_without_a_claim_are_no_hello(on: On) {
    let claims = Claims::start(claim_required(on));
    let known = claims.connect_and_say("claim pump");
    claims.granted(&known);
    let connecting_at = now();
    let mut chatterers: Vec<Device> = (0..3).map(|_| claims.connect()).collect();
    while chatterers.iter_mut().all(|device| device.try_send(b"hello\n").is_ok()) {
        assert!(now().saturating_since(connecting_at) < Duration::from_secs(20), "nobody was cut");
        thread::sleep(HELLO_WITHIN / 20);
    }
    for device in &chatterers {
        let closed = claims.closed(device);
        assert_eq!(closed.cause, Cause::HelloMissed);
        assert!(closed.decided_at >= connecting_at + HELLO_WITHIN, "early: {closed:?}");
    }
    let stats = claims.finish().stats;
    assert_eq!((stats.closed("hello_missed"), stats.closed("draining")), (3, 1), "{stats:?}");
    assert!(stats.frames > 3 * 2, "they did speak: {stats:?}");
}
