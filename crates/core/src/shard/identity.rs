//! Who holds which identity, as far as this shard has a part in it.
//!
//! A claim is asked of the directory's partition that owns the identity, here or on another shard. Until it is decided, what
//! the peer sends is held back: bytes, and the end of its stream too. So nothing is received before the former holder has
//! ended, and a client that does not wait for an answer loses nothing.

use bytes::Bytes;

use super::Shard;
use crate::cause::{Cause, Refusal};
use crate::claims::{Claim, ClaimState};
use crate::conn::Conns;
use crate::handler::Handler;
use crate::id::{ConnAt, ConnId, ShardId};
use crate::identity::Identity;
use crate::mail::{Letter, Order, Request};
use crate::op::RecvEnd;
use crate::state::State;
use crate::time::Instant;

/// A connection whose claim was granted, and how the peer's stream had ended meanwhile.
pub(super) type Resumed = (ConnId, Option<RecvEnd>);

impl<H: Handler> Shard<H> {
    /// Takes in a letter from another shard, from its own outbox, or from outside.
    pub fn deliver(&mut self, now: Instant, letter: Letter) {
        self.begin_turn(now);
        self.table.stats.letters += 1;
        match letter {
            Letter::Request(request) => self.table.requests.push_back(request),
            Letter::Order(order) => self.orders.push_back(order),
            Letter::Broadcast(payload) => self.broadcast(&payload),
            Letter::Message(message) => {
                self.handler.message(&mut Conns { table: &mut self.table }, message);
            }
        }
        self.settle();
    }

    /// Offers the letters for other shards to `carry`, which gives back what a full mailbox does not take; that waits for the
    /// next call.
    pub fn post(&mut self, carry: &mut impl FnMut(ShardId, Letter) -> Result<(), Letter>) {
        self.table.outbox.offer(carry);
    }

    /// Letters that wait to be carried.
    pub fn outbox_len(&self) -> usize {
        self.table.outbox.len()
    }

    /// Hands a request to the partition that owns its identity.
    pub(super) fn ask(&mut self, request: Request) {
        let (here, owner) = (self.table.shard, self.directory.owner(request.identity()));
        if let Request::Claim { by, .. } = request
            && owner != here
            && !self.table.outbox.has_room_for_claim(owner)
        {
            return self.give_up_claim(by.conn);
        }
        let (table, orders) = (&mut self.table, &mut self.orders);
        let forwards = matches!(request, Request::Forward { .. });
        let mut goes_on = false;
        if owner == here {
            self.directory.handle(table.now, request, &mut |to, order| {
                goes_on = true;
                if to == here {
                    orders.push_back(order);
                } else if !forwards || table.outbox.has_room(to) {
                    table.outbox.push(to, Letter::Order(order));
                } else {
                    table.stats.undelivered += 1;
                }
            });
        } else if !forwards || table.outbox.has_room(owner) {
            goes_on = true;
            table.outbox.push(owner, Letter::Request(request));
        }
        table.stats.undelivered += u64::from(forwards && !goes_on);
    }

    /// The shard that would decide a claim takes no letters: it is not asked, and so there is nothing to release.
    fn give_up_claim(&mut self, id: ConnId) {
        self.table.decide_claim(id, ClaimState::Revoked);
        self.end(id, Cause::Refused(Refusal::ClaimUndecided));
    }

    pub(super) fn follow(&mut self, order: Order) {
        match order {
            Order::Grant { conn, epoch } => self.granted(conn, epoch),
            Order::Refuse { conn, retry_after } => {
                if self.table.claim_due(conn).is_some() {
                    self.end(conn, Cause::Refused(Refusal::Flapping { retry_after }));
                }
            }
            Order::Evict { conn, identity, by, successor } => self.evict(conn, identity, by, successor),
            Order::Send { conn, payload } => self.send_or_count(conn, payload),
            Order::Deliver { conn, epoch, payload } => {
                if self.table.claim_of(conn).and_then(Claim::epoch) == Some(epoch) {
                    self.send_or_count(conn, payload);
                } else {
                    self.table.stats.undelivered += 1;
                }
            }
            Order::Close { conn } => self.end(conn, Cause::Local),
        }
    }

    fn granted(&mut self, id: ConnId, epoch: u64) {
        if self.table.claim_due(id).is_none() {
            return; // It has ended, or another has claimed the identity meanwhile.
        }
        let asked = self.table.decide_claim(id, ClaimState::Granted { epoch });
        let Some(ClaimState::Asked { end, .. }) = asked else { unreachable!("it was undecided") };
        self.table.stats.grants += 1;
        // It has said who it is, and the wait was ours: its time begins anew. A beat that was due meanwhile was put off,
        // perhaps beyond that.
        self.prove(id);
        if let Some(record) = self.table.conns.get(id)
            && matches!(record.state, State::Live)
        {
            let due = self.table.now_tick.plus(self.table.conns.overdue_after(id.slot()));
            self.expect_by(id, due);
        }
        self.table.reset_stall(id);
        if end.is_none() {
            // Its lease may have run out when there were verdicts enough: the sweep that was to judge it has nothing to find.
            self.keep_receiving(id);
        }
        self.tell(id, |handler, conn| handler.claimed(conn, epoch));
        if end.is_some() || self.table.conns.get(id).is_some_and(|record| record.partial.is_some()) {
            self.resumed.push_back((id, end));
        }
    }

    /// Ends a holder whose identity another has claimed, then lets the successor in and tells the directory.
    fn evict(&mut self, id: ConnId, identity: Identity, by: u64, successor: Option<ConnAt>) {
        self.table.decide_claim(id, ClaimState::Revoked);
        self.end(id, Cause::Superseded { by });
        let Some(successor) = successor else { return };
        let grant = Order::Grant { conn: successor.conn, epoch: by };
        if successor.shard == self.table.shard {
            self.orders.push_back(grant);
        } else {
            self.table.outbox.push(successor.shard, Letter::Order(grant));
        }
        self.table.requests.push_back(Request::Evicted { identity, epoch: by });
    }

    /// Gives up what a connection has claimed, unless the directory has taken it away.
    pub(super) fn release_claim(&mut self, id: ConnId) {
        let Some(claim) = self.table.take_claim(id) else { return };
        match claim.state {
            ClaimState::Asked { .. } | ClaimState::Granted { .. } => {
                let by = ConnAt { shard: self.table.shard, conn: id };
                self.table.requests.push_back(Request::Release { identity: claim.identity, by });
            }
            ClaimState::Revoked => {}
        }
    }

    /// Keeps bytes that came while the claim is undecided.
    pub(super) fn hold_bytes(&mut self, id: ConnId, bytes: &[u8]) {
        let Some(record) = self.table.conns.get_mut(id) else { return };
        let partials = &mut self.table.partials;
        let held = record.partial.map_or(0, |partial| partials.len(partial));
        if held + bytes.len() > self.table.limits.held_bytes_max as usize {
            return self.end(id, Cause::Refused(Refusal::HeldBytesMax));
        }
        let kept = if let Some(partial) = record.partial {
            partials.append(partial, bytes).then_some(partial)
        } else {
            record.partial = partials.begin(bytes, usize::MAX, self.table.now_tick);
            record.partial
        };
        match kept {
            Some(partial) => partials.hold(partial),
            None => self.end(id, Cause::Refused(Refusal::PartialBytesMax)),
        }
    }

    /// Keeps the end of a stream whose claim is undecided; gives it back otherwise.
    pub(super) fn hold_end(&mut self, id: ConnId, end: RecvEnd) -> Option<RecvEnd> {
        if !matches!(end, RecvEnd::Eof | RecvEnd::Failed(_)) {
            return Some(end);
        }
        let Some(held) = self.table.held_end_mut(id) else { return Some(end) };
        // A recv that is armed again ends with a bare end of stream: the first end says why.
        held.get_or_insert(end);
        None
    }

    /// Deals with what was held back while a claim was undecided.
    pub(super) fn resume(&mut self, id: ConnId, end: Option<RecvEnd>) {
        if let Some(partial) = self.table.conns.get(id).and_then(|record| record.partial) {
            let due = self.frame_due();
            let front = self.table.partials.get_mut(partial);
            (front.needed, front.due) = (0, due);
            self.received(id, &[]);
        }
        if let Some(end) = end {
            self.recv_ended(id, end);
        }
    }

    fn broadcast(&mut self, payload: &Bytes) {
        let ids: Vec<ConnId> = Conns { table: &mut self.table }.ids().collect();
        for id in ids {
            self.send_or_count(id, payload.clone());
        }
    }

    fn send_or_count(&mut self, id: ConnId, payload: Bytes) {
        self.table.stats.undelivered += u64::from(self.table.send(id, payload).is_err());
    }
}
