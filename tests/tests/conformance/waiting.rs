//! Clauses 21 to 23: waiting and waking.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use heartring_core::{Backend, CloseHow, Instant, OpKind};
use heartring_tests::{Patience, Peer, Rig, Run};

/// With nothing to tell it comes back at `until`, neither much later nor by spinning; with `until` in the past at once.
pub(crate) fn wait_returns_at_until<R: Rig>(ip: IpAddr) {
    let mut run = Run::<R>::open(ip);
    for length_us in [0, 300, 1500, 20_000, 100_000] {
        let until = run.clock() + Duration::from_micros(length_us);
        let mut early = 0;
        while run.clock() < until {
            run.wait(Some(until));
            early += 1;
            assert!(early < 100, "wait does not sleep: {early} returns before {length_us} µs were over");
        }
        let late = run.clock().saturating_since(until);
        assert!(late < Duration::from_secs(5), "{length_us} µs took {late:?} more");
    }
    let before = run.clock();
    for until in [before, before - Duration::from_secs(1), Instant::ZERO] {
        run.wait(Some(until));
    }
    let took = run.clock().saturating_since(before);
    assert!(took < Duration::from_secs(5), "three waits for the past took {took:?}");
    run.end();
}

/// `None` sleeps until there is something, and there being something is enough.
pub(crate) fn wait_without_a_bound_returns_for_a_completion<R: Rig>(ip: IpAddr) {
    let mut run = Run::<R>::open(ip);
    let (conn, mut peer) = run.accept_and_recv();
    for round in 1..=3 {
        let written_at = run.clock() + Duration::from_millis(30);
        peer.write_after(Duration::from_millis(30), b"beat");
        let mut waits = 0;
        while run.conn(conn).received.len() < round * 4 {
            run.wait(None);
            waits += 1;
            assert!(waits < 100, "wait does not sleep");
        }
        assert!(run.clock() >= written_at);
    }
    run.close(conn, CloseHow::Abortive);
    run.end();
}

/// The model and `Run::wait` compare all stamps of all tests with each other and with the clock before and after. Here
/// the thread sleeps while something happens, so that a stamp taken before the sleep shows.
pub(crate) fn one_instant_per_batch<R: Rig>(ip: IpAddr) {
    let mut run = Run::<R>::open(ip);
    let (conn, mut peer) = run.accept_and_recv();
    for round in 1..=5 {
        let written_at = run.clock() + Duration::from_millis(40);
        peer.write_after(Duration::from_millis(40), b"beat");
        run.until_in_turns_of(Duration::from_secs(5), "the beat", |run| {
            run.conn(conn).received.len() == round * 4
        });
        let now = run.rig.backend().now();
        assert!(now >= written_at, "stamped {now}, but it came after {written_at}");
    }
    // A wait that tells nothing still moves the clock of the turn.
    let until = run.clock() + Duration::from_millis(30);
    run.until("until", |run| run.rig.backend().now() >= until);
    run.close(conn, CloseHow::Abortive);
    run.end();
}

/// Before the wait, several before one wait, and during a wait without a bound.
pub(crate) fn a_wake_is_never_lost<R: Rig>(ip: IpAddr) {
    let mut run = Run::<R>::open(ip);
    let waker = run.rig.backend().waker();
    waker.wake();
    until_woken(&mut run, 1);
    for _ in 0..100 {
        waker.wake();
    }
    until_woken(&mut run, 2);
    // All of them are heard by now or very soon; what follows must not count on them.
    run.pass(Duration::from_millis(20));
    for _ in 0..5 {
        let heard = Arc::new(AtomicUsize::new(0));
        let (other, answer) = (Arc::clone(&waker), Arc::clone(&heard));
        let thread = thread::spawn(move || {
            thread::sleep(Duration::from_millis(20));
            other.wake();
            let patience = Patience::new();
            while answer.load(Ordering::Acquire) == 0 {
                if patience.is_over() {
                    // Lets the other thread out of its wait and fails the test.
                    other.wake();
                    return false;
                }
                thread::sleep(Duration::from_millis(1));
            }
            true
        });
        let wakes = run.model.wakes + 1;
        until_woken(&mut run, wakes);
        heard.store(1, Ordering::Release);
        assert!(thread.join().expect("waking does not panic"), "a wake was lost");
    }
    run.end();
    // Nobody is there to hear it, and that is no error.
    waker.wake();
}

fn until_woken<R: Rig>(run: &mut Run<R>, wakes: usize) {
    while run.model.wakes < wakes {
        run.wait(None);
    }
}

/// Each wake is answered before the next is sent, so a single lost one stops the ping-pong.
pub(crate) fn a_thousand_wakes_from_another_thread_are_heard<R: Rig>(ip: IpAddr) {
    const WAKES: usize = 1000;
    let mut run = Run::<R>::open(ip);
    let (conn, _peer) = run.accept_and_recv();
    let waker = run.rig.backend().waker();
    let heard = Arc::new(AtomicUsize::new(0));
    let sent = Arc::new(AtomicUsize::new(0));
    let (answer, called) = (Arc::clone(&heard), Arc::clone(&sent));
    let thread = thread::spawn(move || {
        let patience = Patience::new();
        for wake in 1..=WAKES {
            called.store(wake, Ordering::Release);
            waker.wake();
            while answer.load(Ordering::Acquire) < wake {
                assert!(!patience.is_over(), "wake {wake} was not heard");
                thread::yield_now();
            }
        }
    });
    run.until_in_turns_of(Duration::from_secs(20), "a thousand wakes", |run| {
        // Several wakes may share one completion, never the other way round: the other thread waits for each.
        assert!(run.model.wakes <= sent.load(Ordering::Acquire), "woken more often than anybody woke");
        heard.store(run.model.wakes, Ordering::Release);
        run.model.wakes == WAKES
    });
    thread.join().expect("every wake was heard");
    run.pass(Duration::from_millis(20));
    assert_eq!(run.model.wakes, WAKES, "woken more often than anybody woke");
    assert!(run.conn(conn).in_flight(OpKind::Recv));
    run.close(conn, CloseHow::Abortive);
    run.end();
}
