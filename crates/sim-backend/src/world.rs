//! The handle to everything outside the program.

use std::cell::{RefCell, RefMut};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use heartring_core::{BackendConfig, Errno, Instant};

use crate::agenda::Event;
use crate::fault::FaultCounts;
use crate::kernel::Kernel;
use crate::odds::FaultOdds;
use crate::peer::SimPeer;

/// Everything outside the program: the clock, the network, the kernel, the peers. Clones name the same world.
///
/// The clock moves only in [`wait`](heartring_core::Backend::wait), to the next thing that happens, and in
/// [`advance_to`](Self::advance_to).
#[derive(Clone)]
pub struct World(Rc<RefCell<Kernel>>);

impl World {
    pub(crate) fn new(config: &BackendConfig) -> Self {
        Self(Rc::new(RefCell::new(Kernel::new(config))))
    }

    pub(crate) fn kernel(&self) -> RefMut<'_, Kernel> {
        self.0.borrow_mut()
    }

    /// Lets what the agenda held happen.
    pub(crate) fn happen(&self, event: Event) {
        match event {
            Event::Op { socket, serial, step } => self.kernel().step(socket, serial, step),
            Event::Accept { inbox } => self.kernel().accept_at_last(inbox),
            Event::Act(act) => act(self),
        }
    }

    /// Lets time pass until `instant`, with everything that happens by then.
    pub(crate) fn pass_until(&self, instant: Instant) {
        loop {
            let event = self.kernel().agenda.next_by(Some(instant));
            let Some(event) = event else { break };
            self.happen(event);
        }
        self.kernel().agenda.advance_to(instant);
    }

    /// The world's clock. It starts at zero.
    pub fn now(&self) -> Instant {
        self.kernel().agenda.now()
    }

    /// A client connects to `listener` from an address of its own.
    pub fn connect(&self, listener: SocketAddr) -> SimPeer {
        let from = self.kernel().fresh_addr(listener);
        self.connect_from(listener, from)
    }

    /// A client connects to `listener` from the address `from`. Where nobody listens, it sees
    /// [`Saw::Reset`](crate::Saw::Reset).
    pub fn connect_from(&self, listener: SocketAddr, from: SocketAddr) -> SimPeer {
        let socket = self.kernel().connect(listener, from);
        SimPeer::new(self.clone(), socket)
    }

    /// Does `act` at `instant`, or at once if it has passed. Acts of one instant happen in the order of these calls.
    pub fn at(&self, instant: Instant, act: impl FnOnce(&World) + 'static) {
        self.kernel().agenda.schedule(instant, Event::Act(Box::new(act)));
    }

    /// Does `act` after `delay`.
    pub fn after(&self, delay: Duration, act: impl FnOnce(&World) + 'static) {
        self.at(self.now() + delay, act);
    }

    /// The earliest instant at which a `wait` would have something to tell, or at which something changes by itself: now, if
    /// something lies there, a wake-up included, or ops were submitted that no `wait` has handed over; never before the
    /// thread runs again. `None`: nothing will ever happen by itself.
    ///
    /// A `wait` until then may still tell nothing, as a `wait` may.
    pub fn next_at(&self) -> Option<Instant> {
        self.kernel().next_at()
    }

    /// Lets time pass until `instant`, without a `wait`. What is due at `instant` itself is still to come.
    ///
    /// # Panics
    ///
    /// If something would have been due before it: [`next_at`](Self::next_at) is earlier.
    pub fn advance_to(&self, instant: Instant) {
        let next = self.next_at();
        assert!(next.is_none_or(|next| next >= instant), "{next:?} was due before {instant}");
        // The thread may be away, and then the world goes on without it.
        loop {
            let mut kernel = self.kernel();
            let before = kernel.agenda.first().is_some_and(|(at, _)| at < instant);
            let event = if before { kernel.agenda.next_by(None) } else { None };
            drop(kernel);
            let Some(event) = event else { break };
            self.happen(event);
        }
        self.kernel().agenda.advance_to(instant);
    }

    /// From now on faults happen by chance, as `odds` say, and everything follows from `seed`. With
    /// [`FaultOdds::NONE`] they end; what has been delayed still comes.
    pub fn inject(&self, seed: u64, odds: FaultOdds) {
        self.kernel().faults.inject(seed, odds);
    }

    /// How often each fault has happened by chance so far.
    pub fn fault_counts(&self) -> FaultCounts {
        self.kernel().faults.counts().clone()
    }

    /// All intervals in which the program's thread could not run or woke late, by chance or by [`stall`](Self::stall), in
    /// order. Those that touch are one.
    pub fn absences(&self) -> Vec<(Instant, Instant)> {
        self.kernel().agenda.absences().all().to_vec()
    }

    /// Keeps the program's thread from running for `duration`: the current or next `wait` returns that much later, and
    /// everything that happened meanwhile, deadlines included, has happened in its order.
    pub fn stall(&self, duration: Duration) {
        self.kernel().agenda.stall(duration);
    }

    /// The next `count` accepts fail with `errno`. If the errno says that this machine lacks something (EMFILE), the
    /// accept fails at once and no client is lost; else (ECONNABORTED) it takes a client with it.
    pub fn fail_accepts(&self, errno: Errno, count: usize) {
        self.kernel().faults.accept_errnos.extend(std::iter::repeat_n(errno, count));
    }

    /// From now on no send takes more than `bytes_max`; at least one.
    pub fn limit_sends(&self, bytes_max: usize) {
        assert!(bytes_max > 0, "a send takes at least one byte");
        self.kernel().faults.send_bytes_max = Some(bytes_max);
    }

    /// The next `count` calls of `wait` return at once with nothing, as the contract allows.
    pub fn return_early(&self, count: u32) {
        self.kernel().faults.early_returns += count;
    }
}
