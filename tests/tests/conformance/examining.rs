//! Clause 15: evidence.

use std::net::IpAddr;

use heartring_core::{CloseHow, Op, OpKind, SocketEvidence};
use heartring_tests::{Peer, Rig, Run};

/// What is unread is seen, and seen no more when it has been read: it is what acquits a peer.
pub(crate) fn examination_sees_unread_bytes<R: Rig>(ip: IpAddr) {
    let mut run = Run::<R>::open(ip);
    let (conn, mut peer) = run.accept();
    assert_eq!(examine(&mut run, conn).unread, Some(0));
    peer.write(&[7; 1000]);
    run.until("1000 unread bytes", |run| examine(run, conn).unread == Some(1000));
    run.submit(Op::Recv { conn, deadline: None });
    run.until("the bytes", |run| run.conn(conn).received.len() == 1000);
    assert_eq!(examine(&mut run, conn).unread, Some(0));
    run.close(conn, CloseHow::Orderly);
    run.end();
}

/// What the peer does not take is seen, TCP's state too, and examining a dead connection is no error.
pub(crate) fn examination_sees_unsent_bytes_and_the_state<R: Rig>(ip: IpAddr) {
    const ESTABLISHED: u8 = 1;
    const CLOSE: u8 = 7;
    const CLOSE_WAIT: u8 = 8;
    let mut run = Run::<R>::open(ip);
    let (conn, mut peer) = run.accept();
    let idle = examine(&mut run, conn);
    assert_eq!((idle.unsent, idle.tcp.map(|tcp| tcp.state)), (Some(0), Some(ESTABLISHED)));
    run.fill(conn);
    let full = examine(&mut run, conn);
    assert!(full.unsent > Some(0), "{full:?}");
    peer.fin();
    run.until("CLOSE_WAIT", |run| examine(run, conn).tcp.is_some_and(|tcp| tcp.state == CLOSE_WAIT));
    peer.reset();
    run.until("CLOSE", |run| examine(run, conn).tcp.is_some_and(|tcp| tcp.state == CLOSE));
    run.until("the end of the send", |run| !run.conn(conn).in_flight(OpKind::Send));
    run.close(conn, CloseHow::Abortive);
    run.end();
}

fn examine<R: Rig>(run: &mut Run<R>, conn: heartring_core::ConnId) -> SocketEvidence {
    run.submit(Op::Examine { conn });
    run.until("Examined", |run| !run.conn(conn).in_flight(OpKind::Examine));
    *run.conn(conn).evidence.last().expect("it was examined")
}
