//! Clauses 16 to 20: shutting down and closing.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use heartring_core::{BackendConfig, CloseHow, ConnId, Errno, Op, OpKind, RecvEnd, WatchEnd};
use heartring_tests::{End, Peer, Rig, Run, pattern};

/// This is grace: the peer sees the FIN after our last byte, and its late beat still arrives.
pub(crate) fn shutdown_keeps_receiving<R: Rig>(ip: IpAddr) {
    let mut run = Run::<R>::open(ip);
    let (conn, mut peer) = run.accept_and_recv();
    run.submit_send(conn, &b"goodbye"[..]);
    run.until("Sent", |run| !run.conn(conn).in_flight(OpKind::Send));
    run.submit(Op::Shutdown { conn });
    run.until("our FIN", |_| peer.end() == End::Eof);
    assert_eq!(peer.read(), run.conn(conn).sent);
    run.until("ShutDown", |run| !run.conn(conn).in_flight(OpKind::Shutdown));
    assert_eq!(run.conn(conn).shutdowns, [Ok(())]);
    for beat in 1..=3 {
        peer.write(b"late");
        run.until("a late beat", |run| run.conn(conn).received.len() == beat * 4);
    }
    run.submit_send(conn, &b"more"[..]);
    run.until("the end of a send after the FIN", |run| !run.conn(conn).in_flight(OpKind::Send));
    assert_eq!(run.conn(conn).send_results.last(), Some(&Err(Errno::EPIPE)));
    peer.fin();
    run.until("the peer's FIN", |run| run.conn(conn).recv_ends == [RecvEnd::Eof]);
    run.close(conn, CloseHow::Orderly);
    run.end();
}

/// A recv, a watch, a send parked by a full buffer and an examination, all in flight; with silence, with bytes coming in
/// at that moment, with a FIN and with an RST. The model checks the order.
pub(crate) fn close_joins_every_op_first<R: Rig>(ip: IpAddr) {
    for how in [CloseHow::Abortive, CloseHow::Orderly] {
        for meanwhile in ["silence", "bytes", "fin", "reset"] {
            let mut run = Run::<R>::open(ip);
            let (conn, mut peer) = run.accept();
            let deadline = run.clock() + Duration::from_mins(1);
            run.submit(Op::Recv { conn, deadline: Some(deadline) });
            run.submit(Op::Watch { conn, deadline });
            run.fill(conn);
            for kind in [OpKind::Recv, OpKind::Watch, OpKind::Send] {
                assert!(run.conn(conn).in_flight(kind), "{kind:?} should be parked");
            }
            run.submit(Op::Examine { conn });
            match meanwhile {
                "bytes" => assert_eq!(peer.write(&[1; 5000]), 5000),
                "fin" => peer.fin(),
                "reset" => peer.reset(),
                _ => {}
            }
            run.submit(Op::Close { conn, how });
            run.until("Closed", |run| run.conn(conn).closed);
            peer.write(b"after the end");
            run.pass(Duration::from_millis(30));
            let ended = run.conn(conn);
            assert_eq!((ended.recv_ends.len(), ended.watch_ends.len()), (1, 1), "{meanwhile}");
            if meanwhile == "silence" {
                assert_eq!(ended.recv_ends, [RecvEnd::Cancelled]);
                assert_eq!(ended.watch_ends, [WatchEnd::Cancelled]);
            }
            run.end();
        }
    }
}

/// Ops and their `Close` in one turn, so that the cancellation may reach the kernel with or before what it cancels.
pub(crate) fn close_in_the_turn_of_its_ops_joins_them<R: Rig>(ip: IpAddr) {
    let mut run = Run::<R>::open(ip);
    for round in 0..200 {
        let (conn, mut peer) = run.accept();
        let deadline = run.clock() + Duration::from_millis(round % 3);
        run.submit(Op::Recv { conn, deadline: (round % 2 == 0).then_some(deadline) });
        run.submit(Op::Watch { conn, deadline });
        run.submit_send(conn, Bytes::from_static(b"hello"));
        run.submit(Op::Examine { conn });
        if round % 5 == 0 {
            run.submit(Op::Shutdown { conn });
        }
        if round % 7 == 0 {
            peer.write(b"hello");
        }
        let how = if round % 4 == 0 { CloseHow::Orderly } else { CloseHow::Abortive };
        run.close(conn, how);
    }
    run.end();
}

/// With nothing on the way and with a full buffer: the peer reads ECONNRESET and no state is left here.
pub(crate) fn abortive_close_resets_the_peer<R: Rig>(ip: IpAddr) {
    for full in [false, true] {
        let mut run = Run::<R>::open(ip);
        let (conn, mut peer) = run.accept_and_recv();
        if full {
            run.fill(conn);
        }
        run.close(conn, CloseHow::Abortive);
        assert!(!run.rig.kernel_keeps(run.listener.addr, peer.addr()), "a socket is left in the kernel");
        run.until("the peer's end", |_| peer.end() != End::Open);
        assert_eq!(peer.end(), End::Reset);
        run.end();
    }
}

/// With unread input, after the peer's FIN, after ours, and with everything parked that can be: the same, and the slot's next
/// occupant, who comes at once, is told nothing of it.
pub(crate) fn abortive_close_resets_in_any_state<R: Rig>(ip: IpAddr) {
    for state in ["unread", "the peer's FIN", "our FIN", "both FINs", "parked"] {
        let config = BackendConfig { slots: 1, ..BackendConfig::default() };
        let mut run = Run::<R>::open_with(ip, config);
        let (conn, mut peer) = run.accept();
        let deadline = run.clock() + Duration::from_mins(1);
        match state {
            "unread" => assert_eq!(peer.write(&[1; 5000]), 5000),
            "the peer's FIN" => peer.fin(),
            "parked" => {
                run.submit(Op::Recv { conn, deadline: Some(deadline) });
                run.submit(Op::Watch { conn, deadline });
                run.fill(conn);
            }
            _ => {
                run.submit(Op::Shutdown { conn });
                run.until("ShutDown", |run| !run.conn(conn).in_flight(OpKind::Shutdown));
                run.submit(Op::Recv { conn, deadline: None });
                if state == "both FINs" {
                    peer.fin();
                    run.until("the peer's FIN", |run| run.conn(conn).recv_ends == [RecvEnd::Eof]);
                }
            }
        }
        run.pass(Duration::from_millis(20));
        run.close(conn, CloseHow::Abortive);
        // After both FINs nothing is left to reset, and the peer may keep a TIME-WAIT.
        if state != "both FINs" {
            assert!(!run.rig.kernel_keeps(run.listener.addr, peer.addr()), "{state}: a socket is left");
        }
        if !matches!(state, "our FIN" | "both FINs") {
            run.until("the peer's end", |_| peer.end() != End::Open);
            assert_eq!(peer.end(), End::Reset, "{state}");
        }
        run.model.forget_closed();
        let (next, mut peer) = run.accept_and_recv();
        peer.write(b"mine");
        run.until("its own bytes", |run| run.conn(next).received.len() == 4);
        run.close(next, CloseHow::Abortive);
        run.end();
    }
}

/// `Close` in the turn after the last `Sent`, with the peer far behind, a recv and a watch in flight.
pub(crate) fn orderly_close_delivers_what_was_sent<R: Rig>(ip: IpAddr) {
    let mut run = Run::<R>::open(ip);
    let (conn, mut peer) = run.accept_and_recv();
    let deadline = run.clock() + Duration::from_mins(1);
    run.submit(Op::Watch { conn, deadline });
    let mut rest = Bytes::from(pattern(400_000));
    while !rest.is_empty() {
        let before = run.conn(conn).sent.len();
        run.submit_send(conn, rest.clone());
        run.until("Sent", |run| {
            // Only as much as lets the send go on: the buffers are full when the close comes.
            let parked = run.conn(conn).in_flight(OpKind::Send);
            if parked {
                peer.read();
            }
            !parked
        });
        rest = rest.slice(run.conn(conn).sent.len() - before..);
    }
    run.close(conn, CloseHow::Orderly);
    run.until("the end of the stream", |_| peer.end() != End::Open);
    assert_eq!(peer.end(), End::Eof);
    assert!(peer.read() == pattern(400_000), "the peer read {} bytes", peer.read().len());
    run.end();
}

/// The very next turn after `Closed` accepts into the slot.
pub(crate) fn a_slot_is_free_after_closed<R: Rig>(ip: IpAddr) {
    let mut run = Run::<R>::open(ip);
    let listener = run.listener.id;
    for round in 0..50_u32 {
        // Generations also wrap round.
        let conn = ConnId::new(9, round.wrapping_sub(25));
        run.submit(Op::Accept { listener, conn });
        let mut peer = run.rig.connect(run.listener.addr);
        run.until("Accepted", |run| run.conn(conn).peer.is_some());
        run.submit(Op::Recv { conn, deadline: None });
        peer.write(b"x");
        run.until("a byte", |run| !run.conn(conn).received.is_empty());
        run.close(conn, CloseHow::Orderly);
        run.model.forget_closed();
    }
    run.end();
}

/// Each occupant's peer writes until and after its close; the next occupant must read its own peer and nobody else.
pub(crate) fn a_slot_is_reused_a_thousand_times_with_late_data<R: Rig>(ip: IpAddr) {
    let mut run = Run::<R>::open(ip);
    let listener = run.listener.id;
    let mut late: Vec<R::Peer> = Vec::new();
    for generation in 1..=1000_u32 {
        let conn = ConnId::new(3, generation);
        run.submit(Op::Accept { listener, conn });
        let mut peer = run.rig.connect(run.listener.addr);
        run.until("Accepted", |run| run.conn(conn).peer.is_some());
        let deadline = run.clock() + Duration::from_micros(u64::from(generation % 7) * 100);
        run.submit(Op::Recv { conn, deadline: None });
        run.submit(Op::Watch { conn, deadline });
        let mine = generation.to_le_bytes();
        peer.write(&mine);
        for peer in &mut late {
            // It may be told of the close already.
            peer.write(b"late!");
        }
        run.until("its bytes", |run| run.conn(conn).received.len() >= 4);
        assert_eq!(run.conn(conn).received, mine, "generation {generation} reads what is not its own");
        // On the way while the close is.
        peer.write(b"old");
        run.submit(Op::Close {
            conn,
            how: if generation % 2 == 0 { CloseHow::Orderly } else { CloseHow::Abortive },
        });
        peer.write(b"older");
        run.until("Closed", |run| run.conn(conn).closed);
        assert!(run.conn(conn).received.iter().skip(4).all(|byte| b"older".contains(byte)));
        run.model.forget_closed();
        late.push(peer);
        if late.len() > 4 {
            late.remove(0);
        }
    }
    run.end();
}
