//! One run: a gateway, what the kernel shows of it meanwhile, and what must hold at the end.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use heartring::{Config, Gateway, Lateness, Limits, Overrides, Running};
use heartring_tests::{On, TcpState, accept_queues, descriptors_open, eventually, gateway_states};

use super::registry::{Book, Doorman};

/// Longer than any run: no ghost shall go because of its deadline.
const DEAD_WITHIN: Duration = Duration::from_mins(5);
/// At least two, so that most takeovers cross from one to another.
const SHARDS: u16 = 3;
/// A healthy client that waits as long has lost packets of its handshake to a full queue.
const VISIT_WITHIN: Duration = Duration::from_secs(3);
/// The last quarter of the healthy clients may wait this many times as long as the first, and this much longer: noise of a busy
/// machine, and far less than ten times as many ghosts would cost.
const SLOWER_MAX: u32 = 4;
const SLOWER_SLACK: Duration = Duration::from_millis(20);

/// How much happens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) identities: u32,
    pub(crate) reboots: u32,
    pub(crate) reboots_per_second: u32,
    /// How long the gateway's handler takes over each first line.
    pub(crate) hello_takes: Duration,
}

/// A gateway at work.
pub(crate) struct Trial {
    plan: Plan,
    on: On,
    running: Running,
    book: Arc<Mutex<Book>>,
    descriptors: usize,
    sampler: Sampler,
}

impl Trial {
    pub(crate) fn begin(on: On, plan: Plan, addr: &str) -> Self {
        let conns_max = Some((plan.identities + 100) * u32::from(SHARDS));
        let config = Config {
            shards: Some(SHARDS),
            claim_required: true,
            limits: Limits { conns_max, ..Limits::default() },
            // A ghost that was closed in order would linger for as long, and be seen.
            overrides: Overrides { drain_within: Some(Duration::from_mins(1)), ..Overrides::default() },
            ..on.config(DEAD_WITHIN)
        };
        let book = Arc::new(Mutex::new(Book::default()));
        let its_book = Arc::clone(&book);
        let doorman = move |_shard| Doorman { book: Arc::clone(&its_book), hello_takes: plan.hello_takes };
        let running = Gateway::new(config).listen(addr).start(doorman).expect("the gateway starts");
        let descriptors = descriptors_open();
        let sampler = Sampler::begin(running.addrs()[0]);
        Self { plan, on, running, book, descriptors, sampler }
    }

    pub(crate) fn gateway(&self) -> SocketAddr {
        self.running.addrs()[0]
    }

    /// While every device is there: its connection is all that the kernel keeps, and no orphan of an evicted one.
    pub(crate) fn check_living(&self) {
        let living = self.plan.identities as usize;
        let healthy = |states: &[u8]| states.iter().all(|&state| state == TcpState::Established as u8);
        eventually("one socket per device and nothing else", || {
            let states = gateway_states(self.gateway());
            states.len() == living && healthy(&states)
        });
    }

    /// After everybody has left.
    pub(crate) fn end(self, takeovers: &[Duration], visits: &[Duration]) {
        let gateway = self.gateway();
        eventually("every socket is gone", || gateway_states(gateway).is_empty());
        eventually("every connection has ended", || self.book().open() == 0);
        let queues = accept_queues(gateway);
        assert!(queues.iter().all(|&waiting| waiting == 0), "{queues:?} wait to be accepted");
        let seen = self.sampler.end();
        eventually("descriptors as at the start", || descriptors_open() == self.descriptors);

        self.running.stop();
        let summary = self.running.join().expect("no shard fails");
        let (reboots, living) = (u64::from(self.plan.reboots), u64::from(self.plan.identities));
        let stats = &summary.stats;
        let ends = [stats.closed("superseded"), stats.closed("peer_closed"), stats.closed_total()];
        let left = living + visits.len() as u64;
        assert_eq!(ends, [reboots, left, reboots + left], "superseded, closed by peer, in all: {stats:?}");
        assert_eq!((summary.ledger_open, takeovers.len() as u64), (0, reboots));
        let book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        assert_eq!((book.bound_max, book.conns_max), (1, 2), "holders and connections of one identity");
        // Each device's connection and its successor, and two healthy clients, one of which is leaving.
        assert!(seen.sockets_max <= 2 * living as usize + 2, "{seen:?}");
        println!("{} {:?}: {seen:?}", self.on.backend_name(), self.plan);
        print_waits("takeovers", takeovers);
        print_waits("healthy clients", visits);
        check_flat(visits);
    }

    fn book(&self) -> std::sync::MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The most that the kernel was seen to keep of a gateway.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    sockets_max: usize,
    queue_max: usize,
}

/// A thread that looks all the time.
struct Sampler {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Seen>,
}

impl Sampler {
    /// In the calling thread's network namespace.
    fn begin(gateway: SocketAddr) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let its_over = Arc::clone(&over);
        let body = move || {
            let mut seen = Seen::default();
            while !its_over.load(Ordering::Relaxed) {
                seen.sockets_max = seen.sockets_max.max(gateway_states(gateway).len());
                seen.queue_max = seen.queue_max.max(accept_queues(gateway).into_iter().sum());
                thread::sleep(Duration::from_millis(5));
            }
            seen
        };
        Self { over, thread: thread::spawn(body) }
    }

    fn end(self) -> Seen {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().expect("looking does not fail")
    }
}

/// Healthy clients do not notice how many devices have rebooted.
fn check_flat(visits: &[Duration]) {
    let quarter = visits.len() / 4;
    let (first, last) = (&visits[..quarter], &visits[visits.len() - quarter..]);
    print_waits("  first quarter", first);
    print_waits("  last quarter", last);
    let longest = visits.iter().max().expect("somebody came");
    assert!(*longest < VISIT_WITHIN, "a healthy client waited {longest:?}");
    let [first, last] = [first, last].map(|waits| histogram(waits).quantile(0.5));
    assert!(last <= first * SLOWER_MAX + SLOWER_SLACK, "from {first:?} to {last:?}: {visits:?}");
}

fn print_waits(who: &str, waits: &[Duration]) {
    let histogram = histogram(waits);
    let [p50, p99] = [0.5, 0.99].map(|quantile| histogram.quantile(quantile));
    println!("{who}: {} p50 {p50:?} p99 {p99:?} max {:?}", histogram.count(), histogram.max());
}

fn histogram(durations: &[Duration]) -> Lateness {
    let mut histogram = Lateness::default();
    for &duration in durations {
        histogram.record(duration);
    }
    histogram
}
