//! An RST at each moment of a connection's life (clauses 2, 8, 14 and 17 together).

use std::net::IpAddr;
use std::time::Duration;

use heartring_core::{CloseHow, Errno, Op, OpKind, RecvEnd};
use heartring_tests::{Peer, Rig, Run};

/// When the peer's RST comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    InTheQueue,
    BeforeTheRecv,
    WithBytesUnread,
    InTheRecv,
    InTheWatch,
    InAParkedSend,
    AfterOurFin,
    AfterItsFin,
    WithTheClose,
}

const MOMENTS: [Moment; 9] = [
    Moment::InTheQueue,
    Moment::BeforeTheRecv,
    Moment::WithBytesUnread,
    Moment::InTheRecv,
    Moment::InTheWatch,
    Moment::InAParkedSend,
    Moment::AfterOurFin,
    Moment::AfterItsFin,
    Moment::WithTheClose,
];

/// Every op that is in flight ends, the recv says why, and a close leaves nothing.
pub(crate) fn a_reset_at_any_moment_ends_everything_once<R: Rig>(ip: IpAddr) {
    for moment in MOMENTS {
        for how in [CloseHow::Orderly, CloseHow::Abortive] {
            reset_at::<R>(ip, moment, how);
        }
    }
}

fn reset_at<R: Rig>(ip: IpAddr, moment: Moment, how: CloseHow) {
    let mut run = Run::<R>::open(ip);
    let mut peer = run.rig.connect(run.listener.addr);
    if moment == Moment::InTheQueue {
        peer.reset();
    }
    let conn = run.submit_accept();
    run.until("the end of the accept", |run| !run.conn(conn).in_flight(OpKind::Accept));
    if run.conn(conn).refused.is_some() {
        assert_eq!(moment, Moment::InTheQueue, "an accept may fail for a client that is gone, and only then");
        return run.end();
    }
    if moment == Moment::WithBytesUnread {
        peer.write(b"last words");
    }
    if matches!(moment, Moment::BeforeTheRecv | Moment::WithBytesUnread) {
        peer.reset();
    }
    let deadline = run.clock() + Duration::from_mins(1);
    run.submit(Op::Recv { conn, deadline: Some(deadline) });
    if moment == Moment::InTheWatch {
        run.submit(Op::Watch { conn, deadline });
    }
    if moment == Moment::InAParkedSend {
        run.fill(conn);
    }
    if moment == Moment::AfterOurFin {
        run.submit(Op::Shutdown { conn });
    }
    if moment == Moment::AfterItsFin {
        peer.fin();
    }
    if moment != Moment::WithTheClose {
        run.pass(Duration::from_millis(10));
        peer.reset();
        run.until("the end of every op", |run| run.conn(conn).is_idle());
        let end = run.conn(conn).recv_ends[0];
        // The one error may have gone to the parked send; after a FIN a recv never gets it.
        let eof = matches!(moment, Moment::AfterItsFin | Moment::InAParkedSend) && end == RecvEnd::Eof;
        assert!(end == RecvEnd::Failed(Errno::ECONNRESET) || eof, "{moment:?}: {end:?}");
    }
    if moment == Moment::WithBytesUnread {
        assert_eq!(run.conn(conn).received, b"last words");
    }
    run.submit(Op::Close { conn, how });
    if moment == Moment::WithTheClose {
        peer.reset();
    }
    run.until("Closed", |run| run.conn(conn).closed);
    run.end();
}
