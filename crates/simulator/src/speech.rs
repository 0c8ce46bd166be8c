//! What clients and handlers say to each other: the protocol of the simulation, made so that every kind of frame occurs and
//! every kind of mistake shows.
//!
//! A frame is a byte that says what it is, a length of four bytes, and as many bytes. Who sent a data frame and which one it is
//! stands in it, and the rest of it follows from that: what is lost, doubled, exchanged, cut or corrupted on the way is seen by
//! whoever reads it. The protocol itself remembers whose connection it is and which frame is next.

use bytes::Bytes;
use heartring_core::{Decoded, FrameKind, Protocol};

/// Bytes before the payload.
pub(crate) const HEADER: usize = 5;

/// Bytes of a request without its filler.
pub(crate) const REQUEST: usize = 13;

/// The shortest data frame of a client.
pub(crate) const LEAST_FRAME: usize = HEADER + REQUEST;

/// A data frame whose payload is masked: it lies in the protocol's state once it is read.
const MASKED: u8 = 6;

/// What it is masked with.
const MASK: u8 = 0x5a;

/// No frame begins with this byte.
pub(crate) const GARBAGE: u8 = 0xff;

/// The protocol, which the handler of every shard speaks.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Speech;

/// What it remembers of a connection.
#[derive(Debug, Default)]
pub(crate) struct Talk {
    client: Option<u32>,
    next: u32,
    unmasked: Vec<u8>,
}

impl Talk {
    /// Takes note of a data frame; refuses one that is not the next of the same client.
    fn follow(&mut self, payload: &[u8]) -> Result<(), &'static str> {
        let (Some(client), Some(number)) = (word(payload, 0), word(payload, 4)) else {
            return Err("a request is longer");
        };
        if *self.client.get_or_insert(client) != client {
            return Err("another client's frame");
        }
        if number != self.next {
            return Err("not the next frame");
        }
        self.next += 1;
        Ok(())
    }
}

impl Protocol for Speech {
    type State = Talk;

    fn decode<'a>(&self, talk: &'a mut Talk, input: &'a [u8], _seen: usize) -> Decoded<'a> {
        let what = input.first().copied().unwrap_or(GARBAGE);
        let Some(kind) = kind_of(what) else {
            return Decoded::Invalid("no frame begins like this");
        };
        let Some((header, rest)) = input.split_first_chunk::<HEADER>() else {
            return Decoded::Partial { needed: HEADER };
        };
        let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]) as usize;
        let Some(payload) = rest.get(..length) else {
            return Decoded::Partial { needed: HEADER.saturating_add(length) };
        };
        let used = HEADER + length;
        if kind != FrameKind::Data {
            return Decoded::Frame { kind, payload, used };
        }
        let mask = if what == MASKED { MASK } else { 0 };
        talk.unmasked = payload.iter().map(|byte| byte ^ mask).collect();
        let unmasked = std::mem::take(&mut talk.unmasked);
        let followed = talk.follow(&unmasked);
        talk.unmasked = unmasked;
        match followed {
            Err(why) => Decoded::Invalid(why),
            Ok(()) if what == MASKED => Decoded::Frame { kind, payload: &talk.unmasked, used },
            Ok(()) => Decoded::Frame { kind, payload, used },
        }
    }

    fn tidy(&self, talk: &mut Talk) {
        talk.unmasked = Vec::new();
    }

    /// There is nobody to ask before the first frame.
    fn ping(&self, talk: &Talk) -> Option<Bytes> {
        (talk.next > 0).then(|| frame(FrameKind::Ping, &talk.next.to_be_bytes()).into())
    }

    fn pong(&self, ping: &[u8]) -> Option<Bytes> {
        Some(frame(FrameKind::Pong, ping).into())
    }

    fn goodbye(&self, goodbye: &[u8]) -> Option<Bytes> {
        Some(frame(FrameKind::Goodbye, goodbye).into())
    }
}

/// The bytes of a frame.
pub(crate) fn frame(kind: FrameKind, payload: &[u8]) -> Vec<u8> {
    let what = match kind {
        FrameKind::Data => 1,
        FrameKind::Beat => 2,
        FrameKind::Ping => 3,
        FrameKind::Pong => 4,
        FrameKind::Goodbye => 5,
    };
    with_header(what, payload)
}

/// The bytes of a data frame, masked.
pub(crate) fn masked_frame(payload: &[u8]) -> Vec<u8> {
    let masked: Vec<u8> = payload.iter().map(|byte| byte ^ MASK).collect();
    with_header(MASKED, &masked)
}

/// The head of a data frame that announces `length` bytes.
pub(crate) fn head(length: u32) -> Vec<u8> {
    let mut bytes = vec![1];
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes
}

fn with_header(what: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + payload.len());
    bytes.push(what);
    bytes.extend_from_slice(&(payload.len() as u32).to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

fn kind_of(what: u8) -> Option<FrameKind> {
    Some(match what {
        1 | MASKED => FrameKind::Data,
        2 => FrameKind::Beat,
        3 => FrameKind::Ping,
        4 => FrameKind::Pong,
        5 => FrameKind::Goodbye,
        _ => return None,
    })
}

/// What a client wants of the handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Nothing.
    Nothing,
    /// To be who it says it is.
    Claim,
    /// The same, and to be closed in the same call.
    ClaimAndClose,
    /// A frame of so many bytes.
    Send(u32),
    /// A state of so many bytes with every tick from now on, the first one now.
    Subscribe(u32),
    /// To be closed.
    Close,
    /// A deadline of so many milliseconds.
    Negotiate(u32),
    /// A message to the handler of a shard.
    Post(u32),
    /// A frame to whoever has an identity.
    Tell(u32),
    /// That the handler takes so many microseconds for it.
    TakeTime(u32),
}

/// A client's data frame, as the handler reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) client: u32,
    pub(crate) number: u32,
    pub(crate) ask: Ask,
}

impl Request {
    /// The payload, with `filler` bytes behind it.
    pub(crate) fn payload(&self, filler: usize) -> Vec<u8> {
        let (what, argument) = match self.ask {
            Ask::Nothing => (0, 0),
            Ask::Claim => (1, 0),
            Ask::ClaimAndClose => (2, 0),
            Ask::Send(bytes) => (3, bytes),
            Ask::Subscribe(bytes) => (4, bytes),
            Ask::Close => (5, 0),
            Ask::Negotiate(millis) => (6, millis),
            Ask::Post(shard) => (7, shard),
            Ask::Tell(identity) => (8, identity),
            Ask::TakeTime(micros) => (9, micros),
        };
        let mut payload = Vec::with_capacity(REQUEST + filler);
        payload.extend_from_slice(&self.client.to_be_bytes());
        payload.extend_from_slice(&self.number.to_be_bytes());
        payload.push(what);
        payload.extend_from_slice(&u32::to_be_bytes(argument));
        fill(&mut payload, self.client, self.number, filler);
        payload
    }

    /// Reads a payload; `None` if it is not one that a client sends.
    pub(crate) fn read(payload: &[u8]) -> Option<Self> {
        let (client, number) = (word(payload, 0)?, word(payload, 4)?);
        let argument = word(payload, 9)?;
        let ask = match payload[8] {
            0 => Ask::Nothing,
            1 => Ask::Claim,
            2 => Ask::ClaimAndClose,
            3 => Ask::Send(argument),
            4 => Ask::Subscribe(argument),
            5 => Ask::Close,
            6 => Ask::Negotiate(argument),
            7 => Ask::Post(argument),
            8 => Ask::Tell(argument),
            9 => Ask::TakeTime(argument),
            _ => return None,
        };
        is_filled(&payload[REQUEST..], client, number).then_some(Self { client, number, ask })
    }
}

/// A data frame of ours, as the client reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// From the handler of its connection.
    Own {
        /// Whom the handler takes it for.
        client: u32,
        /// Which frame.
        number: u32,
    },
    /// To whoever has an identity.
    ForIdentity {
        /// Which identity.
        identity: u32,
        /// Which client's handler has sent it.
        by: u32,
        /// Which of that client's frames for identities.
        number: u32,
    },
    /// To everybody.
    ForAll {
        /// Which.
        number: u32,
    },
}

/// Bytes of an answer without its filler.
pub(crate) const ANSWER: usize = HEADER + 13;

impl Answer {
    /// The bytes of the frame, with `filler` bytes at the end.
    pub(crate) fn frame(&self, filler: usize) -> Bytes {
        let (what, a, b, c) = match *self {
            Self::Own { client, number } => (0, client, number, 0),
            Self::ForIdentity { identity, by, number } => (1, identity, number, by),
            Self::ForAll { number } => (2, 0, number, 0),
        };
        let mut payload = vec![what];
        for value in [a, b, c] {
            payload.extend_from_slice(&u32::to_be_bytes(value));
        }
        fill(&mut payload, a, b, filler);
        frame(FrameKind::Data, &payload).into()
    }

    /// Reads a payload; `None` if it is not one of ours.
    pub(crate) fn read(payload: &[u8]) -> Option<Self> {
        let (a, b, c) = (word(payload, 1)?, word(payload, 5)?, word(payload, 9)?);
        if !is_filled(&payload[13..], a, b) {
            return None;
        }
        match payload[0] {
            0 => Some(Self::Own { client: a, number: b }),
            1 => Some(Self::ForIdentity { identity: a, by: c, number: b }),
            2 => Some(Self::ForAll { number: b }),
            _ => None,
        }
    }
}

/// A frame: its kind, its payload and how many bytes it takes.
pub(crate) type Whole<'a> = (FrameKind, &'a [u8], usize);

/// The frame at the front of what a client has read; `None`: not all of it is there.
pub(crate) fn next_frame(input: &[u8]) -> Result<Option<Whole<'_>>, String> {
    let Some((header, rest)) = input.split_first_chunk::<HEADER>() else { return Ok(None) };
    let kind = kind_of(header[0]).ok_or_else(|| format!("a frame that begins with {:#04x}", header[0]))?;
    let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]) as usize;
    Ok(rest.get(..length).map(|payload| (kind, payload, HEADER + length)))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_be_bytes(bytes.try_into().expect("four bytes")))
}

fn fill(payload: &mut Vec<u8>, a: u32, b: u32, bytes: usize) {
    let first = first_of_filler(a, b);
    payload.extend((0..bytes).map(|nth| first.wrapping_add(nth as u8)));
}

fn is_filled(filler: &[u8], a: u32, b: u32) -> bool {
    let first = first_of_filler(a, b);
    filler.iter().enumerate().all(|(nth, byte)| *byte == first.wrapping_add(nth as u8))
}

fn first_of_filler(a: u32, b: u32) -> u8 {
    (a.wrapping_mul(31) ^ b.wrapping_mul(131)) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUESTED: Request = Request { client: 7, number: 0, ask: Ask::Send(900) };

    #[test]
    fn a_request_is_read_as_it_was_written_and_a_corrupted_one_is_not() {
        let mut payload = REQUESTED.payload(40);
        assert_eq!(Request::read(&payload), Some(REQUESTED));
        payload[REQUEST + 9] ^= 1;
        assert_eq!(Request::read(&payload), None);
        assert_eq!(Request::read(&payload[..REQUEST - 1]), None);
    }

    #[test]
    fn an_answer_is_read_as_it_was_written() {
        for answer in [
            Answer::Own { client: 3, number: 9 },
            Answer::ForIdentity { identity: 2, by: 4, number: 1 },
            Answer::ForAll { number: 5 },
        ] {
            let bytes = answer.frame(12);
            let (kind, payload, used) = next_frame(&bytes).unwrap().unwrap();
            assert_eq!((kind, used, Answer::read(payload)), (FrameKind::Data, bytes.len(), Some(answer)));
        }
    }

    #[test]
    fn a_masked_payload_lies_in_the_state_until_it_is_tidied() {
        let (mut talk, payload) = (Talk::default(), REQUESTED.payload(5));
        let bytes = masked_frame(&payload);
        let whole = Decoded::Frame { kind: FrameKind::Data, payload: &payload, used: bytes.len() };
        assert_eq!(Speech.decode(&mut talk, &bytes, 0), whole);
        Speech.tidy(&mut talk);
        assert!(talk.unmasked.is_empty());
    }

    #[test]
    fn the_protocol_knows_whose_connection_it_is_and_which_frame_is_next() {
        let mut talk = Talk::default();
        let says = |talk: &mut Talk, client, number| {
            let bytes = frame(FrameKind::Data, &Request { client, number, ask: Ask::Nothing }.payload(0));
            matches!(Speech.decode(talk, &bytes, 0), Decoded::Frame { .. })
        };
        assert!(says(&mut talk, 7, 0) && !says(&mut talk, 8, 1) && !says(&mut talk, 7, 0));
        assert!(says(&mut talk, 7, 1));
    }
}
