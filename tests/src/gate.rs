//! A gate at which a shard's thread stands still until the test lets it pass.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// A test that has failed does not hold its gateway for ever.
const PATIENCE: Duration = Duration::from_mins(1);

/// Closed until it is opened, then open for good.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    is_open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    /// Stands still until the gate is open.
    pub(crate) fn pass(&self) {
        let is_open = self.is_open.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = self.opened.wait_timeout_while(is_open, PATIENCE, |is_open| !*is_open);
        drop(passed.unwrap_or_else(PoisonError::into_inner));
    }

    /// Opens it.
    pub(crate) fn open(&self) {
        *self.is_open.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.opened.notify_all();
    }
}
