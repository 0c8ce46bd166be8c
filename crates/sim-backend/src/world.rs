//! The handle to everything outside the program.

use std::cell::{RefCell, RefMut};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use heartring_core::{BackendConfig, Errno, Instant};

use crate::agenda::Event;
use crate::kernel::Kernel;
use crate::peer::SimPeer;

/// Everything outside the program: the clock, the network, the kernel, the peers. Clones name the same world.
///
/// The clock moves only in [`wait`](heartring_core::Backend::wait): to the next thing that happens.
#[derive(Clone)]
pub struct World(Rc<RefCell<Kernel>>);

impl World {
    pub(crate) fn new(config: &BackendConfig) -> Self {
        Self(Rc::new(RefCell::new(Kernel::new(config))))
    }

    pub(crate) fn kernel(&self) -> RefMut<'_, Kernel> {
        self.0.borrow_mut()
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
