//! The gateway: shards on their threads, from the first listener to the last close.

use std::hash::RandomState;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use heartring_core::{Config, DeadlineStrategy, Handler, ListenOptions, Listener, ShardId, Stats};

use crate::choice::Choice;
use crate::control::{Control, StopsOthers};
use crate::worker::{self, Plan, Remains};
use crate::{Error, affinity, descriptors, ports, signals};

/// The backends that a gateway can run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// io_uring: one ring per shard.
    Uring,
    /// epoll: one instance per shard.
    Epoll,
}

impl Backend {
    /// The name in flags and reports: `uring` or `epoll`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Uring => "uring",
            Self::Epoll => "epoll",
        }
    }
}

/// A gateway that has not started.
#[derive(Clone, Debug)]
pub struct Gateway {
    config: Config,
    addrs: Vec<String>,
}

/// A gateway at work. Dropping it stops it in order.
pub struct Running {
    control: Arc<Control>,
    shards: Vec<JoinHandle<Result<Remains, Error>>>,
    addrs: Vec<SocketAddr>,
    choice: Choice,
    strategy: DeadlineStrategy,
    conns_max: u32,
}

/// What a gateway leaves when it has stopped.
#[derive(Clone, Debug)]
pub struct Summary {
    /// What all shards counted together.
    pub stats: Stats,
    /// Sockets, ops, slots, buffers and queues that were still open at the end: zero after an orderly stop.
    pub ledger_open: u64,
    /// The backend it ran on.
    pub backend: Backend,
    /// Who kept the deadlines.
    pub deadlines: DeadlineStrategy,
    /// How many shards it had.
    pub shards: usize,
}

impl Gateway {
    /// A gateway with this configuration.
    pub const fn new(config: Config) -> Self {
        Self { config, addrs: Vec::new() }
    }

    /// Adds an address to listen on, for example `0.0.0.0:7000`, `[::1]:7000` or, for a port that the kernel chooses,
    /// `127.0.0.1:0`. On `[::]` IPv4 clients arrive too.
    #[must_use]
    pub fn listen(mut self, addr: impl Into<String>) -> Self {
        self.addrs.push(addr.into());
        self
    }

    /// Starts, serves until SIGINT or SIGTERM, and stops in order. `handler` makes the handler of each shard, on the
    /// shard's own thread.
    ///
    /// # Errors
    ///
    /// If it cannot start (nothing is left half-started then), or if a shard fails while it runs.
    pub fn run<H, F>(self, handler: F) -> Result<Summary, Error>
    where
        H: Handler + 'static,
        F: Fn(ShardId) -> H + Send + Sync + 'static,
    {
        let signals = self.config.handle_signals.then(signals::Signals::catch).transpose()?;
        let running = self.start(handler)?;
        let _guard = signals.map(|signals| signals.stop(Arc::clone(&running.control)));
        running.join()
    }

    /// Starts and returns at once. See [`Gateway::run`].
    ///
    /// # Errors
    ///
    /// If it cannot start; nothing is left half-started then.
    pub fn start<H, F>(self, handler: F) -> Result<Running, Error>
    where
        H: Handler + 'static,
        F: Fn(ShardId) -> H + Send + Sync + 'static,
    {
        self.config.validate()?;
        let mut addrs = resolve(&self.addrs)?;
        let choice = Choice::make(&self.config)?;
        let strategy = choice.deadlines(&self.config);
        let cores = affinity::cores();
        let shards = self.config.shards.unwrap_or(cores.len().max(1) as u16);
        let conns_max = descriptors::conns_per_shard(&self.config, shards, addrs.len() as u32, choice.home)?;
        let options = self.config.listen_options()?;
        ports::check_free(&addrs)?;
        let control = Arc::new(Control::new(shards, self.config.limits.mailbox_letters_max));
        let handler = Arc::new(handler);
        let hasher = RandomState::new();
        let mut starting =
            Running { control, shards: Vec::new(), addrs: Vec::new(), choice, strategy, conns_max };
        for shard in 0..shards {
            let plan = Plan {
                shard: ShardId(shard),
                shards,
                hasher: hasher.clone(),
                config: self.config.clone(),
                strategy,
                conns_max,
                addrs: addrs.clone(),
                options: ListenOptions { reuse_port: shards > 1, ..options.clone() },
            };
            let core = self.config.pin.then(|| cores.get(usize::from(shard) % cores.len().max(1)).copied());
            // If one fails, dropping `starting` stops the others. The first one finds the ports that the kernel chooses.
            addrs = starting.add_shard(plan, core.flatten(), Arc::clone(&handler))?;
        }
        starting.addrs = addrs;
        Ok(starting)
    }
}

impl Running {
    /// Where it listens, with the ports that the kernel chose.
    pub fn addrs(&self) -> &[SocketAddr] {
        &self.addrs
    }

    /// The backend it runs on.
    pub const fn backend(&self) -> Backend {
        self.choice.backend
    }

    /// Why that backend, in one line.
    pub fn backend_reason(&self) -> &str {
        &self.choice.reason
    }

    /// Who keeps the deadlines.
    pub const fn deadlines(&self) -> DeadlineStrategy {
        self.strategy
    }

    /// How many shards it has.
    pub const fn shards(&self) -> usize {
        self.shards.len()
    }

    /// How many connections each shard takes before it refuses.
    pub const fn conns_per_shard_max(&self) -> u32 {
        self.conns_max
    }

    /// Begins to stop: nothing is accepted any more, every connection is closed in order, all within
    /// [`drain_within`](heartring_core::Liveness::drain_within) and two seconds. Returns at once.
    pub fn stop(&self) {
        self.control.drain();
    }

    /// Waits until every shard has ended.
    ///
    /// # Errors
    ///
    /// The first failure of a shard.
    pub fn join(mut self) -> Result<Summary, Error> {
        let mut summary = Summary {
            stats: Stats::default(),
            ledger_open: 0,
            backend: self.choice.backend,
            deadlines: self.strategy,
            shards: self.shards.len(),
        };
        let mut failure = None;
        for (shard, thread) in self.shards.drain(..).enumerate() {
            match thread.join().unwrap_or(Err(Error::Panicked(shard as u16))) {
                Ok(remains) => {
                    summary.stats.merge(&remains.stats);
                    summary.ledger_open += remains.ledger_open;
                }
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        failure.map_or(Ok(summary), Err)
    }

    /// Starts the thread of a shard and waits until it listens; returns where.
    fn add_shard<H, F>(
        &mut self,
        plan: Plan,
        core: Option<usize>,
        handler: Arc<F>,
    ) -> Result<Vec<SocketAddr>, Error>
    where
        H: Handler + 'static,
        F: Fn(ShardId) -> H + Send + Sync + 'static,
    {
        let (ready, is_ready) = mpsc::channel();
        let shard = plan.shard.0;
        let control = Arc::clone(&self.control);
        let backend = self.choice.backend;
        let body = move || {
            let _stops_others = StopsOthers(Arc::clone(&control));
            affinity::pin(core);
            match backend {
                Backend::Uring => uring_shard(&plan, handler.as_ref(), &control, &ready),
                Backend::Epoll => epoll_shard(&plan, handler.as_ref(), &control, &ready),
            }
        };
        let thread = std::thread::Builder::new()
            .name(format!("heartring-{shard}"))
            .spawn(body)
            .map_err(|source| Error::Shard { shard, what: "cannot start its thread", source })?;
        match is_ready.recv() {
            Ok(addrs) => {
                self.shards.push(thread);
                Ok(addrs)
            }
            // It ended before it listened.
            Err(_) => match thread.join() {
                Ok(Err(error)) => Err(error),
                Ok(Ok(_)) | Err(_) => Err(Error::Panicked(shard)),
            },
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.control.drain();
        for thread in self.shards.drain(..) {
            // Its failure, if any, has nobody left to be told to.
            let _ = thread.join();
        }
    }
}

type Ready = mpsc::Sender<Vec<SocketAddr>>;

#[cfg(feature = "uring")]
fn uring_shard<H: Handler>(
    plan: &Plan,
    handler: &impl Fn(ShardId) -> H,
    control: &Arc<Control>,
    ready: &Ready,
) -> Result<Remains, Error> {
    let backend = heartring_uring::UringBackend::new(&plan.backend_config())
        .map_err(|refusal| Error::UringRefused(refusal.to_string()))?;
    serve(backend, plan, handler, control, ready)
}

#[cfg(not(feature = "uring"))]
fn uring_shard<H: Handler>(
    _plan: &Plan,
    _handler: &impl Fn(ShardId) -> H,
    _control: &Arc<Control>,
    _ready: &Ready,
) -> Result<Remains, Error> {
    Err(Error::NotBuilt("uring"))
}

#[cfg(feature = "epoll")]
fn epoll_shard<H: Handler>(
    plan: &Plan,
    handler: &impl Fn(ShardId) -> H,
    control: &Arc<Control>,
    ready: &Ready,
) -> Result<Remains, Error> {
    let shard = plan.shard.0;
    let backend = heartring_epoll::EpollBackend::new(&plan.backend_config())
        .map_err(|source| Error::Shard { shard, what: "cannot make its epoll instance", source })?;
    serve(backend, plan, handler, control, ready)
}

#[cfg(not(feature = "epoll"))]
fn epoll_shard<H: Handler>(
    _plan: &Plan,
    _handler: &impl Fn(ShardId) -> H,
    _control: &Arc<Control>,
    _ready: &Ready,
) -> Result<Remains, Error> {
    Err(Error::NotBuilt("epoll"))
}

fn serve<B: heartring_core::Backend, H: Handler>(
    mut backend: B,
    plan: &Plan,
    handler: &impl Fn(ShardId) -> H,
    control: &Arc<Control>,
    ready: &Ready,
) -> Result<Remains, Error> {
    let listeners: Vec<Listener> = worker::listen(&mut backend, plan)?;
    control.enlist(plan.shard, &backend.waker());
    let handler = handler(plan.shard);
    // Whoever started the gateway may have given up; then the order to drain is here already.
    let _ = ready.send(listeners.iter().map(|listener| listener.addr).collect());
    worker::run(backend, &listeners, plan, handler, control)
}

fn resolve(texts: &[String]) -> Result<Vec<SocketAddr>, Error> {
    if texts.is_empty() {
        return Err(Error::NoListener);
    }
    let one = |text: &String| {
        let refuse = |why: String| Error::Address { text: text.clone(), why };
        let mut addrs = text.to_socket_addrs().map_err(|error| refuse(error.to_string()))?;
        addrs.next().ok_or_else(|| refuse("no such host".into()))
    };
    texts.iter().map(one).collect()
}
