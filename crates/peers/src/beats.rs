//! Heartbeats in a stream of bytes: empty frames, each a length of four bytes and nothing more.

use std::io;

/// Bytes of a beat, all of them zero.
pub const BEAT_BYTES: usize = 4;

/// One connection's stream. A beat may come in pieces.
#[derive(Debug, Default)]
pub struct Beats {
    /// Bytes of the present length that have arrived; all of them were zero.
    arrived: u8,
}

/// A frame that is not empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotABeat;

impl From<NotABeat> for io::Error {
    fn from(_: NotABeat) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, "a frame that is no beat")
    }
}

impl Beats {
    /// Takes what has arrived and says how many beats it completes.
    ///
    /// # Errors
    ///
    /// It is not a beat.
    pub fn hear(&mut self, bytes: &[u8]) -> Result<usize, NotABeat> {
        if bytes.iter().any(|&byte| byte != 0) {
            return Err(NotABeat);
        }
        let arrived = usize::from(self.arrived) + bytes.len();
        self.arrived = (arrived % BEAT_BYTES) as u8;
        Ok(arrived / BEAT_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beats_are_counted_across_pieces() {
        let mut beats = Beats::default();
        assert_eq!(beats.hear(&[0; 3]), Ok(0));
        assert_eq!(beats.hear(&[0; 6]), Ok(2));
        assert_eq!(beats.hear(&[0; 3]), Ok(1));
        assert_eq!(beats.hear(&[0, 0, 0, 1]), Err(NotABeat));
    }
}
