//! What a handler holds: one connection, or all connections of its shard.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use crate::claims::Claim;
use crate::config_error::ConfigError;
use crate::id::{ConnAt, ConnId, ShardId};
use crate::identity::{ClaimError, Identity};
use crate::mail::{PostError, Request};
use crate::peer::Peer;
use crate::state::{Standing, State};
use crate::stats::Stats;
use crate::table::{SendError, Table};
use crate::time::Instant;

/// One connection, for the duration of a call to a [`Handler`](crate::Handler).
pub struct Conn<'a> {
    pub(crate) table: &'a mut Table,
    pub(crate) id: ConnId,
}

/// All connections of a shard, for the duration of a call to a [`Handler`](crate::Handler).
pub struct Conns<'a> {
    pub(crate) table: &'a mut Table,
}

/// How many connections of a shard are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateCounts {
    /// Accepted, nothing valid received yet.
    pub greeting: u32,
    /// Beating in time.
    pub live: u32,
    /// A beat is missing.
    pub overdue: u32,
    /// Convicted of silence; late bytes are still delivered.
    pub grace: u32,
    /// The handler was told; the socket is being closed.
    pub closing: u32,
}

impl Conn<'_> {
    /// Its name, good for as long as it lives and never another's.
    pub fn id(&self) -> ConnId {
        self.id
    }

    /// Where it comes from.
    pub fn peer(&self) -> SocketAddr {
        self.table.conns.get(self.id).map_or(Peer::NOBODY, |record| record.peer).into()
    }

    /// The instant of this turn.
    pub fn now(&self) -> Instant {
        self.table.now
    }

    /// Queues a payload. A payload that goes to many is one buffer with many handles.
    ///
    /// # Errors
    ///
    /// [`SendError::Full`] if the queue would grow beyond its bound, [`SendError::Closed`] if the connection no longer
    /// sends. Nothing of the payload is queued then.
    pub fn send(&mut self, payload: Bytes) -> Result<(), SendError> {
        self.table.send(self.id, payload)
    }

    /// Queues a state of which only the newest matters, a game's tick for example: an earlier state that still waits in the
    /// queue is dropped, counted in [`Stats::states_replaced`]. So a slow peer gets fewer states and not older ones.
    ///
    /// # Errors
    ///
    /// As [`Conn::send`]; the earlier state stays in the queue then.
    pub fn send_latest(&mut self, payload: Bytes) -> Result<(), SendError> {
        self.table.send_latest(self.id, payload)
    }

    /// Queues a copy of `payload`.
    ///
    /// # Errors
    ///
    /// As [`Conn::send`].
    pub fn send_copy(&mut self, payload: &[u8]) -> Result<(), SendError> {
        self.send(Bytes::copy_from_slice(payload))
    }

    /// Whether a beat is missing: since [`Handler::overdue`](crate::Handler::overdue), and until the next proof of life.
    pub fn is_overdue(&self) -> bool {
        self.table.conns.get(self.id).is_some_and(|record| match &record.state {
            State::Overdue | State::Grace(_) => true,
            State::Suspect(accusation) => accusation.from == Standing::Overdue,
            State::Accepting | State::Greeting | State::Live | State::Closing(_) => false,
        })
    }

    /// Bytes queued and not yet taken by the socket.
    pub fn queued_bytes(&self) -> u32 {
        self.table.conns.get(self.id).map_or(0, |record| record.unsent)
    }

    /// Whether its queue has grown beyond `send_queue_high` and not yet shrunk to `send_queue_low`, when
    /// [`Handler::writable`](crate::Handler::writable) is called.
    pub fn is_congested(&self) -> bool {
        self.table.conns.get(self.id).is_some_and(|record| record.congested)
    }

    /// Closes the connection in order: what is queued is sent, then a FIN. [`Handler::closed`](crate::Handler::closed) is
    /// called when the present call returns.
    pub fn close(&mut self) {
        self.table.close_requests.push(self.id);
    }

    /// Claims an identity, once the peer has shown that it is entitled to it. [`Handler::claimed`](crate::Handler::claimed)
    /// is called when the claim is granted: in this turn if the directory's partition and the former holder are on this
    /// shard, otherwise after a round trip between shards. The former holder ends as
    /// [`Superseded`](crate::Cause::Superseded).
    ///
    /// Until then, what the peer sends is held back, and what is sent to it is not. If it takes longer than `hello_within`, or
    /// if the identity is taken over too often, the connection ends as [`Refused`](crate::Cause::Refused).
    ///
    /// It may be called at any time from [`Handler::opened`](crate::Handler::opened) on, before the first frame too.
    ///
    /// # Errors
    ///
    /// [`ClaimError`]: an empty or too long identity, a second claim, a connection that is ending. Nothing has changed then.
    pub fn claim(&mut self, identity: &[u8]) -> Result<(), ClaimError> {
        self.table.claim(self.id, identity)
    }

    /// The identity that it has claimed, granted or not; also in [`Handler::closed`](crate::Handler::closed).
    pub fn identity(&self) -> Option<&Identity> {
        self.table.claim_of(self.id).map(|claim| &claim.identity)
    }

    /// The epoch of its claim, if it holds an identity.
    pub fn epoch(&self) -> Option<u64> {
        self.table.claim_of(self.id).and_then(Claim::epoch)
    }

    /// Where it lives: its name for the other shards, and outside.
    pub fn at(&self) -> ConnAt {
        ConnAt { shard: self.table.shard, conn: self.id }
    }

    /// Negotiates another deadline for this connection: by when it is known dead if it vanishes. When its beat is overdue
    /// changes in proportion; the grace period does not. If a beat is overdue already, the new deadline counts from the
    /// next one. TCP's own timings stay those of the listener: with a much longer deadline, TCP may find a vanished peer
    /// first.
    ///
    /// # Errors
    ///
    /// If it is outside [`Limits::dead_within_min`](crate::Limits::dead_within_min) to
    /// [`Limits::dead_within_max`](crate::Limits::dead_within_max).
    pub fn set_dead_within(&mut self, dead_within: Duration) -> Result<(), ConfigError> {
        self.table.set_dead_within(self.id, dead_within)
    }

    /// All connections of the shard, this one included.
    pub fn conns(&mut self) -> Conns<'_> {
        Conns { table: self.table }
    }
}

impl Conns<'_> {
    /// Which shard this is.
    pub fn shard(&self) -> ShardId {
        self.table.shard
    }

    /// The instant of this turn.
    pub fn now(&self) -> Instant {
        self.table.now
    }

    /// What the shard has counted.
    pub fn stats(&self) -> &Stats {
        &self.table.stats
    }

    /// Queues a payload for one connection.
    ///
    /// # Errors
    ///
    /// As [`Conn::send`]; a connection that no longer exists is [`SendError::Closed`].
    pub fn send(&mut self, to: ConnId, payload: Bytes) -> Result<(), SendError> {
        self.table.send(to, payload)
    }

    /// Queues a state for one connection, as [`Conn::send_latest`].
    ///
    /// # Errors
    ///
    /// As [`Conns::send`].
    pub fn send_latest(&mut self, to: ConnId, payload: Bytes) -> Result<(), SendError> {
        self.table.send_latest(to, payload)
    }

    /// Closes a connection in order, as [`Conn::close`]. One that no longer exists is left alone.
    pub fn close(&mut self, conn: ConnId) {
        self.table.close_requests.push(conn);
    }

    /// How many shards the gateway has.
    pub fn shards(&self) -> u16 {
        self.table.outbox.shards()
    }

    /// One of its connections, for the calls that [`Conn`] has; `None` if it no longer exists.
    pub fn get(&mut self, id: ConnId) -> Option<Conn<'_>> {
        self.table.conns.get(id).filter(|record| record.state.delivers())?;
        Some(Conn { table: self.table, id })
    }

    /// Posts a message to the handler of a shard, this one included, which gets it in a turn to come.
    ///
    /// # Errors
    ///
    /// [`PostError::Full`] if that shard does not take its mail, [`PostError::NoShard`].
    pub fn post(&mut self, to: ShardId, message: Bytes) -> Result<(), PostError> {
        self.table.outbox.post(to, message)
    }

    /// Posts a message to the handlers of all other shards.
    ///
    /// # Errors
    ///
    /// [`PostError::Full`] if one of them does not take its mail. The rest get the message all the same.
    pub fn post_to_others(&mut self, message: &Bytes) -> Result<(), PostError> {
        let (here, mut posted) = (self.shard(), Ok(()));
        for shard in (0..self.shards()).map(ShardId).filter(|shard| *shard != here) {
            posted = posted.and(self.post(shard, message.clone()));
        }
        posted
    }

    /// Sends a payload to the connection that holds an identity, wherever it lives. At most once: whether there was one is
    /// counted in [`Stats::undelivered`] and not told.
    pub fn send_to(&mut self, identity: &[u8], payload: Bytes) {
        self.table.requests.push_back(Request::Forward { identity: Identity::new(identity), payload });
    }

    /// Every connection that was opened and is not closed.
    pub fn ids(&self) -> impl Iterator<Item = ConnId> {
        self.table.conns.iter().filter(|(_, record)| record.state.delivers()).map(|(id, _)| id)
    }

    /// How many connections are in which state. Walks the whole table: for a display, not for every message.
    pub fn state_counts(&self) -> StateCounts {
        let mut counts = StateCounts::default();
        for (_, record) in self.table.conns.iter() {
            match record.state {
                State::Accepting => {}
                State::Greeting => counts.greeting += 1,
                State::Live => counts.live += 1,
                State::Overdue | State::Suspect(_) => counts.overdue += 1,
                State::Grace(_) => counts.grace += 1,
                State::Closing(_) => counts.closing += 1,
            }
        }
        counts
    }
}
