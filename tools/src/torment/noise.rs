//! The noise of the machine: how late a thread wakes that wants nothing but to wake.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::system;

const EVERY: Duration = Duration::from_millis(5);

/// A thread that sleeps and notes by how much it overslept.
pub(super) struct Metronome {
    worst_nanos: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Metronome {
    pub(super) fn start() -> Self {
        let (worst_nanos, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (worst, stopped) = (Arc::clone(&worst_nanos), Arc::clone(&stop));
        let body = move || {
            while !stopped.load(Ordering::Relaxed) {
                let due = system::now() + EVERY;
                thread::sleep(EVERY);
                worst.fetch_max(system::now().saturating_since(due).as_nanos() as u64, Ordering::Relaxed);
            }
        };
        Self { worst_nanos, stop, thread: Some(thread::spawn(body)) }
    }

    /// The worst since it was asked last.
    pub(super) fn take_worst(&self) -> Duration {
        Duration::from_nanos(self.worst_nanos.swap(0, Ordering::Relaxed))
    }
}

impl Drop for Metronome {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
