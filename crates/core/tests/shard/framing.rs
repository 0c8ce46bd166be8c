//! Frames that never become whole, and frames that are too large.

use std::time::Duration;

use heartring_core::{Completion, DeadlineStrategy, Decoded, FrameKind, LengthPrefixed, Lines, Protocol};

use proptest::prelude::*;

use crate::by_hand::ByHand;
use crate::life::Pinging;
use crate::recorder::Told;
use crate::world::{TICK, World, since, under_each_strategy};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_frame_that_is_fed_drop_by_drop_stalls() {
    under_each_strategy(|strategy| {
        let mut world = World::new(strategy);
        let peer = world.connect_live();
        let begun_at = world.now();
        for drop in 0..60 {
            peer.send_after(drop * SECOND, b".");
        }
        world.run_for(world.liveness.frame_within + 2 * TICK);
        let end = world.end_of(&peer).unwrap();
        assert_eq!(end.cause.name(), "frame_stalled");
        let after = since(begun_at, end.decided_at);
        assert!(after >= world.liveness.frame_within, "{after:?}");
        world.finish();
    });
}

#[test]
fn frames_that_are_each_whole_in_time_do_not_stall() {
    under_each_strategy(|strategy| {
        let mut world = World::new(strategy);
        let peer = world.connect_live();
        for second in 0..120 {
            // Each piece completes one line and begins the next.
            peer.send_after(second * SECOND, b"end\nbegin");
        }
        world.run_for(119 * SECOND);
        assert_eq!(world.end_of(&peer), None);
        assert_eq!(world.frames_of(&peer).0.len(), 120);
        world.finish();
    });
}

#[test]
fn a_drip_fed_hello_stalls_at_the_frame_deadline_and_not_as_a_missing_hello() {
    under_each_strategy(|strategy| {
        let mut world = World::with(strategy, |config| {
            config.overrides.hello_within = Some(20 * SECOND);
            config.overrides.frame_within = Some(5 * SECOND);
        });
        let peer = world.connect();
        // A drop lies unread at every look.
        for millis in 0..8_000 {
            peer.send_after(Duration::from_millis(millis), b".");
        }
        world.run_for(6 * SECOND);
        assert_eq!(world.cause_of(&peer), "frame_stalled");
        world.finish();
    });
}

#[test]
fn an_acquitted_frame_does_not_shorten_the_hello() {
    under_each_strategy(|strategy| {
        let mut by_hand = ByHand::<heartring_core::Lines>::speaking(strategy, |config| {
            config.overrides.hello_within = Some(20 * SECOND);
            config.overrides.frame_within = Some(5 * SECOND);
        });
        let conn = by_hand.accept(b"hel");
        by_hand.pass(5 * SECOND + Duration::from_millis(40));
        let unread = heartring_core::SocketEvidence { unread: Some(2), ..Default::default() };
        by_hand.examine(conn, unread);
        by_hand.turn();
        // Its first frame turns out to be an invalid hello's: nothing of it is left, and the hello is due at 20 s.
        by_hand.pass(SECOND + Duration::from_millis(40));
        let standing = by_hand.end_of(conn).is_none();
        assert!(standing);
        if by_hand.has(heartring_core::OpKind::Examine) {
            by_hand.examine(conn, heartring_core::SocketEvidence { unread: Some(0), ..Default::default() });
        }
        assert_eq!(by_hand.end_of(conn).map(|end| end.cause.name()), Some("frame_stalled"));
        by_hand.finish();
    });
}

#[test]
fn a_frame_above_the_limit_is_known_from_its_length() {
    under_each_strategy(|strategy| {
        let mut world =
            World::<LengthPrefixed>::speaking(strategy, |config| config.limits.frame_bytes_max = 1_000);
        let fleet = world.connect_fleet_sending(3, &LengthPrefixed::encode(b"hello"));
        fleet[0].send(&LengthPrefixed::encode(&[b'x'; 996]));
        fleet[1].send(&(1u32 << 30).to_be_bytes());
        fleet[2].send(&LengthPrefixed::encode(b"before it"));
        fleet[2].send(&LengthPrefixed::encode(&[b'x'; 997]));
        world.run_for(Duration::ZERO);
        assert_eq!(world.frames_of(&fleet[0]).0.len(), 2, "a frame at the limit is taken");
        assert_eq!(world.cause_of(&fleet[1]), "too_large");
        assert_eq!(world.cause_of(&fleet[2]), "too_large");
        assert_eq!(world.frames_of(&fleet[2]).0, [&b"hello"[..], b"before it"]);
        world.finish();
    });
}

#[test]
fn a_line_without_an_end_is_too_large() {
    under_each_strategy(|strategy| {
        let mut world = World::with(strategy, |config| config.limits.frame_bytes_max = 10_000);
        let peer = world.connect_live();
        for _ in 0..20 {
            peer.send(&[b'x'; 1_000]);
            world.run_for(Duration::ZERO);
        }
        assert_eq!(world.cause_of(&peer), "too_large");
        world.finish();
    });
}

#[test]
fn half_frames_cannot_fill_the_memory() {
    under_each_strategy(|strategy| {
        let mut world = World::with(strategy, |config| {
            config.limits.frame_bytes_max = 1_000;
            config.limits.partial_bytes_max = 5_000;
        });
        let fleet = world.connect_fleet(10);
        for peer in &fleet {
            peer.send(&[b'x'; 900]);
        }
        world.run_for(Duration::ZERO);
        let ended = fleet.iter().filter(|peer| world.end_of(peer).is_some()).count();
        assert_eq!(ended, 5, "five times 900 bytes fit");
        assert_eq!(world.shard.stats().closed("refused"), 5);
        // What they held is free again: for frames that become whole...
        for peer in fleet.iter().filter(|peer| world.end_of(peer).is_none()) {
            peer.send(b"\n");
        }
        world.run_for(Duration::ZERO);
        // ...and for those of connections that end.
        for round in 0..10 {
            let next = world.connect_fleet(5);
            for peer in &next {
                peer.send(&[b'x'; 900]);
            }
            world.run_for(Duration::ZERO);
            for peer in &next {
                assert_eq!(world.end_of(peer), None, "round {round}");
                peer.reset();
            }
            world.run_for(Duration::ZERO);
        }
        world.finish();
    });
}

#[test]
fn a_forbidden_frame_ends_only_its_own_connection() {
    under_each_strategy(|strategy| {
        let mut world = World::<Pinging>::speaking(strategy, |_| ());
        let fleet = world.connect_fleet_sending(2, b"hello\n");
        fleet[0].send(b"forbidden\nafter it\n");
        fleet[1].send(b"fine\n");
        world.run_for(Duration::ZERO);
        assert_eq!(world.cause_of(&fleet[0]), "protocol");
        assert_eq!(world.frames_of(&fleet[0]).0, [b"hello"]);
        assert_eq!(world.frames_of(&fleet[1]).0, [&b"hello"[..], b"fine"]);
        world.finish();
    });
}

/// Frames that end with `;` and are four bytes at least. Searches only what it has not seen.
#[derive(Default)]
struct Semicolons;

impl Protocol for Semicolons {
    type State = ();

    fn decode<'a>(&self, _state: &'a mut (), input: &'a [u8], seen: usize) -> Decoded<'a> {
        if input.len() < 4 {
            return Decoded::Partial { needed: 4 };
        }
        let from = if seen < 4 { 0 } else { seen };
        match input[from..].iter().position(|&byte| byte == b';') {
            Some(at) => {
                let end = from + at;
                Decoded::Frame { kind: FrameKind::Data, payload: &input[..end], used: end + 1 }
            }
            None => Decoded::Partial { needed: input.len() + 8 },
        }
    }
}

#[test]
fn a_decoder_is_told_what_it_has_seen_and_not_what_has_arrived() {
    let mut by_hand = ByHand::<Semicolons>::speaking(DeadlineStrategy::Sweep, |_| ());
    let conn = by_hand.accept(b"abcd");
    // It asked for twelve bytes: it is not called for the end of its frame, nor told that it has seen it.
    for bytes in [&b"e;f"[..], b"ghijkl"] {
        by_hand.tell(Completion::Received { conn, bytes });
        by_hand.turn();
    }
    let told: Vec<_> = by_hand.shard.handler().of(conn).map(|(_, told)| told.clone()).collect();
    assert_eq!(told.get(1), Some(&Told::Received(b"abcde".to_vec())));
    by_hand.finish();
}

/// Lines, and a ping that tells how often the state was tidied.
#[derive(Default)]
struct Tidied(Lines);

impl Protocol for Tidied {
    type State = (u8, ());

    fn decode<'a>(&self, state: &'a mut (u8, ()), input: &'a [u8], seen: usize) -> Decoded<'a> {
        self.0.decode(&mut state.1, input, seen)
    }

    fn tidy(&self, state: &mut (u8, ())) {
        state.0 += 1;
    }

    fn ping(&self, state: &(u8, ())) -> Option<bytes::Bytes> {
        Some(vec![b'0' + state.0].into())
    }
}

#[test]
fn a_state_is_tidied_after_each_run_of_bytes_and_seen_by_the_ping() {
    under_each_strategy(|strategy| {
        let mut world = World::<Tidied>::speaking(strategy, |_| ());
        let (peer, other) = (world.connect(), world.connect());
        peer.send(b"one\ntwo\n");
        peer.send_after(SECOND, b"three\nand ha");
        other.send(b"hello\n");
        world.run_for(world.liveness.overdue_after + 2 * SECOND);
        assert_eq!((&peer.received()[..], &other.received()[..]), (&b"2"[..], &b"1"[..]));
        world.finish();
    });
}

/// The data frames that a shard delivers for `stream`, which arrives in the pieces that `cuts` make of it.
fn delivered<P: Protocol + Default>(stream: &[u8], cuts: &[usize]) -> Vec<Vec<u8>> {
    let mut by_hand = ByHand::<P>::speaking(DeadlineStrategy::Sweep, |_| ());
    let conn = by_hand.accept(&stream[..1]);
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % stream.len()).filter(|cut| *cut > 0).collect();
    cuts.extend([1, stream.len()]);
    cuts.sort_unstable();
    cuts.dedup();
    for pair in cuts.windows(2) {
        by_hand.receive(conn, &stream[pair[0]..pair[1]]);
        by_hand.turn();
    }
    let told = by_hand.shard.handler().of(conn);
    let frames = told
        .filter_map(|(_, told)| if let Told::Received(frame) = told { Some(frame.clone()) } else { None })
        .collect();
    by_hand.finish();
    frames
}

proptest! {
    #[test]
    fn a_shard_delivers_the_same_frames_however_they_arrive(
        bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..12),
        cuts in prop::collection::vec(any::<usize>(), 0..20),
    ) {
        let whole: Vec<Vec<u8>> = bodies.iter().filter(|body| !body.is_empty()).cloned().collect();
        let prefixed: Vec<u8> = bodies.iter().flat_map(|body| LengthPrefixed::encode(body)).collect();
        prop_assert_eq!(delivered::<LengthPrefixed>(&prefixed, &cuts), whole);
        let text = |body: &Vec<u8>| body.iter().map(|byte| b'a' + byte % 26).collect::<Vec<u8>>();
        let lines: Vec<u8> = bodies.iter().flat_map(|body| [text(body), b"\r\n".to_vec()].concat()).collect();
        let whole: Vec<Vec<u8>> = bodies.iter().map(text).filter(|line| !line.is_empty()).collect();
        prop_assert_eq!(delivered::<heartring_core::Lines>(&lines, &cuts), whole);
    }
}
