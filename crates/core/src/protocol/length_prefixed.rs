//! A length, then as many bytes.

use super::{Decoded, FrameKind, Protocol};

/// A length of four bytes, big-endian, then a body of that many bytes, which is the frame. An empty body is a heartbeat.
#[derive(Clone, Copy, Debug, Default)]
pub struct LengthPrefixed;

/// Bytes of the length.
const HEADER: usize = 4;

impl LengthPrefixed {
    /// The bytes of a frame with this body, ready to be sent.
    ///
    /// # Panics
    ///
    /// If the body is 4 GiB or longer.
    pub fn encode(body: &[u8]) -> bytes::Bytes {
        let length = u32::try_from(body.len()).expect("a body below 4 GiB");
        let mut frame = Vec::with_capacity(HEADER + body.len());
        frame.extend_from_slice(&length.to_be_bytes());
        frame.extend_from_slice(body);
        frame.into()
    }
}

impl Protocol for LengthPrefixed {
    type State = ();

    fn decode<'a>(&self, _state: &'a mut (), input: &'a [u8], _seen: usize) -> Decoded<'a> {
        let Some((header, rest)) = input.split_first_chunk::<HEADER>() else {
            return Decoded::Partial { needed: HEADER };
        };
        let length = u32::from_be_bytes(*header) as usize;
        match rest.get(..length) {
            Some(payload) => {
                let kind = if length == 0 { FrameKind::Beat } else { FrameKind::Data };
                Decoded::Frame { kind, payload, used: HEADER + length }
            }
            None => Decoded::Partial { needed: HEADER + length },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_found_when_it_is_complete_and_not_before() {
        let bytes = LengthPrefixed::encode(b"abc");
        for cut in 0..bytes.len() {
            let needed = if cut < HEADER { HEADER } else { 7 };
            assert_eq!(LengthPrefixed.decode(&mut (), &bytes[..cut], 0), Decoded::Partial { needed });
        }
        let whole = Decoded::Frame { kind: FrameKind::Data, payload: b"abc", used: 7 };
        assert_eq!(LengthPrefixed.decode(&mut (), &bytes, 0), whole);
        let beat = Decoded::Frame { kind: FrameKind::Beat, payload: b"", used: 4 };
        assert_eq!(LengthPrefixed.decode(&mut (), &LengthPrefixed::encode(b""), 0), beat);
    }

    #[test]
    fn a_length_of_a_gigabyte_is_known_from_the_header_alone() {
        let header = (1u32 << 30).to_be_bytes();
        assert_eq!(LengthPrefixed.decode(&mut (), &header, 0), Decoded::Partial { needed: (1 << 30) + 4 });
    }
}
