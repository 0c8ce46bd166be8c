//! What is kept of one connection.
//!
//! One exists per slot for as long as the gateway runs, most of them idle: every field is counted in bytes.

use crate::claims::ClaimRef;
use crate::deadlines::{Tick, Ticks};
use crate::errno::SmallErrno;
use crate::op::OpSet;
use crate::partials::PartialId;
use crate::peer::Peer;
use crate::send_queue::SendQueueId;
use crate::state::State;
use crate::time::Instant;

/// One connection. Its deadlines, and after how long it is overdue, are in the head of its slot.
pub(crate) struct Record {
    pub(crate) state: State,
    pub(crate) ops: OpSet,
    /// How often bytes were found unread although a deadline had passed, since the last proof of life.
    pub(crate) looks: u8,
    /// Whether the queue rose above the high mark and has not fallen below the low one.
    pub(crate) congested: bool,
    /// An error that a send met: the recv will end with it, or with a bare end of stream, after what is left to read.
    pub(crate) send_errno: Option<SmallErrno>,
    pub(crate) partial: Option<PartialId>,
    /// What it has claimed to be.
    pub(crate) claim: Option<ClaimRef>,
    pub(crate) queue: Option<SendQueueId>,
    /// Bytes accepted from the handler and not yet taken by the socket.
    pub(crate) unsent: u32,
    /// When the send in flight counts as stalled.
    pub(crate) send_due: Tick,
    /// Silence after which the connection is dead.
    pub(crate) dead_within: Ticks,
    /// The last proof of life, as known when the beat became overdue or a claim was made. Before, the beat deadline tells it.
    pub(crate) proved: Tick,
    /// The deadline that an overdue connection is measured by.
    pub(crate) deadline: Tick,
    /// When the timeout that the kernel holds for it runs out: the lease of its recv, or its watch. It cannot be moved.
    pub(crate) kernel_until: Tick,
    pub(crate) opened_at: Instant,
    pub(crate) peer: Peer,
}

impl Record {
    pub(crate) const fn takes_payloads(&self) -> bool {
        self.state.sends() && self.send_errno.is_none()
    }

    /// Whether its claim is undecided: what the peer sends is held back.
    pub(crate) fn is_undecided(&self) -> bool {
        self.claim.is_some_and(ClaimRef::is_undecided)
    }

    /// Whether it holds an identity.
    pub(crate) fn is_identified(&self) -> bool {
        self.claim.is_some_and(ClaimRef::is_granted)
    }

    /// Whether the stall deadline is that of frames, sends and claims. Other states have set their own, and after a send
    /// error it waits for the recv to end and for nothing else.
    pub(crate) fn stalls_by_its_own_work(&self) -> bool {
        self.state.standing().is_some() && self.send_errno.is_none()
    }

    /// The same with neither a partial frame nor an undecided claim: the common case, in which a send has nothing to look
    /// up.
    pub(crate) fn stalls_by_sends_only(&self) -> bool {
        self.partial.is_none() && !self.is_undecided() && self.stalls_by_its_own_work()
    }

    /// Every instant that it keeps in ticks. One that was never set counts as well: it means nothing.
    pub(crate) fn ticks_mut(&mut self) -> impl Iterator<Item = &mut Tick> {
        [&mut self.send_due, &mut self.proved, &mut self.deadline, &mut self.kernel_until].into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_fits_its_budget() {
        // 128 bytes in user space, everything included: the head of its slot (16), this, and what a backend keeps per slot
        // (12). The rest is for the allocator.
        let record = size_of::<Option<Record>>();
        assert!(record <= 88, "{record}");
    }
}
