//! The loop of one shard on its thread.

use std::hash::RandomState;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use heartring_core::{
    BackendConfig, Completion, Config, DeadlineStrategy, Handler, Instant, ListenOptions, Listener,
    Partition, Place, Shard, ShardId, Stats,
};

use crate::control::{Control, Order};
use crate::mailbox::{Mailbox, Post};
use crate::{Error, ports};

/// How much longer than `drain_within` a shard may take to end before it reports what is still open.
const DRAIN_SLACK: Duration = Duration::from_secs(2);

/// Letters that one turn takes in at most, so that they do not keep the sockets waiting. The rest is taken by the next turn,
/// which does not sleep.
const LETTERS_PER_TURN: usize = 1024;

/// How long a letter that a full mailbox has not taken waits until it is offered again.
const RETRY_AFTER: Duration = Duration::from_millis(1);

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
    let mut stop = Stop { give_up_at: None, drained: false };
    let mut unsettled = 0;
    let mailbox = control.mailbox(plan.shard);
    loop {
        shard.end_turn(backend.now(), &mut |op| backend.submit(op));
        carry_letters(&mut shard, &mut backend, plan.shard, control);
        if shard.outbox_len() == 0 {
            mailbox.count_settled(std::mem::take(&mut unsettled));
        }
        if stop.is_over(&shard, &backend, control) {
            break;
        }
        let retry_at = (shard.outbox_len() > 0).then(|| backend.now() + RETRY_AFTER);
        let mut until = [shard.wake_at(), stop.give_up_at, retry_at].into_iter().flatten().min();
        if !mailbox.lie_down() {
            until = Some(backend.now());
        }
        let mut woken = false;
        backend
            .wait(until, &mut |now, completion| {
                woken |= matches!(completion, Completion::Woken);
                shard.handle(now, completion);
            })
            .map_err(plan.failed("the backend failed"))?;
        mailbox.get_up();
        unsettled += take_letters(&mut shard, mailbox, backend.now());
        if woken && stop.give_up_at.is_none() && control.order() == Order::Drain {
            stop.give_up_at = Some(backend.now() + plan.config.liveness()?.drain_within + DRAIN_SLACK);
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

/// How a shard comes to its end.
struct Stop {
    /// Set when the order to drain was seen: when to end although not everything is closed.
    give_up_at: Option<Instant>,
    /// The others were told that everything of this shard is closed.
    drained: bool,
}

impl Stop {
    /// Whether this shard may end: everything is closed, here and on the other shards, and no letter is under way.
    fn is_over<B: heartring_core::Backend, H: Handler>(
        &mut self,
        shard: &Shard<H>,
        backend: &B,
        control: &Control,
    ) -> bool {
        let Some(give_up_at) = self.give_up_at else { return false };
        if !self.drained && shard.is_empty() {
            self.drained = true;
            control.note_drained();
        }
        if backend.now() >= give_up_at {
            return true;
        }
        let over = self.drained && control.is_quiet();
        if over {
            control.wake_all(); // The others sleep and have not seen that it is quiet.
        }
        over
    }
}

/// Puts the letters of a shard into the mailboxes of the others and wakes those who sleep.
fn carry_letters<B: heartring_core::Backend, H: Handler>(
    shard: &mut Shard<H>,
    backend: &mut B,
    from: ShardId,
    control: &Control,
) {
    shard.post(&mut |to, letter| {
        let mailbox = control.mailbox(to);
        // Counted before it can be seen: what is settled was sent.
        control.mailbox(from).count_sent();
        match mailbox.put(Post::Inside(letter)) {
            Ok(must_ring) => {
                if let Some(waker) = mailbox.waker().filter(|_| must_ring) {
                    backend.ring(waker);
                }
                Ok(())
            }
            Err(post) => {
                control.mailbox(from).uncount_sent();
                Err(post.into_letter())
            }
        }
    });
}

/// Takes a turn's worth of letters in. Returns how many came from shards.
fn take_letters<H: Handler>(shard: &mut Shard<H>, mailbox: &Mailbox, now: Instant) -> u64 {
    let mut inside = 0;
    for post in std::iter::from_fn(|| mailbox.take()).take(LETTERS_PER_TURN) {
        inside += u64::from(matches!(post, Post::Inside(_)));
        shard.deliver(now, post.into_letter());
    }
    inside
}
