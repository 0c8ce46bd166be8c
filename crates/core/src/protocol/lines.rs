//! Lines of text.

use super::{Decoded, FrameKind, Protocol};

/// Lines that end with `\n` or `\r\n`; the frame is the line without its end. An empty line is a heartbeat.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lines;

impl Protocol for Lines {
    type State = ();

    fn decode<'a>(&self, _state: &'a mut (), input: &'a [u8], seen: usize) -> Decoded<'a> {
        let Some(offset) = input[seen..].iter().position(|&byte| byte == b'\n') else {
            return Decoded::Partial { needed: input.len() + 1 };
        };
        let end = seen + offset;
        let line = &input[..end];
        let payload = line.strip_suffix(b"\r").unwrap_or(line);
        let kind = if payload.is_empty() { FrameKind::Beat } else { FrameKind::Data };
        Decoded::Frame { kind, payload, used: end + 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_with_or_without_carriage_return() {
        let frame = |kind, payload, used| Decoded::Frame { kind, payload, used };
        assert_eq!(Lines.decode(&mut (), b"hi\nthere", 0), frame(FrameKind::Data, b"hi", 3));
        assert_eq!(Lines.decode(&mut (), b"hi\r\n", 0), frame(FrameKind::Data, b"hi", 4));
        assert_eq!(Lines.decode(&mut (), b"\r\n", 0), frame(FrameKind::Beat, b"", 2));
        assert_eq!(Lines.decode(&mut (), b"hi", 0), Decoded::Partial { needed: 3 });
        assert_eq!(Lines.decode(&mut (), b"hi\n", 2), frame(FrameKind::Data, b"hi", 3));
    }
}
