//! The HTTP request that a WebSocket begins with (RFC 6455, section 4.2).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use sha1::{Digest, Sha1};

/// Header lines of a request: browsers send about 20.
const HEADERS_MAX: usize = 64;

/// What RFC 6455 appends to a client's key.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The head of an HTTP request.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The method, `GET` for a WebSocket.
    pub method: &'a str,
    /// The path with its query.
    pub path: &'a str,
    /// What a WebSocket's opening is proved by.
    key: Option<&'a str>,
}

impl<'a> Request<'a> {
    /// Reads the head of a request, up to its empty line.
    pub fn parse(head: &'a [u8]) -> Option<Self> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut headers);
        if !request.parse(head).ok()?.is_complete() {
            return None;
        }
        let (method, path) = (request.method?, request.path?);
        let key = (method == "GET").then(|| upgrade_key(request.headers)).flatten();
        Some(Self { method, path, key })
    }

    /// Whether it asks for a WebSocket, in the one version that there is (13).
    pub const fn is_upgrade(&self) -> bool {
        self.key.is_some()
    }

    /// The answer that opens the WebSocket; `None` if that is not what was asked for.
    pub fn accept(&self) -> Option<Bytes> {
        let digest = Sha1::new().chain_update(self.key?).chain_update(GUID).finalize();
        let proof = STANDARD.encode(digest);
        Some(Bytes::from(format!(
            "HTTP/1.1 101 Switching Protocols\r\n\
             Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {proof}\r\n\r\n"
        )))
    }
}

fn upgrade_key<'a>(headers: &[httparse::Header<'a>]) -> Option<&'a str> {
    let find = |name: &str| {
        let header = headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(header.value).ok().map(str::trim)
    };
    let has = |name: &str, token: &str| {
        find(name).is_some_and(|value| value.split(',').any(|word| word.trim().eq_ignore_ascii_case(token)))
    };
    let asked = has("Upgrade", "websocket")
        && has("Connection", "upgrade")
        && find("Sec-WebSocket-Version") == Some("13");
    // 16 random bytes in base64.
    find("Sec-WebSocket-Key").filter(|key| asked && STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == 16))
}
