//! The program's way into the world: ops in, completions out.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use heartring_core::{
    Backend, BackendConfig, Completion, Instant, Ledger, ListenOptions, Listener, Op, Wake,
};

use crate::fault::Fault;
use crate::slots::Slots;
use crate::world::World;

/// A backend in virtual time.
///
/// It panics where the caller breaks the contract, and where a `wait` without a bound could never return. Of the
/// configuration it takes the number of slots and the size of a receive buffer; completions never wait for company.
pub struct SimBackend {
    world: World,
    slots: Slots,
    ledger: Ledger,
    now: Instant,
    buffer: Vec<u8>,
}

impl SimBackend {
    /// A backend in a world of its own.
    pub fn new(config: &BackendConfig) -> Self {
        Self {
            world: World::new(config),
            slots: Slots::new(config),
            ledger: Ledger::default(),
            now: Instant::ZERO,
            buffer: Vec::new(),
        }
    }

    /// The world around it.
    pub fn world(&self) -> World {
        self.world.clone()
    }

    /// Hands over what was submitted. The thread may be away by chance, before or after it.
    fn hand_over(&self) {
        let mut kernel = self.world.kernel();
        let away = kernel.faults.absence();
        if let Some(duration) = away {
            kernel.agenda.stall(duration);
        }
        if away.is_some() && kernel.faults.coin() {
            let back = kernel.agenda.thread_runs_at();
            drop(kernel);
            self.world.pass_until(back);
            kernel = self.world.kernel();
        }
        kernel.take_ops();
    }

    /// The sleep of a `wait` that returns before its time: when it ends, or `None` if there is none. What was submitted is
    /// handed over or not.
    fn cut_short(&self, until: Option<Instant>) -> Option<Instant> {
        let mut kernel = self.world.kernel();
        if kernel.faults.coin() {
            return None;
        }
        kernel.take_ops();
        let awake_at = kernel.agenda.now() + kernel.faults.delay();
        let sleeps = !kernel.has_news();
        sleeps.then(|| until.map_or(awake_at, |until| until.min(awake_at)))
    }

    /// Lets time pass until there is something to tell, or `until`.
    fn sleep(&self, until: Option<Instant>) {
        let mut until = until;
        let mut slept = false;
        loop {
            let mut kernel = self.world.kernel();
            let earliest = kernel.agenda.thread_runs_at();
            let idle = !kernel.has_news();
            let limit = if idle { until.map(|until| until.max(earliest)) } else { Some(earliest) };
            let event = kernel.agenda.next_by(limit);
            drop(kernel);
            match (event, limit) {
                (Some(event), _) => self.world.happen(event),
                (None, Some(limit)) => {
                    let mut kernel = self.world.kernel();
                    kernel.agenda.advance_to(limit);
                    // Nothing came, and the timer that ends the sleep may be late, once.
                    if !idle || slept || !kernel.faults.strikes(Fault::WaitLate) {
                        return;
                    }
                    slept = true;
                    let late = kernel.faults.delay();
                    kernel.agenda.stall(late);
                    until = Some(limit + late);
                }
                (None, None) => self.wait_for_another_thread(),
            }
        }
    }

    /// Nothing in the world will ever happen again: only a thread outside it can end this `wait`.
    fn wait_for_another_thread(&self) {
        let waker = Arc::clone(&self.world.kernel().waker);
        let alone = Arc::strong_count(&waker) == 2;
        assert!(
            !alone && waker.listen(),
            "this wait can never end: no event is scheduled and nobody wakes the backend. In flight: {}",
            self.ledger
        );
    }

    /// Tells what there is, as the batch says.
    fn tell_all(&mut self, sink: &mut impl FnMut(Instant, Completion<'_>)) {
        if self.world.kernel().waker.hear() {
            self.tell(Completion::Woken, sink);
        }
        let batch = self.world.kernel().begin_batch();
        let mut left = batch.told_max;
        if batch.received_first {
            self.tell_received(&mut left, sink);
            self.tell_news(&mut left, sink);
        } else {
            self.tell_news(&mut left, sink);
            self.tell_received(&mut left, sink);
        }
    }

    /// A sink may look at the world, so the kernel is let go of before each call.
    fn tell_news(&mut self, left: &mut usize, sink: &mut impl FnMut(Instant, Completion<'_>)) {
        while *left > 0 {
            let news = self.world.kernel().take_news();
            let Some(completion) = news else { return };
            self.tell(completion, sink);
            *left -= 1;
        }
    }

    fn tell_received(&mut self, left: &mut usize, sink: &mut impl FnMut(Instant, Completion<'_>)) {
        let mut buffer = std::mem::take(&mut self.buffer);
        let turns = self.world.kernel().ready_len().min(*left);
        *left -= turns;
        for _ in 0..turns {
            let received = self.world.kernel().receive(&mut buffer);
            if let Some(completion) = received {
                self.tell(completion, sink);
            }
        }
        self.buffer = buffer;
    }

    fn tell(&mut self, completion: Completion<'_>, sink: &mut impl FnMut(Instant, Completion<'_>)) {
        if let Some(kind) = self.slots.told(&completion) {
            self.ledger.close(kind);
        }
        self.ledger.sockets += u32::from(matches!(completion, Completion::Accepted { .. }));
        self.ledger.sockets -= u32::from(matches!(completion, Completion::Closed { .. }));
        self.ledger.listeners -= u32::from(matches!(completion, Completion::Unlistened { .. }));
        sink(self.now, completion);
    }
}

impl Backend for SimBackend {
    fn name(&self) -> &'static str {
        "sim"
    }

    fn listen(&mut self, addr: SocketAddr, options: &ListenOptions) -> io::Result<Listener> {
        let listener = self.world.kernel().listen(addr, options)?;
        self.ledger.listeners += 1;
        Ok(listener)
    }

    fn now(&self) -> Instant {
        self.now
    }

    fn submit(&mut self, op: Op) {
        if let Some(kind) = self.slots.submitted(&op) {
            self.ledger.open(kind);
        }
        self.world.kernel().submitted.push_back(op);
    }

    fn wait(
        &mut self,
        until: Option<Instant>,
        sink: &mut impl FnMut(Instant, Completion<'_>),
    ) -> io::Result<()> {
        if self.world.kernel().faults.take_early_return() {
            return Ok(());
        }
        let mut until = until;
        let early = self.world.kernel().may_return_early();
        if early {
            until = self.cut_short(until);
            if until.is_none() {
                return Ok(());
            }
        } else {
            self.hand_over();
        }
        self.sleep(until);
        self.now = self.world.now();
        self.world.kernel().agenda.thread_runs();
        self.tell_all(sink);
        Ok(())
    }

    fn waker(&self) -> Arc<dyn Wake> {
        self.world.kernel().waker.clone()
    }

    fn ledger(&self) -> Ledger {
        self.ledger
    }
}

impl Drop for SimBackend {
    /// The peers outlive the program and see it go.
    fn drop(&mut self) {
        self.world.kernel().end_program();
        // Nobody lets time pass any more, and acts hold the world that holds them. Dropped when the kernel is let go of,
        // since what they hold may look at the world once more.
        let never = self.world.kernel().agenda.give_up();
        drop(never);
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_act_that_is_never_due_does_not_keep_the_world() {
        let backend = SimBackend::new(&BackendConfig::default());
        let (world, held) = (backend.world(), Rc::new(()));
        let (here, there) = (Rc::clone(&held), world.clone());
        world.after(Duration::from_secs(1), move |_| drop((here, there)));
        drop(backend);
        assert_eq!(Rc::strong_count(&held), 1);
    }
}
