//! The program's way into the world: ops in, completions out.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use heartring_core::{
    Backend, BackendConfig, Completion, Instant, Ledger, ListenOptions, Listener, Op, Wake,
};

use crate::agenda::Event;
use crate::slots::Slots;
use crate::waker::SimWaker;
use crate::world::World;

/// A backend in virtual time.
///
/// It panics where the caller breaks the contract, and where a `wait` without a bound could never return. Of the
/// configuration it takes the number of slots and the size of a receive buffer; completions never wait for company.
pub struct SimBackend {
    world: World,
    slots: Slots,
    submitted: VecDeque<Op>,
    ledger: Ledger,
    now: Instant,
    waker: Arc<SimWaker>,
    buffer: Vec<u8>,
}

impl SimBackend {
    /// A backend in a world of its own.
    pub fn new(config: &BackendConfig) -> Self {
        Self {
            world: World::new(config),
            slots: Slots::new(config),
            submitted: VecDeque::new(),
            ledger: Ledger::default(),
            now: Instant::ZERO,
            waker: Arc::default(),
            buffer: Vec::new(),
        }
    }

    /// The world around it.
    pub fn world(&self) -> World {
        self.world.clone()
    }

    /// Lets time pass until there is something to tell, or `until`.
    fn advance(&mut self, until: Option<Instant>) {
        loop {
            let mut kernel = self.world.kernel();
            let earliest = kernel.agenda.thread_runs_at();
            let idle = !kernel.has_news() && !self.waker.is_rung();
            let limit = if idle { until.map(|until| until.max(earliest)) } else { Some(earliest) };
            let event = kernel.agenda.next_by(limit);
            match (event, limit) {
                (Some(Event::WatchDeadline { socket, serial }), _) => kernel.watch_deadline(socket, serial),
                (Some(Event::LeaseDeadline { socket, serial }), _) => kernel.lease_deadline(socket, serial),
                (Some(Event::Act(act)), _) => {
                    drop(kernel);
                    act(&self.world);
                }
                (None, Some(limit)) => return kernel.agenda.advance_to(limit),
                (None, None) => {
                    drop(kernel);
                    self.wait_for_another_thread();
                }
            }
        }
    }

    /// Nothing in the world will ever happen again: only a thread outside it can end this `wait`.
    fn wait_for_another_thread(&self) {
        let alone = Arc::strong_count(&self.waker) == 1;
        assert!(
            !alone && self.waker.listen(),
            "this wait can never end: no event is scheduled and nobody wakes the backend. In flight: {}",
            self.ledger
        );
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
        self.submitted.push_back(op);
    }

    fn wait(
        &mut self,
        until: Option<Instant>,
        sink: &mut impl FnMut(Instant, Completion<'_>),
    ) -> io::Result<()> {
        if self.world.kernel().faults.take_early_return() {
            return Ok(());
        }
        for op in self.submitted.drain(..) {
            self.world.kernel().submit(op);
        }
        self.advance(until);
        self.now = self.world.now();
        if self.waker.hear() {
            self.tell(Completion::Woken, sink);
        }
        // A sink may look at the world, so the kernel is let go of before each call.
        loop {
            let news = self.world.kernel().take_news();
            let Some(completion) = news else { break };
            self.tell(completion, sink);
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        let turns = self.world.kernel().ready_len();
        for _ in 0..turns {
            let received = self.world.kernel().receive(&mut buffer);
            if let Some(completion) = received {
                self.tell(completion, sink);
            }
        }
        self.buffer = buffer;
        Ok(())
    }

    fn waker(&self) -> Arc<dyn Wake> {
        self.waker.clone()
    }

    fn ledger(&self) -> Ledger {
        self.ledger
    }
}

impl Drop for SimBackend {
    /// The peers outlive the program and see it go.
    fn drop(&mut self) {
        self.world.kernel().end_program();
    }
}
