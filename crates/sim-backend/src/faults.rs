//! What goes wrong on purpose. Each fault is set by a test and used up in the order of events.

use std::collections::VecDeque;

use heartring_core::Errno;

/// The faults that are still to come.
#[derive(Default)]
pub(crate) struct Faults {
    /// The next accepts fail with these.
    pub(crate) accept_errnos: VecDeque<Errno>,
    /// No send takes more than this.
    pub(crate) send_bytes_max: Option<usize>,
    /// So many calls of `wait` return at once, with nothing done.
    pub(crate) early_returns: u32,
}

impl Faults {
    /// Whether this `wait` is to return with nothing.
    pub(crate) fn take_early_return(&mut self) -> bool {
        let early = self.early_returns > 0;
        self.early_returns -= u32::from(early);
        early
    }
}
