//! The gateway's handler: a client's first line is its identity, and a book is kept of who claims and who holds what.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use heartring::{Closed, Conn, ConnAt, Handler, Identity, Lines};

/// What all shards write and the test reads, in the order in which it happens.
#[derive(Debug, Default)]
pub(crate) struct Book {
    conns: HashMap<ConnAt, Known>,
    /// Connections that held one identity at the same time: the most there ever were.
    pub(crate) bound_max: usize,
    /// Connections of one identity at the same time: the most there ever were.
    pub(crate) conns_max: usize,
}

#[derive(Debug, Default)]
struct Known {
    identity: Option<Identity>,
    bound: bool,
}

impl Book {
    /// Connections at present.
    pub(crate) fn open(&self) -> usize {
        self.conns.len()
    }

    fn count(&self, identity: &Identity, which: impl Fn(&Known) -> bool) -> usize {
        let its = |known: &&Known| known.identity.as_ref() == Some(identity) && which(known);
        self.conns.values().filter(its).count()
    }
}

/// The handler of one shard.
pub(crate) struct Doorman {
    pub(crate) book: Arc<Mutex<Book>>,
    /// How long it takes over a first line: a lookup that blocks.
    pub(crate) hello_takes: Duration,
}

impl Doorman {
    fn book(&self) -> std::sync::MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handler for Doorman {
    type Protocol = Lines;

    fn opened(&mut self, conn: &mut Conn<'_>) {
        self.book().conns.insert(conn.at(), Known::default());
    }

    fn received(&mut self, conn: &mut Conn<'_>, line: &[u8]) {
        thread::sleep(self.hello_takes);
        let identity = Identity::new(line);
        conn.claim(line).expect("a client says one line");
        let mut book = self.book();
        book.conns.insert(conn.at(), Known { identity: Some(identity.clone()), bound: false });
        book.conns_max = book.conns_max.max(book.count(&identity, |_| true));
    }

    fn claimed(&mut self, conn: &mut Conn<'_>, epoch: u64) {
        let identity = conn.identity().expect("it has claimed").clone();
        let mut book = self.book();
        book.conns.insert(conn.at(), Known { identity: Some(identity.clone()), bound: true });
        book.bound_max = book.bound_max.max(book.count(&identity, |known| known.bound));
        drop(book);
        conn.send(format!("claimed {epoch}\n").into()).expect("a small answer fits");
    }

    fn closed(&mut self, conn: &mut Conn<'_>, _closed: &Closed) {
        self.book().conns.remove(&conn.at());
    }
}
