//! What devices and the gateway say to each other: lines, some of which are instructions to the handler.
//!
//! `ping` is answered with `pong`, `bye` is a goodbye and answered with `bye`, an empty line is a beat, and a line that begins with
//! `!` is none. After `ping me` a connection whose beat is overdue is sent a `ping`. The rest is for the handler.

use bytes::Bytes;
use heartring_core::{Decoded, FrameKind, Lines, Protocol};

/// See the module's own text.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Talk;

/// What is remembered of a connection.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Remembered {
    is_pinged: bool,
    lines: <Lines as Protocol>::State,
}

impl Protocol for Talk {
    type State = Remembered;

    fn decode<'a>(&self, state: &'a mut Remembered, input: &'a [u8], seen: usize) -> Decoded<'a> {
        if input.first() == Some(&b'!') {
            return Decoded::Invalid("a line that begins with !");
        }
        let mut decoded = Lines.decode(&mut state.lines, input, seen);
        if let Decoded::Frame { kind, payload, .. } = &mut decoded {
            match *payload {
                b"ping" => *kind = FrameKind::Ping,
                b"pong" => *kind = FrameKind::Pong,
                b"bye" => *kind = FrameKind::Goodbye,
                b"ping me" => state.is_pinged = true,
                _ => {}
            }
        }
        decoded
    }

    fn ping(&self, state: &Remembered) -> Option<Bytes> {
        state.is_pinged.then(|| Bytes::from_static(b"ping\n"))
    }

    fn pong(&self, _ping: &[u8]) -> Option<Bytes> {
        Some(Bytes::from_static(b"pong\n"))
    }

    fn goodbye(&self, _goodbye: &[u8]) -> Option<Bytes> {
        Some(Bytes::from_static(b"bye\n"))
    }
}
