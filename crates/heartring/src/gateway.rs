//! The gateway: shards on their threads, from the first listener to the last close.

use std::fmt;
use std::hash::RandomState;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use heartring_core::{
    BackendChoice, Config, DeadlineStrategy, Directory, Handler, ListenOptions, Listener, Partition, ShardId,
    Stats,
};

use crate::choice::{Backend, Choice};
use crate::control::{Control, StopsOthers};
use crate::handle::Handle;
use crate::health::Health;
use crate::worker::{self, MakeDirectory, Plan, Remains};
use crate::{Error, affinity, descriptors, ports, signals, watchdog};

/// A gateway that has not started.
pub struct Gateway {
    config: Config,
    addrs: Vec<String>,
    /// `None`: the one in the process.
    directory: Option<MakeDirectory>,
    handle: Handle,
    /// Who wants to be told when it listens.
    listening: Option<TellListening>,
}

type TellListening = Box<dyn FnOnce(&Running) + Send>;

/// A gateway at work. Dropping it stops it in order.
pub struct Running {
    control: Arc<Control>,
    handle: Handle,
    shards: Vec<JoinHandle<Result<Remains, Error>>>,
    addrs: Vec<SocketAddr>,
    choice: Choice,
    strategy: DeadlineStrategy,
    conns_max: u32,
    watchdog: Option<watchdog::Watchdog>,
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
    pub fn new(config: Config) -> Self {
        Self { config, addrs: Vec::new(), directory: None, handle: Handle::default(), listening: None }
    }

    /// Adds an address to listen on, for example `0.0.0.0:7000`, `[::1]:7000` or, for a port that the kernel chooses,
    /// `127.0.0.1:0`. On `[::]` IPv4 clients arrive too.
    #[must_use]
    pub fn listen(mut self, addr: impl Into<String>) -> Self {
        self.addrs.push(addr.into());
        self
    }

    /// Puts another directory in the place of the one in the process, which is a [`Partition`] for each shard: one that
    /// several machines share, for example. `make` makes the partition of a shard out of so many, on the shard's own thread. A
    /// directory that answers later does so through [`Handle::order`].
    #[must_use]
    pub fn directory(
        mut self,
        make: impl Fn(ShardId, u16) -> Box<dyn Directory> + Send + Sync + 'static,
    ) -> Self {
        self.directory = Some(Arc::new(make));
        self
    }

    /// The way in for code outside the shards. It can be had before the start, so that handlers and a directory may hold one;
    /// until then it says that the gateway does not run.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Has `tell` called once every shard listens: to print the ports that the kernel chose, for example, or to tell a
    /// supervisor.
    #[must_use]
    pub fn when_listening(mut self, tell: impl FnOnce(&Running) + Send + 'static) -> Self {
        self.listening = Some(Box::new(tell));
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
    pub fn start<H, F>(mut self, handler: F) -> Result<Running, Error>
    where
        H: Handler + 'static,
        F: Fn(ShardId) -> H + Send + Sync + 'static,
    {
        self.config.validate()?;
        let handler = Arc::new(handler);
        let running = match self.start_on(Choice::make(&self.config)?, &handler) {
            // The probe's ring was small. What memory may be locked need not suffice for those of the shards.
            Err(Error::UringRefused(why)) if self.config.backend == BackendChoice::Auto => {
                self.start_on(Choice::instead_of_uring(&why)?, &handler)?
            }
            started => started?,
        };
        if let Some(tell) = self.listening.take() {
            tell(&running);
        }
        Ok(running)
    }

    fn start_on<H, F>(&self, choice: Choice, handler: &Arc<F>) -> Result<Running, Error>
    where
        H: Handler + 'static,
        F: Fn(ShardId) -> H + Send + Sync + 'static,
    {
        let mut addrs = resolve(&self.addrs)?;
        let strategy = choice.deadlines(&self.config);
        let cores = affinity::cores();
        let shards = descriptors::shards(&self.config, cores.len())?;
        let conns_max = descriptors::conns_per_shard(&self.config, shards, addrs.len() as u32, choice.home)?;
        let options = self.config.listen_options()?;
        ports::check_free(&addrs)?;
        let stuck_after = self.config.watchdog.unwrap_or_default().stuck_after;
        // The key by which identities are divided over the shards: the same in all of them, another in each process.
        let hasher = RandomState::new();
        let letters_max = self.config.limits.mailbox_letters_max;
        let control = Arc::new(Control::new(shards, hasher.clone(), letters_max, stuck_after));
        let directory = self.directory.clone().unwrap_or_else(|| in_process(hasher, &self.config));
        self.handle.connect(&control);
        let mut starting = Running {
            control,
            handle: self.handle.clone(),
            shards: Vec::new(),
            addrs: Vec::new(),
            choice,
            strategy,
            conns_max,
            watchdog: None,
        };
        for shard in 0..shards {
            let plan = Plan {
                shard: ShardId(shard),
                shards,
                directory: Arc::clone(&directory),
                config: self.config.clone(),
                strategy,
                conns_max: descriptors::share(&self.config, shards, shard).unwrap_or(conns_max),
                addrs: addrs.clone(),
                options: ListenOptions { reuse_port: shards > 1, ..options.clone() },
            };
            let core = self.config.pin.then(|| cores.get(usize::from(shard) % cores.len().max(1)).copied());
            // If one fails, dropping `starting` stops the others. The first one finds the ports that the kernel chooses.
            addrs = starting.add_shard(plan, core.flatten(), Arc::clone(handler))?;
        }
        starting.addrs = addrs;
        let watchdog =
            self.config.watchdog.map(|config| watchdog::Watchdog::start(&starting.control, config));
        starting.watchdog = watchdog.transpose().map_err(Error::Watchdog)?;
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

    /// How many connections each shard takes before it refuses; where `conns_max` cannot be divided evenly, the largest share.
    pub const fn conns_per_shard_max(&self) -> u32 {
        self.conns_max
    }

    /// How the shards do. None of them is asked, so it tells also of one that is stuck. It takes a few system calls.
    pub fn health(&self) -> Health {
        Health::look(self.control.watched())
    }

    /// The way in for code outside the shards.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
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
        // Made here, so that the others are stopped also if there is no thread to be had.
        let stops_others = StopsOthers { control: Arc::clone(&control), shard: plan.shard, in_order: false };
        let body = move || {
            let mut stops_others = stops_others; // All of it, not the one word that is written here.
            affinity::pin(core);
            let remains = match backend {
                Backend::Uring => uring_shard(&plan, handler.as_ref(), &control, &ready),
                Backend::Epoll => epoll_shard(&plan, handler.as_ref(), &control, &ready),
            };
            stops_others.in_order = remains.is_ok();
            remains
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
        self.control.end();
        drop(self.watchdog.take()); // After the shards: one that is stuck while it ends is reported, too.
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { config, addrs, .. } = self;
        f.debug_struct("Gateway").field("config", config).field("addrs", addrs).finish_non_exhaustive()
    }
}

/// The directory of one process.
fn in_process(hasher: RandomState, config: &Config) -> MakeDirectory {
    let flap_guard = config.flap_guard;
    Arc::new(move |shard, shards| Box::new(Partition::new(shard, shards, hasher.clone(), flap_guard)))
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
    let failed =
        |source| Error::Shard { shard: plan.shard.0, what: "cannot have its listeners watched", source };
    let progress = control.watched().shard(plan.shard);
    let _shown = progress.show(&backend, &listeners, plan.options.backlog).map_err(failed)?;
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
