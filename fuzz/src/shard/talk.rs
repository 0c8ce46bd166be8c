//! A protocol in which every byte says something: whatever the input is, it is dense in frames of every kind.

use bytes::Bytes;
use heartring_core::{Decoded, FrameKind, Protocol};

/// Three bits of kind and five of length, then the payload.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Talk;

/// What is remembered: whether anything was said, and the payload that is lent.
#[derive(Debug, Default)]
pub(super) struct Memory {
    has_spoken: bool,
    lent: Vec<u8>,
}

impl Protocol for Talk {
    type State = Memory;

    fn decode<'a>(&self, memory: &'a mut Memory, input: &'a [u8], seen: usize) -> Decoded<'a> {
        assert!(seen <= input.len() && !input.is_empty(), "{seen} seen of {}", input.len());
        let (kind, length) = (input[0] >> 5, usize::from(input[0] & 31));
        match (kind, length) {
            (6, 30) => return Decoded::Partial { needed: usize::MAX },
            (6, 31) => return Decoded::Invalid("the word that is not said"),
            _ => {}
        }
        // Of the last kind some are longer than any limit.
        let used = 1 + if kind == 7 { 4 * length } else { length };
        let Some(payload) = input.get(1..used) else { return Decoded::Partial { needed: used } };
        memory.has_spoken = true;
        let kind = match kind {
            0 => FrameKind::Beat,
            3 => FrameKind::Ping,
            4 => FrameKind::Pong,
            5 => FrameKind::Goodbye,
            _ => FrameKind::Data,
        };
        if input[0] >> 5 != 2 {
            return Decoded::Frame { kind, payload, used };
        }
        memory.lent.clear();
        memory.lent.extend(payload.iter().rev());
        Decoded::Frame { kind, payload: &memory.lent, used }
    }

    fn tidy(&self, memory: &mut Memory) {
        memory.lent = Vec::new();
    }

    fn ping(&self, memory: &Memory) -> Option<Bytes> {
        memory.has_spoken.then(|| Bytes::from_static(b"ping"))
    }

    fn pong(&self, ping: &[u8]) -> Option<Bytes> {
        Some(Bytes::copy_from_slice(ping))
    }

    fn goodbye(&self, _goodbye: &[u8]) -> Option<Bytes> {
        Some(Bytes::from_static(b"goodbye"))
    }
}
