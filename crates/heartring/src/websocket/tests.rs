use super::*;

fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xFA, 0x21, 0x3D];
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..=125 => frame.push(0x80 | length as u8),
        length @ 126..=0xFFFF => {
            frame.push(0x80 | 126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// Decodes a stream that arrives in pieces of `piece` bytes.
fn decode(
    session: &mut Session,
    stream: &[u8],
    piece: usize,
) -> Result<Vec<(FrameKind, Vec<u8>)>, &'static str> {
    let protocol = WebSocket::<{ 64 << 10 }>;
    let (mut frames, mut waiting, mut seen) = (Vec::new(), Vec::new(), 0);
    for piece in stream.chunks(piece) {
        waiting.extend_from_slice(piece);
        while !waiting.is_empty() {
            match protocol.decode(session, &waiting, seen) {
                Decoded::Frame { kind, payload, used } => {
                    frames.push((kind, payload.to_vec()));
                    waiting.drain(..used);
                    seen = 0;
                }
                Decoded::Partial { needed } => {
                    assert!(needed > waiting.len());
                    seen = waiting.len();
                    break;
                }
                Decoded::Invalid(why) => return Err(why),
            }
        }
    }
    Ok(frames)
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

#[test]
fn a_request_that_lacks_anything_is_no_upgrade() {
    let text = std::str::from_utf8(REQUEST).unwrap();
    for (from, to) in [
        ("GET", "POST"),
        ("Version: 13", "Version: 8"),
        ("WebSocket\r\n", "h2c\r\n"),
        ("keep-alive, Upgrade", "keep-alive"),
        ("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ="),
    ] {
        let changed = text.replace(from, to);
        let request = Request::parse(changed.as_bytes()).unwrap();
        assert!(!request.is_upgrade() && request.accept().is_none(), "{changed}");
    }
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
fn what_the_rfc_forbids_is_refused() {
    let oversized = [masked(0x02, &vec![0; 40 << 10]), masked(0x80, &vec![0; 40 << 10])].concat();
    let cases: [(Vec<u8>, &str); 12] = [
        (vec![0x81, 0x05, 0, 0, 0, 0], "mask"),
        (masked(0xC1, b""), "reserved"),
        (masked(0x83, b""), "unknown"),
        (masked(0x09, b""), "control"),
        (masked(0x89, &[0; 126]), "control"),
        (masked(0x80, b"x"), "continuation"),
        ([masked(0x01, b"x"), masked(0x81, b"y")].concat(), "inside"),
        (masked(0x81, b"\xFF"), "UTF-8"),
        (masked(0x88, &[3]), "close"),
        (masked(0x88, &1005_u16.to_be_bytes()), "close"),
        (vec![0x82, 0xFE, 0, 5, 0, 0, 0, 0], "length"),
        (oversized, "limit"),
    ];
    for (stream, why) in cases {
        let refused = decode(&mut open(), &stream, stream.len()).unwrap_err();
        assert!(refused.contains(why), "{refused} for {why}");
    }
    assert_eq!(decode(&mut Session::default(), b"\x16\x03\x01 TLS\r\n\r\n", 100), Err("not an HTTP request"));
}

#[test]
fn a_close_is_answered_with_its_code() {
    let stream = masked(0x88, &[&1000_u16.to_be_bytes()[..], b"bye"].concat());
    let frames = decode(&mut open(), &stream, 1).unwrap();
    let [(FrameKind::Goodbye, payload)] = &frames[..] else { panic!("{frames:?}") };
    let answer = WebSocket::<1024>.goodbye(payload).unwrap();
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
