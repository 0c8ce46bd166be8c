//! A handler that writes down everything it is told, and does what a test asks of it.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::net::SocketAddr;

use bytes::Bytes;
use heartring_core::{Closed, Conn, ConnId, Conns, Handler, Instant, Protocol};

/// One call of a handler method.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Told {
    Opened,
    Received(Vec<u8>),
    Overdue,
    Claimed(u64),
    Closing,
    Late(Vec<u8>),
    Writable,
    Closed(Box<Closed>),
}

impl Told {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Received(_) => "received",
            Self::Overdue => "overdue",
            Self::Claimed(_) => "claimed",
            Self::Closing => "closing",
            Self::Late(_) => "late",
            Self::Writable => "writable",
            Self::Closed(_) => "closed",
        }
    }
}

/// What a test does inside a handler method, after it was written down.
pub(crate) type Act = Box<dyn FnMut(&mut Conn<'_>, &Told)>;

/// What a test does inside `tick`.
pub(crate) type TickAct = Box<dyn FnMut(&mut Conns<'_>)>;

/// See the module's own text.
pub(crate) struct Recorder<P> {
    pub(crate) log: Vec<(Instant, ConnId, Told)>,
    pub(crate) ticks: Vec<Instant>,
    pub(crate) messages: Vec<Bytes>,
    /// Who is who, the last connection of an address.
    pub(crate) by_peer: BTreeMap<SocketAddr, ConnId>,
    pub(crate) act: Act,
    pub(crate) act_on_tick: TickAct,
    protocol: PhantomData<P>,
}

impl<P> Default for Recorder<P> {
    fn default() -> Self {
        Self {
            log: Vec::new(),
            ticks: Vec::new(),
            messages: Vec::new(),
            by_peer: BTreeMap::new(),
            act: Box::new(|_, _| ()),
            act_on_tick: Box::new(|_| ()),
            protocol: PhantomData,
        }
    }
}

impl<P> Recorder<P> {
    fn note(&mut self, conn: &mut Conn<'_>, told: Told) {
        (self.act)(conn, &told);
        self.log.push((conn.now(), conn.id(), told));
    }

    /// What the handler was told about one connection, in order.
    pub(crate) fn of(&self, conn: ConnId) -> impl Iterator<Item = (Instant, &Told)> {
        self.log.iter().filter(move |(_, id, _)| *id == conn).map(|(at, _, told)| (*at, told))
    }

    /// The ends of all connections.
    pub(crate) fn ends(&self) -> impl Iterator<Item = &Closed> {
        self.log.iter().filter_map(|(_, _, told)| match told {
            Told::Closed(closed) => Some(&**closed),
            Told::Opened
            | Told::Received(_)
            | Told::Overdue
            | Told::Claimed(_)
            | Told::Closing
            | Told::Late(_)
            | Told::Writable => None,
        })
    }

    /// Exactly one `opened` and one `closed` per connection, the one first, the other last.
    pub(crate) fn assert_each_life_is_whole(&self) {
        let mut lives: BTreeMap<ConnId, Vec<&Told>> = BTreeMap::new();
        for (_, id, told) in &self.log {
            lives.entry(*id).or_default().push(told);
        }
        for (id, life) in lives {
            let count = |name| life.iter().filter(|told| told.name() == name).count();
            assert_eq!((count("opened"), count("closed")), (1, 1), "{id}: {life:?}");
            assert_eq!(life.first().map(|told| told.name()), Some("opened"), "{id}: {life:?}");
            assert_eq!(life.last().map(|told| told.name()), Some("closed"), "{id}: {life:?}");
        }
    }
}

impl<P: Protocol + Default> Handler for Recorder<P> {
    type Protocol = P;

    fn opened(&mut self, conn: &mut Conn<'_>) {
        self.by_peer.insert(conn.peer(), conn.id());
        self.note(conn, Told::Opened);
    }

    fn received(&mut self, conn: &mut Conn<'_>, frame: &[u8]) {
        self.note(conn, Told::Received(frame.to_vec()));
    }

    fn overdue(&mut self, conn: &mut Conn<'_>) {
        self.note(conn, Told::Overdue);
    }

    fn claimed(&mut self, conn: &mut Conn<'_>, epoch: u64) {
        self.note(conn, Told::Claimed(epoch));
    }

    fn closing(&mut self, conn: &mut Conn<'_>, _closed: &Closed) {
        let announced = self.of(conn.id()).any(|(_, told)| *told == Told::Closing);
        assert!(!announced, "{}: closing a second time", conn.id());
        self.note(conn, Told::Closing);
    }

    fn late(&mut self, conn: &mut Conn<'_>, frame: &[u8]) {
        self.note(conn, Told::Late(frame.to_vec()));
    }

    fn writable(&mut self, conn: &mut Conn<'_>) {
        self.note(conn, Told::Writable);
    }

    fn closed(&mut self, conn: &mut Conn<'_>, closed: &Closed) {
        let announced = |(_, id, told): &(Instant, ConnId, Told)| *id == conn.id() && *told == Told::Closing;
        assert!(self.log.iter().any(announced), "{}: closed without closing", conn.id());
        // Kept only where a grace period lies between the two.
        self.log.pop_if(|entry| announced(entry) && entry.0 == conn.now());
        self.note(conn, Told::Closed(Box::new(*closed)));
    }

    fn message(&mut self, _conns: &mut Conns<'_>, message: Bytes) {
        self.messages.push(message);
    }

    fn tick(&mut self, conns: &mut Conns<'_>) {
        self.ticks.push(conns.now());
        (self.act_on_tick)(conns);
    }
}
