//! The gateway of the demo: an ordinary user of the library, whose handler keeps a record of every end.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use heartring::{
    Closed, Config, Conn, ConnId, Conns, Gateway, Handler, LengthPrefixed, Running, ShardId, StateCounts,
    Stats,
};

use super::account::{Ending, LateBytes};
use super::progress::Progress;
use crate::failure::Failure;
use crate::system;
use crate::wire::Message;

/// How often the shards tell the view where they stand.
const TICK_EVERY: Duration = Duration::from_millis(100);

/// What a shard reports while it runs.
enum News {
    Ended(Ending),
    States(ShardId, StateCounts),
}

/// A running gateway and what it has told so far.
pub(super) struct Observer {
    running: Running,
    news: Receiver<News>,
    endings: Vec<Ending>,
    states: BTreeMap<ShardId, StateCounts>,
}

/// Everything that the gateway had to say.
pub(super) struct Observed {
    pub(super) facts: GatewayFacts,
    pub(super) endings: Vec<Ending>,
    pub(super) stats: Stats,
    pub(super) ledger_open: u64,
}

/// Which gateway it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GatewayFacts {
    pub(super) backend: &'static str,
    pub(super) backend_reason: String,
    pub(super) deadlines: &'static str,
    pub(super) shards: usize,
    /// Above this a shard turns devices away.
    pub(super) conns_per_shard_max: u32,
}

impl GatewayFacts {
    pub(super) fn of(running: &Running) -> Self {
        Self {
            backend: running.backend().name(),
            backend_reason: running.backend_reason().to_owned(),
            deadlines: running.deadlines().name(),
            shards: running.shards(),
            conns_per_shard_max: running.conns_per_shard_max(),
        }
    }
}

/// Where devices on this machine find a gateway: a wildcard address is reached through loopback.
pub(super) fn reachable(running: &Running) -> SocketAddr {
    let bound = running.addrs()[0];
    let ip = match bound.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    SocketAddr::new(ip, bound.port())
}

impl Observer {
    /// Starts a gateway on `listen`.
    pub(super) fn start(config: Config, listen: &str) -> Result<Self, Failure> {
        let (sender, news) = channel();
        let config = Config { tick_every: Some(TICK_EVERY), ..config };
        let running = Gateway::new(config)
            .listen(listen)
            .start(move |shard| Registrar { shard, conns: HashMap::new(), news: sender.clone() })
            .map_err(|error| Failure::from_library(&error))?;
        Ok(Self { running, news, endings: Vec::new(), states: BTreeMap::new() })
    }

    pub(super) fn address(&self) -> SocketAddr {
        reachable(&self.running)
    }

    pub(super) fn facts(&self) -> GatewayFacts {
        GatewayFacts::of(&self.running)
    }

    /// Takes in what the shards report until `timeout` has passed.
    pub(super) fn watch(&mut self, timeout: Duration, progress: &mut Progress) {
        let until = system::now() + timeout;
        while let Ok(news) = self.news.recv_timeout(until.saturating_since(system::now())) {
            match news {
                News::Ended(ending) => {
                    progress.ended(&ending);
                    self.endings.push(ending);
                }
                News::States(shard, counts) => {
                    self.states.insert(shard, counts);
                }
            }
        }
        progress.states(self.states.values());
    }

    /// Stops it in order and returns when it has ended.
    pub(super) fn stop(mut self) -> Result<Observed, Failure> {
        let facts = self.facts();
        self.running.stop();
        // The shards are gone and their senders with them after this, so that the news come to an end.
        let summary = self.running.join().map_err(|error| Failure::from_library(&error))?;
        while let Ok(news) = self.news.recv() {
            if let News::Ended(ending) = news {
                self.endings.push(ending);
            }
        }
        Ok(Observed { facts, endings: self.endings, stats: summary.stats, ledger_open: summary.ledger_open })
    }
}

/// The handler of one shard. It answers nothing: beats only refresh deadlines.
struct Registrar {
    shard: ShardId,
    conns: HashMap<ConnId, Known>,
    news: Sender<News>,
}

/// What is known of a connection.
#[derive(Default)]
struct Known {
    device: Option<u32>,
    late: LateBytes,
}

impl Known {
    /// The first late frame is the beat that was missed; after it comes the data, counted from zero.
    fn expects(&self, frame: &[u8]) -> bool {
        match (self.late.frames.checked_sub(1), self.device) {
            (None, _) => frame.is_empty(),
            (Some(counter), Some(device)) => Message::parse(frame) == Some(Message::Data { device, counter }),
            (Some(_), None) => false,
        }
    }
}

impl Registrar {
    /// Nobody listens any more after an error elsewhere; then there is nothing to tell.
    fn tell(&self, news: News) {
        let _ = self.news.send(news);
    }
}

impl Handler for Registrar {
    type Protocol = LengthPrefixed;

    fn opened(&mut self, conn: &mut Conn<'_>) {
        self.conns.insert(conn.id(), Known::default());
    }

    fn received(&mut self, conn: &mut Conn<'_>, frame: &[u8]) {
        if let (Some(known), Some(Message::Hello { device })) =
            (self.conns.get_mut(&conn.id()), Message::parse(frame))
        {
            known.device = Some(device);
        }
    }

    fn late(&mut self, conn: &mut Conn<'_>, frame: &[u8]) {
        if let Some(known) = self.conns.get_mut(&conn.id()) {
            let expected = known.expects(frame);
            known.late.add(frame.len(), expected);
        }
    }

    fn closed(&mut self, conn: &mut Conn<'_>, closed: &Closed) {
        let known = self.conns.remove(&conn.id()).unwrap_or_default();
        self.tell(News::Ended(Ending {
            device: known.device,
            cause: closed.cause,
            decided_at: closed.decided_at,
            lateness: closed.lateness,
            late: known.late,
        }));
    }

    fn tick(&mut self, conns: &mut Conns<'_>) {
        self.tell(News::States(self.shard, conns.state_counts()));
    }
}
