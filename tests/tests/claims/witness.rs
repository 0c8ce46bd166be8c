//! The handler under test: it does what clients say and writes down everything that it is told.
//!
//! A client's first line is `claim IDENTITY MANNER LINES`; every further one is its number. It is answered
//! `claimed EPOCH`, and its last word is `ended CAUSE MILLISECONDS`, with the time after which a refused one may come again.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use heartring::{Cause, Closed, Conn, ConnId, Handler, Lines, Refusal};
use rustix::time::{ClockId, clock_gettime};

use super::history::{Entry, Event, Manner, Promise};

/// The deadline of clients that fall silent; the others need none.
pub(crate) const SILENT_DEAD_WITHIN: Duration = Duration::from_millis(200);

/// What the test waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// A connection's claim is granted, or it ended without.
    Decided,
    Closed,
}

/// What the handlers of all shards share.
#[derive(Debug, Default)]
pub(crate) struct Record {
    clock: AtomicU64,
    entries: Mutex<Vec<Entry>>,
    cpu_ns: AtomicU64,
}

impl Record {
    /// Everything, once the gateway has ended.
    pub(crate) fn take(&self) -> Vec<Entry> {
        std::mem::take(&mut *self.entries.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// CPU time that the shards' threads used, once they have ended.
    pub(crate) fn cpu(&self) -> Duration {
        Duration::from_nanos(self.cpu_ns.load(Ordering::Acquire))
    }
}

/// One shard's handler.
pub(crate) struct Witness {
    record: Arc<Record>,
    news: Sender<News>,
    entries: Vec<Entry>,
    /// Connections whose claim is neither granted nor overtaken by their end.
    undecided: BTreeSet<ConnId>,
}

impl Witness {
    pub(crate) const fn new(record: Arc<Record>, news: Sender<News>) -> Self {
        Self { record, news, entries: Vec::new(), undecided: BTreeSet::new() }
    }

    /// Writes something down. See the text of `history` for why `claimed` does so first, and everything else last.
    fn note(&mut self, conn: &Conn<'_>, event: Event) {
        let order = self.record.clock.fetch_add(1, Ordering::SeqCst);
        self.entries.push(Entry { order, at: conn.at(), identity: conn.identity().cloned(), event });
    }

    fn tell(&self, news: News) {
        // A test that has failed listens no more.
        let _ = self.news.send(news);
    }
}

impl Handler for Witness {
    type Protocol = Lines;

    fn opened(&mut self, conn: &mut Conn<'_>) {
        self.undecided.insert(conn.id());
        self.note(conn, Event::Opened);
    }

    fn received(&mut self, conn: &mut Conn<'_>, line: &[u8]) {
        let event = match Words::parse(line) {
            Words::Claim { identity, promise } => {
                if promise.manner == Manner::FallsSilent {
                    conn.set_dead_within(SILENT_DEAD_WITHIN).expect("it is within the bounds");
                }
                conn.claim(identity).expect("a client claims once");
                Event::Asked(promise)
            }
            Words::Line(line) => Event::Received(line),
        };
        self.note(conn, event);
    }

    fn overdue(&mut self, conn: &mut Conn<'_>) {
        self.note(conn, Event::Overdue);
    }

    fn claimed(&mut self, conn: &mut Conn<'_>, epoch: u64) {
        self.note(conn, Event::Claimed { epoch });
        assert_eq!(conn.epoch(), Some(epoch));
        conn.send_copy(format!("claimed {epoch}\n").as_bytes()).expect("a small answer fits");
        self.undecided.remove(&conn.id());
        self.tell(News::Decided);
    }

    fn closing(&mut self, conn: &mut Conn<'_>, closed: &Closed) {
        let mut wait = Duration::ZERO;
        if let Cause::Refused(Refusal::Flapping { retry_after }) = closed.cause {
            wait = retry_after;
        }
        let word = format!("ended {} {}\n", closed.cause.name(), wait.as_millis());
        // To a peer that is gone there is no last word.
        let _ = conn.send_copy(word.as_bytes());
        self.note(conn, Event::Closing(closed.cause));
    }

    fn late(&mut self, conn: &mut Conn<'_>, line: &[u8]) {
        let Words::Line(line) = Words::parse(line) else { panic!("a client claims first") };
        self.note(conn, Event::Late(line));
    }

    fn closed(&mut self, conn: &mut Conn<'_>, closed: &Closed) {
        self.note(conn, Event::Closed(closed.cause));
        if self.undecided.remove(&conn.id()) {
            self.tell(News::Decided);
        }
        self.tell(News::Closed);
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        let cpu = clock_gettime(ClockId::ThreadCPUTime);
        let cpu_ns = cpu.tv_sec as u64 * 1_000_000_000 + cpu.tv_nsec as u64;
        self.record.cpu_ns.fetch_add(cpu_ns, Ordering::AcqRel);
        let mut all = self.record.entries.lock().unwrap_or_else(PoisonError::into_inner);
        all.append(&mut self.entries);
    }
}

/// A client's line.
enum Words<'a> {
    Claim { identity: &'a [u8], promise: Promise },
    Line(u32),
}

impl<'a> Words<'a> {
    fn parse(line: &'a [u8]) -> Self {
        let text = std::str::from_utf8(line).expect("clients speak text");
        let number = |text: &str| text.parse().expect("a number");
        let words: Vec<&str> = text.split(' ').collect();
        match words[..] {
            ["claim", identity, manner, lines] => {
                let promise = Promise { manner: Manner::parse(manner), lines: number(lines) };
                Self::Claim { identity: identity.as_bytes(), promise }
            }
            [line] => Self::Line(number(line)),
            _ => panic!("no client says {text:?}"),
        }
    }
}

impl Manner {
    const NAMES: [(Self, &'static str); 4] = [
        (Self::Stays, "stays"),
        (Self::Leaves, "leaves"),
        (Self::Resets, "resets"),
        (Self::FallsSilent, "falls-silent"),
    ];

    pub(crate) fn name(self) -> &'static str {
        Self::NAMES.into_iter().find(|(manner, _)| *manner == self).expect("each has a name").1
    }

    fn parse(name: &str) -> Self {
        Self::NAMES.into_iter().find(|(_, its)| *its == name).expect("a manner").0
    }
}
