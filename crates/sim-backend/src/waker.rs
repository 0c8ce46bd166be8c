//! The wake-up call: the one thing in the simulator that other threads may touch.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use heartring_core::Wake;

/// How long a `wait` to which nothing can happen any more blocks for a wake-up, in real time, before it calls the test
/// hung. Far longer than a thread needs to be scheduled on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// A bell that stays rung until it is heard.
#[derive(Default)]
pub(crate) struct SimWaker {
    rung: Mutex<bool>,
    bell: Condvar,
}

impl SimWaker {
    pub(crate) fn is_rung(&self) -> bool {
        *self.lock()
    }

    /// Whether the bell was rung since it was last heard.
    pub(crate) fn hear(&self) -> bool {
        std::mem::take(&mut *self.lock())
    }

    /// Blocks until another thread rings; false if none did.
    pub(crate) fn listen(&self) -> bool {
        let (rung, _) = self
            .bell
            .wait_timeout_while(self.lock(), PATIENCE, |rung| !*rung)
            .unwrap_or_else(PoisonError::into_inner);
        *rung
    }

    /// A thread that panicked while ringing leaves a flag that is whole.
    fn lock(&self) -> MutexGuard<'_, bool> {
        self.rung.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for SimWaker {
    fn wake(&self) {
        *self.lock() = true;
        self.bell.notify_one();
    }
}
