//! Faults of closing: ops that are slow to end, or end otherwise than cancelled.

use heartring_core::{CloseHow, Errno, RecvEnd, WatchEnd};
use heartring_sim::{Fault, Saw};

use crate::stage::{Stage, Told};

const DAY: u64 = 86_400_000_000_000;

#[test]
fn a_slow_close_goes_on_delivering_and_joins_everything_before_its_end() {
    let mut deliveries = 0;
    for seed in 0..20 {
        let mut stage = Stage::new();
        let (conn, peer) = stage.accept_and_recv();
        stage.watch(conn, stage.after(DAY));
        stage.sometimes(seed, Fault::CloseJoinsSlowly, 1_000_000);
        stage.close(conn, CloseHow::Orderly);
        assert_eq!(stage.wait(Some(stage.now())), []);
        peer.send(b"late");
        let told = stage.settle();
        assert_eq!(told.last(), Some(&Told::Closed(conn)), "{told:?}");
        deliveries += usize::from(told.contains(&Told::Received(conn, b"late".to_vec())));
        let ends = told.iter().filter(|told| matches!(told, Told::RecvEnded(..) | Told::WatchEnded(..)));
        assert_eq!((ends.count(), stage.count(Fault::CloseJoinsSlowly)), (2, 2), "{told:?}");
    }
    assert!(deliveries > 0, "no recv outlived its close");
}

#[test]
fn a_cancelled_recv_may_still_deliver() {
    let mut stage = Stage::new();
    let (conn, peer) = stage.accept_and_recv();
    stage.sometimes(1, Fault::ReceivedAfterClose, 500_000);
    while stage.count(Fault::ReceivedAfterClose) == 0 {
        let (conn, peer) = stage.accept_and_recv();
        peer.send(b"late");
        stage.close(conn, CloseHow::Orderly);
        let told = stage.settle();
        if stage.count(Fault::ReceivedAfterClose) > 0 {
            let (delivered, end) = (Told::Received(conn, b"late".to_vec()), RecvEnd::Cancelled);
            assert_eq!(told, [delivered, Told::RecvEnded(conn, end), Told::Closed(conn)]);
        }
    }
    // On a silent socket there is nothing to deliver.
    stage.always(Fault::ReceivedAfterClose);
    stage.close(conn, CloseHow::Orderly);
    assert_eq!(stage.settle(), [Told::RecvEnded(conn, RecvEnd::Cancelled), Told::Closed(conn)]);
    assert_eq!(peer.saw(), Saw::Eof);
}

#[test]
fn a_cancelled_send_may_still_send() {
    for (fault, result) in [(Fault::SentAfterClose, Ok(5)), (Fault::SendParks, Err(Errno::ECANCELED))] {
        let mut stage = Stage::new();
        let (conn, peer) = stage.accept();
        stage.always(Fault::SendParks);
        stage.send(conn, b"hello");
        stage.wait(Some(stage.now()));
        stage.always(fault);
        stage.close(conn, CloseHow::Orderly);
        assert_eq!(stage.wait(Some(stage.now())), [Told::Sent(conn, result), Told::Closed(conn)]);
        assert_eq!(peer.received().len(), result.unwrap_or(0));
    }
}

#[test]
fn a_cancelled_send_cannot_send_where_there_is_no_room() {
    let mut stage = Stage::new();
    let (conn, peer) = stage.accept();
    peer.stop_reading();
    stage.send(conn, &[0; 1000]);
    stage.wait(None);
    stage.send(conn, b"hello");
    stage.wait(Some(stage.now()));
    stage.always(Fault::SentAfterClose);
    stage.close(conn, CloseHow::Abortive);
    let told = stage.wait(None);
    assert_eq!(told, [Told::Sent(conn, Err(Errno::ECANCELED)), Told::Closed(conn)]);
}

#[test]
fn a_cancelled_watch_may_still_expire_at_its_deadline() {
    let mut stage = Stage::new();
    let (conn, _peer) = stage.accept_and_recv();
    let deadline = stage.after(100);
    stage.watch(conn, deadline);
    stage.always(Fault::WatchedAfterClose);
    stage.close(conn, CloseHow::Orderly);
    stage.settle();
    assert_eq!(stage.when(&Told::WatchEnded(conn, WatchEnd::Expired)), deadline);
    assert_eq!(stage.when(&Told::Closed(conn)), deadline);
}

#[test]
fn a_cancelled_watch_may_still_be_ready_if_something_came() {
    let mut stage = Stage::new();
    let (conn, peer) = stage.accept_and_recv();
    stage.watch(conn, stage.after(DAY));
    stage.always(Fault::WatchMissesBytes);
    stage.wait(Some(stage.now()));
    peer.send(b"x");
    stage.always(Fault::WatchedAfterClose);
    stage.close(conn, CloseHow::Abortive);
    let told = stage.settle();
    assert!(told.contains(&Told::WatchEnded(conn, WatchEnd::Ready)), "{told:?}");
    // And never on a silent socket whose deadline is far.
    let (conn, _peer) = stage.accept_and_recv();
    stage.watch(conn, stage.after(DAY));
    stage.close(conn, CloseHow::Abortive);
    let told = stage.settle();
    assert!(told.contains(&Told::WatchEnded(conn, WatchEnd::Cancelled)), "{told:?}");
}
