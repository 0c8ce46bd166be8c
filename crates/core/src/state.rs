//! The life of a connection: every state and every transition is in this file.
//!
//! ```text
//!  Accepting ─▶ Greeting ──proof──▶ Live ◀──proof── Overdue
//!      │           │                 └──beat overdue──▶┘
//!      │           └─────────┬────────────┬────────────┘
//!      │                  accused      ended (FIN, RST, our own close, a broken protocol)
//!      │                     ▼            │
//!      │                  Suspect ──▶ acquitted or proof: back
//!      │                     │convicted   │
//!      │           Grace ◀───┤            │
//!      │             └───────┴──▶ Closing: LastWord ─▶ Flush ─▶ Fin ─▶ Release ─▶ (freed)
//!      └──refused─────────────────▶
//! ```
//!
//! When a state ends by the clock stands in the dense deadline arrays, because the clock is asked by a sweep; what led to a
//! state stands in the state.

use crate::cause::{Cause, Closed};
use crate::errno::Errno;
use crate::time::Instant;

/// Where a connection is in its life.
#[derive(Debug)]
pub(crate) enum State {
    /// The slot is reserved for an accept in flight: nobody is there yet.
    Accepting,
    /// Accepted. Nothing valid has come yet; the hello deadline runs.
    Greeting,
    /// Its beats come in time; the overdue time runs.
    Live,
    /// A beat is missing; the deadline runs.
    Overdue,
    /// Accused. The evidence is being collected; until the verdict it may still prove that it lives.
    Suspect(Box<Accusation>),
    /// Convicted of silence. Our sending side is shut, late bytes are delivered; the grace period runs.
    Grace(Box<Closed>),
    /// The handler was told. What comes is discarded.
    Closing(Step),
}

/// The steps of a close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The handler says its last word.
    LastWord {
        /// Whether the peer can hear it.
        heard: bool,
    },
    /// What is queued is being sent; the drain deadline runs.
    Flush {
        /// What follows: our FIN, or, since the peer has sent its own, the close.
        then: AfterFlush,
    },
    /// Our FIN is sent; the peer's is awaited, and the drain deadline runs.
    Fin,
    /// The backend ends what is in flight and closes the socket.
    Release,
}

/// What follows a flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AfterFlush {
    /// Send our FIN and wait for the peer's.
    Fin,
    /// Close: the peer's FIN is here.
    Release,
    /// Reset: what is being sent is only the last word.
    Reset,
}

/// What a connection is accused of, before the evidence is in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Accusation {
    pub(crate) cause: Cause,
    /// The deadline that passed; `None` where an errno accuses.
    pub(crate) deadline: Option<Instant>,
    /// The errno that accuses.
    pub(crate) errno: Option<Errno>,
    /// Where it goes back to if it is acquitted.
    pub(crate) from: Standing,
}

/// The states from which a connection can be accused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Greeting,
    Live,
    Overdue,
}

/// What happens to a connection.
#[derive(Debug)]
pub(crate) enum Event {
    /// The accept has delivered a client.
    Accepted,
    /// A complete valid frame came.
    Proof,
    /// The overdue time passed without one.
    BeatMissing,
    /// A deadline passed or TCP gave up.
    Accused(Box<Accusation>),
    /// The evidence speaks for it: bytes lie unread.
    Acquitted,
    /// The evidence is in: dead, with a grace period.
    Condemned(Box<Closed>),
    /// It is over; the close begins, or goes on, with this step.
    Ended(Step),
}

impl State {
    /// Changes the state.
    ///
    /// # Panics
    ///
    /// If the event cannot happen in this state: the shard's own bookkeeping is broken.
    pub(crate) fn transition(&mut self, event: Event) {
        let from = std::mem::replace(self, Self::Accepting);
        *self = match (from, event) {
            (Self::Accepting, Event::Accepted) => Self::Greeting,
            (Self::Greeting | Self::Live | Self::Overdue, Event::Proof) => Self::Live,
            (Self::Suspect(mut accusation), Event::Proof) => {
                if accusation.is_refuted_by_proof() {
                    Self::Live
                } else {
                    accusation.from = Standing::Live; // It is not silent: if acquitted, it lives.
                    Self::Suspect(accusation)
                }
            }
            (Self::Live, Event::BeatMissing) => Self::Overdue,
            (Self::Greeting | Self::Live | Self::Overdue, Event::Accused(accusation)) => {
                Self::Suspect(accusation)
            }
            (Self::Suspect(accusation), Event::Acquitted) => match accusation.from {
                Standing::Greeting => Self::Greeting,
                Standing::Live => Self::Live,
                Standing::Overdue => Self::Overdue,
            },
            (Self::Suspect(_), Event::Condemned(closed)) => Self::Grace(closed),
            (
                Self::Accepting
                | Self::Greeting
                | Self::Live
                | Self::Overdue
                | Self::Suspect(_)
                | Self::Grace(_),
                Event::Ended(step),
            ) => Self::Closing(step),
            (Self::Closing(now), Event::Ended(next)) if now.precedes(next) => Self::Closing(next),
            (state, event) => panic!("{event:?} cannot happen in {state:?}"),
        };
    }

    /// From where it would be accused; `None` if it is accused already, or past that.
    pub(crate) const fn standing(&self) -> Option<Standing> {
        match self {
            Self::Greeting => Some(Standing::Greeting),
            Self::Live => Some(Standing::Live),
            Self::Overdue => Some(Standing::Overdue),
            Self::Accepting | Self::Suspect(_) | Self::Grace(_) | Self::Closing(_) => None,
        }
    }

    /// Whether frames are still delivered.
    pub(crate) const fn delivers(&self) -> bool {
        match self {
            Self::Greeting | Self::Live | Self::Overdue | Self::Suspect(_) | Self::Grace(_) => true,
            Self::Accepting | Self::Closing(_) => false,
        }
    }

    /// Whether our sending side is open for the handler.
    pub(crate) const fn sends(&self) -> bool {
        match self {
            Self::Greeting
            | Self::Live
            | Self::Overdue
            | Self::Suspect(_)
            | Self::Closing(Step::LastWord { heard: true }) => true,
            Self::Accepting
            | Self::Grace(_)
            | Self::Closing(
                Step::LastWord { heard: false } | Step::Flush { .. } | Step::Fin | Step::Release,
            ) => false,
        }
    }
}

impl Step {
    const fn precedes(self, next: Self) -> bool {
        match (self, next) {
            (Self::LastWord { .. }, Self::Flush { .. } | Self::Release)
            | (Self::Flush { .. }, Self::Flush { then: AfterFlush::Release } | Self::Fin | Self::Release)
            | (Self::Fin, Self::Release) => true,
            (_, Self::LastWord { .. })
            | (Self::LastWord { .. }, Self::Fin)
            | (Self::Flush { .. }, Self::Flush { then: AfterFlush::Fin | AfterFlush::Reset })
            | (Self::Fin, Self::Flush { .. } | Self::Fin)
            | (Self::Release, Self::Flush { .. } | Self::Fin | Self::Release) => false,
        }
    }
}

impl Accusation {
    /// Whether a valid frame, or bytes that lie unread, refute it. Silence is refuted by a voice; a dead path or a full send
    /// queue is not.
    pub(crate) const fn is_refuted_by_proof(&self) -> bool {
        match self.cause {
            Cause::HeartbeatMissed | Cause::HelloMissed | Cause::FrameStalled => true,
            Cause::PeerClosed
            | Cause::PeerReset
            | Cause::PathDead(_)
            | Cause::PeerStuck
            | Cause::SlowConsumer
            | Cause::Superseded { .. }
            | Cause::Protocol(_)
            | Cause::TooLarge
            | Cause::Refused(_)
            | Cause::Draining
            | Cause::Local
            | Cause::Os(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accused_of(cause: Cause, from: Standing) -> Event {
        Event::Accused(Box::new(Accusation { cause, deadline: None, errno: None, from }))
    }

    #[test]
    fn a_voice_refutes_silence_and_nothing_else() {
        let mut state = State::Overdue;
        state.transition(accused_of(Cause::HeartbeatMissed, Standing::Overdue));
        state.transition(Event::Proof);
        assert!(matches!(state, State::Live));
        state.transition(accused_of(Cause::SlowConsumer, Standing::Live));
        state.transition(Event::Proof);
        assert!(matches!(state, State::Suspect(_)));
    }

    #[test]
    fn who_speaks_while_accused_of_something_else_lives_if_acquitted() {
        for from in [State::Greeting, State::Overdue] {
            let standing = from.standing().unwrap();
            let mut state = from;
            state.transition(accused_of(Cause::SlowConsumer, standing));
            state.transition(Event::Proof);
            state.transition(Event::Acquitted);
            assert_eq!(state.standing(), Some(Standing::Live), "{standing:?}");
        }
    }

    #[test]
    fn the_acquitted_go_back_where_they_came_from() {
        for (mut state, from) in [
            (State::Greeting, Standing::Greeting),
            (State::Live, Standing::Live),
            (State::Overdue, Standing::Overdue),
        ] {
            assert_eq!(state.standing(), Some(from));
            state.transition(accused_of(Cause::FrameStalled, from));
            assert_eq!(state.standing(), None);
            state.transition(Event::Acquitted);
            assert_eq!(state.standing(), Some(from));
        }
    }

    #[test]
    #[should_panic(expected = "cannot happen")]
    fn a_close_never_goes_back() {
        let mut state = State::Closing(Step::Release);
        state.transition(Event::Ended(Step::Fin));
    }

    #[test]
    fn a_state_is_two_words() {
        assert!(size_of::<State>() <= 16, "{}", size_of::<State>());
    }
}
