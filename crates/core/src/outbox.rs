//! Letters that wait to be carried to other shards.
//!
//! A full mailbox must neither block its sender nor lose a letter. What it does not take waits here, in order, one queue per
//! receiver. What handlers post is bounded by `outbox_letters_max`; what the directory posts is bounded by the connections:
//! each claims once, is released once, and is evicted at most once. Connections come and go while a shard takes nothing: when
//! more letters wait for it than that and all connections of this shard account for, no claim is added.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::id::ShardId;
use crate::mail::{Letter, PostError};

/// The outgoing letters of one shard.
#[derive(Debug)]
pub(crate) struct Outbox {
    queues: Vec<VecDeque<Letter>>,
    waiting: usize,
    letters_max: u32,
    /// How many may wait for a receiver when a claim is added.
    before_claim_max: usize,
}

impl Outbox {
    /// For a shard of so many slots.
    pub(crate) fn new(shards: u16, letters_max: u32, slots: u32) -> Self {
        let queues = (0..shards).map(|_| VecDeque::new()).collect();
        Self { queues, waiting: 0, letters_max, before_claim_max: letters_max as usize + slots as usize }
    }

    /// Adds what the shard itself has to say.
    pub(crate) fn push(&mut self, to: ShardId, letter: Letter) {
        self.queues[usize::from(to.0)].push_back(letter);
        self.waiting += 1;
    }

    /// Whether what can be refused should still be added.
    pub(crate) fn has_room(&self, to: ShardId) -> bool {
        self.queues[usize::from(to.0)].len() < self.letters_max as usize
    }

    /// Whether a claim should still be added.
    pub(crate) fn has_room_for_claim(&self, to: ShardId) -> bool {
        self.queues[usize::from(to.0)].len() < self.before_claim_max
    }

    /// Adds what a handler has to say.
    pub(crate) fn post(&mut self, to: ShardId, message: Bytes) -> Result<(), PostError> {
        if usize::from(to.0) >= self.queues.len() {
            return Err(PostError::NoShard(to));
        }
        if !self.has_room(to) {
            return Err(PostError::Full { to, max: self.letters_max });
        }
        self.push(to, Letter::Message(message));
        Ok(())
    }

    /// Offers the letters to `carry`, in order, to each receiver until it gives one back.
    pub(crate) fn offer(&mut self, carry: &mut impl FnMut(ShardId, Letter) -> Result<(), Letter>) {
        if self.waiting == 0 {
            return;
        }
        for (shard, queue) in self.queues.iter_mut().enumerate() {
            while let Some(letter) = queue.pop_front() {
                if let Err(letter) = carry(ShardId(shard as u16), letter) {
                    queue.push_front(letter);
                    break;
                }
                self.waiting -= 1;
            }
        }
    }

    pub(crate) fn shards(&self) -> u16 {
        self.queues.len() as u16
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_taken_waits_in_order_and_holds_up_nobody_else() {
        let mut outbox = Outbox::new(2, 2, 1);
        for text in ["a", "b"] {
            outbox.post(ShardId(0), Bytes::from(text)).unwrap();
            outbox.post(ShardId(1), Bytes::from(text)).unwrap();
        }
        assert_eq!(outbox.post(ShardId(0), Bytes::new()), Err(PostError::Full { to: ShardId(0), max: 2 }));
        assert_eq!(outbox.post(ShardId(2), Bytes::new()), Err(PostError::NoShard(ShardId(2))));
        assert!(outbox.has_room_for_claim(ShardId(0)));
        let mut carried = Vec::new();
        outbox.offer(&mut |to, letter| {
            if to == ShardId(0) && carried.len() == 1 {
                return Err(letter);
            }
            carried.push((to.0, letter));
            Ok(())
        });
        let message = |text: &'static str| Letter::Message(Bytes::from(text));
        assert_eq!(carried, [(0, message("a")), (1, message("a")), (1, message("b"))]);
        assert_eq!(outbox.len(), 1);
        outbox.offer(&mut |to, letter| {
            assert_eq!((to.0, letter), (0, message("b")));
            Ok(())
        });
        assert_eq!(outbox.len(), 0);
    }
}
