//! The handler of every shard: it does what the clients' lines say, and writes everything down.
//!
//! A client says `i am <client> <identity>` to claim, and after it notes, numbered from zero: `<number>`, or
//! `<number> to <identity>`, `<number> post <shard>`, `<number> bye`.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use heartring_core::{Closed, Conn, ConnAt, Conns, Handler, Lines, ShardId};

use crate::history::{History, Told};

/// See the module's own text.
pub(crate) struct Villager {
    pub(crate) history: Rc<RefCell<History>>,
    /// Messages that were posted to each shard.
    posted: Vec<u64>,
    shard: ShardId,
}

impl Villager {
    pub(crate) fn new(history: &Rc<RefCell<History>>, shard: ShardId, shards: usize) -> Self {
        Self { history: Rc::clone(history), posted: vec![0; shards], shard }
    }

    fn note(&self, at: ConnAt, told: Told) {
        self.history.borrow_mut().note(at, told);
    }

    fn claim(&self, conn: &mut Conn<'_>, words: &[&str]) {
        let &[client, identity, ..] = words else { panic!("a claim without an identity: {words:?}") };
        let client = client.parse().expect("clients are numbered");
        self.note(conn.at(), Told::Asked { client, identity: identity.to_owned() });
        conn.claim(identity.as_bytes()).expect("a client claims once, and while it lives");
        if words.last() == Some(&"close") {
            conn.close();
        }
    }

    fn obey(&mut self, conn: &mut Conn<'_>, words: &[&str]) {
        match words {
            ["to", identity] => {
                let number = self.history.borrow_mut().forwarded(identity);
                let payload = format!("for {identity} {number}\n");
                conn.conns().send_to(identity.as_bytes(), payload.into());
            }
            ["post", shard] => {
                let to: u16 = shard.parse().expect("shards are numbered");
                let number = self.posted[usize::from(to)];
                let message = format!("{} {to} {number}", self.shard);
                if conn.conns().post(ShardId(to), message.into()).is_ok() {
                    self.posted[usize::from(to)] += 1;
                    self.history.borrow_mut().messages_posted += 1;
                }
            }
            ["bye"] => conn.close(),
            _ => {}
        }
    }
}

impl Handler for Villager {
    type Protocol = Lines;

    fn opened(&mut self, conn: &mut Conn<'_>) {
        self.note(conn.at(), Told::Opened);
    }

    fn received(&mut self, conn: &mut Conn<'_>, frame: &[u8]) {
        let line = str::from_utf8(frame).expect("clients write text");
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["i", "am", rest @ ..] => self.claim(conn, rest),
            [number, rest @ ..] => {
                self.note(conn.at(), Told::Received(number.parse().expect("notes are numbered")));
                self.obey(conn, rest);
            }
            [] => {}
        }
    }

    fn claimed(&mut self, conn: &mut Conn<'_>, epoch: u64) {
        assert_eq!(conn.epoch(), Some(epoch));
        self.note(conn.at(), Told::Claimed(epoch));
        conn.send_copy(format!("claimed {epoch}\n").as_bytes()).expect("the first thing that is sent fits");
    }

    fn overdue(&mut self, conn: &mut Conn<'_>) {
        self.note(conn.at(), Told::Overdue);
    }

    fn late(&mut self, conn: &mut Conn<'_>, _frame: &[u8]) {
        self.note(conn.at(), Told::Late);
    }

    fn closing(&mut self, conn: &mut Conn<'_>, closed: &Closed) {
        self.note(conn.at(), Told::Closing(closed.cause));
        let _ = conn.send_copy(b"last word\n");
        assert!(conn.claim(b"another").is_err(), "it ends");
    }

    fn closed(&mut self, conn: &mut Conn<'_>, closed: &Closed) {
        self.note(conn.at(), Told::Closed(closed.cause));
        assert!(conn.send_copy(b"too late").is_err());
    }

    fn message(&mut self, _conns: &mut Conns<'_>, message: Bytes) {
        let text = str::from_utf8(&message).expect("villagers write text");
        let numbers: Vec<u64> = text.split(' ').map(|word| word.parse().expect("a number")).collect();
        let &[from, to, number] = numbers.as_slice() else { panic!("not a message: {text}") };
        assert_eq!(to, u64::from(self.shard.0), "a message went astray");
        self.history.borrow_mut().message_came(from, to, number);
    }
}
