//! Frames as they are on the wire (RFC 6455, section 5).

use bytes::{BufMut, Bytes, BytesMut};
use heartring_core::Cause;

/// A ping without a payload.
pub(super) const EMPTY_PING: [u8; 2] = [0x89, 0];

/// Bytes of the mask that every frame of a client has.
const MASK_BYTES: usize = 4;

/// Payload bytes of a control frame.
const CONTROL_BYTES_MAX: usize = 125;

/// What has a status code of its own.
pub(super) const NOT_UTF8: &str = "a text that is not UTF-8";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opcode {
    Continuation = 0x0,
    Text = 0x1,
    Binary = 0x2,
    Close = 0x8,
    Ping = 0x9,
    Pong = 0xA,
}

/// The front of a client's frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) is_final: bool,
    pub(super) opcode: Opcode,
    /// Its own length.
    pub(super) bytes: usize,
    pub(super) payload_bytes: u64,
    mask: [u8; MASK_BYTES],
}

impl Opcode {
    const fn of(bits: u8) -> Option<Self> {
        match bits {
            0x0 => Some(Self::Continuation),
            0x1 => Some(Self::Text),
            0x2 => Some(Self::Binary),
            0x8 => Some(Self::Close),
            0x9 => Some(Self::Ping),
            0xA => Some(Self::Pong),
            _ => None,
        }
    }

    pub(super) const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

impl Header {
    /// `None` if there is not enough of it.
    pub(super) fn parse(input: &[u8]) -> Result<Option<Self>, &'static str> {
        let &[first, second, ref rest @ ..] = input else { return Ok(None) };
        let opcode = Opcode::of(first & 0x0F).ok_or("a frame of an unknown kind")?;
        let is_final = first & 0x80 != 0;
        if first & 0x70 != 0 {
            return Err("a frame with reserved bits");
        }
        if second & 0x80 == 0 {
            return Err("a client's frame without a mask");
        }
        let (payload_bytes, length_bytes, least) = match second & 0x7F {
            126 => {
                let Some(length) = rest.first_chunk() else { return Ok(None) };
                (u64::from(u16::from_be_bytes(*length)), 2, 126)
            }
            127 => {
                let Some(length) = rest.first_chunk() else { return Ok(None) };
                (u64::from_be_bytes(*length), 8, 1 << 16)
            }
            short => (u64::from(short), 0, 0),
        };
        if payload_bytes < least || payload_bytes >= 1 << 63 {
            return Err("a frame with an impossible length");
        }
        if opcode.is_control() && (!is_final || payload_bytes > CONTROL_BYTES_MAX as u64) {
            return Err("a control frame that is fragmented or too long");
        }
        let Some(mask) = rest[length_bytes..].first_chunk() else { return Ok(None) };
        let bytes = 2 + length_bytes + MASK_BYTES;
        Ok(Some(Self { is_final, opcode, bytes, payload_bytes, mask: *mask }))
    }

    /// Appends the payload as it was before it was masked.
    pub(super) fn unmask(&self, masked: &[u8], to: &mut Vec<u8>) {
        let from = to.len();
        to.extend_from_slice(masked);
        // Word by word, which the compiler turns into vectors.
        let (words, rest) = to[from..].as_chunks_mut();
        let [a, b, c, d] = self.mask;
        let mask = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
        for word in words {
            *word = (u64::from_ne_bytes(*word) ^ mask).to_ne_bytes();
        }
        for (byte, mask) in rest.iter_mut().zip(self.mask.iter().cycle()) {
            *byte ^= mask;
        }
    }
}

/// A text message, to be sent as it is. One buffer serves any number of connections.
pub fn text(message: &str) -> Bytes {
    encode(Opcode::Text, message.as_bytes())
}

/// A binary message, to be sent as it is. One buffer serves any number of connections.
pub fn binary(message: &[u8]) -> Bytes {
    encode(Opcode::Binary, message)
}

/// A close frame: the last word to a peer. A reason above 123 bytes is cut.
pub fn close(code: u16, reason: &str) -> Bytes {
    let cut = reason.floor_char_boundary(CONTROL_BYTES_MAX - size_of::<u16>());
    let payload = [&code.to_be_bytes(), &reason.as_bytes()[..cut]].concat();
    encode(Opcode::Close, &payload)
}

/// The close frame that tells a peer why its connection ends, to be sent in [`Handler::closing`](heartring_core::Handler) of
/// a connection that is a WebSocket already. `None` if the peer has ended it itself, since its own close frame is answered.
///
/// Where RFC 6455 (section 7.4.1) has no code for a cause, there is 4000: another connection has claimed the identity, 4001:
/// refused, 4002: no heartbeat.
pub fn farewell(cause: &Cause) -> Option<Bytes> {
    let code = match cause {
        Cause::PeerClosed | Cause::PeerReset => return None,
        Cause::Local => 1000,
        Cause::Draining => 1001,
        Cause::Protocol(NOT_UTF8) => 1007,
        Cause::Protocol(_) | Cause::FrameStalled => 1002,
        Cause::SlowConsumer => 1008,
        Cause::TooLarge => 1009,
        Cause::Os(_) => 1011,
        Cause::Superseded { .. } => 4000,
        Cause::Refused(_) => 4001,
        Cause::HeartbeatMissed | Cause::HelloMissed | Cause::PathDead(_) | Cause::PeerStuck => 4002,
    };
    Some(close(code, &cause.to_string()))
}

/// A server's frame: whole and not masked.
pub(super) fn encode(opcode: Opcode, payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(10 + payload.len());
    frame.put_u8(0x80 | opcode as u8);
    match payload.len() {
        length @ 0..=125 => frame.put_u8(length as u8),
        length @ 126..=0xFFFF => {
            frame.put_u8(126);
            frame.put_u16(length as u16);
        }
        length => {
            frame.put_u8(127);
            frame.put_u64(length as u64);
        }
    }
    frame.put_slice(payload);
    frame.freeze()
}

/// Whether a peer may say this in a close frame (sections 5.5.1 and 7.4).
pub(super) fn is_valid_close(payload: &[u8]) -> bool {
    let Some((code, reason)) = payload.split_first_chunk() else { return payload.is_empty() };
    let code = u16::from_be_bytes(*code);
    let known = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
    known && std::str::from_utf8(reason).is_ok()
}
