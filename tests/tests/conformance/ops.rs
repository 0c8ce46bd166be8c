//! Clauses 1 and 2: what every op has in common. Clause 3 is the caller's, and the model holds these tests to it.

use std::net::IpAddr;
use std::time::Duration;

use heartring_core::{Backend, CloseHow, Op, OpKind, RecvEnd};
use heartring_tests::{Patience, Peer, Rig, Run};

/// Catches a `submit` that blocks (an accept without a client), drops an op, or reads the clock.
pub(crate) fn submit_never_completes_inline<R: Rig>(ip: IpAddr) {
    let mut run = Run::<R>::open(ip);
    let (conn, mut peer) = run.accept();
    peer.write(b"already here");
    let now = run.rig.backend().now();
    let patience = Patience::new();
    for _ in 0..32 {
        run.submit_accept();
    }
    run.submit(Op::Recv { conn, deadline: Some(now) });
    run.submit(Op::Watch { conn, deadline: now });
    run.submit_send(conn, &b"hello"[..]);
    run.submit(Op::Examine { conn });
    run.submit(Op::Shutdown { conn });
    assert!(patience.elapsed() < Duration::from_secs(5), "submit blocked for {:?}", patience.elapsed());
    assert_eq!(run.rig.backend().now(), now, "submit read the clock");
    let ledger = run.rig.backend().ledger();
    for kind in [OpKind::Recv, OpKind::Watch, OpKind::Send, OpKind::Examine, OpKind::Shutdown] {
        assert_eq!(ledger.ops(kind), 1, "{kind:?} completed inside submit: {ledger}");
    }
    assert_eq!(ledger.ops(OpKind::Accept), 32, "{ledger}");
    run.until("everything but the accepts", |run| run.conn(conn).is_idle());
    run.close(conn, CloseHow::Abortive);
    run.end();
}

/// One op of each kind at once; the model counts the ends.
pub(crate) fn each_op_has_one_terminal_completion<R: Rig>(ip: IpAddr) {
    let mut run = Run::<R>::open(ip);
    let (conn, mut peer) = run.accept();
    let deadline = run.clock() + Duration::from_millis(50);
    run.submit(Op::Recv { conn, deadline: Some(deadline) });
    run.submit(Op::Watch { conn, deadline });
    run.submit_send(conn, &b"hello"[..]);
    run.submit(Op::Examine { conn });
    run.submit(Op::Shutdown { conn });
    run.until("the end of each op", |run| run.conn(conn).is_idle());
    run.pass(Duration::from_millis(100));
    let ended = run.conn(conn);
    assert_eq!((ended.recv_ends.len(), ended.watch_ends.len()), (1, 1));
    assert_eq!((ended.send_results.len(), ended.evidence.len(), ended.shutdowns.len()), (1, 1, 1));
    run.until("what was sent", |run| peer.read() == run.conn(conn).sent);
    run.close(conn, CloseHow::Orderly);
    run.end();
}

/// Ops that fail at once get their terminal completion like any other, again and again: the error is handed out once,
/// and what comes after it must not park for ever.
pub(crate) fn every_op_on_a_reset_connection_ends<R: Rig>(ip: IpAddr) {
    let mut run = Run::<R>::open(ip);
    let (conn, mut peer) = run.accept();
    peer.reset();
    for round in 1..=3 {
        let deadline = run.clock() + Duration::from_mins(1);
        run.submit(Op::Recv { conn, deadline: None });
        run.submit(Op::Watch { conn, deadline });
        run.submit_send(conn, &b"into the void"[..]);
        run.submit(Op::Examine { conn });
        run.submit(Op::Shutdown { conn });
        run.until("the end of each op", |run| run.conn(conn).is_idle());
        let ended = run.conn(conn);
        assert_eq!(ended.recv_ends.len(), round);
        assert!(matches!(ended.recv_ends[round - 1], RecvEnd::Failed(_) | RecvEnd::Eof), "{ended:?}");
        assert!(ended.send_results[round - 1].is_err(), "{ended:?}");
    }
    run.close(conn, CloseHow::Orderly);
    run.end();
}
