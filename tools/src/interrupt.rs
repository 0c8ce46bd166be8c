//! Ctrl-C: noticed, so that what was begun can be ended in order.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::failure::Failure;

/// 128 + SIGINT, as shells count.
pub(crate) const EXIT_INTERRUPTED: u8 = 130;

/// Set by Ctrl-C and SIGTERM. Stopping in order takes a bounded time, so that a second signal need not do more.
pub(crate) fn watch_signals() -> Result<Arc<AtomicBool>, Failure> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        flag::register(signal, Arc::clone(&interrupted)).map_err(|error| {
            Failure::new(format!("cannot handle signals: {error}"), "see the system's limits")
        })?;
    }
    Ok(interrupted)
}
