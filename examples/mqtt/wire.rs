//! Where an MQTT packet ends, and which one is a heartbeat. What is in the others is the codec's affair.

use heartring::{Bytes, Decoded, FrameKind, Protocol};

const PINGREQ: u8 = 0xC0;
const PINGRESP: [u8; 2] = [0xD0, 0x00];

/// A length takes at most this many bytes (MQTT 5.0, section 1.5.5).
const LENGTH_BYTES_MAX: usize = 4;

/// The protocol: a frame is one packet, as it was sent.
#[derive(Default)]
pub(crate) struct Mqtt;

impl Protocol for Mqtt {
    type State = ();

    fn decode<'a>(&self, _state: &'a mut (), input: &'a [u8], _seen: usize) -> Decoded<'a> {
        let digits = &input[1.min(input.len())..];
        let Some(last) = digits.iter().take(LENGTH_BYTES_MAX).position(|digit| digit & 0x80 == 0) else {
            let too_long = digits.len() >= LENGTH_BYTES_MAX;
            let needed = input.len() + 1;
            return if too_long {
                Decoded::Invalid("a length without an end")
            } else {
                Decoded::Partial { needed }
            };
        };
        // Seven bits a byte, the lowest first.
        let length = digits[..=last].iter().rev().fold(0, |sum, digit| sum << 7 | usize::from(digit & 0x7F));
        let used = 1 + last + 1 + length;
        match input.get(..used) {
            Some(&[PINGREQ, 0]) => Decoded::Frame { kind: FrameKind::Ping, payload: &[], used },
            Some(payload) => Decoded::Frame { kind: FrameKind::Data, payload, used },
            None => Decoded::Partial { needed: used },
        }
    }

    fn pong(&self, _ping: &[u8]) -> Option<Bytes> {
        Some(Bytes::from_static(&PINGRESP))
    }
}
