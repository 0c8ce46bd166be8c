//! The loop of one shard on its thread.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use heartring_core::{
    BackendConfig, Completion, Config, DeadlineStrategy, Directory, Handler, Instant, Letter, ListenOptions,
    Listener, Place, Shard, ShardId, Stats,
};

use crate::control::{Control, Order};
use crate::mailbox::{Mailbox, Post};
use crate::snapshot::ShardSnapshot;
use crate::{Error, ports};

/// How much longer than `drain_within` a shard may take to end before it reports what is still open.
const DRAIN_SLACK: Duration = Duration::from_secs(2);

/// Letters that one turn takes in at most, so that they do not keep the sockets waiting. The rest is taken by the next turn,
/// which does not sleep.
const LETTERS_PER_TURN: usize = 1024;

/// How long a letter that a full mailbox has not taken waits until it is offered again.
const RETRY_AFTER: Duration = Duration::from_millis(1);

/// Makes the partition of a shard, out of so many.
pub(crate) type MakeDirectory = Arc<dyn Fn(ShardId, u16) -> Box<dyn Directory> + Send + Sync>;

/// What a shard needs to start.
pub(crate) struct Plan {
    pub(crate) shard: ShardId,
    pub(crate) shards: u16,
    pub(crate) directory: MakeDirectory,
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
        Place { shard, shards, conns_max, strategy, directory: (self.directory)(shard, shards) }
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
    let liveness = plan.config.liveness()?;
    let mut unsettled = 0;
    let (mailbox, progress) = (control.mailbox(plan.shard), control.watched().shard(plan.shard));
    loop {
        shard.end_turn(backend.now(), &mut |op| backend.submit(op));
        carry_letters(&mut shard, &mut backend, plan.shard, control);
        if unsettled > 0 && shard.outbox_len() == 0 {
            mailbox.count_settled(std::mem::take(&mut unsettled));
        }
        if stop.is_over(&shard, &backend, mailbox, control) {
            break;
        }
        let retry_at = (shard.outbox_len() > 0).then(|| backend.now() + RETRY_AFTER);
        let mut until = [shard.wake_at(), stop.give_up_at, retry_at].into_iter().flatten().min();
        let sleeps = mailbox.lie_down();
        if !sleeps {
            until = Some(backend.now());
        }
        progress.rest();
        let (mut woken, mut rung) = (false, !sleeps);
        let mut awake = false;
        backend
            .wait(until, &mut |now, completion| {
                if !std::mem::replace(&mut awake, true) {
                    progress.turn(now);
                    rung |= !mailbox.get_up();
                }
                woken |= matches!(completion, Completion::Woken);
                shard.handle(now, completion);
            })
            .map_err(plan.failed("the backend failed"))?;
        if !awake {
            progress.turn(backend.now());
            rung |= !mailbox.get_up();
        }
        if until.is_some_and(|until| backend.now() > until + liveness.stall_tolerance) {
            stop.was_away(backend.now());
        }
        // Who has found it awake has not rung: before it sleeps again it looks.
        if rung {
            unsettled += take_letters(&mut shard, &backend, plan.shard, mailbox);
        }
        if woken && stop.give_up_at.is_none() && control.order() == Order::Drain {
            stop.give_up_at = Some(backend.now() + liveness.drain_within + DRAIN_SLACK);
            progress.hide();
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
    /// The thread was away (a frozen process): what was to be closed meanwhile is given the time to be closed.
    fn was_away(&mut self, now: Instant) {
        self.give_up_at = self.give_up_at.map(|at| at.max(now + DRAIN_SLACK));
    }

    /// Whether this shard may end: everything is closed, here and on the other shards, and no letter is under way.
    fn is_over<B: heartring_core::Backend, H: Handler>(
        &mut self,
        shard: &Shard<H>,
        backend: &B,
        mailbox: &Mailbox,
        control: &Control,
    ) -> bool {
        let Some(give_up_at) = self.give_up_at else { return false };
        // What the outside has said is dealt with before the others may believe that this shard says nothing more.
        if !self.drained && shard.is_empty() && mailbox.close() {
            self.drained = true;
            control.note_drained();
        }
        let over = backend.now() >= give_up_at || (self.drained && control.is_quiet());
        if over {
            control.declare_over(); // The others may sleep, and have not seen it.
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
    let own = control.mailbox(from);
    shard.post(&mut |to, letter| {
        let mailbox = control.mailbox(to);
        if mailbox.has_ended() {
            return Ok(()); // Its shard is no more, and nothing that the letter could concern.
        }
        // Counted before it can be seen: what is settled was sent.
        own.count_sent();
        match mailbox.put(letter) {
            Ok(to_wake) => {
                if let Some(waker) = to_wake {
                    backend.ring(waker);
                }
                Ok(())
            }
            Err(letter) => {
                own.uncount_sent();
                Err(letter)
            }
        }
    });
}

/// Takes a turn's worth of letters in. Returns how many came from shards.
fn take_letters<B: heartring_core::Backend, H: Handler>(
    shard: &mut Shard<H>,
    backend: &B,
    id: ShardId,
    mailbox: &Mailbox,
) -> u64 {
    let mut inside = 0;
    for post in std::iter::from_fn(|| mailbox.take()).take(LETTERS_PER_TURN) {
        inside += u64::from(matches!(post, Post::Inside(_)));
        let letter = match post {
            Post::Inside(letter) | Post::Outside(letter) => letter,
            Post::Report(answer) => {
                // Who has asked may not wait any more.
                let _ = answer.try_send(report(shard, backend, id, mailbox));
                continue;
            }
        };
        // It is as much work as the shard has connections: a turn's worth by itself.
        let is_broadcast = matches!(letter, Letter::Broadcast(_));
        shard.deliver(backend.now(), letter);
        if is_broadcast {
            break;
        }
    }
    inside
}

fn report<B: heartring_core::Backend, H: Handler>(
    shard: &mut Shard<H>,
    backend: &B,
    id: ShardId,
    mailbox: &Mailbox,
) -> ShardSnapshot {
    ShardSnapshot {
        shard: id,
        stats: shard.stats().clone(),
        states: shard.state_counts(),
        open_total: shard.open_total(),
        ledger: backend.ledger(),
        letters_in: mailbox.len() as u64,
        letters_out: shard.outbox_len() as u64,
    }
}
