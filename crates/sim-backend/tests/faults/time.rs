//! How a driver of several worlds lets time pass in each.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use heartring_core::{Backend, CloseHow, Instant};

use crate::stage::{Stage, Told};

#[test]
fn the_next_instant_is_that_of_the_next_event_that_still_matters() {
    let mut stage = Stage::new();
    assert_eq!(stage.world.next_at(), None);
    let (conn, peer) = stage.accept_and_recv();
    assert_eq!(stage.world.next_at(), None);
    let (deadline, later) = (stage.after(100), stage.after(900));
    stage.watch(conn, deadline);
    assert_eq!(stage.world.next_at(), Some(stage.now()), "an op waits to be handed over");
    stage.wait(Some(stage.now()));
    assert_eq!(stage.world.next_at(), Some(deadline));
    stage.world.at(later, |_| ());
    peer.send(b"x");
    assert_eq!(stage.world.next_at(), Some(stage.now()), "bytes lie there");
    stage.wait(None);
    assert_eq!(stage.world.next_at(), Some(later), "the watch is over, and its deadline with it");
}

#[test]
fn nothing_is_next_before_the_thread_runs() {
    let mut stage = Stage::new();
    let (conn, peer) = stage.accept_and_recv();
    stage.world.stall(Duration::from_nanos(50));
    let back = stage.after(50);
    peer.send(b"x");
    assert_eq!(stage.world.next_at(), Some(back));
    stage.world.advance_to(stage.after(20));
    assert_eq!(stage.wait(Some(stage.now())), [Told::Received(conn, b"x".to_vec())]);
    assert_eq!((stage.now(), stage.world.absences()), (back, vec![(Instant::ZERO, back)]));
}

#[test]
fn a_wake_is_something_to_tell() {
    let mut stage = Stage::new();
    stage.backend.waker().wake();
    assert_eq!(stage.world.next_at(), Some(Instant::ZERO));
    assert_eq!(stage.wait(None), [Told::Woken]);
    assert_eq!(stage.world.next_at(), None);
}

#[test]
fn what_is_due_at_the_instant_itself_comes_after_the_advance() {
    let mut stage = Stage::new();
    let (conn, peer) = stage.accept_and_recv();
    let deadline = stage.after(100);
    stage.watch(conn, deadline);
    stage.wait(Some(stage.now()));
    stage.world.advance_to(deadline);
    // Who acts at that instant comes before it.
    peer.send(b"x");
    let told = stage.wait(Some(deadline));
    assert!(matches!(told[0], Told::WatchEnded(_, heartring_core::WatchEnd::Ready)), "{told:?}");
}

#[test]
fn time_does_not_pass_over_what_is_due() {
    let mut stage = Stage::new();
    let (conn, _peer) = stage.accept_and_recv();
    stage.watch(conn, stage.after(100));
    stage.wait(Some(stage.now()));
    let beyond = stage.after(101);
    assert!(catch_unwind(AssertUnwindSafe(|| stage.world.advance_to(beyond))).is_err());
}

#[test]
fn the_world_goes_on_while_the_thread_is_away() {
    let mut stage = Stage::new();
    let (conn, peer) = stage.accept_and_recv();
    stage.watch(conn, stage.after(100));
    stage.wait(Some(stage.now()));
    stage.world.stall(Duration::from_nanos(500));
    stage.world.advance_to(stage.after(200));
    peer.send(b"x");
    let told = stage.wait(None);
    assert!(matches!(told[0], Told::WatchEnded(_, heartring_core::WatchEnd::Expired)), "{told:?}");
    stage.close(conn, CloseHow::Abortive);
    stage.wait(None);
}
