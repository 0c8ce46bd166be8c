//! Faults of watching.

use std::time::Duration;

use heartring_core::{Errno, WatchEnd};
use heartring_sim::{Fault, FaultOdds};

use crate::stage::{Stage, Told};

const DELAY_MAX: Duration = FaultOdds::NONE.delay_max;
const DAY: u64 = 86_400_000_000_000;

#[test]
fn a_watch_ends_late_and_never_early() {
    let mut stage = Stage::new();
    let (conn, _peer) = stage.accept_and_recv();
    stage.always(Fault::WatchLate);
    let deadline = stage.after(100);
    stage.watch(conn, deadline);
    assert_eq!(stage.wait(None), [Told::WatchEnded(conn, WatchEnd::Expired)]);
    assert!(stage.now() > deadline && stage.now() <= deadline + DELAY_MAX);
}

#[test]
fn bytes_that_come_before_a_late_watch_ends_make_it_ready() {
    let mut stage = Stage::new();
    let (conn, peer) = stage.accept_and_recv();
    stage.always(Fault::WatchLate);
    let deadline = stage.after(100);
    stage.watch(conn, deadline);
    stage.world.at(deadline, move |_| peer.send(b"x"));
    let told = stage.wait(None);
    assert_eq!(told, [Told::WatchEnded(conn, WatchEnd::Ready), Told::Received(conn, b"x".to_vec())]);
}

#[test]
fn a_watch_may_miss_bytes_that_the_recv_takes_and_then_ends_at_its_deadline() {
    let mut stage = Stage::new();
    let (conn, peer) = stage.accept_and_recv();
    stage.always(Fault::WatchMissesBytes);
    let deadline = stage.after(1000);
    stage.watch(conn, deadline);
    peer.send_at(stage.after(5), b"beat");
    let told = stage.pass_until(deadline);
    assert_eq!(told, [Told::Received(conn, b"beat".to_vec()), Told::WatchEnded(conn, WatchEnd::Expired)]);
    assert_eq!(stage.when(&told[1]), deadline);
}

#[test]
fn a_watch_does_not_miss_bytes_that_nobody_has_taken_at_its_deadline() {
    let mut stage = Stage::new();
    let (conn, peer) = stage.accept_and_recv();
    stage.always(Fault::WatchMissesBytes);
    stage.watch(conn, stage.after(1000));
    stage.wait(Some(stage.now()));
    peer.send(b"beat");
    // The thread is away when the deadline comes, so that the bytes are still unread.
    stage.world.stall(Duration::from_micros(2));
    let told = stage.wait(None);
    assert_eq!(told[0], Told::WatchEnded(conn, WatchEnd::Ready));
}

#[test]
fn a_watch_never_misses_the_end_of_the_stream() {
    let mut stage = Stage::new();
    stage.always(Fault::WatchMissesBytes);
    for reset in [false, true] {
        let (conn, peer) = stage.accept_and_recv();
        stage.watch(conn, stage.after(DAY));
        stage.wait(Some(stage.now()));
        if reset {
            peer.reset();
        } else {
            peer.fin();
        }
        let told = stage.wait(None);
        assert_eq!(told[0], Told::WatchEnded(conn, WatchEnd::Ready), "reset: {reset}");
    }
}

#[test]
fn a_watch_sees_what_it_missed_when_the_recv_beside_it_ends() {
    let mut stage = Stage::new();
    let (conn, peer) = stage.accept();
    stage.always(Fault::WatchMissesBytes);
    stage.recv(conn, Some(stage.after(10)));
    stage.watch(conn, stage.after(DAY));
    stage.wait(Some(stage.now()));
    peer.send(b"beat");
    // The lease ends while the thread is away, and leaves the bytes.
    stage.world.stall(Duration::from_nanos(20));
    let told = stage.wait(None);
    assert!(told.contains(&Told::WatchEnded(conn, WatchEnd::Ready)), "{told:?}");
}

#[test]
fn a_watch_may_be_ready_late_by_bytes_that_were_told_long_before() {
    let mut stage = Stage::new();
    let (conn, peer) = stage.accept_and_recv();
    stage.always(Fault::WatchReadyLate);
    // Its deadline passes meanwhile, and counts no more.
    stage.watch(conn, stage.after(1));
    stage.wait(Some(stage.now()));
    peer.send(b"beat");
    assert_eq!(stage.wait(None), [Told::Received(conn, b"beat".to_vec())]);
    let before = stage.now();
    assert_eq!(stage.settle(), [Told::WatchEnded(conn, WatchEnd::Ready)]);
    let late = stage.when(&Told::WatchEnded(conn, WatchEnd::Ready)).saturating_since(before);
    assert!(!late.is_zero() && late <= DELAY_MAX, "{late:?}");
}

#[test]
fn a_watch_on_a_silent_socket_expires_whatever_goes_wrong() {
    let mut stage = Stage::new();
    let (conn, peer) = stage.accept_and_recv();
    peer.send(b"old");
    stage.settle();
    for fault in [Fault::WatchLate, Fault::WatchMissesBytes, Fault::WatchReadyLate] {
        stage.always(fault);
        stage.watch(conn, stage.after(10));
        assert_eq!(stage.settle(), [Told::WatchEnded(conn, WatchEnd::Expired)], "{fault:?}");
    }
}

#[test]
fn a_watch_may_fail_at_once() {
    let mut stage = Stage::new();
    let (conn, _peer) = stage.accept_and_recv();
    stage.always(Fault::WatchFails);
    stage.watch(conn, stage.after(DAY));
    assert_eq!(stage.wait(None), [Told::WatchEnded(conn, WatchEnd::Failed(Errno::ENOMEM))]);
}
