//! Clauses 7 to 10: receiving.

use std::net::IpAddr;
use std::time::Duration;

use heartring_core::{BackendConfig, CloseHow, ConnId, Errno, Op, OpKind, RecvEnd};
use heartring_tests::{Peer, Rig, Run, pattern};

/// More than any socket buffer holds, in writes of odd sizes, through receive buffers of one page and of 64 bytes.
pub(crate) fn bytes_arrive_in_order_each_once<R: Rig>(ip: IpAddr) {
    for (receive_buffers, receive_buffer_bytes) in [(64, 4096), (8, 64)] {
        let config =
            BackendConfig { slots: 8, receive_buffers, receive_buffer_bytes, ..BackendConfig::default() };
        let mut run = Run::<R>::open_with(ip, config);
        let (conn, mut peer) = run.accept_and_recv();
        let stream = pattern(if receive_buffer_bytes > 64 { 4 << 20 } else { 300_000 });
        let mut written = 0;
        let mut size = 1;
        run.until("the whole stream", |run| {
            for _ in 0..16 {
                size = size * 7 % 60_013 + 1;
                let end = stream.len().min(written + size);
                written += peer.write(&stream[written..end]);
            }
            run.conn(conn).received.len() == stream.len()
        });
        assert!(run.conn(conn).received == stream, "the stream is not the peer's");
        run.close(conn, CloseHow::Abortive);
        run.end();
    }
}

/// Catches an end that overtakes bytes: with the recv parked, and with everything there before the recv is armed.
pub(crate) fn end_of_stream_comes_after_every_byte<R: Rig>(ip: IpAddr) {
    for armed_before in [true, false] {
        for fin in [true, false] {
            let mut run = Run::<R>::open(ip);
            let (conn, mut peer) = run.accept();
            if armed_before {
                run.submit(Op::Recv { conn, deadline: None });
                run.pass(Duration::from_millis(10));
            }
            let stream = pattern(100_000);
            // A reset throws away what the client's kernel still holds, so what must arrive is what already has.
            let written = peer.write(&stream[..if fin { 100_000 } else { 10_000 }]);
            if fin {
                peer.fin();
            } else {
                peer.reset();
            }
            if !armed_before {
                run.submit(Op::Recv { conn, deadline: None });
            }
            run.until("the end", |run| !run.conn(conn).in_flight(OpKind::Recv));
            let end = if fin { RecvEnd::Eof } else { RecvEnd::Failed(Errno::ECONNRESET) };
            assert_eq!(run.conn(conn).recv_ends, [end]);
            assert!(
                run.conn(conn).received == stream[..written],
                "{end:?} after {}",
                run.conn(conn).received.len()
            );
            run.close(conn, CloseHow::Orderly);
            run.end();
        }
    }
}

/// Silence, and then bytes: `Expired` either way, and the next recv goes on where it ended.
pub(crate) fn a_lease_ends_at_its_deadline_never_before<R: Rig>(ip: IpAddr) {
    let mut run = Run::<R>::open(ip);
    let (conn, mut peer) = run.accept();
    let stream = pattern(12);
    for round in 0..12 {
        let deadline = run.clock() + Duration::from_millis(1 + 7 * (round as u64 % 4));
        run.submit(Op::Recv { conn, deadline: Some(deadline) });
        if round % 3 == 0 {
            peer.write(&stream[round..=round]);
        }
        run.until("the end of the lease", |run| !run.conn(conn).in_flight(OpKind::Recv));
        // Between two recvs is where a byte could fall through.
        if round % 3 != 0 {
            peer.write(&stream[round..=round]);
        }
    }
    assert_eq!(run.conn(conn).recv_ends, [RecvEnd::Expired; 12]);
    run.submit(Op::Recv { conn, deadline: None });
    run.until("every byte", |run| run.conn(conn).received.len() == stream.len());
    assert_eq!(run.conn(conn).received, stream);
    run.close(conn, CloseHow::Abortive);
    run.end();
}

/// A deadline that has passed is not an error and not "never".
pub(crate) fn a_lease_that_has_passed_ends_at_once<R: Rig>(ip: IpAddr) {
    let mut run = Run::<R>::open(ip);
    let (conn, _peer) = run.accept();
    let now = run.clock();
    for deadline in [now, now - Duration::from_secs(1), heartring_core::Instant::ZERO] {
        run.submit(Op::Recv { conn, deadline: Some(deadline) });
        run.until("the end of the lease", |run| !run.conn(conn).in_flight(OpKind::Recv));
    }
    assert_eq!(run.conn(conn).recv_ends, [RecvEnd::Expired; 3]);
    run.close(conn, CloseHow::Abortive);
    run.end();
}

/// Catches a lease that data prolongs (re-armed with each piece), and bytes lost in the expiry.
pub(crate) fn a_lease_ends_although_bytes_keep_coming<R: Rig>(ip: IpAddr) {
    let mut run = Run::<R>::open(ip);
    let (conn, mut peer) = run.accept();
    let stream = pattern(1 << 20);
    let mut written = 0;
    for _ in 0..25 {
        let deadline = run.clock() + Duration::from_millis(20);
        run.submit(Op::Recv { conn, deadline: Some(deadline) });
        while run.conn(conn).in_flight(OpKind::Recv) {
            let end = stream.len().min(written + 700);
            written += peer.write(&stream[written..end]);
            run.turn(Duration::from_millis(1));
            let late = run.clock().saturating_since(deadline);
            assert!(late < Duration::from_secs(5), "the lease is {late:?} over");
        }
    }
    assert_eq!(run.conn(conn).recv_ends, [RecvEnd::Expired; 25]);
    run.submit(Op::Recv { conn, deadline: None });
    run.until("every byte", |run| run.conn(conn).received.len() == written);
    assert!(run.conn(conn).received == stream[..written], "the stream is not the peer's");
    run.close(conn, CloseHow::Abortive);
    run.end();
}

/// The thread is away when the lease ends, and bytes come before, around and after that: whatever the lease does to
/// them, the next recv has the rest.
pub(crate) fn a_lease_that_ends_while_the_thread_is_away_loses_nothing<R: Rig>(ip: IpAddr) {
    let mut run = Run::<R>::open(ip);
    let (conn, mut peer) = run.accept();
    let stream = pattern(20 * 30);
    for round in 0..20 {
        let deadline = run.clock() + Duration::from_millis(4);
        run.submit(Op::Recv { conn, deadline: Some(deadline) });
        run.turn(Duration::ZERO);
        let piece = &stream[round * 30..];
        peer.write(&piece[..10]);
        peer.write_after(Duration::from_millis(4), &piece[10..20]);
        run.rig.stall(Duration::from_millis(7));
        run.until("the end of the lease", |run| !run.conn(conn).in_flight(OpKind::Recv));
        run.pass(Duration::from_millis(2));
        peer.write(&piece[20..30]);
    }
    run.submit(Op::Recv { conn, deadline: None });
    run.until("every byte", |run| run.conn(conn).received.len() == stream.len());
    assert_eq!(run.conn(conn).received, stream);
    run.close(conn, CloseHow::Abortive);
    run.end();
}

/// Sixty-four connections that could deliver megabytes, and one that has four bytes to say.
pub(crate) fn a_flood_does_not_starve_others<R: Rig>(ip: IpAddr) {
    flood::<R>(ip, 1024);
}

/// The same with so few buffers that the flood always holds them all.
pub(crate) fn a_flood_does_not_starve_others_of_buffers<R: Rig>(ip: IpAddr) {
    flood::<R>(ip, 16);
}

fn flood<R: Rig>(ip: IpAddr, receive_buffers: u16) {
    // A few dozen buffers, or what a socket buffer holds at once: the bound is the backend's choice, being bounded is
    // not. An unbounded one delivers the megabytes.
    const BOUND: usize = 512 * 1024;
    let config = BackendConfig { slots: 80, receive_buffers, ..BackendConfig::default() };
    let mut run = Run::<R>::open_with(ip, config);
    let mut floods: Vec<(ConnId, R::Peer)> = (0..64).map(|_| run.accept()).collect();
    let (small, mut small_peer) = run.accept();
    let bytes = pattern(2 << 20);
    for (conn, peer) in &mut floods {
        peer.write(&bytes);
        run.submit(Op::Recv { conn: *conn, deadline: None });
    }
    run.submit(Op::Recv { conn: small, deadline: None });
    for round in 1..=10 {
        small_peer.write(b"ping");
        run.model.order.clear();
        run.until("the small one's turn", |run| {
            let done = run.conn(small).received.len() == round * 4;
            for (_, peer) in floods.iter_mut().filter(|_| !done) {
                peer.write(&bytes[..64 * 1024]);
            }
            done
        });
        let before = run.model.order.iter().take_while(|(conn, _)| *conn != small);
        let mut delivered = vec![0; 80];
        before.for_each(|(conn, count)| delivered[conn.slot() as usize] += count);
        let most = delivered.into_iter().max().unwrap_or(0);
        assert!(
            most <= BOUND,
            "round {round}: one connection delivered {most} bytes before the small one's four"
        );
    }
    for conn in floods.iter().map(|(conn, _)| *conn).chain([small]) {
        run.submit(Op::Close { conn, how: CloseHow::Abortive });
    }
    run.until("every Closed", |run| {
        run.conn(small).closed && floods.iter().all(|(conn, _)| run.conn(*conn).closed)
    });
    run.end();
}
