//! SIGINT and SIGTERM end a gateway in order; a second one ends the process as it would have without us.

use std::sync::Arc;
use std::thread::JoinHandle;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals as Caught};

use crate::Error;
use crate::control::{Control, Order};

/// Signals that are caught from now on.
pub(crate) struct Signals(Caught);

/// Gives the signals back when it is dropped.
pub(crate) struct Guard {
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

impl Signals {
    pub(crate) fn catch() -> Result<Self, Error> {
        Caught::new([SIGINT, SIGTERM]).map(Self).map_err(Error::Signals)
    }

    /// Stops the gateway when one comes.
    pub(crate) fn stop(mut self, control: Arc<Control>) -> Guard {
        let handle = self.0.handle();
        let thread = std::thread::spawn(move || {
            for signal in self.0.forever() {
                if control.order() == Order::Drain {
                    // Stopping already: whoever asks twice does not want to wait.
                    let _ = signal_hook::low_level::emulate_default_handler(signal);
                }
                tracing::info!(signal, "stopping in order");
                control.drain();
            }
        });
        Guard { handle, thread: Some(thread) }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.handle.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
