//! Packets as bytes, for what no client would say, and for more clients than there can be processes.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

pub(crate) const PINGREQ: &[u8] = b"\xC0\0";
pub(crate) const PINGRESP: &[u8] = b"\xD0\0";
pub(crate) const DISCONNECT: &[u8] = b"\xE0\0";

/// A connection that says what a test says.
pub(crate) struct Raw(TcpStream);

impl Raw {
    pub(crate) fn connect(gateway: SocketAddr) -> Self {
        Self::from_stream(TcpStream::connect(gateway).expect("it listens"))
    }

    pub(crate) fn from_stream(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a read can have a bound");
        Self(stream)
    }

    /// A client that is let in, and the body of its CONNACK.
    pub(crate) fn let_in(gateway: SocketAddr, connect: &[u8]) -> (Self, Vec<u8>) {
        let mut raw = Self::connect(gateway);
        raw.say(connect);
        let [kind, length] = raw.read();
        assert_eq!(kind, 0x20, "CONNACK");
        let mut body = vec![0; length.into()];
        raw.0.read_exact(&mut body).expect("the rest of it");
        (raw, body)
    }

    pub(crate) fn say(&mut self, bytes: &[u8]) {
        self.try_say(bytes).expect("the connection is open");
    }

    pub(crate) fn try_say(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.write_all(bytes)
    }

    /// Says no more.
    pub(crate) fn fin(&self) -> std::io::Result<()> {
        self.0.shutdown(Shutdown::Write)
    }

    /// The next bytes.
    pub(crate) fn read<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.read_exact(&mut bytes).expect("an answer");
        bytes
    }

    /// Asserts that these bytes come next.
    pub(crate) fn hear(&mut self, bytes: &[u8]) {
        let mut heard = vec![0; bytes.len()];
        self.0.read_exact(&mut heard).expect("an answer");
        assert_eq!(heard, bytes);
    }

    /// What comes until the gateway closes, be it in order or, for whom it does not wait, with a reset.
    pub(crate) fn last_words(mut self) -> Vec<u8> {
        let mut words = Vec::new();
        match self.0.read_to_end(&mut words) {
            Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error} after {words:x?}"),
            Ok(_) | Err(_) => words,
        }
    }
}

/// A packet with a body of these parts.
pub(crate) fn packet(header: u8, body: &[&[u8]]) -> Vec<u8> {
    let body = body.concat();
    let mut packet = vec![header];
    let mut length = body.len();
    while length > 0x7F {
        packet.push(length as u8 | 0x80);
        length >>= 7;
    }
    packet.push(length as u8);
    packet.extend(body);
    packet
}

/// A string with its length.
pub(crate) fn text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("a short string").to_be_bytes();
    [&length, text.as_bytes()].concat()
}

/// CONNECT with a clean start, and with `more` flags and what belongs to them.
pub(crate) fn connect_with(version: u8, id: &str, keep_alive: u16, flags: u8, more: &[u8]) -> Vec<u8> {
    let props: &[u8] = if version == 5 { b"\0" } else { b"" };
    packet(0x10, &[b"\0\x04MQTT", &[version, flags], &keep_alive.to_be_bytes(), props, &text(id), more])
}

/// CONNECT of 5.0 with properties.
pub(crate) fn connect_v5(id: &str, props: &[u8]) -> Vec<u8> {
    packet(0x10, &[b"\0\x04MQTT\x05\x02\0\x3C", &[props.len() as u8], props, &text(id)])
}

/// CONNECT with a clean start.
pub(crate) fn connect(version: u8, id: &str, keep_alive: u16) -> Vec<u8> {
    connect_with(version, id, keep_alive, 2, b"")
}
