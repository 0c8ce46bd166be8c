//! The loop of one shard on its thread.

use std::hash::RandomState;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use heartring_core::{
    BackendConfig, Completion, Config, DeadlineStrategy, Handler, Instant, ListenOptions, Listener,
    Partition, Place, Shard, ShardId, Stats,
};

use crate::control::{Control, Order};
use crate::{Error, ports};

/// How much longer than `drain_within` a shard may take to end before it reports what is still open.
const DRAIN_SLACK: std::time::Duration = std::time::Duration::from_secs(2);

/// What a shard needs to start.
pub(crate) struct Plan {
    pub(crate) shard: ShardId,
    pub(crate) shards: u16,
    /// The key by which identities are divided over the shards: the same in all of them, another in each process.
    pub(crate) hasher: RandomState,
    pub(crate) config: Config,
    pub(crate) strategy: DeadlineStrategy,
    pub(crate) conns_max: u32,
    pub(crate) addrs: Vec<SocketAddr>,
    pub(crate) options: ListenOptions,
}

/// What a shard leaves.
pub(crate) struct Remains {
    pub(crate) stats: Stats,
    /// Whatever is still open; zero after an orderly end.
    pub(crate) ledger_open: u64,
}

impl Plan {
    pub(crate) fn backend_config(&self) -> BackendConfig {
        BackendConfig {
            slots: self.config.limits.slots_for(self.conns_max, self.addrs.len() as u32),
            batch_within: self.config.batch_within,
            ..BackendConfig::default()
        }
    }

    fn place(&self) -> Place {
        let Self { shard, shards, conns_max, strategy, .. } = *self;
        let flap_guard = self.config.flap_guard;
        let directory = Box::new(Partition::new(shard, shards, self.hasher.clone(), flap_guard));
        Place { shard, shards, conns_max, strategy, directory }
    }

    fn failed(&self, what: &'static str) -> impl Fn(io::Error) -> Error {
        let shard = self.shard.0;
        move |source| Error::Shard { shard, what, source }
    }
}

/// Opens the listeners of a shard on its backend.
pub(crate) fn listen<B: heartring_core::Backend>(
    backend: &mut B,
    plan: &Plan,
) -> Result<Vec<Listener>, Error> {
    let open = |addr| ports::patiently(addr, || backend.listen(addr, &plan.options));
    plan.addrs.iter().copied().map(open).collect()
}

/// Runs a shard until it is told to stop and has closed everything in order.
pub(crate) fn run<B: heartring_core::Backend, H: Handler>(
    mut backend: B,
    listeners: &[Listener],
    plan: &Plan,
    handler: H,
    control: &Arc<Control>,
) -> Result<Remains, Error> {
    let mut shard = Shard::new(plan.place(), &plan.config, listeners, handler)?;
    let give_up_after = plan.config.liveness()?.drain_within + DRAIN_SLACK;
    let mut give_up_at: Option<Instant> = None;
    loop {
        shard.end_turn(backend.now(), &mut |op| backend.submit(op));
        let now = backend.now();
        let over = give_up_at.is_some_and(|at| now >= at);
        if give_up_at.is_some() && (over || shard.is_empty()) {
            break;
        }
        let until = [shard.wake_at(), give_up_at].into_iter().flatten().min();
        let mut woken = false;
        backend
            .wait(until, &mut |now, completion| {
                woken |= matches!(completion, Completion::Woken);
                shard.handle(now, completion);
            })
            .map_err(plan.failed("the backend failed"))?;
        if woken && give_up_at.is_none() && control.order() == Order::Drain {
            give_up_at = Some(backend.now() + give_up_after);
            shard.drain(backend.now());
        }
    }
    let ledger = backend.ledger();
    let ledger_open = shard.open_total() + ledger.open_total();
    if ledger_open > 0 {
        tracing::error!(shard = plan.shard.0, %ledger, "not everything was closed in time");
    }
    Ok(Remains { stats: shard.stats().clone(), ledger_open })
}
