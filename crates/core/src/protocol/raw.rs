//! No framing: whatever arrived is a frame.

use super::{Decoded, FrameKind, Protocol};

/// Every piece of the stream, as it happens to arrive, is one frame. Any byte proves life.
#[derive(Clone, Copy, Debug, Default)]
pub struct Raw;

impl Protocol for Raw {
    type State = ();

    const FRAMED: bool = false;

    fn decode<'a>(&self, _state: &'a mut (), input: &'a [u8], _seen: usize) -> Decoded<'a> {
        Decoded::Frame { kind: FrameKind::Data, payload: input, used: input.len() }
    }
}
