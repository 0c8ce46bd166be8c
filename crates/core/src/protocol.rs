//! What proves life: bytes become frames, and a complete valid frame is the only proof that counts.

mod length_prefixed;
mod lines;
mod mqtt;
mod raw;

use bytes::Bytes;

pub use length_prefixed::LengthPrefixed;
pub use lines::Lines;
pub use mqtt::MqttPackets;
pub use raw::Raw;

/// Turns a stream of bytes into frames, and says which of them are heartbeats.
///
/// One value serves all connections of a shard; what must be remembered per connection (a handshake, a version) goes
/// into `State`, which costs memory only if it has a size.
pub trait Protocol {
    /// What is remembered per connection.
    type State: Default;

    /// Whether frames have an end of their own, so that `frame_bytes_max` applies to them.
    const FRAMED: bool = true;

    /// Looks for one frame at the front of `input`.
    ///
    /// `seen` bytes of `input` were there already when the last call for this connection returned
    /// [`Decoded::Partial`]: a decoder that searches need not search them again. The limit on frame size is enforced by
    /// the caller. A payload lies in `input`, or in `state` where it is not what was sent: unmasked, or assembled from
    /// several frames.
    fn decode<'a>(&self, state: &'a mut Self::State, input: &'a [u8], seen: usize) -> Decoded<'a>;

    /// Called after each run of bytes, when no payload is lent out any more: memory that payloads lay in can be given back.
    fn tidy(&self, state: &mut Self::State) {
        let _ = state;
    }

    /// What to send to a connection whose beat is overdue; `None` where the protocol has no ping, or none yet.
    fn ping(&self, state: &Self::State) -> Option<Bytes> {
        let _ = state;
        None
    }

    /// The answer to a [`FrameKind::Ping`]; `None` leaves it to nobody.
    fn pong(&self, ping: &[u8]) -> Option<Bytes> {
        let _ = ping;
        None
    }

    /// The answer to a [`FrameKind::Goodbye`].
    fn goodbye(&self, goodbye: &[u8]) -> Option<Bytes> {
        let _ = goodbye;
        None
    }
}

/// What a decoder found at the front of its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// A complete valid frame.
    Frame {
        /// What kind of frame.
        kind: FrameKind,
        /// What the handler is given.
        payload: &'a [u8],
        /// How many bytes of the input the frame takes, at least one.
        used: usize,
    },
    /// The frame is not complete.
    Partial {
        /// How many bytes it has at least: more than the input has. The decoder is not called again before they are
        /// there. Above `frame_bytes_max` the connection ends at once with [`Cause::TooLarge`](crate::Cause::TooLarge): so a
        /// protocol with a limit of its own can say `usize::MAX`.
        needed: usize,
    },
    /// No continuation makes this a frame: the connection ends with [`Cause::Protocol`](crate::Cause::Protocol).
    Invalid(&'static str),
}

/// What a frame is for. Every kind proves life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// For the handler.
    Data,
    /// A heartbeat: it says nothing but "I live" and is not handed on.
    Beat,
    /// A heartbeat that wants an answer: [`Protocol::pong`].
    Ping,
    /// The answer to our ping.
    Pong,
    /// The peer ends the conversation in the protocol's own words. It is answered by [`Protocol::goodbye`] and not handed
    /// on; the connection ends as [`Cause::PeerClosed`](crate::Cause::PeerClosed).
    Goodbye,
}
