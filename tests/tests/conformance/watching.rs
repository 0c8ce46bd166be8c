//! Clauses 11 and 12: watching.

use std::net::IpAddr;
use std::time::Duration;

use heartring_core::{BackendConfig, CloseHow, ConnId, Instant, Op, OpKind, WatchEnd};
use heartring_tests::{Peer, Rig, Run};

/// Bytes, a FIN and an RST; already there and while it waits. Bytes may be taken by the recv beside it, and then the
/// watch may live to its deadline; a FIN and an RST stay, so they must end it.
pub(crate) fn a_watch_is_ready_when_anything_arrives<R: Rig>(ip: IpAddr) {
    for there_already in [false, true] {
        for what in ["bytes", "fin", "reset"] {
            let mut run = Run::<R>::open(ip);
            let (conn, mut peer) = run.accept();
            let mut happen = || match what {
                "bytes" => assert_eq!(peer.write(b"beat"), 4),
                "fin" => peer.fin(),
                _ => peer.reset(),
            };
            if there_already {
                happen();
            }
            let lasts = Duration::from_millis(if what == "bytes" { 300 } else { 60_000 });
            let deadline = run.clock() + lasts;
            run.submit(Op::Recv { conn, deadline: None });
            run.submit(Op::Watch { conn, deadline });
            if !there_already {
                run.pass(Duration::from_millis(20));
                assert_eq!(run.conn(conn).watch_ends, [], "nothing had come");
                happen();
            }
            run.until("the end of the watch", |run| !run.conn(conn).in_flight(OpKind::Watch));
            let ends = &run.conn(conn).watch_ends;
            let taken = what == "bytes" && run.conn(conn).received == b"beat" && *ends == [WatchEnd::Expired];
            assert!(*ends == [WatchEnd::Ready] || taken, "{what}, there already: {there_already}: {ends:?}");
            run.close(conn, CloseHow::Orderly);
            run.end();
        }
    }
}

/// The model compares stamp and deadline; here the deadlines are of all sizes, some in the past, on a silent socket.
pub(crate) fn a_watch_never_expires_early<R: Rig>(ip: IpAddr) {
    let mut run = Run::<R>::open(ip);
    let (conn, _peer) = run.accept_and_recv();
    // Below and above a millisecond: timeouts that are rounded to it must be rounded up.
    let lengths_us = [0, 1, 50, 900, 999, 1000, 1001, 1900, 2500, 10_100, 40_000, 130_000];
    for (round, length_us) in lengths_us.into_iter().enumerate() {
        let deadline = run.clock() + Duration::from_micros(length_us);
        run.submit(Op::Watch { conn, deadline });
        run.until("the end of the watch", |run| !run.conn(conn).in_flight(OpKind::Watch));
        assert_eq!(run.conn(conn).watch_ends[round], WatchEnd::Expired, "nothing ever came");
        let clock = run.clock();
        assert!(clock >= deadline, "expired at {clock} by another clock, before {deadline}");
        assert!(clock.saturating_since(deadline) < Duration::from_secs(5), "{deadline} noticed at {clock}");
    }
    run.submit(Op::Watch { conn, deadline: Instant::ZERO });
    run.until("the end of a watch that is over", |run| !run.conn(conn).in_flight(OpKind::Watch));
    run.close(conn, CloseHow::Abortive);
    run.end();
}

/// The recv takes the bytes, perhaps in the same batch: the watch still ends exactly once.
pub(crate) fn a_watch_whose_bytes_were_taken_ends_once<R: Rig>(ip: IpAddr) {
    let mut run = Run::<R>::open(ip);
    let (conn, mut peer) = run.accept_and_recv();
    for round in 1..=50 {
        let deadline = run.clock() + Duration::from_millis(4);
        run.submit(Op::Watch { conn, deadline });
        // Around the deadline, so that byte and expiry race.
        peer.write_after(Duration::from_micros(3700 + 12 * round as u64), b"x");
        run.until("byte and watch", |run| {
            !run.conn(conn).in_flight(OpKind::Watch) && run.conn(conn).received.len() == round
        });
        let ends = &run.conn(conn).watch_ends;
        assert_eq!(ends.len(), round);
        assert!(matches!(ends[round - 1], WatchEnd::Ready | WatchEnd::Expired), "{ends:?}");
    }
    run.close(conn, CloseHow::Abortive);
    run.end();
}

/// A beat in time and a thread that comes late: the beat counts. It may be told as `Ready`, or before `Expired`, so that
/// whoever hears the verdict has heard the beat.
pub(crate) fn a_beat_in_time_is_told_to_a_late_thread<R: Rig>(ip: IpAddr) {
    let mut run = Run::<R>::open(ip);
    for fin in [false, true] {
        let (conn, mut peer) = run.accept_and_recv();
        let deadline = run.clock() + Duration::from_millis(100);
        run.submit(Op::Watch { conn, deadline });
        run.turn(Duration::ZERO);
        peer.write(b"beat");
        if fin {
            peer.fin();
        }
        if run.clock() > deadline {
            // The machine was too busy for the test's own hundred milliseconds.
            continue;
        }
        run.rig.stall(Duration::from_millis(200));
        run.until("the end of the watch", |run| !run.conn(conn).in_flight(OpKind::Watch));
        let ended = run.conn(conn);
        let heard = ended.watch_ends == [WatchEnd::Ready] || ended.received_at_watch_end > 0;
        assert!(heard, "{:?}, and the beat was told after it", ended.watch_ends);
        run.close(conn, CloseHow::Orderly);
    }
    run.end();
}

/// A kernel that tells a hundred ends in several batches lets a watch be renewed between two of them. It then meets the
/// timeout of its predecessor, which had run out, too, and may bear the same name. The model finds one that expires early.
pub(crate) fn a_renewed_watch_is_not_ended_by_the_deadline_of_the_last<R: Rig>(ip: IpAddr) {
    let mut run = Run::<R>::open_with(ip, BackendConfig { slots: 100, ..BackendConfig::default() });
    let mut fleet: Vec<(ConnId, R::Peer)> = (0..100).map(|_| run.accept_and_recv()).collect();
    let deadline = run.clock() + Duration::from_millis(100);
    for (conn, _) in &fleet {
        run.submit(Op::Watch { conn: *conn, deadline });
    }
    run.turn(Duration::ZERO);
    for (_, peer) in &mut fleet {
        peer.write(b"beat");
    }
    run.rig.stall(Duration::from_millis(200));
    let later = run.clock() + Duration::from_millis(300);
    run.until("the ends of both watches", |run| {
        let ended = |run: &Run<R>, conn: ConnId, times| run.conn(conn).watch_ends.len() == times;
        for (conn, _) in &fleet {
            if ended(run, *conn, 1) && !run.conn(*conn).in_flight(OpKind::Watch) {
                run.submit(Op::Watch { conn: *conn, deadline: later });
            }
        }
        fleet.iter().all(|(conn, _)| ended(run, *conn, 2))
    });
    assert!(fleet.iter().all(|(conn, _)| run.conn(*conn).received == b"beat"));
    for (conn, _) in &fleet {
        run.submit(Op::Close { conn: *conn, how: CloseHow::Abortive });
    }
    run.until("every Closed", |run| fleet.iter().all(|(conn, _)| run.conn(*conn).closed));
    run.end();
}

/// Catches a readiness that is remembered: a watch over a socket that was read empty long ago must see silence.
pub(crate) fn a_watch_after_old_bytes_expires<R: Rig>(ip: IpAddr) {
    let mut run = Run::<R>::open(ip);
    let (conn, mut peer) = run.accept_and_recv();
    for round in 1..=3 {
        peer.write(b"old");
        run.until("the bytes", |run| run.conn(conn).received.len() == round * 3);
        run.pass(Duration::from_millis(50));
        let deadline = run.clock() + Duration::from_millis(30);
        run.submit(Op::Watch { conn, deadline });
        run.until("the end of the watch", |run| !run.conn(conn).in_flight(OpKind::Watch));
        assert_eq!(
            run.conn(conn).watch_ends[round - 1],
            WatchEnd::Expired,
            "silent since long before the watch"
        );
    }
    run.close(conn, CloseHow::Abortive);
    run.end();
}

/// A fleet behind one broken router: every third beats in time, the others expire at once, each once and none early.
pub(crate) fn three_thousand_watches_expire_in_one_instant<R: Rig>(ip: IpAddr) {
    let mut run = Run::<R>::open_with(ip, BackendConfig { slots: 3000, ..BackendConfig::default() });
    let mut fleet: Vec<(ConnId, R::Peer)> = (0..3000).map(|_| run.accept_and_recv()).collect();
    let deadline = run.clock() + Duration::from_millis(500);
    for (conn, _) in &fleet {
        run.submit(Op::Watch { conn: *conn, deadline });
    }
    run.turn(Duration::from_millis(1));
    let in_time = run.clock() < deadline;
    for (_, peer) in fleet.iter_mut().step_by(3) {
        peer.write(b"beat");
    }
    let in_time = in_time && run.clock() < deadline;
    run.until("every verdict", |run| fleet.iter().all(|(conn, _)| !run.conn(*conn).in_flight(OpKind::Watch)));
    for (at, (conn, _)) in fleet.iter().enumerate() {
        let conn = run.conn(*conn);
        let beat = at % 3 == 0;
        let ready = conn.watch_ends == [WatchEnd::Ready];
        let expired = conn.watch_ends == [WatchEnd::Expired];
        let just = if beat { ready || conn.received == b"beat" || !in_time } else { expired };
        assert!(just, "beat: {beat}, {conn:?}");
    }
    for (conn, _) in &fleet {
        run.submit(Op::Close { conn: *conn, how: CloseHow::Abortive });
    }
    run.until("every Closed", |run| fleet.iter().all(|(conn, _)| run.conn(*conn).closed));
    run.end();
}
