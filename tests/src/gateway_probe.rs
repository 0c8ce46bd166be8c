//! A gateway under test, started and stopped by the test, whose every word is on record.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use heartring::{
    BackendChoice, Bytes, Closed, Config, ConnId, DeadlineStrategy, Gateway, Limits, Overrides, Running,
    Summary,
};
use heartring_core::BackendConfig;

use crate::gateway_log::{Entry, Event, Log};
use crate::gateway_script::{Framing, Orders, Script};
use crate::requirement::skip;

/// How long a test waits for something that should come soon. The machine may be busy with other tests.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a test runs on.
#[derive(Clone, Copy, Debug)]
pub struct On {
    /// The backend.
    pub backend: BackendChoice,
    /// Who keeps the deadlines; `None` is the backend's default.
    pub deadlines: Option<DeadlineStrategy>,
    /// The module of the test: what its name begins with.
    pub module: &'static str,
}

impl On {
    /// Runs `test`, or says aloud that this machine has no io_uring.
    ///
    /// # Panics
    ///
    /// If it has none although `HEARTRING_REQUIRE_ALL=1`.
    pub fn run(self, test: fn(Self)) {
        match self.is_available() {
            Ok(()) => test(self),
            Err(why) => skip(self.module, &why),
        }
    }

    /// A configuration with one shard, on this backend.
    pub fn config(self, dead_within: Duration) -> Config {
        Config {
            dead_within,
            backend: self.backend,
            deadlines: self.deadlines,
            shards: Some(1),
            pin: false,
            // Rings of other tests are there at the same time: none should hold more than it needs.
            limits: Limits { conns_max: Some(256), ..Limits::default() },
            // Devices that stay to the end do not close: the stop need not wait long for them.
            overrides: Overrides { drain_within: Some(Duration::from_millis(500)), ..Overrides::default() },
            ..Config::default()
        }
    }

    /// The name of the backend in reports.
    pub const fn backend_name(self) -> &'static str {
        match self.backend {
            BackendChoice::Uring => "uring",
            BackendChoice::Epoll => "epoll",
            BackendChoice::Auto => "auto",
        }
    }

    /// Whether this machine has the backend.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn is_available(self) -> Result<(), String> {
        match self.backend {
            BackendChoice::Epoll | BackendChoice::Auto => Ok(()),
            BackendChoice::Uring => heartring_uring::probe(&BackendConfig::default())
                .map(drop)
                .map_err(|refusal| refusal.to_string()),
        }
    }
}

/// A running gateway. Every test ends with [`GatewayProbe::finish`].
pub struct GatewayProbe {
    running: Option<Running>,
    log: Arc<Log>,
    orders: Arc<Orders>,
}

impl GatewayProbe {
    /// Starts a gateway that speaks `P` on 127.0.0.1.
    pub fn start<P: Framing>(config: Config) -> Self {
        Self::start_at::<P>(config, "127.0.0.1:0")
    }

    /// Starts a gateway that speaks `P` on `addr`.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn start_at<P: Framing>(config: Config, addr: &str) -> Self {
        let (log, orders) = (Arc::new(Log::default()), Arc::new(Orders::default()));
        let (its_log, its_orders) = (Arc::clone(&log), Arc::clone(&orders));
        let make = move |_shard| Script::<P>::new(Arc::clone(&its_log), Arc::clone(&its_orders));
        let running = Gateway::new(config).listen(addr).start(make).expect("the gateway starts");
        Self { running: Some(running), log, orders }
    }

    /// Where it listens.
    ///
    /// # Panics
    ///
    /// After `finish`.
    pub fn addr(&self) -> SocketAddr {
        self.running.as_ref().expect("it runs until finish").addrs()[0]
    }

    /// What its handler was told.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Has `payload` sent to every connection at the next tick; the configuration must have one.
    pub fn send_to_all(&self, payload: impl Into<Bytes>) {
        self.orders.push(payload.into());
    }

    /// Lets the shards that `hold` made stand still go on; from now on `hold` does nothing.
    pub fn release(&self) {
        self.orders.gate.open();
    }

    /// Waits for an event of `peer`.
    pub fn wait(&self, peer: SocketAddr, what: &str, is_it: impl Fn(&Event) -> bool) -> Entry {
        self.wait_within(PATIENCE, peer, what, is_it)
    }

    /// Waits for `count` data frames of `peer`, and returns all there are.
    pub fn frames(&self, peer: SocketAddr, count: usize) -> Vec<Vec<u8>> {
        self.log.wait("data frames", PATIENCE, |entries| {
            let frames: Vec<Vec<u8>> = of(entries, peer).filter_map(|entry| data(&entry.event)).collect();
            (frames.len() >= count).then_some(frames)
        })
    }

    /// Waits for the end of `peer`'s connection.
    pub fn closed(&self, peer: SocketAddr) -> Closed {
        self.closed_within(PATIENCE, peer)
    }

    /// The same, with a bound of the test's own.
    pub fn closed_within(&self, bound: Duration, peer: SocketAddr) -> Closed {
        self.log.wait("end of a connection", bound, |entries| of(entries, peer).find_map(closed_of))
    }

    /// Whether `peer`'s connection has ended.
    pub fn is_closed(&self, peer: SocketAddr) -> bool {
        self.log.of(peer).iter().any(|event| matches!(event, Event::Closed(_)))
    }

    /// Waits until `count` connections have ended.
    pub fn closed_count(&self, count: usize, bound: Duration) -> Vec<Closed> {
        self.log.wait("closed connections", bound, |entries| {
            let closed: Vec<Closed> = entries.iter().filter_map(closed_of).collect();
            (closed.len() >= count).then_some(closed)
        })
    }

    /// Begins to stop.
    ///
    /// # Panics
    ///
    /// After `finish`.
    pub fn stop(&self) {
        self.running.as_ref().expect("it runs until finish").stop();
    }

    /// Stops the gateway and checks what must hold after every test: nothing is open, no verdict was early, every
    /// connection that was opened was closed once, and nothing was told of it afterwards.
    ///
    /// # Panics
    ///
    /// If one of it does not hold.
    pub fn finish(mut self) -> Summary {
        let running = self.running.take().expect("finish is called once");
        self.release();
        running.stop();
        let summary = running.join().expect("no shard fails");
        assert_eq!(summary.ledger_open, 0, "something is still open");
        assert_eq!(summary.stats.early, 0, "a verdict came before its deadline");
        let lives = lives(&self.log.entries());
        for ((peer, conn), events) in &lives {
            assert_eq!(events.first(), Some(&Event::Opened), "{conn} of {peer} begins with {events:?}");
            let ends = events.iter().filter(|event| matches!(event, Event::Closed(_))).count();
            assert!(ends == 1, "{conn} was closed {ends} times: {events:?}");
            assert!(
                matches!(events.last(), Some(Event::Closed(_))),
                "{conn} goes on after its end: {events:?}"
            );
        }
        // Those that were let in first and refused for something later have lived.
        let refused = summary.stats.refused("conns_max") + summary.stats.refused("source_max");
        assert_eq!(summary.stats.closed_total(), lives.len() as u64 + refused, "{:?}", summary.stats);
        summary
    }

    fn wait_within(
        &self,
        bound: Duration,
        peer: SocketAddr,
        what: &str,
        is_it: impl Fn(&Event) -> bool,
    ) -> Entry {
        self.log.wait(what, bound, |entries| of(entries, peer).find(|entry| is_it(&entry.event)).cloned())
    }
}

impl Drop for GatewayProbe {
    fn drop(&mut self) {
        self.release(); // A shard that stands still would not stop.
        let unfinished = self.running.is_some() && !std::thread::panicking();
        assert!(!unfinished, "the test forgot GatewayProbe::finish");
    }
}

fn of(entries: &[Entry], peer: SocketAddr) -> impl Iterator<Item = &Entry> {
    entries.iter().filter(move |entry| entry.peer == peer)
}

fn data(event: &Event) -> Option<Vec<u8>> {
    if let Event::Received(frame) = event { Some(frame.clone()) } else { None }
}

fn closed_of(entry: &Entry) -> Option<Closed> {
    if let Event::Closed(closed) = entry.event { Some(closed) } else { None }
}

/// By peer and connection: shards number their connections each for themselves.
fn lives(entries: &[Entry]) -> BTreeMap<(SocketAddr, ConnId), Vec<Event>> {
    let mut lives: BTreeMap<(SocketAddr, ConnId), Vec<Event>> = BTreeMap::new();
    for entry in entries {
        lives.entry((entry.peer, entry.conn)).or_default().push(entry.event.clone());
    }
    lives
}
