//! What TCP itself finds out, merged into one cause with the evidence for it.

use std::time::Duration;

use heartring_core::{
    CloseHow, Completion, DeadlineStrategy, Errno, Op, OpKind, RecvEnd, SocketEvidence, TcpEvidence,
};

use crate::by_hand::ByHand;
use crate::recorder::Told;
use crate::world::{World, under_each_strategy};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_time_out_is_laid_to_keepalive_or_to_the_user_timeout_by_the_evidence() {
    under_each_strategy(|strategy| {
        for (unsent, cause) in [(0, "path_dead_keepalive"), (7, "path_dead_user_timeout")] {
            let mut by_hand = ByHand::new(strategy);
            let conn = by_hand.accept(b"\n");
            by_hand.end_recv(conn, RecvEnd::Failed(Errno::ETIMEDOUT));
            by_hand.turn();
            assert_eq!(by_hand.end_of(conn), None, "the evidence comes first");
            let evidence = SocketEvidence { unread: Some(0), unsent: Some(unsent), tcp: None };
            by_hand.examine(conn, evidence);
            let end = by_hand.end_of(conn).unwrap();
            assert_eq!(end.cause.name(), cause);
            assert_eq!((end.evidence.errno, end.evidence.socket), (Some(Errno::ETIMEDOUT), evidence));
            by_hand.finish();
        }
    });
}

#[test]
fn unread_bytes_do_not_acquit_a_dead_path() {
    under_each_strategy(|strategy| {
        let mut by_hand = ByHand::new(strategy);
        let conn = by_hand.accept(b"\n");
        by_hand.end_recv(conn, RecvEnd::Failed(Errno::EHOSTUNREACH));
        by_hand.turn();
        by_hand.examine(conn, SocketEvidence { unread: Some(9), ..SocketEvidence::default() });
        assert_eq!(by_hand.end_of(conn).unwrap().cause.name(), "path_dead_unreachable");
        by_hand.finish();
    });
}

#[test]
fn each_errno_of_the_socket_becomes_its_cause() {
    under_each_strategy(|strategy| {
        let cases = [
            (Errno::ECONNRESET, "peer_reset"),
            (Errno::EPIPE, "peer_reset"),
            (Errno::ETIMEDOUT, "path_dead_keepalive"),
            (Errno::EHOSTUNREACH, "path_dead_unreachable"),
            (Errno::ENETUNREACH, "path_dead_unreachable"),
            (Errno::ENOMEM, "os"),
        ];
        let mut world = World::new(strategy);
        let fleet = world.connect_fleet(cases.len());
        for (peer, (errno, _)) in fleet.iter().zip(cases) {
            peer.fail(errno);
        }
        world.run_for(Duration::ZERO);
        for (peer, (errno, cause)) in fleet.iter().zip(cases) {
            let end = world.end_of(peer).unwrap();
            assert_eq!((end.cause.name(), end.evidence.errno), (cause, Some(errno)));
        }
        world.finish();
    });
}

#[test]
fn a_send_that_meets_the_reset_first_does_not_swallow_the_data_before_it() {
    under_each_strategy(|strategy| {
        let mut world = World::new(strategy);
        let peer = world.connect_live();
        world.act(|conn, told| {
            if *told == Told::Received(b"one".to_vec()) {
                conn.send_copy(b"into the void").unwrap();
            }
        });
        peer.send(b"one\n");
        world.run_until(world.now());
        peer.send(b"last words\n");
        peer.reset();
        world.run_for(SECOND);
        assert_eq!(world.frames_of(&peer).0, [&b"one"[..], b"last words"]);
        assert_eq!(world.cause_of(&peer), "peer_reset");
        world.finish();
    });
}

/// A send fails, the recv then delivers what is left and ends with a bare end of stream: the errno was handed out.
fn send_fails(strategy: DeadlineStrategy, errno: Errno) -> (ByHand, heartring_core::ConnId) {
    let mut by_hand = ByHand::new(strategy);
    let conn = by_hand.accept(b"\n");
    by_hand.answer();
    by_hand.receive(conn, b"ask\n");
    by_hand.turn();
    let Op::Send { payload, .. } = by_hand.take(OpKind::Send) else { unreachable!("a Send was asked for") };
    by_hand.tell(Completion::Sent { conn, payload, result: Err(errno) });
    by_hand.turn();
    (by_hand, conn)
}

#[test]
fn a_send_error_then_a_bare_end_of_stream_is_the_errors_cause() {
    under_each_strategy(|strategy| {
        let (mut by_hand, conn) = send_fails(strategy, Errno::ECONNRESET);
        assert_eq!(by_hand.end_of(conn), None, "what is left to read comes first");
        by_hand.receive(conn, b"last words\n");
        by_hand.end_recv(conn, RecvEnd::Eof);
        let frames = by_hand.calls(conn);
        assert_eq!(frames, ["opened", "received", "received", "closed"]);
        let end = by_hand.end_of(conn).unwrap();
        assert_eq!((end.cause.name(), end.evidence.errno), ("peer_reset", Some(Errno::ECONNRESET)));
        by_hand.finish();
    });
}

/// A connection that is accused of silence, and whose send then fails.
fn accused_while_sending(by_hand: &mut ByHand, errno: Errno) -> heartring_core::ConnId {
    let conn = by_hand.accept(b"\n");
    by_hand.answer();
    by_hand.receive(conn, b"ask\n");
    by_hand.turn();
    let Op::Send { payload, .. } = by_hand.take(OpKind::Send) else { unreachable!("a Send was asked for") };
    while !by_hand.has(OpKind::Examine) {
        by_hand.pass(SECOND);
    }
    by_hand.tell(Completion::Sent { conn, payload, result: Err(errno) });
    conn
}

#[test]
fn a_send_error_under_accusation_is_the_cause_of_the_acquitted() {
    let mut by_hand: ByHand = ByHand::new(DeadlineStrategy::Sweep);
    let conn = accused_while_sending(&mut by_hand, Errno::ETIMEDOUT);
    // CLOSE: the recv is about to say that it is over.
    let tcp = Some(TcpEvidence { state: 7, ..TcpEvidence::default() });
    by_hand.examine(conn, SocketEvidence { unread: Some(0), unsent: Some(6), tcp });
    assert_eq!(by_hand.end_of(conn), None);
    by_hand.end_recv(conn, RecvEnd::Eof);
    by_hand.turn();
    by_hand.examine(conn, SocketEvidence { unread: Some(0), unsent: Some(6), tcp });
    assert_eq!(by_hand.end_of(conn).unwrap().cause.name(), "path_dead_user_timeout");
    by_hand.finish();
}

#[test]
fn a_send_error_under_accusation_decides_alone_if_the_recv_of_the_acquitted_stays_silent() {
    let mut by_hand: ByHand = ByHand::new(DeadlineStrategy::Sweep);
    let conn = accused_while_sending(&mut by_hand, Errno::ENOMEM);
    by_hand.examine(conn, SocketEvidence { unread: Some(3), ..SocketEvidence::default() });
    assert_eq!(by_hand.end_of(conn), None);
    by_hand.pass(Duration::from_millis(40));
    assert_eq!(by_hand.end_of(conn).unwrap().cause.name(), "os");
    by_hand.finish();
}

#[test]
fn a_broken_pipe_says_less_than_the_error_that_the_recv_is_told() {
    under_each_strategy(|strategy| {
        let (mut by_hand, conn) = send_fails(strategy, Errno::EPIPE);
        by_hand.end_recv(conn, RecvEnd::Failed(Errno::ETIMEDOUT));
        by_hand.turn();
        by_hand.examine(conn, SocketEvidence { unread: Some(0), unsent: Some(0), tcp: None });
        let end = by_hand.end_of(conn).unwrap();
        assert_eq!((end.cause.name(), end.evidence.errno), ("path_dead_keepalive", Some(Errno::ETIMEDOUT)));
        by_hand.finish();
    });
}

#[test]
fn a_send_error_decides_alone_if_the_recv_stays_silent() {
    under_each_strategy(|strategy| {
        let (mut by_hand, conn) = send_fails(strategy, Errno::ETIMEDOUT);
        by_hand.pass(Duration::from_millis(40));
        by_hand.examine(conn, SocketEvidence { unread: Some(0), unsent: Some(6), tcp: None });
        assert_eq!(by_hand.end_of(conn).unwrap().cause.name(), "path_dead_user_timeout");
        by_hand.finish();
    });
}

#[test]
fn half_a_frame_after_a_send_error_does_not_prolong_it() {
    under_each_strategy(|strategy| {
        let (mut by_hand, conn) = send_fails(strategy, Errno::EPIPE);
        by_hand.receive(conn, b"half a fra");
        by_hand.pass(Duration::from_millis(40));
        assert_eq!(by_hand.end_of(conn).map(|end| end.cause.name()), Some("peer_reset"));
        by_hand.finish();
    });
}

#[test]
fn a_send_error_of_our_own_machine_says_nothing_about_the_peer() {
    under_each_strategy(|strategy| {
        let (mut by_hand, conn) = send_fails(strategy, Errno::ENOMEM);
        assert_eq!(by_hand.end_of(conn).unwrap().cause.name(), "os");
        by_hand.finish();
    });
}

#[test]
fn what_is_queued_and_cannot_be_sent_any_more_ends_in_a_reset_and_not_in_a_fin() {
    under_each_strategy(|strategy| {
        let mut by_hand = ByHand::new(strategy);
        let conn = by_hand.accept(b"\n");
        by_hand.shard.handler().act = Box::new(|conn, told| {
            if *told == Told::Received(b"close".to_vec()) {
                conn.send_copy(b"a frame").unwrap();
                conn.close();
            }
        });
        by_hand.receive(conn, b"close\n");
        by_hand.end_recv(conn, RecvEnd::Failed(Errno::ENOMEM));
        by_hand.turn();
        let close = by_hand.take(OpKind::Close);
        assert!(matches!(close, Op::Close { how: CloseHow::Abortive, .. }), "{close:?}");
        let Op::Send { payload, .. } = by_hand.take(OpKind::Send) else { unreachable!("it is in flight") };
        by_hand.tell(Completion::Sent { conn, payload, result: Err(Errno::ECANCELED) });
        by_hand.tell(Completion::Closed { conn });
        by_hand.finish();
    });
}

#[test]
fn a_reset_under_accusation_is_a_reset() {
    under_each_strategy(|strategy| {
        let mut world = World::new(strategy);
        let peer = world.connect_live();
        // At the very instant of the verdict.
        world.run_for(world.liveness.dead_within - Duration::from_millis(1));
        let resetting = peer.clone();
        world.net.after(Duration::from_millis(1), move |_| resetting.reset());
        world.run_for(SECOND);
        assert_eq!(world.cause_of(&peer), "peer_reset");
        world.finish();
    });
}
