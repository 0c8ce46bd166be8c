//! Every kind of fault that the simulated kernel and backend have.
//!
//! Each is something that the contract of [`Backend`](heartring_core::Backend) allows; the text of a kind names the
//! clause. What the contract forbids is no fault, it would be a bug of the backend, and is not here.

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// `wait` returns before its time and with nothing, at once or somewhere in the sleep; sometimes before it has
    /// taken the ops on. Clause 21: "it may return early with nothing".
    WaitEarly,
    /// `wait` returns after `until`: the timer of the sleep is late. Clause 21 says that it returns when `until` has
    /// come, and not how soon. An absence of the thread.
    WaitLate,
    /// The thread is kept away for a moment, before or after it has handed over its ops. As `WaitLate`.
    Absence,
    /// The thread is kept away for long: a frozen process, a machine that sleeps. As `WaitLate`.
    Stall,
    /// Only some of what there is to tell is told, the rest by the next `wait`: an overflow of the completion queue.
    /// Clause 10 bounds what one `wait` delivers, and no clause asks for everything.
    ToldInParts,
    /// What one `wait` tells comes in another order: that of the connections changes, that of one connection's
    /// completions does not, and `Unlistened` stays behind the accepts (clause 6).
    ToldInAnotherOrder,

    /// An accept and its client find each other late.
    AcceptLate,
    /// An accept fails and its client is lost: ECONNABORTED and the like. Clause 5: "core decides". A harm to the client.
    AcceptLosesClient,
    /// An accept fails because the machine lacks something, and nobody is lost. Clause 5: "A shortage (EMFILE) may fail
    /// one of the accepts in flight or all of them".
    AcceptShortage,
    /// An accept brings a client although its listener was told to close. Clause 6: "`Accepted`, if a client was already
    /// taken".
    AcceptedAfterUnlisten,

    /// What has arrived is told in a small piece, perhaps a single byte. Clause 7: "concatenated, the slices are the
    /// peer's stream".
    ReadPiece,
    /// There is no receive buffer: what has arrived is not read for a while.
    BuffersOut,
    /// A recv fails for want of memory. Clause 8: "`Eof` or `Failed` comes after all the bytes that arrived before it"
    /// speaks of the stream's end; this is none, and what is unread stays. A harm to the connection.
    RecvFails,
    /// The timeout of a lease fires late. Clause 9: "at or after it".
    LeaseLate,
    /// The timeout of a lease fires late, in the very moment in which bytes arrive, and leaves them unread. Clause 9: "No
    /// byte is lost between it and the next `Recv`".
    LeaseMeetsBytes,

    /// The timeout of a watch fires late. Clause 12: "at or after the deadline".
    WatchLate,
    /// A watch does not see bytes. Clause 11: "It may stay in flight although bytes came, if the `Recv` beside it took
    /// them first; then it ends at its deadline".
    WatchMissesBytes,
    /// A watch is told late of what has arrived, after the recv has taken it, perhaps after its deadline. Clause 11: "It
    /// may also end so when bytes of an earlier turn wake it late".
    WatchReadyLate,
    /// The kernel cannot watch: ENOMEM. [`WatchEnd::Failed`](heartring_core::WatchEnd::Failed).
    WatchFails,

    /// A send takes less than it could. Clause 13: "at least one".
    SendShort,
    /// A send waits for a while although the buffer has room.
    SendParks,
    /// A send fails for want of memory. A harm to the connection.
    SendFails,

    /// `Examined` comes late, with evidence from the beginning or from the end of that time. Clause 15: "from a moment
    /// between the op and its completion".
    ExamineLate,
    /// An examination could not find out everything: parts of the evidence are `None`.
    ExamineBlank,
    /// A shutdown is carried out late, by a thread of the kernel's.
    ShutdownLate,

    /// An op is cancelled some time after `Close`, and goes on until then. Clause 17: "possibly after more `Received`".
    CloseJoinsSlowly,
    /// A recv that `Close` has cancelled still delivers. Clause 17, as above.
    ReceivedAfterClose,
    /// A send that `Close` has cancelled still sends. Clause 17: "possibly a success".
    SentAfterClose,
    /// A watch that `Close` has cancelled still ends by itself, `Ready` or `Expired`. Clause 17, as above.
    WatchedAfterClose,
}

impl Fault {
    /// How many kinds there are.
    pub const COUNT: usize = 29;

    /// All kinds, in their order.
    pub const ALL: [Self; Self::COUNT] = [
        Self::WaitEarly,
        Self::WaitLate,
        Self::Absence,
        Self::Stall,
        Self::ToldInParts,
        Self::ToldInAnotherOrder,
        Self::AcceptLate,
        Self::AcceptLosesClient,
        Self::AcceptShortage,
        Self::AcceptedAfterUnlisten,
        Self::ReadPiece,
        Self::BuffersOut,
        Self::RecvFails,
        Self::LeaseLate,
        Self::LeaseMeetsBytes,
        Self::WatchLate,
        Self::WatchMissesBytes,
        Self::WatchReadyLate,
        Self::WatchFails,
        Self::SendShort,
        Self::SendParks,
        Self::SendFails,
        Self::ExamineLate,
        Self::ExamineBlank,
        Self::ShutdownLate,
        Self::CloseJoinsSlowly,
        Self::ReceivedAfterClose,
        Self::SentAfterClose,
        Self::WatchedAfterClose,
    ];

    /// Its name, for reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::WaitEarly => "wait_early",
            Self::WaitLate => "wait_late",
            Self::Absence => "absence",
            Self::Stall => "stall",
            Self::ToldInParts => "told_in_parts",
            Self::ToldInAnotherOrder => "told_in_another_order",
            Self::AcceptLate => "accept_late",
            Self::AcceptLosesClient => "accept_loses_client",
            Self::AcceptShortage => "accept_shortage",
            Self::AcceptedAfterUnlisten => "accepted_after_unlisten",
            Self::ReadPiece => "read_piece",
            Self::BuffersOut => "buffers_out",
            Self::RecvFails => "recv_fails",
            Self::LeaseLate => "lease_late",
            Self::LeaseMeetsBytes => "lease_meets_bytes",
            Self::WatchLate => "watch_late",
            Self::WatchMissesBytes => "watch_misses_bytes",
            Self::WatchReadyLate => "watch_ready_late",
            Self::WatchFails => "watch_fails",
            Self::SendShort => "send_short",
            Self::SendParks => "send_parks",
            Self::SendFails => "send_fails",
            Self::ExamineLate => "examine_late",
            Self::ExamineBlank => "examine_blank",
            Self::ShutdownLate => "shutdown_late",
            Self::CloseJoinsSlowly => "close_joins_slowly",
            Self::ReceivedAfterClose => "received_after_close",
            Self::SentAfterClose => "sent_after_close",
            Self::WatchedAfterClose => "watched_after_close",
        }
    }
}

/// How often each kind of fault has happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FaultCounts([u64; Fault::COUNT]);

impl FaultCounts {
    /// How often `fault` has happened.
    pub const fn get(&self, fault: Fault) -> u64 {
        self.0[fault as usize]
    }

    /// Every kind with how often it has happened, the zeros too.
    pub fn iter(&self) -> impl Iterator<Item = (Fault, u64)> {
        Fault::ALL.into_iter().map(|fault| (fault, self.get(fault)))
    }

    /// Adds the counts of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
    }

    pub(crate) const fn count(&mut self, fault: Fault) {
        self.0[fault as usize] += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_stands_at_its_place_with_a_name_of_its_own() {
        for (at, fault) in Fault::ALL.into_iter().enumerate() {
            assert_eq!(fault as usize, at, "{fault:?}");
            let namesakes = Fault::ALL.into_iter().filter(|other| other.name() == fault.name());
            assert_eq!(namesakes.count(), 1, "{fault:?}");
        }
    }

    #[test]
    fn merged_counts_are_sums() {
        let (mut one, mut other) = (FaultCounts::default(), FaultCounts::default());
        one.count(Fault::Stall);
        other.count(Fault::Stall);
        other.count(Fault::ReadPiece);
        one.merge(&other);
        assert_eq!((one.get(Fault::Stall), one.get(Fault::ReadPiece)), (2, 1));
        assert_eq!(one.iter().map(|(_, count)| count).sum::<u64>(), 3);
    }
}
