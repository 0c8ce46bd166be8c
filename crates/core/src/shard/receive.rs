//! What bytes mean.
//!
//! Received bytes are decoded where they lie, in the backend's buffer. Only the rest of a frame that has not arrived whole is
//! copied, and only for as long as it is partial.

use super::Shard;
use crate::cause::{Cause, Refusal};
use crate::conn::Conn;
use crate::deadlines::{Tick, Ticks};
use crate::handler::Handler;
use crate::id::ConnId;
use crate::partials::PartialId;
use crate::protocol::{Decoded, FrameKind, Protocol};
use crate::slots::Deadline::Beat;
use crate::state::{Event, Standing, State};

/// What came of decoding a run of bytes.
enum Decoding {
    /// All frames that are whole were handed on; `used` bytes are done with, and the next frame needs `needed` in all.
    Partial { used: usize, needed: usize },
    /// A frame has made the connection claim an identity: what follows it is held back.
    Held { used: usize },
    /// The connection ended while its frames were handed on, or by them.
    Ended,
}

impl<H: Handler> Shard<H> {
    pub(super) fn received(&mut self, id: ConnId, bytes: &[u8]) {
        self.table.stats.received_bytes += bytes.len() as u64;
        if self.table.conns.is_ordinary(id) {
            return self.decode_fresh(id, bytes); // Its record is not looked at: it is cold.
        }
        let Some(record) = self.table.conns.get(id) else { return };
        if !record.state.delivers() {
            return; // Closing: what still comes is discarded.
        }
        if record.is_undecided() {
            return self.hold_bytes(id, bytes);
        }
        if let Some(partial) = record.partial {
            return self.decode_partial(id, partial, bytes);
        }
        if matches!(record.state, State::Live) {
            self.table.conns.note_ordinary(id);
        }
        self.decode_fresh(id, bytes);
    }

    /// Decodes where the bytes lie and keeps the rest.
    fn decode_fresh(&mut self, id: ConnId, bytes: &[u8]) {
        let (used, needed) = match self.decode(id, bytes, 0) {
            Decoding::Partial { used, needed } => (used, needed),
            Decoding::Held { used } if used < bytes.len() => return self.hold_bytes(id, &bytes[used..]),
            Decoding::Held { .. } | Decoding::Ended => return,
        };
        let rest = &bytes[used..];
        if rest.is_empty() {
            return;
        }
        let due = self.frame_due();
        match self.table.partials.begin(rest, needed, due) {
            Some(partial) => {
                let record = self.table.conns.get_mut(id).expect("it did not end");
                record.partial = Some(partial);
                self.table.reset_stall(id);
            }
            None => self.end(id, Cause::Refused(Refusal::PartialBytesMax)),
        }
    }

    /// Adds the bytes to those that wait and decodes them together.
    fn decode_partial(&mut self, id: ConnId, partial: PartialId, bytes: &[u8]) {
        if !self.table.partials.append(partial, bytes) {
            return self.end(id, Cause::Refused(Refusal::PartialBytesMax));
        }
        if !self.table.partials.is_ripe(partial) {
            return;
        }
        let (whole, seen) = self.table.partials.take(partial);
        let decoding = self.decode(id, &whole, seen);
        let used = match decoding {
            Decoding::Partial { used, .. } | Decoding::Held { used } => used,
            Decoding::Ended => whole.len(),
        };
        let left = self.table.partials.put_back(partial, whole, used);
        match decoding {
            Decoding::Ended => return self.table.drop_partial(id),
            Decoding::Partial { .. } | Decoding::Held { .. } if left == 0 => self.table.drop_partial(id),
            Decoding::Held { .. } => self.table.partials.hold(partial),
            Decoding::Partial { needed, .. } => {
                let due = self.frame_due();
                let front = self.table.partials.get_mut(partial);
                front.needed = needed;
                if used > 0 {
                    front.due = due; // Another frame has begun.
                }
            }
        }
        self.table.reset_stall(id);
    }

    /// Hands on every whole frame at the front of `input`.
    fn decode(&mut self, id: ConnId, input: &[u8], seen: usize) -> Decoding {
        // Taken out, because a payload may lie in it while the handler works.
        let slot = id.slot() as usize;
        let mut state = std::mem::take(&mut self.protocol_states[slot]);
        let decoding = self.decode_with(&mut state, id, input, seen);
        self.protocol.tidy(&mut state);
        self.protocol_states[slot] = state;
        decoding
    }

    fn decode_with(
        &mut self,
        state: &mut <H::Protocol as Protocol>::State,
        id: ConnId,
        input: &[u8],
        seen: usize,
    ) -> Decoding {
        let (mut used, mut seen) = (0, seen);
        while used < input.len() {
            match self.protocol.decode(state, &input[used..], seen) {
                Decoded::Frame { kind, payload, used: length } => {
                    assert!(length > 0, "a decoder that uses nothing would never end");
                    if H::Protocol::FRAMED && self.is_too_large(length.max(payload.len())) {
                        self.end(id, Cause::TooLarge);
                        return Decoding::Ended;
                    }
                    self.frame(id, kind, payload);
                    (used, seen) = (used + length, 0);
                    if self.table.conns.is_ordinary(id) {
                        continue; // Nothing has become of it meanwhile.
                    }
                    let record = self.table.conns.get(id).filter(|record| record.state.delivers());
                    let Some(record) = record else { return Decoding::Ended };
                    if record.is_undecided() {
                        return Decoding::Held { used };
                    }
                }
                Decoded::Partial { needed } if self.is_too_large(needed) => {
                    self.end(id, Cause::TooLarge);
                    return Decoding::Ended;
                }
                Decoded::Partial { needed } => {
                    // One byte more than there is, whatever the decoder says: else it would be asked for ever.
                    return Decoding::Partial { used, needed: needed.max(input.len() - used + 1) };
                }
                Decoded::Invalid(why) => {
                    self.end(id, Cause::Protocol(why));
                    return Decoding::Ended;
                }
            }
        }
        Decoding::Partial { used, needed: 0 }
    }

    /// One complete valid frame: proof of life first, then whatever it says.
    fn frame(&mut self, id: ConnId, kind: FrameKind, payload: &[u8]) {
        let now = self.table.now_tick;
        let is_ordinary = self.table.conns.beat_if_ordinary(id, now);
        if !is_ordinary {
            self.prove(id);
        }
        self.table.stats.frames += 1;
        if matches!(kind, FrameKind::Beat | FrameKind::Ping | FrameKind::Pong) {
            self.table.stats.beats += 1;
        }
        if !is_ordinary
            && let Some(State::Grace(closed)) = self.table.conns.get_mut(id).map(|record| &mut record.state)
        {
            closed.late_bytes += payload.len() as u64;
            self.table.stats.late_frames += 1;
            self.table.stats.late_bytes += payload.len() as u64;
            self.tell(id, |handler, conn| handler.late(conn, payload));
        } else {
            match kind {
                FrameKind::Data => self.tell(id, |handler, conn| handler.received(conn, payload)),
                FrameKind::Ping => {
                    if let Some(pong) = self.protocol.pong(payload) {
                        // A peer that does not take its pongs is found by the stall deadline.
                        let _ = Conn { table: &mut self.table, id }.send(pong);
                    }
                }
                FrameKind::Beat | FrameKind::Pong => {}
                FrameKind::Goodbye => {
                    if let Some(goodbye) = self.protocol.goodbye(payload) {
                        let _ = self.table.send(id, goodbye); // If the queue is full, the FIN says it as well.
                    }
                    self.end(id, Cause::PeerClosed);
                }
            }
        }
        self.obey();
    }

    /// The peer lives: its deadline moves. For a live connection that is one store.
    pub(super) fn prove(&mut self, id: ConnId) {
        let table = &mut self.table;
        let due = table.now_tick.plus(table.conns.overdue_after(id.slot()));
        let record = table.conns.get_mut(id).expect("it delivers");
        match record.state {
            State::Live => table.conns.touch(Beat, id.slot(), due), // Not an ordinary one, or it had not come to this.
            // It speaks, but has not said who it is: the hello deadline stands.
            State::Greeting if self.claim_required && !record.is_identified() => {}
            State::Suspect(ref accusation)
                if accusation.from == Standing::Greeting
                    && self.claim_required
                    && !record.is_identified() =>
            {
                let accusation = **accusation;
                if accusation.cause == Cause::FrameStalled {
                    self.acquit(id, accusation); // The frame is complete after all.
                }
            }
            State::Greeting | State::Overdue | State::Suspect(_) => {
                record.state.transition(Event::Proof);
                if matches!(record.state, State::Live) {
                    record.looks = 0;
                    self.expect_by(id, due);
                    self.put_back_stalls(id);
                } else {
                    record.proved = table.now_tick; // Still accused of what a voice does not refute.
                }
            }
            State::Grace(_) | State::Accepting | State::Closing(_) => {}
        }
    }

    pub(super) fn frame_due(&self) -> Tick {
        self.table.now_tick.plus(Ticks::of(self.table.liveness.frame_within))
    }

    fn is_too_large(&self, bytes: usize) -> bool {
        bytes > self.table.limits.frame_bytes_max as usize
    }

    pub(super) fn forget_protocol_state(&mut self, id: ConnId) {
        let slot = id.slot() as usize;
        if self.protocol_states.len() <= slot {
            self.protocol_states.resize_with(slot + 1, Default::default);
        } else {
            self.protocol_states[slot] = Default::default();
        }
    }
}
