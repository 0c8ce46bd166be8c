//! Clauses 13 and 14: sending.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use heartring_core::{CloseHow, Errno, Op, OpKind};
use heartring_tests::{Peer, Rig, Run, pattern};

/// The model compares the buffers and counts; here the peer compares the bytes, over sizes from one byte to more than
/// the socket takes at once, with and without `more`.
pub(crate) fn a_send_takes_a_prefix_and_returns_the_payload<R: Rig>(ip: IpAddr) {
    let mut run = Run::<R>::open(ip);
    let (conn, mut peer) = run.accept();
    let whole = Bytes::from(pattern(1 << 20));
    for (round, size) in [1, 2, 1460, 65_536, 1 << 20, 7, 300_001].into_iter().enumerate() {
        // A slice of a shared buffer: the same buffer must come back, not a copy of it.
        let mut rest = whole.slice(round..round.max(size));
        while !rest.is_empty() {
            let before = run.conn(conn).sent.len();
            run.submit(Op::Send { conn, payload: rest.clone(), more: round % 2 == 0 });
            run.until("Sent", |run| {
                peer.read();
                !run.conn(conn).in_flight(OpKind::Send)
            });
            rest = rest.slice(run.conn(conn).sent.len() - before..);
        }
    }
    assert!(run.conn(conn).send_results.iter().all(Result::is_ok));
    run.until("every byte", |run| peer.read().len() == run.conn(conn).sent.len());
    assert!(peer.read() == run.conn(conn).sent, "the peer read another stream");
    run.close(conn, CloseHow::Orderly);
    run.end();
}

/// A full socket buffer is not an error, however long it lasts, and what was taken so far arrives.
pub(crate) fn a_parked_send_resumes_when_the_peer_reads<R: Rig>(ip: IpAddr) {
    let mut run = Run::<R>::open(ip);
    let (conn, mut peer) = run.accept_and_recv();
    for _ in 0..3 {
        run.fill(conn);
        // What comes in while a send is parked wakes the recv, not the send.
        peer.write(b"still here");
        run.pass(Duration::from_millis(50));
        run.until("the parked send", |run| {
            peer.read();
            !run.conn(conn).in_flight(OpKind::Send)
        });
        assert!(run.conn(conn).send_results.iter().all(Result::is_ok), "{:?}", run.conn(conn).send_results);
    }
    run.until("every byte", |run| peer.read().len() == run.conn(conn).sent.len());
    assert!(peer.read() == run.conn(conn).sent, "the peer read another stream");
    assert_eq!(run.conn(conn).received, b"still here".repeat(3));
    run.close(conn, CloseHow::Orderly);
    run.end();
}

/// With the reset there before the send, and while the send is parked. Which op gets ECONNRESET and which EPIPE depends
/// on who asks first.
pub(crate) fn a_send_to_a_reset_peer_fails<R: Rig>(ip: IpAddr) {
    for parked in [false, true] {
        for receiving in [false, true] {
            let mut run = Run::<R>::open(ip);
            let (conn, mut peer) = run.accept();
            if receiving {
                run.submit(Op::Recv { conn, deadline: None });
            }
            if parked {
                run.fill(conn);
            }
            peer.reset();
            if !parked {
                run.pass(Duration::from_millis(20));
                run.submit_send(conn, &b"too late"[..]);
            }
            run.until("the end of the send", |run| !run.conn(conn).in_flight(OpKind::Send));
            let result = *run.conn(conn).send_results.last().expect("a send has ended");
            let gone = [Err(Errno::ECONNRESET), Err(Errno::EPIPE)];
            assert!(gone.contains(&result), "parked {parked}, receiving {receiving}: {result:?}");
            if receiving {
                run.until("the end of the recv", |run| !run.conn(conn).in_flight(OpKind::Recv));
            }
            run.close(conn, CloseHow::Orderly);
            run.end();
        }
    }
}
