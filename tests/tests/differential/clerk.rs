//! The handler: it does what the devices tell it and writes down everything that it is told.
//!
//! `echo TEXT` answers with TEXT; `flood BYTES` sends so many at once; `dead MILLISECONDS` negotiates a deadline; `claim NAME` claims
//! an identity; `close` closes; `last word` has the name of the cause sent as a last word. Any other line is only noted.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use heartring_core::{Closed, Completion, Conn, ConnId, Handler};
use heartring_tests::pattern;

use super::tale::Event;
use super::talk::Talk;

/// See the module's own text. Connections are known by their number in the run.
#[derive(Default)]
pub(crate) struct Clerk {
    /// Clients that have connected and were not yet accepted.
    coming: HashMap<SocketAddr, usize>,
    numbers: HashMap<ConnId, usize>,
    accounts: Vec<Account>,
}

/// What is known of one connection.
#[derive(Clone, Default)]
pub(crate) struct Account {
    /// What the handler was told.
    pub(crate) events: Vec<Event>,
    /// Bytes that the backend delivered, whole frames or not.
    pub(crate) heard: usize,
    /// Bytes that the backend reported as sent.
    pub(crate) sent: usize,
    has_last_word: bool,
}

impl Clerk {
    pub(crate) fn new(conns: usize) -> Self {
        Self { accounts: vec![Account::default(); conns], ..Self::default() }
    }

    /// The client at `addr` is connection `number`.
    pub(crate) fn expect(&mut self, addr: SocketAddr, number: usize) {
        let before = self.coming.insert(addr, number);
        assert_eq!(before, None, "two clients connect from {addr} at once");
    }

    pub(crate) fn account(&self, number: usize) -> &Account {
        &self.accounts[number]
    }

    /// Counts what the handler is not told. To be called before the shard takes the completion in.
    pub(crate) fn weigh(&mut self, completion: &Completion<'_>) {
        if let Completion::Received { conn, bytes } = completion {
            self.account_of(*conn).heard += bytes.len();
        } else if let Completion::Sent { conn, result: Ok(count), .. } = completion {
            self.account_of(*conn).sent += count;
        }
    }

    fn account_of(&mut self, conn: ConnId) -> &mut Account {
        &mut self.accounts[self.numbers[&conn]]
    }

    fn note(&mut self, conn: &Conn<'_>, event: Event) {
        self.account_of(conn.id()).events.push(event);
    }

    /// Does what a line says, and notes what core declines to do.
    fn obey(&mut self, conn: &mut Conn<'_>, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let number = || rest.parse().expect("a script writes a number here");
        let declined = match verb {
            "echo" => conn.send([rest.as_bytes(), b"\n"].concat().into()).is_err(),
            "flood" => conn.send(Bytes::from(pattern(number()))).is_err(),
            "dead" => conn.set_dead_within(Duration::from_millis(number() as u64)).is_err(),
            "claim" => conn.claim(rest.as_bytes()).is_err(),
            _ => false,
        };
        match &*line {
            "close" => conn.close(),
            "last word" => self.account_of(conn.id()).has_last_word = true,
            _ => {}
        }
        if declined {
            self.note(conn, Event::Declined);
        }
    }
}

impl Handler for Clerk {
    type Protocol = Talk;

    fn opened(&mut self, conn: &mut Conn<'_>) {
        let number = self.coming.remove(&conn.peer()).expect("every client is a script's");
        self.numbers.insert(conn.id(), number);
        self.note(conn, Event::Opened);
    }

    fn received(&mut self, conn: &mut Conn<'_>, line: &[u8]) {
        self.note(conn, Event::Received(line.to_vec()));
        self.obey(conn, line);
    }

    fn overdue(&mut self, conn: &mut Conn<'_>) {
        self.note(conn, Event::Overdue);
    }

    fn claimed(&mut self, conn: &mut Conn<'_>, epoch: u64) {
        self.note(conn, Event::Claimed(epoch));
    }

    fn closing(&mut self, conn: &mut Conn<'_>, closed: &Closed) {
        self.note(conn, Event::Closing(closed.cause));
        if self.account_of(conn.id()).has_last_word {
            // Where nothing can be sent any more, the peer reads nothing, and that is compared.
            let _ = conn.send(format!("{}\n", closed.cause.name()).into());
        }
    }

    fn late(&mut self, conn: &mut Conn<'_>, line: &[u8]) {
        self.note(conn, Event::Late(line.to_vec()));
    }

    fn writable(&mut self, conn: &mut Conn<'_>) {
        self.note(conn, Event::Writable);
    }

    fn closed(&mut self, conn: &mut Conn<'_>, closed: &Closed) {
        self.note(conn, Event::Closed { cause: closed.cause, late_bytes: closed.late_bytes });
    }
}
