//! Clause 24: backends that wake each other.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use heartring_core::{Backend, BackendConfig, CloseHow, Completion, Instant, ListenOptions, Wake};
use heartring_tests::{
    End, Epoll, Patience, Peer, Rig, Run, SimRig, TcpRig, Uring, UringPlain, alone, descriptors_open, skip,
};

/// Whoever hears nothing for so long never will.
const SILENCE: Duration = Duration::from_secs(10);

/// Before a `wait`, several before one `wait`, and during a `wait` without a bound.
pub(crate) fn a_ring_from_another_backend_is_a_wake<R: Rig + 'static>(ip: IpAddr) {
    is_rung_by::<R, R>(&mut Run::open(ip));
}

/// Each pair of kinds that this machine has.
pub(crate) fn a_ring_from_a_backend_of_another_kind_is_a_wake<R: Rig>(ip: IpAddr) {
    let mut run = Run::<R>::open(ip);
    is_rung_by::<R, SimRig>(&mut run);
    is_rung_by::<R, TcpRig<Epoll>>(&mut run);
    is_rung_by::<R, TcpRig<Uring>>(&mut run);
    is_rung_by::<R, TcpRig<UringPlain>>(&mut run);
}

fn is_rung_by<R: Rig, O: Rig + 'static>(run: &mut Run<R>) {
    if let Err(reason) = O::open(&BackendConfig::default()) {
        return skip(O::NAME, &reason);
    }
    let waker = run.rig.backend().waker();
    for (rings, delay) in [(1, Duration::ZERO), (50, Duration::ZERO), (1, Duration::from_millis(20))] {
        let wakes = run.model.wakes;
        let ringer = ring_elsewhere::<O>(&waker, rings, delay);
        if delay.is_zero() {
            ringer.join().expect("ringing does not panic");
            hear(run);
        } else {
            hear(run);
            ringer.join().expect("ringing does not panic");
        }
        run.pass(Duration::from_millis(20));
        let heard = run.model.wakes - wakes;
        assert!(heard <= rings, "{}: {rings} rings were heard {heard} times", O::NAME);
    }
}

/// A backend of kind `O` on a thread of its own, which rings and waits once.
fn ring_elsewhere<O: Rig + 'static>(target: &Arc<dyn Wake>, rings: usize, after: Duration) -> JoinHandle<()> {
    let target = Arc::clone(target);
    thread::spawn(move || {
        let mut rig = open::<O>(&BackendConfig::default());
        thread::sleep(after);
        for _ in 0..rings {
            rig.backend().ring(&target);
        }
        assert!(!turn(&mut rig, Duration::ZERO), "who rings another is not woken by it");
    })
}

/// Waits without a bound until it is woken. If nobody does, it is let out, and the test fails.
fn hear<R: Rig>(run: &mut Run<R>) {
    let wakes = run.model.wakes;
    let guard = Guard::over(vec![run.rig.backend().waker()]);
    while run.model.wakes == wakes {
        run.wait(None);
    }
    guard.heard();
}

/// Lets those out who sleep without a bound for a ring that was lost.
struct Guard {
    progress: Sender<()>,
    lost: Arc<AtomicBool>,
}

impl Guard {
    fn over(sleepers: Vec<Arc<dyn Wake>>) -> Self {
        let (progress, silence) = mpsc::channel();
        let lost = Arc::new(AtomicBool::new(false));
        let verdict = Arc::clone(&lost);
        thread::spawn(move || {
            let end = loop {
                if let Err(end) = silence.recv_timeout(SILENCE) {
                    break end;
                }
            };
            if end == RecvTimeoutError::Timeout {
                verdict.store(true, Ordering::Release);
                for sleeper in sleepers {
                    sleeper.wake();
                }
            }
        });
        Self { progress, lost }
    }

    /// After each wake: it may be the guard's own.
    fn heard(&self) {
        assert!(!self.lost.load(Ordering::Acquire), "a ring was lost");
        // Nobody listens any more only after a loss.
        let _ = self.progress.send(());
    }
}

fn open<R: Rig>(config: &BackendConfig) -> R {
    R::open(config).unwrap_or_else(|reason| panic!("{}: {reason}", R::NAME))
}

/// One `wait` of a backend without connections. Returns whether it was woken.
fn turn<R: Rig>(rig: &mut R, length: Duration) -> bool {
    let until = rig.clock() + length;
    turn_until(rig, Some(until))
}

fn turn_until<R: Rig>(rig: &mut R, until: Option<Instant>) -> bool {
    let mut woken = false;
    let result = rig.backend().wait(until, &mut |_, completion| {
        assert!(matches!(completion, Completion::Woken), "{completion:?} without an op");
        woken = true;
    });
    result.unwrap_or_else(|error| panic!("{}: wait failed: {error}", R::NAME));
    woken
}

/// In the `wait` that hands it over.
pub(crate) fn a_backend_can_ring_itself<R: Rig>(ip: IpAddr) {
    let mut run = Run::<R>::open(ip);
    let waker = run.rig.backend().waker();
    for _ in 0..3 {
        run.rig.backend().ring(&waker);
        hear(&mut run);
    }
    run.end();
}

/// A shard that waits for company is woken when its time for that is over, if not before.
pub(crate) fn a_ring_is_heard_by_who_waits_for_company<R: Rig + 'static>(ip: IpAddr) {
    let config = BackendConfig { slots: 64, batch_within: Duration::from_millis(5), ..Default::default() };
    let mut run = Run::<R>::open_with(ip, config);
    let waker = run.rig.backend().waker();
    // While it gathers, and long after.
    for delay in [0, 2, 30] {
        let ringer = ring_elsewhere::<R>(&waker, 1, Duration::from_millis(delay));
        hear(&mut run);
        ringer.join().expect("ringing does not panic");
    }
    run.end();
}

/// The last thing that a shard does may be to ring another.
pub(crate) fn a_ring_is_heard_although_the_ringer_ends<R: Rig + 'static>(ip: IpAddr) {
    let mut run = Run::<R>::open(ip);
    let waker = run.rig.backend().waker();
    let ringer = thread::spawn(move || open::<R>(&BackendConfig::default()).backend().ring(&waker));
    ringer.join().expect("ringing does not panic");
    hear(&mut run);
    run.end();
}

/// Rung before its end and after: the ringer goes on, and nothing of the one that has ended is kept, although its ringer
/// has not handed the ring over.
pub(crate) fn a_ring_for_who_has_ended_does_nothing<R: Rig>(ip: IpAddr) {
    let mut ringer = open::<R>(&BackendConfig::default());
    let mut run = Run::<R>::open(ip);
    let addr = run.listener.addr;
    let waker = run.rig.backend().waker();
    let (_, mut peer) = run.accept_and_recv();
    ringer.backend().ring(&waker);
    drop(run);
    let patience = Patience::new();
    while peer.end() == End::Open {
        assert!(!patience.is_over(), "the peer still has its connection");
        thread::sleep(Duration::from_millis(1));
    }
    let mut again = open::<R>(&BackendConfig::default());
    while let Err(error) = again.backend().listen(addr, &ListenOptions::default()) {
        assert!(!patience.is_over(), "{addr} is not free: {error}");
        thread::sleep(Duration::from_millis(5));
    }
    for _ in 0..3 {
        assert!(!turn(&mut ringer, Duration::from_millis(1)));
        ringer.backend().ring(&waker);
    }
    // It still rings those who are there.
    ringer.backend().ring(&again.backend().waker());
    assert!(!turn(&mut ringer, Duration::ZERO));
    while !turn(&mut again, Duration::from_millis(10)) {
        assert!(!patience.is_over(), "a ring was lost");
    }
}

/// A hundred thousand rings, each after the one before it was heard: a single lost one stops it.
pub(crate) fn two_backends_that_ring_each_other_lose_nothing<R: Rig + 'static>(ip: IpAddr) {
    const ROUNDS: usize = 50_000;
    let mut run = Run::<R>::open(ip);
    let waker = run.rig.backend().waker();
    let own = Arc::clone(&waker);
    let (introduce, other) = mpsc::channel();
    let echo = thread::spawn(move || {
        let mut rig = open::<R>(&BackendConfig::default());
        introduce.send(rig.backend().waker()).expect("the other side listens");
        for _ in 0..ROUNDS {
            while !turn_until(&mut rig, None) {}
            rig.backend().ring(&waker);
        }
        turn(&mut rig, Duration::ZERO);
    });
    let other = other.recv().expect("the other side opens");
    let guard = Guard::over(vec![own, Arc::clone(&other)]);
    for round in 1..=ROUNDS {
        run.rig.backend().ring(&other);
        while run.model.wakes < round {
            run.wait(None);
        }
        assert_eq!(run.model.wakes, round, "woken more often than anybody rang");
        guard.heard();
    }
    echo.join().expect("every ring was heard");
    run.end();
}

/// Two ringers that never stop, and targets that come and go under them.
pub(crate) fn a_storm_of_rings_meets_backends_that_end<R: Rig + 'static>(ip: IpAddr) {
    alone(&format!("{}::a_storm_of_rings_meets_backends_that_end", R::NAME), || {
        let before = descriptors_open();
        let (target, stop) = (Arc::new(Mutex::new(None)), Arc::new(AtomicBool::new(false)));
        let ringers = [(); 2].map(|()| storm::<R>(&target, &stop));
        for round in 0..100 {
            let mut run = Run::<R>::open(ip);
            *target.lock().unwrap() = Some(run.rig.backend().waker());
            let (conn, mut peer) = run.accept_and_recv();
            while run.model.wakes <= round % 5 {
                hear(&mut run);
            }
            if round % 2 == 0 {
                run.close(conn, CloseHow::Orderly);
            }
            drop(run);
            let patience = Patience::new();
            while peer.end() == End::Open {
                assert!(!patience.is_over(), "round {round}: a peer still has its connection");
                thread::yield_now();
            }
        }
        stop.store(true, Ordering::Relaxed);
        for ringer in ringers {
            ringer.join().expect("ringing does not panic");
        }
        *target.lock().unwrap() = None;
        let patience = Patience::new();
        while descriptors_open() > before && !patience.is_over() {
            thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(descriptors_open(), before, "descriptors were leaked");
    });
}

/// Rings whoever is the target, several times a turn.
fn storm<R: Rig + 'static>(
    target: &Arc<Mutex<Option<Arc<dyn Wake>>>>,
    stop: &Arc<AtomicBool>,
) -> JoinHandle<()> {
    let (target, stop) = (Arc::clone(target), Arc::clone(stop));
    thread::spawn(move || {
        let mut rig = open::<R>(&BackendConfig::default());
        while !stop.load(Ordering::Relaxed) {
            if let Some(waker) = target.lock().unwrap().clone() {
                (0..7).for_each(|_| rig.backend().ring(&waker));
            }
            turn(&mut rig, Duration::ZERO);
            // Real time, also for the simulator, which would keep its targets from running.
            thread::sleep(Duration::from_micros(50));
        }
        assert_eq!(rig.backend().ledger().open_total(), 0);
    })
}
