//! Greeting, live, overdue and back: the life of a connection whose peer is there.

use std::time::Duration;

use heartring_core::{
    Backend, Cause, Completion, DeadlineStrategy, Decoded, Errno, FrameKind, Instant, Keepalive, Lines, Op,
    OpKind, Protocol, RecvEnd, SocketEvidence, TcpEvidence, WatchEnd,
};
use heartring_sim::{Saw, SimPeer};

use crate::by_hand::ByHand;
use crate::recorder::Told;
use crate::world::{TICK, World, beats, since, under_each_strategy};

const SECOND: Duration = Duration::from_secs(1);

/// Lines, with a ping that asks for life.
#[derive(Default)]
pub(crate) struct Pinging(Lines);

impl Protocol for Pinging {
    type State = ();

    fn decode<'a>(&self, state: &'a mut (), input: &'a [u8], seen: usize) -> Decoded<'a> {
        match self.0.decode(state, input, seen) {
            Decoded::Frame { payload: b"ping", used, .. } => {
                Decoded::Frame { kind: FrameKind::Ping, payload: b"ping", used }
            }
            Decoded::Frame { payload: b"pong", used, .. } => {
                Decoded::Frame { kind: FrameKind::Pong, payload: b"pong", used }
            }
            Decoded::Frame { payload: b"forbidden", .. } => Decoded::Invalid("a forbidden word"),
            other @ (Decoded::Frame { .. } | Decoded::Partial { .. } | Decoded::Invalid(_)) => other,
        }
    }

    fn ping(&self, _state: &()) -> Option<bytes::Bytes> {
        Some(bytes::Bytes::from_static(b"ping\n"))
    }

    fn pong(&self, _ping: &[u8]) -> Option<bytes::Bytes> {
        Some(bytes::Bytes::from_static(b"pong\n"))
    }
}

fn is_open(world: &mut World, peer: &SimPeer) -> bool {
    world.end_of(peer).is_none() && peer.saw() == Saw::Open
}

#[test]
fn s1_a_fin_is_known_at_once() {
    under_each_strategy(|strategy| {
        let mut world = World::new(strategy);
        let peer = world.connect_live();
        world.run_for(3 * SECOND);
        let left_at = world.now();
        peer.send(b"bye\n");
        peer.fin();
        world.run_for(Duration::ZERO);
        let end = world.end_of(&peer).unwrap();
        assert_eq!((end.cause.name(), end.decided_at, end.lateness), ("peer_closed", left_at, None));
        assert_eq!(world.frames_of(&peer).0, [b"bye"], "the bytes before the FIN were delivered");
        assert_eq!(peer.saw(), Saw::Eof, "and our FIN answers it");
        world.finish();
    });
}

#[test]
fn s1_a_reset_is_known_at_once() {
    under_each_strategy(|strategy| {
        let mut world = World::new(strategy);
        let peer = world.connect_live();
        world.run_for(3 * SECOND);
        let left_at = world.now();
        peer.reset();
        world.run_for(Duration::ZERO);
        let end = world.end_of(&peer).unwrap();
        assert_eq!((end.cause.name(), end.decided_at), ("peer_reset", left_at));
        assert_eq!(end.evidence.errno, Some(heartring_core::Errno::ECONNRESET));
        world.finish();
    });
}

#[test]
fn s2_beats_keep_a_connection_although_nobody_answers_them() {
    under_each_strategy(|strategy| {
        let mut world = World::new(strategy);
        let peer = world.connect_live();
        beats(&peer, world.liveness.beat_every, 3600 * SECOND);
        world.run_for(3600 * SECOND);
        assert!(is_open(&mut world, &peer));
        assert_eq!(peer.received(), b"", "nothing was ever sent to it");
        assert_eq!(world.calls(&peer), ["opened"], "and it was never overdue");
        assert_eq!(world.shard.stats().beats, 361);
        world.finish();
    });
}

#[test]
fn s3_a_late_beat_is_delivered_in_grace_and_then_the_connection_closes() {
    under_each_strategy(|strategy| {
        let mut world = World::new(strategy);
        let peer = world.connect_live();
        world.run_for(world.liveness.dead_within + SECOND);
        assert_eq!(peer.saw(), Saw::Eof, "our sending side is shut");
        peer.send(b"late\n");
        world.run_for(SECOND);
        peer.close();
        world.run_for(Duration::ZERO);
        assert_eq!(world.calls(&peer), ["opened", "overdue", "closing", "late", "closed"]);
        let end = world.end_of(&peer).unwrap();
        assert_eq!((end.cause.name(), end.late_bytes), ("heartbeat_missed", 4));
        world.finish();
    });
}

#[test]
fn s4_a_dead_device_is_closed_once_and_nothing_of_it_is_left() {
    under_each_strategy(|strategy| {
        let mut world = World::new(strategy);
        let peer = world.connect_live();
        let slots_open = world.shard.open_total() - 1;
        peer.vanish();
        world.run_for(world.liveness.dead_within + world.liveness.grace + 2 * TICK);
        assert_eq!(world.calls(&peer), ["opened", "overdue", "closing", "closed"]);
        assert_eq!(world.cause_of(&peer), "heartbeat_missed");
        assert_eq!(world.backend.ledger().sockets, 0);
        assert_eq!(world.shard.open_total(), slots_open);
        world.finish();
    });
}

#[test]
fn s8_the_articles_keepalive_helper_reaches_the_listener() {
    under_each_strategy(|strategy| {
        let keepalive = Keepalive::from_interval(Duration::from_secs(6));
        assert_eq!(keepalive, Keepalive { idle_s: 6, interval_s: 2, probes: 3 });
        let mut world = World::with(strategy, |config| config.overrides.keepalive = Some(Some(keepalive)));
        assert_eq!(world.liveness.keepalive, Some(keepalive));
        // What it finds arrives as an errno on the parked recv and becomes a cause.
        let peer = world.connect_live();
        world.run_for(Duration::from_secs(12));
        peer.fail(heartring_core::Errno::ETIMEDOUT);
        world.run_for(Duration::ZERO);
        assert_eq!(world.cause_of(&peer), "path_dead_keepalive");
        world.finish();
    });
}

#[test]
fn a_client_that_says_nothing_misses_its_hello() {
    under_each_strategy(|strategy| {
        let mut world = World::new(strategy);
        let connected_at = world.now();
        let peer = world.connect();
        world.run_for(world.liveness.hello_within - 2 * TICK);
        assert!(is_open(&mut world, &peer));
        world.run_for(5 * TICK);
        let end = world.end_of(&peer).unwrap();
        assert_eq!(end.cause.name(), "hello_missed");
        let after = since(connected_at, end.decided_at);
        assert!((world.liveness.hello_within..=world.liveness.hello_within + 2 * TICK).contains(&after));
        assert_eq!(end.evidence.silence, after);
        assert_eq!(peer.saw(), Saw::Reset, "there is no grace for somebody unknown");
        world.finish();
    });
}

#[test]
fn half_a_frame_is_no_hello() {
    under_each_strategy(|strategy| {
        let mut world = World::new(strategy);
        let peer = world.connect();
        peer.send(b"hel");
        world.run_for(world.liveness.hello_within + 2 * TICK);
        assert_eq!(world.cause_of(&peer), "hello_missed");
        world.finish();
    });
}

#[test]
fn a_hello_in_time_makes_it_live() {
    under_each_strategy(|strategy| {
        let mut world = World::new(strategy);
        let peer = world.connect();
        peer.send_after(world.liveness.hello_within - Duration::from_millis(1), b"hello\n");
        world.run_for(world.liveness.hello_within + 10 * SECOND);
        assert_eq!(world.calls(&peer), ["opened", "received"]);
        world.finish();
    });
}

#[test]
fn a_missing_beat_is_overdue_and_a_late_one_makes_it_live_again() {
    under_each_strategy(|strategy| {
        let mut world = World::new(strategy);
        let peer = world.connect_live();
        let beat_at = world.now();
        for round in 0..5 {
            let silent_since = world.now();
            world.run_for(world.liveness.dead_within - Duration::from_millis(1));
            assert!(is_open(&mut world, &peer), "round {round}");
            peer.send(b"\n");
            world.run_for(Duration::ZERO);
            let overdue = world.told(&peer).into_iter().filter(|(_, told)| *told == Told::Overdue);
            let overdue: Vec<Instant> = overdue.map(|(at, _)| at).collect();
            assert_eq!(overdue.len(), round + 1);
            let after = since(silent_since, overdue[round]);
            let expected = world.liveness.overdue_after;
            assert!((expected..=expected + 2 * TICK).contains(&after), "round {round}: {after:?}");
        }
        // And from the last beat on it has the whole deadline again.
        let last_beat_at = world.now();
        assert!(last_beat_at > beat_at);
        world.run_for(world.liveness.dead_within + 2 * TICK);
        assert!(world.when(&peer, "closing").unwrap() >= last_beat_at + world.liveness.dead_within);
        world.finish();
    });
}

#[test]
fn a_verdict_is_never_early_and_at_most_a_tick_late() {
    under_each_strategy(|strategy| {
        // Instants that are no multiple of anything.
        for nanos in [1, 65_535, 65_536, 123_456_789, 1_000_000_007] {
            let mut world = World::with(strategy, |config| config.overrides.grace = Some(Duration::ZERO));
            let peer = world.connect_live();
            peer.send_after(Duration::from_nanos(nanos), b"\n");
            world.run_for(Duration::from_nanos(nanos));
            let beat_at = world.now();
            peer.vanish();
            world.run_for(world.liveness.dead_within + SECOND);
            let end = world.end_of(&peer).unwrap();
            let silence = since(beat_at, end.decided_at);
            assert!(silence >= world.liveness.dead_within, "{nanos}: {silence:?}");
            // The beat is noted at the next tick, the deadline is a whole number of ticks: together below two.
            assert!(silence < world.liveness.dead_within + 2 * TICK, "{nanos}: {silence:?}");
            assert!(end.lateness.unwrap() <= TICK, "{nanos}: {:?}", end.lateness);
            assert!(world.shard.stats().lateness.max() <= TICK);
            world.finish();
        }
    });
}

#[test]
fn a_ping_asks_the_overdue_and_its_answer_saves_them() {
    under_each_strategy(|strategy| {
        let mut world = World::<Pinging>::speaking(strategy, |_| ());
        let peer = world.connect();
        peer.send(b"hello\n");
        world.run_for(world.liveness.overdue_after + 2 * TICK);
        assert_eq!(peer.take_received(), b"ping\n");
        peer.send(b"pong\n");
        world.run_for(world.liveness.overdue_after + 2 * TICK);
        assert_eq!(peer.take_received(), b"ping\n", "and again half a deadline later");
        peer.send(b"pong\n");
        world.run_for(SECOND);
        assert_eq!(world.calls(&peer), ["opened", "received", "overdue", "overdue"]);
        world.finish();
    });
}

#[test]
fn a_device_whose_kernel_answers_and_whose_program_does_not_is_stuck() {
    under_each_strategy(|strategy| {
        let mut world = World::<Pinging>::speaking(strategy, |_| ());
        let peer = world.connect();
        peer.send(b"hello\n");
        // It reads, as its kernel would; it says nothing any more.
        world.run_for(world.liveness.dead_within + world.liveness.grace + SECOND);
        assert_eq!(world.cause_of(&peer), "peer_stuck");
        world.finish();
    });
}

/// The queue of a socket that has failed is empty, which says nothing about the peer.
#[test]
fn a_path_that_fails_under_accusation_makes_nobody_stuck() {
    let mut hand = ByHand::<Pinging>::speaking(DeadlineStrategy::Sweep, |config| {
        config.overrides.grace = Some(Duration::ZERO);
    });
    let conn = hand.accept(b"hello\n");
    while !hand.has(OpKind::Examine) {
        hand.pass(SECOND);
        if hand.has(OpKind::Send) {
            let Op::Send { payload, .. } = hand.take(OpKind::Send) else { unreachable!("it is there") };
            let result = Ok(payload.len());
            hand.tell(Completion::Sent { conn, payload, result });
        }
    }
    hand.end_recv(conn, RecvEnd::Failed(Errno::ENETUNREACH));
    // CLOSE, which looks as if the recv were about to say why: it has said it.
    let tcp = Some(TcpEvidence { state: 7, ..TcpEvidence::default() });
    hand.examine(conn, SocketEvidence { unread: Some(0), unsent: Some(0), tcp });
    let end = hand.end_of(conn).unwrap();
    assert_eq!((end.cause.name(), end.evidence.errno), ("heartbeat_missed", Some(Errno::ENETUNREACH)));
    hand.finish();
}

/// The evidence is from a moment before it is told. What looks recent in it after a stall may have been sent long before the beat
/// was overdue.
#[test]
fn a_device_that_was_not_asked_is_not_stuck_however_old_the_evidence_is() {
    under_each_strategy(|strategy| {
        let mut hand: ByHand = ByHand::speaking(strategy, |config| {
            config.dead_within = 30 * SECOND;
            config.overrides.grace = Some(Duration::ZERO);
        });
        let conn = hand.accept(b"hello\n");
        let sent_at = hand.now;
        while !hand.has(OpKind::Examine) {
            if hand.watched_until().is_some_and(|until| hand.now >= until) {
                hand.end_watch(conn, WatchEnd::Expired);
            }
            if hand.leased_until().is_some_and(|until| hand.now >= until) {
                hand.end_recv(conn, RecvEnd::Expired);
            }
            hand.pass(Duration::from_millis(20));
        }
        let tcp = TcpEvidence { last_data_sent: since(sent_at, hand.now), ..TcpEvidence::default() };
        hand.now = hand.now + 20 * SECOND; // The thread is away; the examination is done.
        hand.examine(conn, SocketEvidence { unread: Some(0), unsent: Some(0), tcp: Some(tcp) });
        assert_eq!(hand.end_of(conn).expect("it is convicted").cause, Cause::HeartbeatMissed);
    });
}

#[test]
fn a_peers_ping_is_answered_and_not_handed_on() {
    under_each_strategy(|strategy| {
        let mut world = World::<Pinging>::speaking(strategy, |_| ());
        let peer = world.connect();
        peer.send(b"ping\nhello\n");
        world.run_for(Duration::ZERO);
        assert_eq!(peer.received(), b"pong\n");
        assert_eq!(world.frames_of(&peer).0, [b"hello"]);
        world.finish();
    });
}

#[test]
fn the_handlers_tick_comes_every_tick_and_not_in_bursts() {
    under_each_strategy(|strategy| {
        let every = Duration::from_millis(100);
        let mut world = World::with(strategy, |config| config.tick_every = Some(every));
        world.run_for(SECOND);
        let ticks = world.shard.handler().ticks.clone();
        assert_eq!(ticks.len(), 11);
        assert!(ticks.windows(2).all(|pair| pair[1] == pair[0] + every));
        world.net.stall(10 * SECOND);
        world.run_for(10 * SECOND + every / 2);
        assert_eq!(world.shard.handler().ticks.len(), 12, "one after a stall of ten seconds");
        world.finish();
    });
}
