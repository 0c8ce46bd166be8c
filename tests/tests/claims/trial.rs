//! One run: a gateway with four shards, a crowd, and the history that the two make.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;
use std::{env, process};

use heartring::{Config, FlapGuard, Gateway, Limits, Overrides, Running, Summary};
use heartring_tests::On;

use super::history::{Event, History};
use super::invariants;
use super::witness::{News, Record, Witness};

/// How long a crowd may take until all of its claims are decided, or all of it is gone. The machine may be busy.
const PATIENCE: Duration = Duration::from_mins(1);

/// A gateway at work, and what is written down of it.
pub(crate) struct Trial {
    running: Running,
    record: Arc<Record>,
    news: Receiver<News>,
    decided: u64,
    closed: u64,
}

/// What remains of a trial.
pub(crate) struct Outcome {
    pub(crate) history: History,
    pub(crate) summary: Summary,
    /// CPU time of the shards' threads.
    pub(crate) cpu: Duration,
}

/// Where a run begins, and how to begin there again.
pub(crate) fn seed() -> u64 {
    let seed = env::var("HEARTRING_SEED")
        .map_or(u64::from(process::id()), |seed| seed.parse().expect("HEARTRING_SEED is a number"));
    println!("replay with HEARTRING_SEED={seed}");
    seed
}

impl Trial {
    pub(crate) fn begin(on: On, flap_guard: Option<FlapGuard>) -> Self {
        let config = Config {
            shards: Some(4),
            claim_required: true,
            flap_guard,
            limits: Limits { conns_max: Some(8000), ..Limits::default() },
            overrides: Overrides {
                // What is undecided for so long is decided wrongly, not late.
                hello_within: Some(PATIENCE),
                // A busy machine keeps every thread away now and then; then silence is not judged for this long.
                beat_every: Some(Duration::from_secs(1)),
                grace: Some(Duration::from_millis(200)),
                drain_within: Some(Duration::from_millis(500)),
                ..Overrides::default()
            },
            ..on.config(PATIENCE * 2)
        };
        let (record, (tell, news)) = (Arc::new(Record::default()), mpsc::channel());
        let its_record = Arc::clone(&record);
        let make = move |_shard| Witness::new(Arc::clone(&its_record), tell.clone());
        let running = Gateway::new(config).listen("127.0.0.1:0").start(make).expect("the gateway starts");
        Self { running, record, news, decided: 0, closed: 0 }
    }

    pub(crate) fn gateway(&self) -> std::net::SocketAddr {
        self.running.addrs()[0]
    }

    /// Waits until the claims of so many connections are decided.
    pub(crate) fn wait_decided(&mut self, conns: u64) {
        while self.decided < conns {
            self.hear();
        }
    }

    /// Waits until so many connections have ended.
    pub(crate) fn wait_closed(&mut self, conns: u64) {
        while self.closed < conns {
            self.hear();
        }
    }

    /// Stops the gateway and checks everything that needs no knowledge of the crowd.
    pub(crate) fn end(self, seed: u64) -> Outcome {
        self.running.stop();
        let summary = self.running.join().expect("no shard fails");
        let (history, cpu) = (History::new(self.record.take()), self.record.cpu());
        assert_eq!(summary.ledger_open, 0, "something is still open, seed {seed}");
        for (name, holds) in invariants::ALL {
            assert_eq!(holds(&history), Ok(()), "{name}, seed {seed}");
        }
        assert_eq!(invariants::counts_agree(&history, &summary.stats), Ok(()), "seed {seed}");
        Outcome { history, summary, cpu }
    }

    fn hear(&mut self) {
        match self.news.recv_timeout(PATIENCE) {
            Ok(News::Decided) => self.decided += 1,
            Ok(News::Closed) => self.closed += 1,
            Err(error) => panic!("{error}: {} are decided, {} are closed", self.decided, self.closed),
        }
    }
}

impl Outcome {
    /// What happened, in one line.
    pub(crate) fn describe(&self) -> String {
        let stats = &self.summary.stats;
        let causes: Vec<String> = stats
            .closed_by_cause()
            .filter(|(_, count)| *count > 0)
            .map(|(cause, count)| format!("{cause} {count}"))
            .collect();
        let late = self.history.count(|event| matches!(event, Event::Late(_)));
        let (claims, grants, letters) = (stats.claims, stats.grants, stats.letters);
        format!(
            "{claims} claims, {grants} grants, {letters} letters, {late} late lines; {}",
            causes.join(", ")
        )
    }
}
