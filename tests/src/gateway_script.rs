//! The handler of a gateway under test: it notes everything and does what its devices and the test tell it.
//!
//! A device's frame may be an instruction: `echo TEXT` answers with a frame of TEXT; `flood` sends for ever, as much as the
//! queue takes; `dead MILLISECONDS` negotiates a deadline; `block MILLISECONDS` keeps the shard's thread away, and `hold` does
//! so until the test releases it; `close` closes. Any other frame is only noted.

use std::collections::BTreeSet;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use heartring::{
    Bytes, Closed, Conn, ConnId, Conns, Decoded, FrameKind, Handler, LengthPrefixed, Lines, Protocol,
};

use crate::gate::Gate;
use crate::gateway_log::{Event, Log};

/// Bytes of one payload of a flood.
const FLOOD_BYTES: usize = 16 * 1024;

/// A protocol whose frames the test can write.
pub trait Framing: Protocol + Default + Send + 'static {
    /// The bytes of a data frame.
    fn encode(body: &[u8]) -> Bytes;
}

impl Framing for Lines {
    fn encode(body: &[u8]) -> Bytes {
        [body, b"\n"].concat().into()
    }
}

impl Framing for LengthPrefixed {
    fn encode(body: &[u8]) -> Bytes {
        Self::encode(body)
    }
}

/// Lines with a ping: a connection whose beat is overdue is sent `ping` and may answer `pong`.
#[derive(Clone, Copy, Debug, Default)]
pub struct PingLines;

impl Protocol for PingLines {
    type State = ();

    fn decode<'a>(&self, state: &'a mut (), input: &'a [u8], seen: usize) -> Decoded<'a> {
        let mut decoded = Lines.decode(state, input, seen);
        if let Decoded::Frame { kind, payload, .. } = &mut decoded {
            match *payload {
                b"ping" => *kind = FrameKind::Ping,
                b"pong" => *kind = FrameKind::Pong,
                _ => {}
            }
        }
        decoded
    }

    fn ping(&self, _state: &()) -> Option<Bytes> {
        Some(Bytes::from_static(b"ping\n"))
    }

    fn pong(&self, _ping: &[u8]) -> Option<Bytes> {
        Some(Bytes::from_static(b"pong\n"))
    }
}

impl Framing for PingLines {
    fn encode(body: &[u8]) -> Bytes {
        Lines::encode(body)
    }
}

/// What the test wants done.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    /// To be sent, each to every connection, at the next tick.
    payloads: Mutex<Vec<Bytes>>,
    /// Where `hold` stands still.
    pub(crate) gate: Gate,
}

impl Orders {
    pub(crate) fn push(&self, payload: Bytes) {
        self.payloads.lock().unwrap_or_else(PoisonError::into_inner).push(payload);
    }

    fn take(&self) -> Vec<Bytes> {
        std::mem::take(&mut *self.payloads.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The handler: see the module's own text.
pub(crate) struct Script<P> {
    pub(crate) log: Arc<Log>,
    pub(crate) orders: Arc<Orders>,
    flooded: BTreeSet<ConnId>,
    protocol: PhantomData<P>,
}

impl<P: Framing> Script<P> {
    pub(crate) fn new(log: Arc<Log>, orders: Arc<Orders>) -> Self {
        Self { log, orders, flooded: BTreeSet::new(), protocol: PhantomData }
    }

    fn note(&self, conn: &Conn<'_>, event: Event) {
        self.log.note(conn.id(), conn.peer(), event);
    }

    fn obey(&mut self, conn: &mut Conn<'_>, frame: &[u8]) {
        let text = String::from_utf8_lossy(frame);
        let (verb, rest) = text.split_once(' ').unwrap_or((&text, ""));
        let millis = || Duration::from_millis(rest.parse().expect("a number of milliseconds"));
        match verb {
            "echo" => {
                // A device that asks and does not listen is another test's.
                let _ = conn.send(P::encode(rest.as_bytes()));
            }
            "flood" => {
                self.flooded.insert(conn.id());
                self.flood(conn);
            }
            "dead" => conn.set_dead_within(millis()).expect("a deadline within the bounds"),
            "block" => std::thread::sleep(millis()),
            "hold" => self.orders.gate.pass(),
            "close" => conn.close(),
            _ => {}
        }
    }

    fn flood(&mut self, conn: &mut Conn<'_>) {
        while conn.send(Bytes::from_static(&[b'f'; FLOOD_BYTES])).is_ok() {}
        self.note(conn, Event::Full);
    }
}

impl<P: Framing> Handler for Script<P> {
    type Protocol = P;

    fn opened(&mut self, conn: &mut Conn<'_>) {
        self.note(conn, Event::Opened);
    }

    fn received(&mut self, conn: &mut Conn<'_>, frame: &[u8]) {
        self.note(conn, Event::Received(frame.to_vec()));
        self.obey(conn, frame);
    }

    fn overdue(&mut self, conn: &mut Conn<'_>) {
        self.note(conn, Event::Overdue);
    }

    fn closing(&mut self, conn: &mut Conn<'_>, closed: &Closed) {
        self.note(conn, Event::Closing(closed.cause));
    }

    fn late(&mut self, conn: &mut Conn<'_>, frame: &[u8]) {
        self.note(conn, Event::Late(frame.to_vec()));
    }

    fn writable(&mut self, conn: &mut Conn<'_>) {
        if self.flooded.contains(&conn.id()) {
            self.flood(conn);
        }
    }

    fn closed(&mut self, conn: &mut Conn<'_>, closed: &Closed) {
        self.flooded.remove(&conn.id());
        self.note(conn, Event::Closed(*closed));
    }

    fn tick(&mut self, conns: &mut Conns<'_>) {
        self.log.note_tick();
        for payload in self.orders.take() {
            let ids: Vec<ConnId> = conns.ids().collect();
            for id in ids {
                // One that has just ended needs none.
                let _ = conns.send(id, payload.clone());
            }
        }
    }
}
