//! A peer's stream of bytes in front of a decoder, as a shard keeps it: what is too little for a frame waits until it is as long
//! as the decoder has asked for.

use heartring_core::{Decoded, FrameKind, Protocol};

/// A frame as a decoder found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its kind.
    pub kind: FrameKind,
    /// What the handler is given.
    pub payload: Vec<u8>,
    /// How many bytes of the stream it took.
    pub used: usize,
}

/// Why nothing more is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// A frame is longer than the limit.
    TooLarge,
    /// No continuation is a frame.
    Invalid(&'static str),
}

/// See the module's own text. The protocol is given with each call, because one value serves many streams.
#[derive(Debug)]
pub struct Stream<P: Protocol> {
    state: P::State,
    waiting: Vec<u8>,
    seen: usize,
    /// How long the next frame is at least, as far as the decoder has said.
    needed: usize,
    frame_bytes_max: usize,
    /// Whether the decoder is asked although it has said that there is too little.
    eager: bool,
    /// What was found so far.
    pub frames: Vec<Frame>,
    /// Whether it is over.
    pub end: Option<End>,
}

impl<P: Protocol> Stream<P> {
    /// A stream that ends at a frame of more than `frame_bytes_max` bytes. `usize::MAX` is no limit, except that a decoder which
    /// asks for that much has a limit of its own.
    pub fn new(frame_bytes_max: usize) -> Self {
        Self {
            state: P::State::default(),
            waiting: Vec::new(),
            seen: 0,
            needed: 0,
            frame_bytes_max: frame_bytes_max.min(usize::MAX - 1),
            eager: false,
            frames: Vec::new(),
            end: None,
        }
    }

    /// One whose decoder is asked after every piece, which shows whether it asks for more than it needs.
    pub fn eager(frame_bytes_max: usize) -> Self {
        Self { eager: true, ..Self::new(frame_bytes_max) }
    }

    /// What has arrived and is no frame so far.
    pub fn waiting(&self) -> &[u8] {
        &self.waiting
    }

    /// The next bytes arrive.
    ///
    /// # Panics
    ///
    /// If the decoder breaks the rules of [`Decoded`].
    pub fn feed(&mut self, protocol: &P, piece: &[u8]) {
        if self.end.is_some() {
            return;
        }
        self.waiting.extend_from_slice(piece);
        if self.waiting.is_empty() || (!self.eager && self.waiting.len() < self.needed) {
            return;
        }
        let bytes = std::mem::take(&mut self.waiting);
        let mut used = 0;
        while used < bytes.len() && self.end.is_none() {
            match self.next(protocol, &bytes[used..]) {
                Some(length) => used += length,
                None => break,
            }
        }
        protocol.tidy(&mut self.state);
        self.waiting = bytes[used..].to_vec();
    }

    /// Looks for one frame; how many bytes it takes.
    fn next(&mut self, protocol: &P, input: &[u8]) -> Option<usize> {
        match protocol.decode(&mut self.state, input, self.seen) {
            Decoded::Frame { kind, payload, used } => {
                assert!((1..=input.len()).contains(&used), "{used} bytes used of {}", input.len());
                assert!(
                    used >= self.needed,
                    "a frame of {used} bytes, of which {} were asked for",
                    self.needed
                );
                if P::FRAMED && used.max(payload.len()) > self.frame_bytes_max {
                    self.end = Some(End::TooLarge);
                    return None;
                }
                self.frames.push(Frame { kind, payload: payload.to_vec(), used });
                (self.seen, self.needed) = (0, 0);
                Some(used)
            }
            Decoded::Partial { needed } => {
                assert!(needed > input.len(), "a partial frame needs more than there is");
                assert!(needed >= self.needed, "a frame does not get shorter as it comes");
                (self.seen, self.needed) = (input.len(), needed);
                self.end = (needed > self.frame_bytes_max).then_some(End::TooLarge);
                None
            }
            Decoded::Invalid(why) => {
                self.end = Some(End::Invalid(why));
                None
            }
        }
    }
}
