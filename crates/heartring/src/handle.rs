//! The way into a gateway for code outside its shards: other threads, timers, an administrator's port.
//!
//! A handle puts letters into the shards' mailboxes and waits for nothing but a snapshot.

use std::fmt;
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use heartring_core::{ConnAt, Identity, Letter, Order, Request, ShardId};
use thiserror::Error;

use crate::control::Control;
use crate::health::Health;
use crate::mailbox::{Post, Refused};
use crate::snapshot::{ShardSnapshot, Snapshot};

/// A way into a gateway from any thread; cheap to clone.
///
/// No call but [`Handle::snapshot`] waits. `Ok` means that the letter lies in the mailbox of its shard, which deals with it
/// unless it panics or its backend fails. What one thread says to one shard arrives in the order in which it was said.
/// Handlers may hold one, too, for the work that they give to other threads; among themselves they have
/// [`Conns::post`](crate::Conns::post), which keeps what a full mailbox does not take.
#[derive(Clone, Default)]
pub struct Handle {
    /// Empty until the gateway starts.
    control: Arc<RwLock<Option<Arc<Control>>>>,
}

/// Why a letter was not accepted.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum MailError {
    /// These shards do not take their mail as fast as it comes: `mailbox_letters_max` letters wait for each. If it was for
    /// several shards, the others have it.
    #[error("the mailbox is full: shard {}", list(.0))]
    Full(Vec<ShardId>),
    /// The gateway has ended, or is so near its end that nothing is left that the letter could concern, or has not started. If
    /// it was for several shards, those that have not ended have it.
    #[error("the gateway does not run")]
    Stopped,
    /// There is no such shard.
    #[error("there is no shard {0}")]
    NoShard(ShardId),
}

impl Handle {
    /// Sends a payload to a connection. At most once: if the connection is gone, or does not take it, that is counted in
    /// [`Stats::undelivered`](crate::Stats::undelivered) and not told.
    ///
    /// # Errors
    ///
    /// [`MailError`]; nothing is sent then.
    pub fn send(&self, to: ConnAt, payload: Bytes) -> Result<(), MailError> {
        self.order(to.shard, Order::Send { conn: to.conn, payload })
    }

    /// Sends a payload to the connection that holds an identity, wherever it lives. At most once, as [`Handle::send`].
    ///
    /// # Errors
    ///
    /// [`MailError`]; nothing is sent then.
    pub fn send_to(&self, identity: &[u8], payload: Bytes) -> Result<(), MailError> {
        let identity = Identity::new(identity);
        let control = self.control()?;
        let owner = control.owner(&identity);
        put(&control, owner, Post::Outside(Letter::Request(Request::Forward { identity, payload })))
    }

    /// Sends a payload to every connection of every shard.
    ///
    /// # Errors
    ///
    /// [`MailError`], which says whose connections get nothing.
    pub fn broadcast(&self, payload: Bytes) -> Result<(), MailError> {
        self.put_everywhere(&Letter::Broadcast(payload))
    }

    /// Posts a message to the handler of a shard: [`Handler::message`](crate::Handler::message).
    ///
    /// # Errors
    ///
    /// [`MailError`]; nothing is posted then.
    pub fn post(&self, to: ShardId, message: Bytes) -> Result<(), MailError> {
        put(self.control()?.as_ref(), to, Post::Outside(Letter::Message(message)))
    }

    /// Posts a message to the handlers of all shards.
    ///
    /// # Errors
    ///
    /// [`MailError`], which says whose handler does not get it.
    pub fn post_all(&self, message: Bytes) -> Result<(), MailError> {
        self.put_everywhere(&Letter::Message(message))
    }

    /// Closes a connection in order, as its handler could. One that no longer exists is left alone.
    ///
    /// # Errors
    ///
    /// [`MailError`]; nothing is closed then.
    pub fn close(&self, conn: ConnAt) -> Result<(), MailError> {
        self.order(conn.shard, Order::Close { conn: conn.conn })
    }

    /// Carries an order of a directory outside the process to a shard. It is for such a directory, given to
    /// [`Gateway::directory`](crate::Gateway::directory): whoever else grants and evicts contradicts the directory that is in
    /// place.
    ///
    /// # Errors
    ///
    /// [`MailError`]; a directory tries again after [`MailError::Full`], since a claim that is never answered costs the
    /// connection.
    pub fn order(&self, to: ShardId, order: Order) -> Result<(), MailError> {
        put(self.control()?.as_ref(), to, Post::Outside(Letter::Order(order)))
    }

    /// Asks every shard how it is and waits for the answers, at most `within`. A shard that does not answer by then is `None`.
    /// A handler that calls this waits for its own shard in vain.
    ///
    /// # Errors
    ///
    /// [`MailError::Stopped`] if no shard is there to be asked.
    pub fn snapshot(&self, within: Duration) -> Result<Snapshot, MailError> {
        #[expect(clippy::disallowed_methods, reason = "bounds a wait of the caller; no shard waits by it")]
        let asked_at = std::time::Instant::now();
        let control = self.control()?;
        if control.shard_ids().all(|shard| control.mailbox(shard).is_closed()) {
            return Err(MailError::Stopped);
        }
        let mut shards = vec![None; usize::from(control.shards())];
        // Room for all, so that no shard ever waits to answer.
        let (answer, answers) = mpsc::sync_channel(shards.len());
        let asked = control.shard_ids().filter(|&shard| ask(&control, shard, &answer)).count();
        drop(answer);
        for _ in 0..asked {
            let left = within.saturating_sub(asked_at.elapsed());
            // A shard that has ended drops the question, and the last one ends the wait.
            let Ok(snapshot) = answers.recv_timeout(left) else { break };
            let shard = usize::from(snapshot.shard.0);
            shards[shard] = Some(snapshot);
        }
        Ok(Snapshot { shards })
    }

    /// How the shards do, as [`Running::health`](crate::Running::health): none of them is asked. No shard is in it before the
    /// gateway starts.
    pub fn health(&self) -> Health {
        self.control().map_or_else(|_| Health::default(), |control| Health::look(control.watched()))
    }

    /// Begins to stop the gateway, as [`Running::stop`](crate::Running::stop). One that has not started is not stopped.
    pub fn stop(&self) {
        if let Ok(control) = self.control() {
            control.drain();
        }
    }

    /// How many shards the gateway has; none before it starts.
    pub fn shards(&self) -> u16 {
        self.control().map_or(0, |control| control.shards())
    }

    /// The gateway starts, perhaps for the second time, on the other backend.
    pub(crate) fn connect(&self, control: &Arc<Control>) {
        *self.control.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(control));
    }

    fn control(&self) -> Result<Arc<Control>, MailError> {
        self.control.read().unwrap_or_else(PoisonError::into_inner).clone().ok_or(MailError::Stopped)
    }

    fn put_everywhere(&self, letter: &Letter) -> Result<(), MailError> {
        let control = self.control()?;
        let (mut full, mut stopped) = (Vec::new(), false);
        for shard in control.shard_ids() {
            match control.mailbox(shard).put_from_outside(Post::Outside(letter.clone())) {
                Ok(()) => {}
                Err(Refused::Full) => full.push(shard),
                Err(Refused::Closed) => stopped = true,
            }
        }
        match (full.is_empty(), stopped) {
            (false, _) => Err(MailError::Full(full)),
            (true, true) => Err(MailError::Stopped),
            (true, false) => Ok(()),
        }
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("shards", &self.shards()).finish_non_exhaustive()
    }
}

fn put(control: &Control, to: ShardId, post: Post) -> Result<(), MailError> {
    if to.0 >= control.shards() {
        return Err(MailError::NoShard(to));
    }
    control.mailbox(to).put_from_outside(post).map_err(|refused| match refused {
        Refused::Full => MailError::Full(vec![to]),
        Refused::Closed => MailError::Stopped,
    })
}

fn ask(control: &Control, shard: ShardId, answer: &SyncSender<ShardSnapshot>) -> bool {
    control.mailbox(shard).put_from_outside(Post::Report(answer.clone())).is_ok()
}

fn list(shards: &[ShardId]) -> String {
    shards.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
