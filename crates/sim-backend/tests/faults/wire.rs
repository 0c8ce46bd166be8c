//! A path that is cut and mended.

use heartring_core::{CloseHow, Errno, Op, RecvEnd};
use heartring_sim::Saw;

use crate::stage::{Stage, Told};

#[test]
fn what_a_peer_sends_while_it_is_cut_off_arrives_in_order_when_the_path_is_back() {
    let mut stage = Stage::new();
    let (conn, peer) = stage.accept_and_recv();
    peer.send(b"a");
    peer.cut();
    peer.send(b"bc");
    peer.send(b"d");
    peer.fin();
    assert_eq!(stage.settle(), [Told::Received(conn, b"a".to_vec())]);
    assert_eq!((peer.arrived_bytes(), peer.unread_bytes()), (1, 0));
    peer.mend();
    assert_eq!(peer.arrived_bytes(), 4);
    assert_eq!(stage.settle(), [Told::Received(conn, b"bcd".to_vec()), Told::RecvEnded(conn, RecvEnd::Eof)]);
}

#[test]
fn a_reset_waits_behind_the_bytes() {
    let mut stage = Stage::new();
    let (conn, peer) = stage.accept_and_recv();
    peer.cut();
    peer.send(b"x");
    peer.reset();
    assert_eq!(stage.settle(), []);
    peer.mend();
    let end = RecvEnd::Failed(Errno::ECONNRESET);
    assert_eq!(stage.settle(), [Told::Received(conn, b"x".to_vec()), Told::RecvEnded(conn, end)]);
}

#[test]
fn what_we_send_stays_in_our_buffer_until_the_path_is_back() {
    let mut stage = Stage::new();
    let (conn, peer) = stage.accept();
    peer.cut();
    stage.send(conn, &[7; 600]);
    assert_eq!(stage.wait(None), [Told::Sent(conn, Ok(600))]);
    stage.send(conn, &[8; 600]);
    assert_eq!(stage.wait(None), [Told::Sent(conn, Ok(400))], "the buffer is full");
    stage.send(conn, &[9; 600]);
    stage.submit(Op::Examine { conn });
    let told = stage.settle();
    let [Told::Examined(_, evidence)] = &told[..] else { panic!("{told:?}") };
    assert_eq!((evidence.unsent, evidence.tcp.unwrap().unacked), (Some(1000), 1));
    assert_eq!(peer.received(), []);
    peer.mend();
    assert_eq!(stage.settle(), [Told::Sent(conn, Ok(600))]);
    assert_eq!(peer.take_received(), [vec![7; 600], vec![8; 400], vec![9; 600]].concat());
}

#[test]
fn an_orderly_close_is_seen_when_the_path_is_back() {
    let mut stage = Stage::new();
    let (conn, peer) = stage.accept();
    peer.cut();
    stage.send(conn, b"bye");
    stage.wait(None);
    stage.close(conn, CloseHow::Orderly);
    stage.wait(None);
    assert_eq!((peer.saw(), peer.received()), (Saw::Open, vec![]));
    peer.mend();
    assert_eq!((peer.saw(), peer.received()), (Saw::Eof, b"bye".to_vec()));
}

#[test]
fn an_abortive_close_is_seen_when_something_comes_from_the_peer() {
    for speaks_while_cut in [true, false] {
        let mut stage = Stage::new();
        let (conn, peer) = stage.accept();
        peer.send(b"arrived");
        peer.cut();
        stage.close(conn, CloseHow::Abortive);
        stage.wait(None);
        if speaks_while_cut {
            peer.send(b"x");
            peer.mend();
        } else {
            peer.mend();
            assert_eq!(peer.saw(), Saw::Open, "TCP does not send an RST twice");
            peer.send(b"x");
        }
        assert_eq!((peer.saw(), peer.arrived_bytes(), peer.unread_bytes()), (Saw::Reset, 7, 0));
    }
}

#[test]
fn a_peer_that_vanishes_while_it_is_cut_off_takes_everything_along() {
    let mut stage = Stage::new();
    let (_, peer) = stage.accept_and_recv();
    peer.cut();
    peer.send(b"x");
    peer.vanish();
    peer.mend();
    assert_eq!((stage.settle(), peer.arrived_bytes()), (vec![], 0));
}

#[test]
fn a_peer_that_has_closed_while_it_is_cut_off_resets_us_when_we_have_sent() {
    let mut stage = Stage::new();
    let (conn, peer) = stage.accept_and_recv();
    peer.cut();
    peer.close();
    stage.send(conn, b"hello");
    assert_eq!(stage.wait(None), [Told::Sent(conn, Ok(5))]);
    peer.mend();
    // The FIN came first, so the recv reads to the end of the stream; the error is the next send's.
    assert_eq!(stage.settle(), [Told::RecvEnded(conn, RecvEnd::Eof)]);
    stage.send(conn, b"hello");
    assert_eq!(stage.wait(None), [Told::Sent(conn, Err(Errno::ECONNRESET))]);
}
