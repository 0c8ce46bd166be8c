//! The mailbox of one shard: what other shards and the outside have to say to it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crossbeam::queue::ArrayQueue;
use crossbeam::utils::CachePadded;
use heartring_core::{Letter, Wake};

use crate::doorbell::Doorbell;

/// What lies in a mailbox.
#[derive(Debug)]
pub(crate) enum Post {
    /// From a shard.
    Inside(Letter),
    /// From a handle.
    Outside(Letter),
}

impl Post {
    pub(crate) fn into_letter(self) -> Letter {
        match self {
            Self::Inside(letter) | Self::Outside(letter) => letter,
        }
    }
}

/// Bounded: a full one gives the letter back, and nobody waits.
pub(crate) struct Mailbox {
    letters: ArrayQueue<Post>,
    bell: CachePadded<Doorbell>,
    /// Set when the shard has its backend.
    waker: OnceLock<Arc<dyn Wake>>,
    /// Letters that its shard has put into mailboxes, and those from shards that it has dealt with, what followed from them
    /// included. Only its own thread writes them.
    sent: CachePadded<AtomicU64>,
    settled: CachePadded<AtomicU64>,
}

impl Mailbox {
    pub(crate) fn new(letters_max: u32) -> Self {
        Self {
            letters: ArrayQueue::new(letters_max as usize),
            bell: CachePadded::new(Doorbell::new()),
            waker: OnceLock::new(),
            sent: CachePadded::default(),
            settled: CachePadded::default(),
        }
    }

    /// The shard can be woken from now on.
    pub(crate) fn set_waker(&self, waker: Arc<dyn Wake>) {
        assert!(self.waker.set(waker).is_ok(), "a shard starts once");
    }

    pub(crate) fn waker(&self) -> Option<&Arc<dyn Wake>> {
        self.waker.get()
    }

    /// Puts something in; `Ok` says whether the shard must be woken.
    pub(crate) fn put(&self, post: Post) -> Result<bool, Post> {
        self.letters.push(post)?;
        Ok(self.bell.must_ring())
    }

    pub(crate) fn take(&self) -> Option<Post> {
        self.letters.pop()
    }

    /// Whether its shard may sleep now; from here on, whoever puts something in wakes it.
    pub(crate) fn lie_down(&self) -> bool {
        self.bell.lie_down();
        self.letters.is_empty()
    }

    pub(crate) fn get_up(&self) {
        self.bell.get_up();
    }

    pub(crate) fn count_sent(&self) {
        let sent = self.sent.load(Ordering::Relaxed);
        self.sent.store(sent + 1, Ordering::Release);
    }

    /// A letter was not taken after all.
    pub(crate) fn uncount_sent(&self) {
        let sent = self.sent.load(Ordering::Relaxed);
        self.sent.store(sent - 1, Ordering::Release);
    }

    pub(crate) fn count_settled(&self, letters: u64) {
        let settled = self.settled.load(Ordering::Relaxed);
        self.settled.store(settled + letters, Ordering::Release);
    }

    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Acquire)
    }

    pub(crate) fn settled(&self) -> u64 {
        self.settled.load(Ordering::Acquire)
    }
}
