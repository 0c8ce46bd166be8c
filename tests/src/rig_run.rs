//! One run of a backend under test: submits, waits, and fails with what was seen when the contract is broken.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use heartring_core::{
    Backend, BackendConfig, CloseHow, Completion, ConnId, Instant, ListenOptions, Listener, Op, OpKind,
};

use crate::requirement::skip;
use crate::rig::{Peer, Rig};
use crate::rig_model::{Conn, Model};
use crate::rig_patience::Patience;

/// How many completions a failure prints.
const LOG_LINES: usize = 40;

/// Runs `test` with the address to listen on, or says aloud why it cannot.
///
/// # Panics
///
/// If the backend cannot run here although `HEARTRING_REQUIRE_ALL=1`.
pub fn on<R: Rig>(ip: IpAddr, test: fn(IpAddr)) {
    match R::open(&config()) {
        Ok(rig) => {
            drop(rig);
            test(ip);
        }
        Err(reason) => skip(R::NAME, &reason),
    }
}

fn config() -> BackendConfig {
    BackendConfig { slots: 64, ..BackendConfig::default() }
}

/// A backend with one listener, and the model that judges it.
pub struct Run<R: Rig> {
    /// The backend and its world.
    pub rig: R,
    /// The listener.
    pub listener: Listener,
    /// What was submitted and what came of it.
    pub model: Model,
    log: VecDeque<String>,
    conns: u32,
    slots: u32,
}

impl<R: Rig> Run<R> {
    /// With 64 slots and small socket buffers.
    pub fn open(ip: IpAddr) -> Self {
        Self::open_with(ip, config())
    }

    /// With a configuration of the test's own.
    ///
    /// # Panics
    ///
    /// If the backend cannot start or listen.
    pub fn open_with(ip: IpAddr, config: BackendConfig) -> Self {
        // Small, so that a test can fill them.
        let options = ListenOptions { send_buffer_bytes: Some(64 * 1024), ..ListenOptions::default() };
        let slots = config.slots;
        let mut rig = retry(|| R::open(&config));
        let listener =
            rig.backend().listen(SocketAddr::new(ip, 0), &options).expect("loopback can be listened on");
        Self { rig, listener, model: Model::new(), log: VecDeque::new(), conns: 0, slots }
    }

    /// What is known of a connection.
    pub fn conn(&self, conn: ConnId) -> &Conn {
        self.model.conn(conn)
    }

    /// The backend's clock.
    pub fn clock(&self) -> Instant {
        self.rig.clock()
    }

    /// Submits an op.
    pub fn submit(&mut self, op: Op) {
        self.model.submitted(&op);
        self.rig.backend().submit(op);
    }

    /// Waits once, for at most `duration`, and judges what comes.
    pub fn turn(&mut self, duration: Duration) {
        let until = self.clock() + duration;
        self.wait(Some(until));
    }

    /// Waits once and judges what comes. Returns how many completions came.
    pub fn wait(&mut self, until: Option<Instant>) -> usize {
        let before = self.rig.clock();
        let (model, log) = (&mut self.model, &mut self.log);
        let (mut told, mut last, mut problem) = (0, before, None);
        let mut sink = |now, completion: Completion<'_>| {
            (told, last) = (told + 1, now);
            log.push_back(line(now, &completion));
            if log.len() > LOG_LINES {
                log.pop_front();
            }
            let verdict = model.told(now, completion);
            if let Err(broken) = verdict {
                problem.get_or_insert(broken);
            }
            if now < before {
                problem.get_or_insert(format!(
                    "the stamp {now} is from before the wait, which began at {before}"
                ));
            }
        };
        let result = self.rig.backend().wait(until, &mut sink);
        let (after, now, ledger) = (self.rig.clock(), self.rig.backend().now(), self.rig.backend().ledger());
        if let Some(problem) = problem {
            self.fail(&problem);
        }
        if let Err(error) = result {
            self.fail(&format!("wait failed: {error}"));
        }
        if last > after || (told > 0 && now < last) || now > after {
            self.fail(&format!("stamps from {before} to {last}, then now {now} and the clock {after}"));
        }
        if let Err(problem) = self.model.check_ledger(ledger) {
            self.fail(&problem);
        }
        told
    }

    /// Waits until `done`, for ten real seconds at most.
    pub fn until(&mut self, what: &str, done: impl FnMut(&mut Self) -> bool) {
        self.until_in_turns_of(Duration::from_millis(10), what, done);
    }

    /// The same with a longer sleep between two looks, for tests in which being woken is the point.
    pub fn until_in_turns_of(
        &mut self,
        length: Duration,
        what: &str,
        mut done: impl FnMut(&mut Self) -> bool,
    ) {
        let patience = Patience::new();
        while !done(self) {
            if patience.is_over() {
                self.fail(&format!("waited 10 s for {what}"));
            }
            self.turn(length);
        }
    }

    /// Lets `duration` pass and judges what comes meanwhile.
    pub fn pass(&mut self, duration: Duration) {
        let (end, patience) = (self.clock() + duration, Patience::new());
        while self.clock() < end {
            if patience.is_over() {
                self.fail(&format!("waiting for {duration:?} takes 10 s"));
            }
            self.wait(Some(end));
        }
    }

    /// A slot that no connection of this run has used, while there are any; then again from the first.
    pub fn fresh_conn(&mut self) -> ConnId {
        self.conns += 1;
        ConnId::new((self.conns - 1) % self.slots, 1 + (self.conns - 1) / self.slots)
    }

    /// Submits an accept.
    pub fn submit_accept(&mut self) -> ConnId {
        let conn = self.fresh_conn();
        let listener = self.listener.id;
        self.submit(Op::Accept { listener, conn });
        conn
    }

    /// Connects a client and accepts it.
    ///
    /// # Panics
    ///
    /// If another client is accepted than the one that connected.
    pub fn accept(&mut self) -> (ConnId, R::Peer) {
        let conn = self.submit_accept();
        let peer = self.rig.connect(self.listener.addr);
        self.until("Accepted", |run| run.conn(conn).peer.is_some());
        assert_eq!(self.conn(conn).peer, Some(peer.addr()));
        (conn, peer)
    }

    /// Connects a client, accepts it and arms its recv.
    pub fn accept_and_recv(&mut self) -> (ConnId, R::Peer) {
        let (conn, peer) = self.accept();
        self.submit(Op::Recv { conn, deadline: None });
        (conn, peer)
    }

    /// Submits a send.
    pub fn submit_send(&mut self, conn: ConnId, payload: impl Into<Bytes>) {
        self.submit(Op::Send { conn, payload: payload.into(), more: false });
    }

    /// Sends until a send has parked: the peer must not read meanwhile.
    ///
    /// # Panics
    ///
    /// If a send fails.
    pub fn fill(&mut self, conn: ConnId) {
        let payload = Bytes::from(pattern(256 * 1024));
        loop {
            self.submit_send(conn, payload.clone());
            // A send that the socket takes completes at once; this long without is parked.
            let mut rounds = 0;
            while self.conn(conn).in_flight(OpKind::Send) && rounds < 15 {
                self.pass(Duration::from_millis(10));
                rounds += 1;
            }
            if self.conn(conn).in_flight(OpKind::Send) {
                return;
            }
            let results = &self.conn(conn).send_results;
            assert!(results.iter().all(Result::is_ok), "filling the socket: {results:?}");
        }
    }

    /// Closes a connection and waits for it.
    pub fn close(&mut self, conn: ConnId, how: CloseHow) {
        self.submit(Op::Close { conn, how });
        self.until("Closed", |run| run.conn(conn).closed);
    }

    /// Ends the listener, then expects an empty ledger and a while of silence.
    ///
    /// # Panics
    ///
    /// If something is left.
    pub fn end(mut self) {
        let listener = self.listener.id;
        self.submit(Op::Unlisten { listener });
        self.until("Unlistened", |run| run.model.unlistened.contains(&listener));
        self.pass(Duration::from_millis(20));
        let ledger = self.rig.backend().ledger();
        assert_eq!(ledger.open_total(), 0, "{ledger}");
    }

    /// Ends the test with what was seen.
    ///
    /// # Panics
    ///
    /// Always.
    pub fn fail(&mut self, problem: &str) -> ! {
        let ledger = self.rig.backend().ledger();
        let seen: Vec<&str> = self.log.iter().map(String::as_str).collect();
        panic!("{}: {problem}\nledger: {ledger}\nlast completions:\n  {}", R::NAME, seen.join("\n  "));
    }
}

/// Bytes whose place in the stream can be told from their value, so that a lost, doubled or swapped piece shows.
pub fn pattern(count: usize) -> Vec<u8> {
    // 251 is prime: the period divides no buffer size.
    (0..count).map(|at| (at % 251) as u8).collect()
}

/// After many rings of other tests, their memory comes back only after a while.
fn retry<T, E: Debug>(mut open: impl FnMut() -> Result<T, E>) -> T {
    let patience = Patience::new();
    loop {
        match open() {
            Ok(opened) => return opened,
            Err(error) if patience.is_over() => panic!("{error:?}"),
            Err(_) => thread::sleep(Duration::from_millis(50)),
        }
    }
}

fn line(now: Instant, completion: &Completion<'_>) -> String {
    match completion {
        Completion::Received { conn, bytes } => format!("{now} Received {{ {conn}, {} bytes }}", bytes.len()),
        Completion::Sent { conn, payload, result } => {
            format!("{now} Sent {{ {conn}, {result:?} of {} bytes }}", payload.len())
        }
        Completion::Accepted { .. }
        | Completion::AcceptFailed { .. }
        | Completion::RecvEnded { .. }
        | Completion::WatchEnded { .. }
        | Completion::Examined { .. }
        | Completion::ShutDown { .. }
        | Completion::Closed { .. }
        | Completion::Unlistened { .. }
        | Completion::Woken => format!("{now} {completion:?}"),
    }
}
