//! WebSocket (RFC 6455) as a [`Protocol`], server side, with the HTTP request that opens it.
//!
//! A connection begins with HTTP: each request head is handed to the handler as a data frame, which [`Request::parse`]
//! reads. If it asks for a WebSocket, the handler sends what [`Request::accept`] says, and every data frame after it is one
//! message, unmasked and put together from its fragments. Otherwise the handler answers as it likes (a page, an error), and
//! another request may follow.
//!
//! Pings are answered and pongs taken as heartbeats by themselves; our own ping goes out when a beat is overdue, which any
//! browser answers. A peer's close frame is answered and ends the connection as `PeerClosed`. What else ends it, [`farewell`]
//! tells the peer.
//!
//! There are no extensions, no subprotocols and no HTTP bodies.

mod frame;
mod request;

use std::cell::RefCell;

use bytes::Bytes;
use heartring_core::{Decoded, FrameKind, Protocol};

pub use frame::{binary, close, farewell, text};
pub use request::Request;

use frame::{Header, NOT_UTF8, Opcode};

/// More than any limit: the connection ends as [`Cause::TooLarge`](heartring_core::Cause::TooLarge).
const TOO_LARGE: Decoded<'static> = Decoded::Partial { needed: usize::MAX };

/// The WebSocket protocol, for messages of at most `MESSAGE_BYTES_MAX` bytes. See the module's own text.
///
/// A frame is at most [`Limits::frame_bytes_max`](heartring_core::Limits) long, its header (14 bytes at most) and the head
/// of the HTTP request too.
#[derive(Debug, Default)]
pub struct WebSocket<const MESSAGE_BYTES_MAX: usize = { 64 << 10 }> {
    /// The buffer of whichever connection is being decoded: those between two messages keep none.
    spare: RefCell<Vec<u8>>,
}

/// What is remembered of one connection.
#[derive(Debug, Default)]
pub struct Session {
    phase: Phase,
    /// A message as far as it has come, and behind it the payload of the last frame.
    buffer: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// HTTP.
    #[default]
    Request,
    /// WebSocket, between messages.
    Idle,
    /// Within a fragmented message, of which so many bytes have come.
    Message { is_text: bool, bytes: usize },
}

impl<const MESSAGE_BYTES_MAX: usize> Protocol for WebSocket<MESSAGE_BYTES_MAX> {
    type State = Session;

    fn decode<'a>(&self, session: &'a mut Session, input: &'a [u8], seen: usize) -> Decoded<'a> {
        match session.phase {
            Phase::Request => session.request(input, seen),
            Phase::Idle | Phase::Message { .. } => {
                if session.buffer.capacity() == 0 {
                    session.buffer = self.spare.take();
                }
                session.frame(input, MESSAGE_BYTES_MAX).unwrap_or_else(Decoded::Invalid)
            }
        }
    }

    fn tidy(&self, session: &mut Session) {
        if session.phase == Phase::Idle && session.buffer.capacity() > 0 {
            self.spare.replace(std::mem::take(&mut session.buffer));
        }
    }

    fn ping(&self, session: &Session) -> Option<Bytes> {
        (session.phase != Phase::Request).then(|| Bytes::from_static(&frame::EMPTY_PING))
    }

    fn pong(&self, ping: &[u8]) -> Option<Bytes> {
        Some(frame::encode(Opcode::Pong, ping))
    }

    fn goodbye(&self, close: &[u8]) -> Option<Bytes> {
        Some(frame::encode(Opcode::Close, &close[..close.len().min(2)]))
    }
}

impl Session {
    /// The head of a request, up to the empty line.
    fn request<'a>(&mut self, input: &'a [u8], seen: usize) -> Decoded<'a> {
        const END: &[u8] = b"\r\n\r\n";
        let from = seen.saturating_sub(END.len() - 1);
        let Some(end) = input[from..].windows(END.len()).position(|window| window == END) else {
            return Decoded::Partial { needed: input.len() + 1 };
        };
        let used = from + end + END.len();
        let payload = &input[..used];
        let Some(request) = Request::parse(payload) else {
            return Decoded::Invalid("not an HTTP request");
        };
        if request.is_upgrade() {
            self.phase = Phase::Idle;
        }
        Decoded::Frame { kind: FrameKind::Data, payload, used }
    }

    fn frame<'a>(&'a mut self, input: &[u8], message_bytes_max: usize) -> Result<Decoded<'a>, &'static str> {
        let Some(header) = Header::parse(input)? else {
            return Ok(Decoded::Partial { needed: input.len() + 1 });
        };
        let (is_text, begun) = match (self.phase, header.opcode) {
            (Phase::Message { is_text, bytes }, Opcode::Continuation) => (is_text, bytes),
            (Phase::Message { .. }, Opcode::Text | Opcode::Binary) => {
                return Err("a message inside a message");
            }
            (Phase::Message { bytes, .. }, Opcode::Close | Opcode::Ping | Opcode::Pong) => (false, bytes),
            (Phase::Request | Phase::Idle, Opcode::Continuation) => return Err("a continuation of nothing"),
            (Phase::Request | Phase::Idle, opcode) => (opcode == Opcode::Text, 0),
        };
        let is_control = header.opcode.is_control();
        // Control frames have a limit of their own.
        if !is_control && header.payload_bytes > (message_bytes_max - begun) as u64 {
            return Ok(TOO_LARGE);
        }
        let used = header.bytes + header.payload_bytes as usize;
        let Some(masked) = input.get(header.bytes..used) else {
            return Ok(Decoded::Partial { needed: used });
        };
        self.buffer.truncate(begun);
        header.unmask(masked, &mut self.buffer);
        if is_control {
            return self.control(header.opcode, begun, used);
        }
        if !header.is_final {
            self.phase = Phase::Message { is_text, bytes: self.buffer.len() };
            // Nothing for the handler, but whoever sent it lives.
            return Ok(Decoded::Frame { kind: FrameKind::Beat, payload: &[], used });
        }
        self.phase = Phase::Idle;
        if is_text && std::str::from_utf8(&self.buffer).is_err() {
            return Err(NOT_UTF8);
        }
        Ok(Decoded::Frame { kind: FrameKind::Data, payload: &self.buffer, used })
    }

    /// A control frame: its payload lies behind the `begun` bytes of the message that it interrupts.
    fn control(&self, opcode: Opcode, begun: usize, used: usize) -> Result<Decoded<'_>, &'static str> {
        let payload = &self.buffer[begun..];
        let kind = match opcode {
            Opcode::Ping => FrameKind::Ping,
            Opcode::Pong => FrameKind::Pong,
            Opcode::Close if frame::is_valid_close(payload) => FrameKind::Goodbye,
            Opcode::Close => return Err("a close frame with an invalid code or reason"),
            Opcode::Continuation | Opcode::Text | Opcode::Binary => unreachable!("not a control frame"),
        };
        Ok(Decoded::Frame { kind, payload, used })
    }
}

#[cfg(test)]
mod tests;
