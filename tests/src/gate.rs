//! A gate at which shards' threads stand still until the test lets them pass.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A test that has failed does not hold its gateway for ever.
const PATIENCE: Duration = Duration::from_mins(1);

/// Closed until it is opened, then open for good.
#[derive(Debug, Default)]
pub struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    is_open: bool,
    waiting: usize,
}

impl Gate {
    /// Stands still until the gate is open.
    pub fn pass(&self) {
        self.lock().waiting += 1;
        self.changed.notify_all();
        self.wait_while(|state| !state.is_open);
        self.lock().waiting -= 1;
    }

    /// Opens it.
    pub fn open(&self) {
        self.lock().is_open = true;
        self.changed.notify_all();
    }

    /// Waits until somebody stands at it.
    pub fn wait_for_somebody(&self) {
        self.wait_while(|state| state.waiting == 0);
    }

    fn wait_while(&self, condition: impl Fn(&State) -> bool) {
        let waited = self.changed.wait_timeout_while(self.lock(), PATIENCE, |state| condition(state));
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
