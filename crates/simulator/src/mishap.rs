//! What goes wrong outside the kernels: in clients, on the network, in threads, in the mail. Each is counted when it happens.

macro_rules! mishaps {
    ($($(#[$doc:meta])* $name:ident $text:literal)*) => {
        /// Something that goes wrong outside the kernels.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Mishap {
            $($(#[$doc])* $name,)*
        }

        impl Mishap {
            /// All of them, in the order of their counters.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// A stable name for reports.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

mishaps! {
    /// A client is gone without a word.
    Vanished "peer_vanished"
    /// It vanished within a frame.
    VanishedInFrame "peer_vanished_in_frame"
    /// Many vanished in the same instant.
    MassDeath "mass_death"
    /// A client's program hangs.
    Hung "peer_hung"
    /// A client fell silent and never spoke again.
    Silent "peer_silent"
    /// A beat came later than it should.
    BeatLate "beat_late"
    /// A client came and never spoke.
    NeverHello "never_hello"
    /// A client sends a frame drop by drop.
    Dripped "frame_dripped"
    /// A client begins a frame and does not go on.
    FrameLeft "frame_left_unfinished"
    /// Many frames in one go.
    Flooded "flooded"
    /// A client does not read.
    StoppedReading "stopped_reading"
    /// A client sends an RST.
    Reset "peer_reset"
    /// A client closes while we may still be sending.
    ClosedUnread "closed_before_reading"
    /// A client sends its FIN and reads on.
    HalfOpen "half_open"
    /// A client leaves in the protocol's words.
    Goodbye "goodbye"
    /// Bytes that are no frame.
    Garbage "garbage"
    /// A frame above the limit.
    TooLarge "frame_too_large"
    /// A device is back under another address while its former connection stands.
    Rebooted "rebooted"
    /// A client comes back at once to take its identity from whoever took it.
    FoughtBack "identity_fought_for"
    /// A client claims although it has claimed before.
    ClaimedTwice "claimed_twice"
    /// More clients at one instant than usual.
    Rush "rush_of_clients"
    /// A client was gone before it was accepted.
    LeftInQueue "left_in_the_queue"
    /// What was sent in one piece arrived in several.
    Segmented "segmented"
    /// A segment took its time.
    Delayed "segment_delayed"
    /// The path was gone, and came back.
    Outage "path_outage"
    /// The path was gone for good.
    PathLost "path_lost"
    /// Keepalive or the user timeout gave up.
    TimedOut "path_timed_out"
    /// A router said that there is no way.
    Unreachable "path_unreachable"
    /// A rebooted machine answered a probe with RST.
    ProbeReset "reset_by_rebooted_peer"
    /// A thread was away for a moment.
    AbsenceShort "thread_away_shortly"
    /// A thread was away for longer than `stall_tolerance`.
    AbsenceLong "thread_away_long"
    /// A handler took its time.
    HandlerSlow "handler_slow"
    /// A thread was woken for nothing.
    WokenForNothing "woken_for_nothing"
    /// A letter took its time.
    LetterDelayed "letter_delayed"
    /// A mailbox took nothing.
    MailboxFull "mailbox_full"
    /// A connection was closed by a letter from outside.
    ClosedByLetter "closed_by_letter"
    /// A payload was sent to everybody.
    Broadcast "broadcast"
    /// A shard was drained while everything went on.
    DrainedEarly "drained_in_the_middle"
}

/// How often each has happened.
#[derive(Clone, Debug)]
pub(crate) struct MishapCounts([u64; Mishap::ALL.len()]);

impl Default for MishapCounts {
    fn default() -> Self {
        Self([0; Mishap::ALL.len()])
    }
}

impl MishapCounts {
    pub(crate) fn count(&mut self, mishap: Mishap) {
        self.0[mishap as usize] += 1;
    }

    /// How often this has happened.
    pub(crate) fn of(&self, mishap: Mishap) -> u64 {
        self.0[mishap as usize]
    }

    /// Each with its name, those that have not happened included.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Mishap::ALL.iter().map(|mishap| (mishap.name(), self.of(*mishap)))
    }
}
