//! The handler: it notes what it is told, and does what the input says.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use heartring_core::{Closed, Conn, ConnId, Conns, Handler, Identity, Protocol, SendError, ShardId};

use super::lives::Lives;
use super::neighbour::{NAMES, here, there};
use crate::input::Input;

/// What the handler and its trial share.
pub(super) struct Stage<P: Protocol> {
    pub(super) input: Input,
    pub(super) lives: Lives<P>,
}

/// See the module's own text.
pub(super) struct Actor<P: Protocol> {
    pub(super) stage: Rc<RefCell<Stage<P>>>,
}

impl<P: Protocol + Default> Actor<P> {
    fn draw<T>(&self, draw: impl FnOnce(&mut Input) -> T) -> T {
        draw(&mut self.stage.borrow_mut().input)
    }

    fn note<T>(&self, note: impl FnOnce(&mut Lives<P>) -> T) -> T {
        note(&mut self.stage.borrow_mut().lives)
    }

    /// One of the things that a connection's handler can do.
    fn act(&self, conn: &mut Conn<'_>) {
        assert_eq!(conn.epoch(), self.note(|lives| lives.epoch(conn.id())), "{}", conn.id());
        self.act_once(conn);
        let queued = conn.queued_bytes();
        assert!(queued <= 100 && (queued <= 60 || conn.is_congested()), "{queued} bytes are queued");
    }

    fn act_once(&self, conn: &mut Conn<'_>) {
        match self.draw(|input| input.below(16)) {
            0..=5 => {}
            6 | 7 => _ = conn.send(self.payload()),
            8 => _ = conn.send_latest(self.payload()),
            9 => {
                for _ in 0..3 {
                    let _ = conn.send_copy(b"abc");
                }
            }
            10 | 11 => self.claim(conn),
            12 => self.negotiate(conn),
            13 => conn.close(),
            _ => self.act_on_others(&mut conn.conns()),
        }
    }

    fn payload(&self) -> Bytes {
        self.draw(|input| {
            let (letter, count) = (input.byte(), input.below(64));
            vec![letter; count].into()
        })
    }

    fn claim(&self, conn: &mut Conn<'_>) {
        let identity = match self.draw(|input| input.below(8)) {
            6 => Identity::new(b""),
            7 => Identity::new(b"12345"),
            nth if nth < NAMES.len() => here(nth),
            nth => there(nth - NAMES.len()),
        };
        if conn.claim(identity.as_bytes()).is_ok() {
            assert!((1..=4).contains(&identity.as_bytes().len()), "{identity}");
            self.note(|lives| lives.claims(conn.id(), identity));
        }
    }

    fn negotiate(&self, conn: &mut Conn<'_>) {
        let millis = self.draw(|input| input.choose(&[100, 99, 150, 1_000, 30_000, 3_600_000, 86_400_001]));
        let dead_within = Duration::from_millis(millis);
        if conn.set_dead_within(dead_within).is_ok() {
            self.note(|lives| lives.negotiated(conn.id(), dead_within));
        }
    }

    fn other(&self) -> ConnId {
        let nth = self.draw(Input::byte);
        self.note(|lives| lives.any(nth.into()))
    }

    fn act_on_others(&self, conns: &mut Conns<'_>) {
        match self.draw(|input| input.below(10)) {
            0 => {}
            1 => _ = conns.send(self.other(), self.payload()),
            2 => _ = conns.send_latest(self.other(), self.payload()),
            3 => conns.close(self.other()),
            4 => {
                let to = self.draw(|input| input.below(3)) as u16;
                let posted = conns.post(ShardId(to), self.payload());
                assert!(to < 2 || posted.is_err(), "there is no shard {to}");
            }
            5 => _ = conns.post_to_others(&self.payload()),
            6 | 7 => {
                let nth = self.draw(|input| input.below(2 * NAMES.len()));
                let identity = if nth < NAMES.len() { here(nth) } else { there(nth - NAMES.len()) };
                conns.send_to(identity.as_bytes(), self.payload());
            }
            _ => {
                let id = self.other();
                if let Some(mut conn) = conns.get(id) {
                    assert_eq!(conn.id(), id);
                    self.claim(&mut conn);
                }
            }
        }
    }
}

impl<P: Protocol + Default> Handler for Actor<P> {
    type Protocol = P;

    fn opened(&mut self, conn: &mut Conn<'_>) {
        self.note(|lives| lives.opened(conn.id(), conn.now()));
        self.act(conn);
    }

    fn received(&mut self, conn: &mut Conn<'_>, frame: &[u8]) {
        self.note(|lives| lives.received(conn.id(), conn.now(), frame));
        self.act(conn);
    }

    fn overdue(&mut self, conn: &mut Conn<'_>) {
        assert!(conn.is_overdue());
        self.note(|lives| lives.overdue(conn.id()));
        self.act(conn);
    }

    fn claimed(&mut self, conn: &mut Conn<'_>, epoch: u64) {
        self.note(|lives| lives.claimed(conn.id(), epoch));
        self.act(conn);
    }

    fn closing(&mut self, conn: &mut Conn<'_>, closed: &Closed) {
        self.note(|lives| lives.closing(conn.id(), conn.now(), closed));
        self.act_once(conn);
    }

    fn late(&mut self, conn: &mut Conn<'_>, frame: &[u8]) {
        self.note(|lives| lives.late(conn.id(), frame));
        assert_eq!(conn.send_copy(b"late"), Err(SendError::Closed));
        self.act(conn);
    }

    fn writable(&mut self, conn: &mut Conn<'_>) {
        assert!(!conn.is_congested());
        self.note(|lives| lives.writable(conn.id()));
        self.act(conn);
    }

    fn closed(&mut self, conn: &mut Conn<'_>, _closed: &Closed) {
        self.note(|lives| lives.closed(conn.id()));
        assert_eq!(conn.send_copy(b"too late"), Err(SendError::Closed));
        assert!(conn.claim(b"a").is_err());
        self.act_once(conn);
    }

    fn message(&mut self, conns: &mut Conns<'_>, _message: Bytes) {
        self.act_on_others(conns);
    }

    fn tick(&mut self, conns: &mut Conns<'_>) {
        self.act_on_others(conns);
    }
}
