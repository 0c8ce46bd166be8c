//! The handler of these tests: it notes everything on a board that all shards and the test share, and does what messages tell.

use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use heartring::{Bytes, Cause, Closed, Conn, ConnAt, Conns, Handle, Handler, Lines, PostError, ShardId};

/// How long a test waits for what should come soon, and a shard for a test that has failed.
const PATIENCE: Duration = Duration::from_mins(1);

/// What the shards have noted.
#[derive(Default)]
pub(crate) struct Notes {
    pub(crate) opened: Vec<(SocketAddr, ConnAt)>,
    /// With the epoch.
    pub(crate) claimed: Vec<(SocketAddr, u64)>,
    pub(crate) closed: Vec<(SocketAddr, Cause)>,
    /// With the shard whose handler got it.
    pub(crate) messages: Vec<(ShardId, Bytes)>,
    /// Shards that have come to a `hold`.
    pub(crate) holding: Vec<ShardId>,
    /// Posts of handlers that were refused because too many waited.
    pub(crate) refused: u64,
    released: bool,
}

/// Shared by the shards and the test.
#[derive(Default)]
pub(crate) struct Board {
    notes: Mutex<Notes>,
    news: Condvar,
}

/// What handlers do unasked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Habit {
    Quiet,
    /// A message to every other shard in every tick.
    Chatty,
}

/// The handler: a message is an instruction or noted. `storm COUNT` posts so many numbered messages to each other shard,
/// `hold` stands still until the test releases it, `again` is posted to the same shard again, `panic` panics.
pub(crate) struct Talker {
    shard: ShardId,
    board: Arc<Board>,
    handle: Handle,
    habit: Habit,
    /// To whom: the number of the next message, and that of the last.
    storms: Vec<(ShardId, u32, u32)>,
}

impl Board {
    pub(crate) fn note<T>(&self, note: impl FnOnce(&mut Notes) -> T) -> T {
        let noted = note(&mut self.notes.lock().unwrap_or_else(PoisonError::into_inner));
        self.news.notify_all();
        noted
    }

    /// Waits until `find` finds what it looks for.
    pub(crate) fn wait<T>(&self, what: &str, mut find: impl FnMut(&Notes) -> Option<T>) -> T {
        let mut found = None;
        let notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.news.wait_timeout_while(notes, PATIENCE, |notes| {
            found = find(notes);
            found.is_none()
        });
        drop(waited);
        found.unwrap_or_else(|| panic!("no {what}"))
    }

    /// Lets the shards that stand still go on.
    pub(crate) fn release(&self) {
        self.note(|notes| notes.released = true);
    }

    fn hold(&self, shard: ShardId) {
        self.note(|notes| notes.holding.push(shard));
        self.wait("release", |notes| notes.released.then_some(()));
    }
}

impl Talker {
    pub(crate) fn new(shard: ShardId, board: &Arc<Board>, handle: &Handle, habit: Habit) -> Self {
        let (board, handle) = (Arc::clone(board), handle.clone());
        Self { shard, board, handle, habit, storms: Vec::new() }
    }

    /// Posts as much as is taken.
    fn storm(&mut self, conns: &mut Conns<'_>) {
        for (to, next, last) in &mut self.storms {
            while next < last {
                let message = format!("{} {next}", self.shard);
                match conns.post(*to, message.into()) {
                    Ok(()) => *next += 1,
                    Err(PostError::Full { .. }) => {
                        self.board.note(|notes| notes.refused += 1);
                        break;
                    }
                    Err(error @ PostError::NoShard(_)) => panic!("{error}"),
                }
            }
        }
    }

    fn others(&self, conns: &Conns<'_>) -> impl Iterator<Item = ShardId> + use<> {
        let own = self.shard;
        (0..conns.shards()).map(ShardId).filter(move |&shard| shard != own)
    }
}

impl Handler for Talker {
    type Protocol = Lines;

    fn opened(&mut self, conn: &mut Conn<'_>) {
        self.board.note(|notes| notes.opened.push((conn.peer(), conn.at())));
    }

    fn received(&mut self, conn: &mut Conn<'_>, line: &[u8]) {
        if let Some(identity) = line.strip_prefix(b"claim ") {
            conn.claim(identity).expect("it claims once");
        } else if line != b"noise" {
            conn.send_copy(&[line, b"\n"].concat()).expect("an echo fits");
        }
    }

    fn claimed(&mut self, conn: &mut Conn<'_>, epoch: u64) {
        self.board.note(|notes| notes.claimed.push((conn.peer(), epoch)));
    }

    fn closed(&mut self, conn: &mut Conn<'_>, closed: &Closed) {
        self.board.note(|notes| notes.closed.push((conn.peer(), closed.cause)));
    }

    fn message(&mut self, conns: &mut Conns<'_>, message: Bytes) {
        let text = String::from_utf8_lossy(&message);
        match text.split_once(' ').unwrap_or((&text, "")) {
            ("storm", count) => {
                let count = count.parse().expect("how many");
                self.storms = self.others(conns).map(|to| (to, 0, count)).collect();
            }
            ("hold", _) => self.board.hold(self.shard),
            ("panic", _) => panic!("as it was asked to"),
            ("again", _) => {
                // Refused when the gateway ends, and so the circle does.
                let _ = self.handle.post(self.shard, message);
            }
            ("tick", _) => {}
            _ => self.board.note(|notes| notes.messages.push((self.shard, message))),
        }
        self.storm(conns);
    }

    fn tick(&mut self, conns: &mut Conns<'_>) {
        self.storm(conns);
        if self.habit == Habit::Chatty {
            for to in self.others(conns) {
                // One that is full has ticks enough.
                let _ = conns.post(to, Bytes::from_static(b"tick"));
            }
        }
    }
}
