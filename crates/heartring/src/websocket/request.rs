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
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The method, `GET` for a WebSocket.
    pub method: &'a str,
    /// The path with its query.
    pub path: &'a str,
    /// Of HTTP/1: 0 or 1.
    version: u8,
    headers: [httparse::Header<'a>; HEADERS_MAX],
}

impl<'a> Request<'a> {
    /// Reads the head of a request, up to and including its empty line.
    pub fn parse(head: &'a [u8]) -> Option<Self> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut headers);
        // One that ends before `head` does hides a second one behind bare line feeds.
        if request.parse(head).ok()? != httparse::Status::Complete(head.len()) {
            return None;
        }
        let (method, path, version) = (request.method?, request.path?, request.version?);
        Some(Self { method, path, version, headers })
    }

    /// The value of a header, `Origin` or `Cookie` for example; the first, if it comes more than once.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.values(name).next()
    }

    /// Whether it asks for a WebSocket, in the one version that there is (13).
    pub fn is_upgrade(&self) -> bool {
        self.key().is_some()
    }

    /// The answer that opens the WebSocket; `None` if that is not what was asked for.
    pub fn accept(&self) -> Option<Bytes> {
        let digest = Sha1::new().chain_update(self.key()?).chain_update(GUID).finalize();
        let proof = STANDARD.encode(digest);
        Some(Bytes::from(format!(
            "HTTP/1.1 101 Switching Protocols\r\n\
             Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {proof}\r\n\r\n"
        )))
    }

    /// What a WebSocket's opening is proved by: 16 random bytes in base64.
    fn key(&self) -> Option<&'a str> {
        let asked = self.method == "GET"
            && self.version == 1
            && self.only("Host").is_some()
            && self.lists("Upgrade", "websocket")
            && self.lists("Connection", "upgrade")
            && self.only("Sec-WebSocket-Version") == Some("13");
        let is_key = |key: &&str| STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == 16);
        self.only("Sec-WebSocket-Key").filter(is_key).filter(|_| asked)
    }

    /// The value of a header that must not come twice.
    fn only(&self, name: &str) -> Option<&'a str> {
        let mut values = self.values(name);
        values.next().filter(|_| values.next().is_none())
    }

    /// Whether a list has a word: lists may be one line or several.
    fn lists(&self, name: &str, word: &str) -> bool {
        let mut words = self.values(name).flat_map(|value| value.split(','));
        words.any(|listed| listed.trim().eq_ignore_ascii_case(word))
    }

    fn values(&self, name: &str) -> impl Iterator<Item = &'a str> {
        let named = self.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
        named.filter_map(|header| std::str::from_utf8(header.value).ok().map(str::trim))
    }
}
