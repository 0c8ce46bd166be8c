//! What the devices of demo and torment say: length-prefixed frames (`heartring::LengthPrefixed`).
//!
//! The fleet writes them and the gateway's handler reads them back, byte for byte: a late byte that is missing, doubled or
//! out of order is found.

/// A heartbeat: a frame without a body.
pub(crate) const BEAT: [u8; PREFIX_BYTES] = [0; PREFIX_BYTES];
/// The length in front of every frame.
pub(crate) const PREFIX_BYTES: usize = 4;
/// Body of a data frame: magic, device, counter, and filler that repeats the counter.
pub(crate) const DATA_BYTES: usize = 64;
const HELLO_MAGIC: [u8; 4] = *b"HELO";
const DATA_MAGIC: [u8; 4] = *b"DATA";
const ASK_MAGIC: [u8; 4] = *b"ASK!";

/// A frame that is not a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// The first frame of a connection: who is calling.
    Hello { device: u32 },
    /// The `counter`th piece of data, from zero.
    Data { device: u32, counter: u32 },
    /// The gateway shall send that many bytes.
    Ask { bytes: u32 },
}

impl Message {
    /// The whole frame, prefix included.
    pub(crate) fn frame(&self) -> Vec<u8> {
        let body = match *self {
            Self::Hello { device } => [HELLO_MAGIC, device.to_be_bytes()].concat(),
            Self::Data { device, counter } => {
                let mut body = [DATA_MAGIC, device.to_be_bytes(), counter.to_be_bytes()].concat();
                body.resize(DATA_BYTES, counter as u8);
                body
            }
            Self::Ask { bytes } => [ASK_MAGIC, bytes.to_be_bytes()].concat(),
        };
        [&(body.len() as u32).to_be_bytes(), body.as_slice()].concat()
    }

    /// Reads a frame's body. `None` if a single byte is not what a device would have sent.
    pub(crate) fn parse(body: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u32::from_be_bytes(body.get(at..at + 4)?.try_into().ok()?));
        let message = match *body.first_chunk()? {
            HELLO_MAGIC => Self::Hello { device: word(4)? },
            DATA_MAGIC => Self::Data { device: word(4)?, counter: word(8)? },
            ASK_MAGIC => Self::Ask { bytes: word(4)? },
            _ => return None,
        };
        (message.frame()[PREFIX_BYTES..] == *body).then_some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let messages = [
            Message::Hello { device: 7 },
            Message::Data { device: u32::MAX, counter: 300 },
            Message::Ask { bytes: 1 << 20 },
        ];
        for message in messages {
            let frame = message.frame();
            let (prefix, body) = frame.split_at(PREFIX_BYTES);
            assert_eq!(prefix, (body.len() as u32).to_be_bytes());
            assert_eq!(Message::parse(body), Some(message));
        }
    }

    #[test]
    fn one_wrong_byte_is_noticed() {
        let frame = Message::Data { device: 7, counter: 9 }.frame();
        for at in [0, 20, DATA_BYTES - 1] {
            let mut body = frame[PREFIX_BYTES..].to_vec();
            body[at] ^= 1;
            assert_eq!(Message::parse(&body), None, "byte {at}");
        }
        assert_eq!(Message::parse(&frame[PREFIX_BYTES..frame.len() - 1]), None, "too short");
        assert_eq!(Message::parse(b""), None, "empty");
    }
}
