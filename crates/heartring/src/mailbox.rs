//! The mailbox of one shard: what other shards and the outside have to say to it.
//!
//! It opens before its shard does, so that what is posted early waits. It closes to the outside when its shard has closed
//! everything else, and ends with the thread of its shard, in whatever way that ends.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, OnceLock};

use crossbeam::queue::ArrayQueue;
use crossbeam::utils::CachePadded;
use heartring_core::{Letter, Wake};

use crate::doorbell::Doorbell;
use crate::gate::Gate;
use crate::snapshot::ShardSnapshot;

/// What lies in a mailbox.
#[derive(Debug)]
pub(crate) enum Post {
    /// From a shard.
    Inside(Letter),
    /// From a handle.
    Outside(Letter),
    /// A handle wants to know how the shard is.
    Report(SyncSender<ShardSnapshot>),
}

/// Why something from outside was not put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Full,
    Closed,
}

/// Bounded: a full one gives the letter back, and nobody waits.
pub(crate) struct Mailbox {
    posts: ArrayQueue<Post>,
    bell: CachePadded<Doorbell>,
    gate: CachePadded<Gate>,
    /// The thread of its shard is no more.
    ended: AtomicBool,
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
            posts: ArrayQueue::new(letters_max as usize),
            bell: CachePadded::new(Doorbell::new()),
            gate: CachePadded::new(Gate::new()),
            ended: AtomicBool::new(false),
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

    /// Puts in a letter from a shard; `Ok` says who must be woken.
    pub(crate) fn put(&self, letter: Letter) -> Result<Option<&Arc<dyn Wake>>, Letter> {
        match self.posts.push(Post::Inside(letter)) {
            Ok(()) => Ok(self.to_wake()),
            Err(Post::Inside(letter)) => Err(letter),
            Err(Post::Outside(_) | Post::Report(_)) => unreachable!("a queue gives back what it was given"),
        }
    }

    /// Puts in something from outside. What is accepted is dealt with, if the shard ends in order.
    pub(crate) fn put_from_outside(&self, post: Post) -> Result<(), Refused> {
        let Some(_inside) = self.gate.enter() else { return Err(Refused::Closed) };
        self.posts.push(post).map_err(|_| Refused::Full)?;
        if let Some(waker) = self.to_wake() {
            waker.wake();
        }
        Ok(())
    }

    pub(crate) fn take(&self) -> Option<Post> {
        self.posts.pop()
    }

    pub(crate) fn len(&self) -> usize {
        self.posts.len()
    }

    /// Whether its shard may sleep now; from here on, whoever puts something in wakes it.
    pub(crate) fn lie_down(&self) -> bool {
        self.bell.lie_down();
        self.posts.is_empty()
    }

    /// Its shard is awake. Returns whether it was asleep until now, so that nobody has rung.
    pub(crate) fn get_up(&self) -> bool {
        self.bell.get_up()
    }

    /// Closes it to the outside. Whether it is empty then: nothing from outside will ever be in it again.
    pub(crate) fn close(&self) -> bool {
        self.gate.close();
        self.posts.is_empty()
    }

    /// Nobody will take anything out any more.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.gate.close();
        // Who waits for a report is told at once that there will be none.
        while self.posts.pop().is_some() {}
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.gate.is_closed()
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

    /// Who must be woken after something was put in.
    fn to_wake(&self) -> Option<&Arc<dyn Wake>> {
        self.bell.must_ring().then(|| self.waker.get().expect("a shard that has lain down can be woken"))
    }
}
