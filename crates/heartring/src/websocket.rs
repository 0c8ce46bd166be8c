//! WebSocket (RFC 6455) as a [`Protocol`], server side, with the HTTP request that opens it.
//!
//! A connection begins with HTTP: each request head is handed to the handler as a data frame, which [`Request::parse`]
//! reads. If it asks for a WebSocket, the handler sends what [`Request::accept`] says, and every data frame after it is one
//! message, unmasked and put together from its fragments. Otherwise the handler answers as it likes (a page, an error), and
//! another request may follow.
//!
//! Pings are answered and pongs taken as heartbeats by themselves; our own ping goes out when a beat is overdue, which any
//! browser answers. A peer's close frame is answered and ends the connection as `PeerClosed`.
//!
//! There are no extensions, and no HTTP bodies.

mod frame;
mod request;

use bytes::Bytes;
use heartring_core::{Decoded, FrameKind, Protocol};

pub use frame::{binary, close, close_code, text};
pub use request::Request;

use frame::{Header, Opcode};

/// A buffer that grew beyond this gives its memory back when the next message begins.
const KEPT_BYTES_MAX: usize = 1024;

/// The WebSocket protocol, for messages of at most `MESSAGE_BYTES_MAX` bytes. See the module's own text.
#[derive(Clone, Copy, Debug, Default)]
pub struct WebSocket<const MESSAGE_BYTES_MAX: usize = { 64 << 10 }>;

/// What is remembered of one connection.
#[derive(Debug, Default)]
pub struct Session {
    phase: Phase,
    /// The message as far as it has come, or the one that was delivered last.
    message: Vec<u8>,
    /// The payload of the last control frame: those may come between the fragments of a message.
    control: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// HTTP.
    #[default]
    Request,
    /// WebSocket, between messages.
    Idle,
    /// Within a fragmented message.
    Message { is_text: bool },
}

impl<const MESSAGE_BYTES_MAX: usize> Protocol for WebSocket<MESSAGE_BYTES_MAX> {
    type State = Session;

    fn decode<'a>(&self, session: &'a mut Session, input: &'a [u8], seen: usize) -> Decoded<'a> {
        match session.phase {
            Phase::Request => session.request(input, seen),
            Phase::Idle | Phase::Message { .. } => session.frame(input, MESSAGE_BYTES_MAX),
        }
    }

    fn ping(&self) -> Option<Bytes> {
        Some(Bytes::from_static(&frame::EMPTY_PING))
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

    fn frame<'a>(&'a mut self, input: &[u8], message_bytes_max: usize) -> Decoded<'a> {
        let header = match Header::parse(input) {
            Ok(Some(header)) => header,
            Ok(None) => return Decoded::Partial { needed: input.len() + 1 },
            Err(why) => return Decoded::Invalid(why),
        };
        let used = header.bytes + header.payload_bytes;
        if input.len() < used {
            return Decoded::Partial { needed: used };
        }
        let masked = &input[header.bytes..used];
        if header.opcode.is_control() {
            self.control.clear();
            header.unmask(masked, &mut self.control);
            return self.control_frame(header.opcode, used);
        }
        let is_text = match (self.phase, header.opcode) {
            (Phase::Message { is_text }, Opcode::Continuation) => is_text,
            (Phase::Message { .. }, _) => return Decoded::Invalid("a message inside a message"),
            (_, Opcode::Continuation) => return Decoded::Invalid("a continuation of nothing"),
            (_, opcode) => {
                self.forget_message();
                opcode == Opcode::Text
            }
        };
        if self.message.len() + masked.len() > message_bytes_max {
            return Decoded::Invalid("a message above the limit");
        }
        header.unmask(masked, &mut self.message);
        if !header.is_final {
            self.phase = Phase::Message { is_text };
            // Nothing for the handler, but whoever sent it lives.
            return Decoded::Frame { kind: FrameKind::Beat, payload: &[], used };
        }
        self.phase = Phase::Idle;
        if is_text && std::str::from_utf8(&self.message).is_err() {
            return Decoded::Invalid("a text that is not UTF-8");
        }
        // It stays here until the next one begins.
        Decoded::Frame { kind: FrameKind::Data, payload: &self.message, used }
    }

    fn control_frame(&mut self, opcode: Opcode, used: usize) -> Decoded<'_> {
        let kind = match opcode {
            Opcode::Ping => FrameKind::Ping,
            Opcode::Pong => FrameKind::Pong,
            Opcode::Close if !frame::is_valid_close(&self.control) => {
                return Decoded::Invalid("a close frame with an invalid code or reason");
            }
            Opcode::Close => FrameKind::Goodbye,
            Opcode::Continuation | Opcode::Text | Opcode::Binary => unreachable!("not a control frame"),
        };
        Decoded::Frame { kind, payload: &self.control, used }
    }

    fn forget_message(&mut self) {
        self.message.clear();
        self.message.shrink_to(KEPT_BYTES_MAX);
    }
}

#[cfg(test)]
mod tests;
