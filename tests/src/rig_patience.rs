//! Real time, for one purpose: a test that waits for what never comes ends with a message instead of hanging.

use std::time::{Duration, Instant};

/// How long a test waits for something that should come at once. Generous: the machine may be busy with other tests.
const PATIENCE: Duration = Duration::from_secs(10);

/// Counts down from ten seconds of real time, in every backend's tests alike.
#[derive(Debug)]
pub struct Patience(Instant);

impl Patience {
    /// Begins to count.
    #[expect(clippy::disallowed_methods, reason = "bounds a failing test; no verdict depends on it")]
    #[expect(clippy::new_without_default, reason = "an instant has no default")]
    pub fn new() -> Self {
        Self(Instant::now())
    }

    /// Whether the time is over.
    pub fn is_over(&self) -> bool {
        self.0.elapsed() > PATIENCE
    }

    /// Real time since it began.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}
