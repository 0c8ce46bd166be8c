//! Who holds which identity of this shard's directory: one at a time, and each with a larger epoch than the last.

use heartring_core::ConnAt;

use super::neighbour::NAMES;

/// By the place of the name among [`NAMES`].
#[derive(Debug, Default)]
pub(super) struct Holders {
    holders: [Option<ConnAt>; NAMES.len()],
    epochs: [u64; NAMES.len()],
}

impl Holders {
    pub(super) fn enter(&mut self, name: usize, who: ConnAt, epoch: u64) {
        assert_eq!(self.holders[name], None, "{who} is a second holder");
        assert!(epoch > self.epochs[name], "epochs grow: {epoch} after {}", self.epochs[name]);
        (self.holders[name], self.epochs[name]) = (Some(who), epoch);
    }

    /// It has ended; whether it held the identity or not.
    pub(super) fn leave(&mut self, name: usize, who: ConnAt) {
        if self.holders[name] == Some(who) {
            self.holders[name] = None;
        }
    }
}
