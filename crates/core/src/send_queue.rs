//! What waits to be sent.
//!
//! A connection has at most one send in flight; a queue exists only while something waits behind it. Queues are pooled.
//! Their bytes are bounded per connection by the caller, who also counts what is in flight.

use std::collections::VecDeque;
use std::num::NonZeroU32;

use bytes::{Bytes, BytesMut};

/// Small payloads that wait are copied together up to this size: one op and one segment instead of many. A larger one goes
/// out as it is.
const GATHER_BYTES_MAX: usize = 4096;

/// A queue that grew beyond this gives its memory back instead of keeping it in the pool.
const POOLED_PAYLOADS_MAX: usize = 16;

/// The pool of one shard.
#[derive(Debug, Default)]
pub(crate) struct SendQueues {
    entries: Vec<VecDeque<Waiting>>,
    free: Vec<u32>,
}

/// A payload that waits.
#[derive(Debug)]
struct Waiting {
    payload: Bytes,
    /// It gives way to the next of its kind.
    is_state: bool,
}

/// The name of a queue in the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SendQueueId(NonZeroU32);

impl SendQueueId {
    fn of(index: u32) -> Self {
        Self(NonZeroU32::MIN.saturating_add(index))
    }

    fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

impl SendQueues {
    /// Appends to the queue `id`, or to a new one. A state must have taken its predecessor out before.
    pub(crate) fn push(&mut self, id: Option<SendQueueId>, payload: Bytes, is_state: bool) -> SendQueueId {
        let id = id.unwrap_or_else(|| {
            SendQueueId::of(self.free.pop().unwrap_or_else(|| {
                self.entries.push(VecDeque::new());
                self.entries.len() as u32 - 1
            }))
        });
        self.entries[id.index()].push_back(Waiting { payload, is_state });
        id
    }

    /// The state that waits in a queue: its place, and its length.
    pub(crate) fn state(&self, id: SendQueueId) -> Option<(usize, usize)> {
        let queue = &self.entries[id.index()];
        let nth = queue.iter().rposition(|waiting| waiting.is_state)?;
        Some((nth, queue[nth].payload.len()))
    }

    /// Puts a newer state at the end of a queue, in place of the one that waits as the `nth`.
    pub(crate) fn replace_state(&mut self, id: SendQueueId, nth: usize, payload: Bytes) {
        let queue = &mut self.entries[id.index()];
        queue.remove(nth);
        queue.push_back(Waiting { payload, is_state: true });
    }

    /// Takes the next payload to send, several small ones as one. Returns whether more wait behind it; if not, the queue is
    /// gone.
    pub(crate) fn pop(&mut self, id: SendQueueId) -> (Bytes, bool) {
        let first = self.entries[id.index()].pop_front().expect("a queue exists only while something waits");
        self.gather(id, first.payload)
    }

    /// Takes the small payloads that wait behind `first` together with it. Returns whether more wait behind it; if not, the
    /// queue is gone.
    pub(crate) fn gather(&mut self, id: SendQueueId, first: Bytes) -> (Bytes, bool) {
        let queue = &mut self.entries[id.index()];
        let payload = gather(first, queue);
        let more = !queue.is_empty();
        if !more {
            self.release(id);
        }
        (payload, more)
    }

    /// Drops what waits.
    pub(crate) fn release(&mut self, id: SendQueueId) {
        let queue = &mut self.entries[id.index()];
        queue.clear();
        if queue.capacity() > POOLED_PAYLOADS_MAX {
            *queue = VecDeque::new();
        }
        self.free.push(id.index() as u32);
    }

    /// Queues at present.
    pub(crate) fn open(&self) -> usize {
        self.entries.len() - self.free.len()
    }
}

fn gather(first: Bytes, queue: &mut VecDeque<Waiting>) -> Bytes {
    let fits = |total: usize, next: Option<&Waiting>| {
        next.is_some_and(|next| total + next.payload.len() <= GATHER_BYTES_MAX)
    };
    if !fits(first.len(), queue.front()) {
        return first;
    }
    let mut together = BytesMut::with_capacity(GATHER_BYTES_MAX);
    together.extend_from_slice(&first);
    while fits(together.len(), queue.front())
        && let Some(next) = queue.pop_front()
    {
        together.extend_from_slice(&next.payload);
    }
    together.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_payloads_leave_together_and_large_ones_alone() {
        let mut queues = SendQueues::default();
        let id = queues.push(None, Bytes::from_static(b"ab"), false);
        queues.push(Some(id), Bytes::from_static(b"cd"), false);
        let large = Bytes::from(vec![b'x'; 2 * GATHER_BYTES_MAX]);
        queues.push(Some(id), large.clone(), false);
        queues.push(Some(id), Bytes::from_static(b"ef"), false);
        assert_eq!(queues.pop(id), (Bytes::from_static(b"abcd"), true));
        let (alone, more) = queues.pop(id);
        assert_eq!((alone.as_ptr(), more), (large.as_ptr(), true), "not copied");
        assert_eq!(queues.pop(id), (Bytes::from_static(b"ef"), false));
        assert_eq!(queues.open(), 0);
    }
}
