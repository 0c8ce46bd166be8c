//! The decoders. A stream means the same however it is cut, a decoder is honest about what it used and what it needs, and what
//! it found is what an encoder would have sent.

use heartring::websocket::{self, WebSocket};
use heartring_core::{FrameKind, LengthPrefixed, Lines, MqttPackets, Protocol, Raw};

use crate::input::Input;
use crate::stream::{End, Frame, Stream};

/// Small, so that messages reach it.
const MESSAGE_BYTES_MAX: usize = 300;

type Socket = WebSocket<MESSAGE_BYTES_MAX>;

/// What opens a WebSocket.
const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// The first bytes choose a protocol, a limit and the cuts; the rest is the stream.
pub fn decoders(data: &[u8]) {
    let mut input = Input::new(data);
    let protocol = input.below(7);
    let frame_bytes_max = 1 + 2 * usize::from(input.byte());
    let cuts = input.below(8);
    let pieces = input.take(cuts);
    let cut = Cut { frame_bytes_max, pieces };
    match protocol {
        0 => raw(&cut, &input.rest()),
        1 => cut.decode::<Lines>(&input.rest(), check_line),
        2 => cut.decode::<LengthPrefixed>(&input.rest(), |frame, raw| {
            assert_eq!(LengthPrefixed::encode(&frame.payload), raw);
            assert_eq!(frame.kind == FrameKind::Beat, frame.payload.is_empty());
        }),
        3 => cut.decode::<MqttPackets>(&input.rest(), check_packet),
        4 => cut.decode::<Socket>(&input.rest(), check_message),
        5 => cut.decode::<Socket>(&[UPGRADE, &input.rest()].concat(), check_message),
        _ => cut.decode::<Socket>(&[UPGRADE, &masked_frames(&mut input)].concat(), check_message),
    }
}

/// How a stream arrives.
struct Cut {
    frame_bytes_max: usize,
    /// The lengths of the pieces, less one, over and over; none: in two halves.
    pieces: Vec<u8>,
}

impl Cut {
    fn of<'a>(&self, stream: &'a [u8]) -> Vec<&'a [u8]> {
        if self.pieces.is_empty() {
            return stream.chunks(stream.len().div_ceil(2).max(1)).collect();
        }
        let (mut rest, mut cut) = (stream, Vec::new());
        for length in self.pieces.iter().cycle().map(|length| usize::from(*length) + 1) {
            if rest.is_empty() {
                break;
            }
            let (piece, others) = rest.split_at(length.min(rest.len()));
            cut.push(piece);
            rest = others;
        }
        cut
    }

    /// Decodes `stream` in every manner and compares; `check` is given each frame and the bytes that it took.
    fn decode<P: Protocol + Default>(&self, stream: &[u8], check: impl Fn(&Frame, &[u8])) {
        let protocol = P::default();
        let mut whole = Stream::<P>::new(usize::MAX);
        whole.feed(&protocol, stream);
        let (mut pieces, mut bytes) = (Stream::new(usize::MAX), Stream::eager(usize::MAX));
        let mut limited = Stream::new(self.frame_bytes_max);
        // Side by side, because streams share the protocol's value, and must not share anything else.
        for piece in self.of(stream) {
            pieces.feed(&protocol, piece);
            limited.feed(&protocol, piece);
            piece.chunks(1).for_each(|byte| bytes.feed(&protocol, byte));
        }
        for cut in [&pieces, &bytes] {
            assert_eq!((&cut.frames, cut.end), (&whole.frames, whole.end));
        }
        if whole.end.is_none() {
            assert_eq!((pieces.waiting(), bytes.waiting()), (whole.waiting(), whole.waiting()));
        }
        self.check_limit(&protocol, stream, &whole, &limited);
        let mut at = 0;
        for frame in &whole.frames {
            check(frame, &stream[at..at + frame.used]);
            at += frame.used;
        }
    }

    /// The limit ends a stream at the first frame above it, and changes nothing before.
    fn check_limit<P: Protocol>(&self, protocol: &P, stream: &[u8], whole: &Stream<P>, cut: &Stream<P>) {
        let mut limited = Stream::<P>::new(self.frame_bytes_max);
        limited.feed(protocol, stream);
        let fits = |frame: &&Frame| frame.used.max(frame.payload.len()) <= self.frame_bytes_max;
        let first: Vec<&Frame> = whole.frames.iter().take_while(fits).collect();
        for limited in [&limited, cut] {
            assert!(limited.frames.iter().eq(first.iter().copied()), "{:?}", limited.frames);
        }
        // What is both too long and invalid is refused as the one or the other: that hangs on what has arrived.
        assert_eq!(limited.end.is_some(), cut.end.is_some(), "{:?} and {:?}", limited.end, cut.end);
        if first.len() < whole.frames.len() {
            assert_eq!(limited.end, Some(End::TooLarge));
        }
    }
}

/// Without frames only the bytes count.
fn raw(cut: &Cut, stream: &[u8]) {
    let mut pieces = Stream::<Raw>::new(cut.frame_bytes_max);
    cut.of(stream).into_iter().for_each(|piece| pieces.feed(&Raw, piece));
    assert!(pieces.frames.iter().all(|frame| frame.kind == FrameKind::Data && !frame.payload.is_empty()));
    assert_eq!(pieces.frames.iter().flat_map(|frame| frame.payload.clone()).collect::<Vec<_>>(), stream);
}

fn check_line(frame: &Frame, raw: &[u8]) {
    let line = [&frame.payload[..], b"\n"].concat();
    let with_return = [&frame.payload[..], b"\r\n"].concat();
    assert!(raw == line || raw == with_return);
    assert!(!frame.payload.contains(&b'\n'));
    assert_eq!(frame.kind == FrameKind::Beat, frame.payload.is_empty());
}

fn check_packet(frame: &Frame, raw: &[u8]) {
    assert_eq!(frame.payload, raw);
    assert_eq!(frame.kind == FrameKind::Ping, raw == [0xC0, 0]);
    if frame.kind == FrameKind::Ping {
        assert_eq!(MqttPackets.pong(raw).as_deref(), Some(&[0xD0, 0][..]));
    }
}

/// What was found in a WebSocket is found again when our own encoder says it.
fn check_message(frame: &Frame, raw: &[u8]) {
    let socket = Socket::default();
    let sent = match frame.kind {
        // A request: it is handed on as it came, which no masked frame is.
        FrameKind::Data if frame.payload == raw => {
            assert!(websocket::Request::parse(raw).is_some());
            return;
        }
        FrameKind::Data => {
            assert!(frame.payload.len() <= MESSAGE_BYTES_MAX);
            websocket::binary(&frame.payload)
        }
        FrameKind::Ping | FrameKind::Pong => {
            assert!(frame.payload.len() <= 125);
            socket.pong(&frame.payload).expect("a ping is answered")
        }
        FrameKind::Goodbye => socket.goodbye(&frame.payload).expect("a goodbye is answered"),
        FrameKind::Beat => return assert!(frame.payload.is_empty()),
    };
    let mut stream = Stream::<Socket>::new(usize::MAX);
    stream.feed(&socket, &[UPGRADE, &with_mask(&sent)].concat());
    let [_, again] = &stream.frames[..] else { panic!("{sent:?} is {:?}, {:?}", stream.frames, stream.end) };
    let expected = match frame.kind {
        FrameKind::Ping => (FrameKind::Pong, &frame.payload[..]),
        FrameKind::Goodbye => (FrameKind::Goodbye, &frame.payload[..frame.payload.len().min(2)]),
        FrameKind::Data | FrameKind::Beat | FrameKind::Pong => (frame.kind, &frame.payload[..]),
    };
    assert_eq!((again.kind, &again.payload[..]), expected);
}

/// A server's frame as a client would send it.
fn with_mask(frame: &[u8]) -> Vec<u8> {
    let header = match frame[1] {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    let mask = [0xA5, 0, 0x5A, 0xFF];
    let mut masked = frame[..header].to_vec();
    masked[1] |= 0x80;
    masked.extend_from_slice(&mask);
    masked.extend(frame[header..].iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    masked
}

/// Frames of a client: each has its first byte, its length and its payload from the input.
fn masked_frames(input: &mut Input) -> Vec<u8> {
    let mut stream = Vec::new();
    while !input.is_empty() {
        let (first, length) = (input.byte(), input.byte());
        let mut frame = vec![first];
        match length {
            0..=125 => frame.push(length),
            long => frame.extend([126, 0, long]),
        }
        frame.extend(input.take(usize::from(length)));
        stream.extend(with_mask(&frame));
    }
    stream
}
