//! What is held back while a claim is undecided: nothing of it is lost, told early, told twice, or unbounded.

use std::time::Duration;

use heartring_core::{Cause, LengthPrefixed, Protocol, Refusal};

use crate::recorder::Told;
use crate::world::{World, under_each_strategy};

const SECOND: Duration = Duration::from_secs(1);

/// The first frame claims.
fn claiming<P: Protocol + Default>(world: &mut World<P>) {
    world.act(|conn, told| {
        if matches!(told, Told::Received(_)) && conn.identity().is_none() {
            conn.claim(b"pump").unwrap();
        }
    });
}

/// Sends `stream` in the pieces that `cuts` make of it, and grants the claim after the piece `granted_after`.
fn in_pieces<P: Protocol + Default>(stream: &[u8], cuts: [usize; 2], granted_after: usize, frames: &[&[u8]]) {
    let mut world = World::<P>::undecided(heartring_core::DeadlineStrategy::Sweep, |_| ());
    claiming(&mut world);
    let peer = world.connect();
    let pieces = [&stream[..cuts[0]], &stream[cuts[0]..cuts[1]], &stream[cuts[1]..]];
    let (mut asked, mut granted) = (false, false);
    for (nth, piece) in pieces.into_iter().enumerate() {
        peer.send(piece);
        world.run_for(Duration::from_millis(1));
        asked |= world.shard.stats().claims > 0;
        if asked && !granted {
            assert_eq!(world.frames_of(&peer).0, frames[..1], "{cuts:?}: only the claim itself");
            if nth >= granted_after || nth == 2 {
                world.grant(&peer, 1);
                granted = true;
            }
        }
    }
    assert_eq!(world.frames_of(&peer).0, frames, "{cuts:?}, granted after piece {granted_after}");
    let calls = world.calls(&peer);
    assert_eq!(calls[..3], ["opened", "received", "claimed"]);
    peer.fin();
    world.run_for(SECOND);
    assert_eq!(world.cause_of(&peer), "peer_closed");
    world.finish();
}

#[test]
fn lines_behind_a_claim_are_received_after_it_however_they_arrive() {
    let stream = b"i am pump\none\n\ntwo\r\nthree\n";
    for first in 0..=stream.len() {
        for second in first..=stream.len() {
            for granted_after in 0..3 {
                let frames: [&[u8]; 4] = [b"i am pump", b"one", b"two", b"three"];
                in_pieces::<heartring_core::Lines>(stream, [first, second], granted_after, &frames);
            }
        }
    }
}

#[test]
fn length_prefixed_frames_behind_a_claim_are_received_after_it_however_they_arrive() {
    let frames: [&[u8]; 4] = [b"me", b"one", b"", b"three"];
    let stream: Vec<u8> = frames.iter().flat_map(|body| LengthPrefixed::encode(body)).collect();
    let data: Vec<&[u8]> = frames.into_iter().filter(|body| !body.is_empty()).collect();
    for first in 0..=stream.len() {
        for second in first..=stream.len() {
            for granted_after in 0..3 {
                in_pieces::<LengthPrefixed>(&stream, [first, second], granted_after, &data);
            }
        }
    }
}

#[test]
fn a_fin_behind_a_claim_waits_for_what_is_before_it() {
    under_each_strategy(|strategy| {
        let mut world: World = World::undecided(strategy, |_| ());
        claiming(&mut world);
        let peer = world.connect();
        peer.send(b"i am pump\none\ntwo\nhalf");
        peer.fin();
        world.run_for(5 * SECOND);
        assert_eq!(world.calls(&peer), ["opened", "received"]);
        world.grant(&peer, 1);
        let whole = ["opened", "received", "claimed", "received", "received", "closed"];
        assert_eq!((world.calls(&peer), world.cause_of(&peer)), (whole.to_vec(), "peer_closed"));
        world.finish();
    });
}

#[test]
fn a_fin_right_behind_a_claim_ends_the_connection_with_its_grant() {
    under_each_strategy(|strategy| {
        let mut world: World = World::undecided(strategy, |_| ());
        claiming(&mut world);
        let peer = world.connect();
        peer.send(b"i am pump\n");
        peer.fin();
        world.run_for(SECOND);
        assert_eq!(world.calls(&peer), ["opened", "received"]);
        world.grant(&peer, 1);
        let whole = ["opened", "received", "claimed", "closed"];
        assert_eq!((world.calls(&peer), world.cause_of(&peer)), (whole.to_vec(), "peer_closed"));
        world.finish();
    });
}

#[test]
fn half_a_frame_that_was_held_back_has_its_time_from_the_grant_on() {
    under_each_strategy(|strategy| {
        let mut world: World = World::undecided(strategy, |config| {
            config.overrides.frame_within = Some(2 * SECOND);
        });
        claiming(&mut world);
        let peer = world.connect();
        peer.send(b"i am pump\nhalf");
        world.run_for(5 * SECOND);
        assert_eq!(world.end_of(&peer), None, "the wait is ours");
        world.grant(&peer, 1);
        world.run_for(SECOND);
        assert_eq!(world.end_of(&peer), None);
        world.run_for(2 * SECOND);
        assert_eq!(world.cause_of(&peer), "frame_stalled");
        world.finish();
    });
}

#[test]
fn who_sends_more_than_is_held_back_is_refused() {
    under_each_strategy(|strategy| {
        let mut world: World = World::undecided(strategy, |config| config.limits.held_bytes_max = 100);
        claiming(&mut world);
        let (modest, greedy, at_once) = (world.connect(), world.connect(), world.connect());
        modest.send(b"i am one\n");
        greedy.send(b"i am another\n");
        let mut all = b"i am the third\n".to_vec();
        all.extend([b'x'; 101]);
        at_once.send(&all);
        for _ in 0..10 {
            modest.send(b"0123456789");
            greedy.send(b"0123456789");
            world.run_for(SECOND / 100);
        }
        greedy.send(b"!");
        world.run_for(SECOND / 100);
        for peer in [&greedy, &at_once] {
            assert_eq!(world.end_of(peer).unwrap().cause, Cause::Refused(Refusal::HeldBytesMax));
        }
        assert_eq!(world.shard.stats().refused("held_bytes_max"), 2);
        modest.send_after(SECOND, b"\n");
        world.grant(&modest, 1);
        world.run_for(2 * SECOND);
        assert_eq!(world.frames_of(&modest).0[1], b"0123456789".repeat(10));
        world.finish();
    });
}

#[test]
fn held_bytes_count_towards_those_of_all_partial_frames() {
    under_each_strategy(|strategy| {
        let mut world: World = World::undecided(strategy, |config| {
            config.limits.frame_bytes_max = 100;
            config.limits.partial_bytes_max = 250;
        });
        claiming(&mut world);
        let fleet = world.connect_fleet_sending(3, b"i am pump\n");
        for peer in &fleet {
            peer.send(&[b'x'; 90]);
            world.run_for(Duration::ZERO);
        }
        let last = world.end_of(&fleet[2]).unwrap().cause;
        assert_eq!(last, Cause::Refused(Refusal::PartialBytesMax));
        assert_eq!((world.end_of(&fleet[0]), world.end_of(&fleet[1])), (None, None));
        world.finish();
    });
}

#[test]
fn a_frame_that_was_held_back_and_is_too_large_ends_as_it_would_have() {
    under_each_strategy(|strategy| {
        let mut world: World = World::undecided(strategy, |config| config.limits.frame_bytes_max = 50);
        claiming(&mut world);
        let peer = world.connect();
        peer.send(b"i am pump\nfine\n");
        peer.send(&[b'x'; 90]);
        world.run_for(SECOND);
        world.grant(&peer, 1);
        assert_eq!(world.frames_of(&peer).0, [&b"i am pump"[..], b"fine"]);
        assert_eq!(world.cause_of(&peer), "too_large");
        world.finish();
    });
}
