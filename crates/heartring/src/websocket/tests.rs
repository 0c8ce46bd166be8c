use heartring_core::Cause;
use proptest::prelude::*;

use super::*;

fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xFA, 0x21, 0x3D];
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..=125 => frame.push(0x80 | length as u8),
        length @ 126..=0xFFFF => {
            frame.push(0x80 + 126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 + 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// Decodes a stream that arrives in pieces which end at `cuts`, as a shard does.
fn decode_cut(
    session: &mut Session,
    stream: &[u8],
    cuts: impl Iterator<Item = usize>,
) -> Result<Vec<(FrameKind, Vec<u8>)>, &'static str> {
    let protocol = WebSocket::<{ 64 << 10 }>::default();
    let (mut frames, mut done, mut seen) = (Vec::new(), 0, 0);
    for end in cuts.chain([stream.len()]) {
        while done < end {
            let waiting = &stream[done..end];
            match protocol.decode(session, waiting, seen) {
                Decoded::Frame { kind, payload, used } => {
                    frames.push((kind, payload.to_vec()));
                    (done, seen) = (done + used, 0);
                }
                TOO_LARGE => return Err("too large"),
                Decoded::Partial { needed } => {
                    assert!(needed > waiting.len());
                    seen = waiting.len();
                    break;
                }
                Decoded::Invalid(why) => return Err(why),
            }
        }
        protocol.tidy(session);
        assert!(session.phase != Phase::Idle || session.buffer.capacity() == 0, "idle, and holds a buffer");
    }
    Ok(frames)
}

/// Decodes a stream that arrives in pieces of `piece` bytes.
fn decode(
    session: &mut Session,
    stream: &[u8],
    piece: usize,
) -> Result<Vec<(FrameKind, Vec<u8>)>, &'static str> {
    decode_cut(session, stream, (0..stream.len()).step_by(piece))
}

fn open() -> Session {
    Session { phase: Phase::Idle, ..Session::default() }
}

const REQUEST: &[u8] = b"GET /game?room=1 HTTP/1.1\r\nHost: localhost\r\nupgrade: WebSocket\r\n\
Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

#[test]
fn the_example_of_the_rfc_is_accepted_as_it_says() {
    let request = Request::parse(REQUEST).unwrap();
    assert_eq!((request.method, request.path), ("GET", "/game?room=1"));
    let answer = request.accept().unwrap();
    assert!(answer.ends_with(b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"), "{answer:?}");
}

fn changed(from: &str, to: &str) -> String {
    let text = std::str::from_utf8(REQUEST).unwrap();
    assert!(text.contains(from));
    text.replace(from, to)
}

#[test]
fn a_request_that_lacks_anything_is_no_upgrade() {
    for (from, to) in [
        ("GET", "POST"),
        ("HTTP/1.1", "HTTP/1.0"),
        ("Host: localhost\r\n", ""),
        ("Version: 13", "Version: 8"),
        ("Version: 13", "Version: 13\r\nSec-WebSocket-Version: 8"),
        ("WebSocket\r\n", "h2c\r\n"),
        ("keep-alive, Upgrade", "keep-alive"),
        ("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ="),
        (
            "dGhlIHNhbXBsZSBub25jZQ==",
            "dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        ),
    ] {
        let text = changed(from, to);
        let request = Request::parse(text.as_bytes()).unwrap();
        assert!(!request.is_upgrade() && request.accept().is_none(), "{text}");
    }
}

#[test]
fn lists_may_be_one_line_or_several() {
    for (from, to) in [
        ("keep-alive, Upgrade", "keep-alive\r\nConnection: upgrade"),
        ("keep-alive, Upgrade", "UPGRADE ,keep-alive"),
        ("upgrade: WebSocket", "Upgrade: h2c\r\nUpgrade: other, websocket"),
    ] {
        let text = changed(from, to);
        assert!(Request::parse(text.as_bytes()).unwrap().is_upgrade(), "{text}");
    }
}

#[test]
fn headers_are_found_whatever_their_case_and_a_hidden_request_is_refused() {
    let request = Request::parse(REQUEST).unwrap();
    assert_eq!((request.header("HOST"), request.header("Origin")), (Some("localhost"), None));
    assert!(Request::parse(b"GET / HTTP/1.1\n\nGET /hidden HTTP/1.1\r\n\r\n").is_none());
    let crowded = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(65));
    assert!(Request::parse(crowded.as_bytes()).is_none());
}

#[test]
fn requests_come_first_and_messages_after_the_upgrade() {
    let page = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let stream = [&page[..], REQUEST, &masked(0x81, b"hello")].concat();
    for piece in [1, 2, 3, 50, stream.len()] {
        let frames = decode(&mut Session::default(), &stream, piece).unwrap();
        let payloads: Vec<_> = frames.iter().map(|(_, payload)| &payload[..]).collect();
        assert_eq!(payloads, [&page[..], REQUEST, b"hello"], "pieces of {piece}");
    }
}

#[test]
fn fragments_are_put_together_and_pings_may_come_between() {
    let long = vec![b'x'; 300];
    let stream =
        [masked(0x01, b"Hel"), masked(0x89, b"ping"), masked(0x80, b"lo"), masked(0x82, &long)].concat();
    for piece in [1, 5, stream.len()] {
        let frames = decode(&mut open(), &stream, piece).unwrap();
        let expected = [
            (FrameKind::Beat, b"".to_vec()),
            (FrameKind::Ping, b"ping".to_vec()),
            (FrameKind::Data, b"Hello".to_vec()),
            (FrameKind::Data, long.clone()),
        ];
        assert_eq!(frames, expected, "pieces of {piece}");
    }
}

#[test]
fn a_control_frame_leaves_the_message_that_it_interrupts_as_it_was() {
    let stream =
        [masked(0x01, b"a"), masked(0x8A, b"late pong"), masked(0x00, b""), masked(0x80, b"b")].concat();
    let frames = decode(&mut open(), &stream, 4).unwrap();
    assert_eq!(frames[1], (FrameKind::Pong, b"late pong".to_vec()));
    assert_eq!(frames.last(), Some(&(FrameKind::Data, b"ab".to_vec())));
    let stream = [masked(0x01, b"unfinished"), masked(0x88, &1001_u16.to_be_bytes())].concat();
    let frames = decode(&mut open(), &stream, stream.len()).unwrap();
    assert_eq!(frames.last(), Some(&(FrameKind::Goodbye, vec![0x03, 0xE9])));
}

#[test]
fn what_the_rfc_forbids_is_refused() {
    let cases: [(Vec<u8>, &str); 18] = [
        (vec![0x81, 0x05, 0, 0, 0, 0], "mask"),
        (masked(0xC1, b""), "reserved"),
        (masked(0xA1, b""), "reserved"),
        (masked(0x91, b""), "reserved"),
        (masked(0x83, b""), "unknown"),
        (masked(0x8B, b""), "unknown"),
        (masked(0x09, b""), "control"),
        (masked(0x89, &[0; 126]), "control"),
        (masked(0x80, b"x"), "continuation"),
        ([masked(0x01, b"x"), masked(0x80, b"x"), masked(0x80, b"x")].concat(), "continuation"),
        ([masked(0x01, b"x"), masked(0x81, b"y")].concat(), "inside"),
        ([masked(0x01, b"x"), masked(0x82, b"y")].concat(), "inside"),
        (masked(0x81, b"\xFF"), NOT_UTF8),
        // The halves of one character are fine, half a character is not.
        ([masked(0x01, b"\xC3"), masked(0x80, b"x")].concat(), NOT_UTF8),
        (masked(0x88, &[3]), "close"),
        (masked(0x88, &[0x03, 0xE8, 0xFF]), "close"),
        (vec![0x82, 0xFE, 0, 125, 0, 0, 0, 0], "length"),
        (vec![0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0, 0, 0, 0], "length"),
    ];
    for (stream, why) in cases {
        let refused = decode(&mut open(), &stream, stream.len()).unwrap_err();
        assert!(refused.contains(why), "{refused} for {why}");
    }
    let endless = [&[0x82, 0xFF][..], &[0xFF; 8], &[0; 4]].concat();
    assert!(decode(&mut open(), &endless, 20).unwrap_err().contains("length"));
    assert_eq!(decode(&mut Session::default(), b"\x16\x03\x01 TLS\r\n\r\n", 100), Err("not an HTTP request"));
    let halves = [masked(0x01, b"\xC3"), masked(0x80, b"\xBC")].concat();
    assert_eq!(decode(&mut open(), &halves, 1).unwrap().last(), Some(&(FrameKind::Data, "ü".into())));
    assert!(decode(&mut open(), &masked(0x82, b"\xFF"), 1).is_ok(), "no text");
}

#[test]
fn a_message_above_the_limit_is_too_large_before_it_has_come() {
    let limit = 64 << 10;
    assert!(decode(&mut open(), &masked(0x82, &vec![0; limit]), 5000).is_ok());
    let announced = &masked(0x82, &vec![0; limit + 1])[..14];
    assert_eq!(decode(&mut open(), announced, 14), Err("too large"));
    let halves = |second| [masked(0x02, &vec![0; limit / 2]), masked(0x80, &vec![0; second])].concat();
    assert!(decode(&mut open(), &halves(limit / 2), 5000).is_ok());
    assert_eq!(decode(&mut open(), &halves(limit / 2 + 1), 5000), Err("too large"));
    let enormous = [&[0x82, 0xFF, 0x7F][..], &[0xFF; 7], &[0; 4]].concat();
    assert_eq!(decode(&mut open(), &enormous, 14), Err("too large"));
}

#[test]
fn a_ping_of_ours_waits_for_the_upgrade() {
    let protocol = WebSocket::<1024>::default();
    assert_eq!(protocol.ping(&Session::default()), None);
    assert_eq!(protocol.ping(&open()).as_deref(), Some(&[0x89, 0][..]));
}

#[test]
fn the_codes_of_a_close_are_those_of_the_rfc() {
    let code = |code: u16| decode(&mut open(), &masked(0x88, &code.to_be_bytes()), 8);
    for valid in [1000, 1003, 1007, 1011, 1014, 3000, 4999] {
        assert!(code(valid).is_ok(), "{valid}");
    }
    for invalid in [0, 999, 1004, 1005, 1006, 1015, 2999, 5000] {
        assert!(code(invalid).is_err(), "{invalid}");
    }
    assert!(decode(&mut open(), &masked(0x88, b""), 8).is_ok());
}

#[test]
fn a_farewell_says_why_and_not_twice() {
    let code = |cause| farewell(&cause).map(|frame| u16::from_be_bytes([frame[2], frame[3]]));
    assert_eq!(code(Cause::PeerClosed), None);
    assert_eq!(code(Cause::Draining), Some(1001));
    assert_eq!(code(Cause::Protocol("whatever")), Some(1002));
    assert_eq!(code(Cause::Protocol(NOT_UTF8)), Some(1007));
    assert_eq!(code(Cause::TooLarge), Some(1009));
    assert_eq!(code(Cause::Superseded { by: 2 }), Some(4000));
}

#[test]
fn a_close_is_answered_with_its_code() {
    let stream = masked(0x88, &[&1000_u16.to_be_bytes()[..], b"bye"].concat());
    let frames = decode(&mut open(), &stream, 1).unwrap();
    let [(FrameKind::Goodbye, payload)] = &frames[..] else { panic!("{frames:?}") };
    let answer = WebSocket::<1024>::default().goodbye(payload).unwrap();
    assert_eq!(answer[..], [0x88, 2, 0x03, 0xE8]);
}

#[test]
fn what_we_send_has_the_shortest_length() {
    for (length, header) in [(125, 2), (126, 4), (0xFFFF, 4), (0x1_0000, 10)] {
        assert_eq!(binary(&vec![0; length]).len(), length + header);
    }
    assert_eq!(text("hi")[..], [0x81, 2, b'h', b'i']);
    let long = close(4000, &"ü".repeat(100));
    assert!(long.len() <= 127 && std::str::from_utf8(&long[4..]).is_ok());
}

proptest! {
    /// Whatever a client sends, in whatever pieces it comes: each message arrives as it was before it was masked.
    #[test]
    fn messages_arrive_whole_however_they_are_cut(
        messages in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..300), 1..4_usize), 1..5),
        mut cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let mut stream = REQUEST.to_vec();
        for (message, fragments) in &messages {
            let mut pieces = message.chunks(message.len().div_ceil(*fragments).max(1)).peekable();
            let mut opcode = 0x02;
            stream.extend(masked(0x89, b"between"));
            loop {
                let piece = pieces.next().unwrap_or_default();
                let is_final = pieces.peek().is_none();
                stream.extend(masked(opcode | if is_final { 0x80 } else { 0 }, piece));
                stream.extend(masked(0x8A, b""));
                if is_final {
                    break;
                }
                opcode = 0;
            }
        }
        cuts.sort_by_key(|cut| cut.index(stream.len()));
        let cuts = cuts.iter().map(|cut| cut.index(stream.len()));
        let frames = decode_cut(&mut Session::default(), &stream, cuts).unwrap();
        let data: Vec<_> = frames.into_iter().filter(|(kind, _)| *kind == FrameKind::Data).collect();
        let arrived: Vec<_> = data[1..].iter().map(|(_, payload)| payload).collect();
        let sent: Vec<_> = messages.iter().map(|(message, _)| message).collect();
        prop_assert_eq!(arrived, sent);
    }

    /// Nothing that comes over the wire makes the decoder panic or take more than there is.
    #[test]
    fn garbage_is_decoded_or_refused(input in prop::collection::vec(any::<u8>(), 0..80)) {
        for session in [Session::default(), open(), Session { phase: Phase::Message { is_text: true, bytes: 0 }, ..open() }] {
            let _ = decode(&mut { session }, &input, 7);
        }
    }
}
