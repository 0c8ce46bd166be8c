//! The wake protocol of the mailboxes: one sender in every interleaving, two in all those with at most three preemptions.

#[path = "../src/doorbell.rs"]
mod doorbell;

mod sync {
    pub(crate) use loom::sync::atomic::{AtomicBool, Ordering, fence};
}

use doorbell::Doorbell;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::sync::{Arc, Notify};
use loom::thread;

/// A mailbox of which only the number of letters matters.
struct Mailbox {
    /// As little as a queue can promise: what is put in is seen whole, but not at once. With a lock instead, the lock alone
    /// would order the letter and the word, and the model would hold without the fences.
    letters: AtomicU32,
    bell: Doorbell,
    /// The backend's `wait`: it returns when it was woken before or during it.
    waker: Notify,
}

impl Mailbox {
    fn send(&self) {
        self.letters.fetch_add(1, Ordering::Release);
        if self.bell.must_ring() {
            self.waker.notify();
        }
    }

    /// One turn of a shard: sleeps unless there is something, and takes what there is.
    fn turn(&self) -> u32 {
        self.bell.lie_down();
        if self.letters.load(Ordering::Acquire) == 0 {
            self.waker.wait();
        }
        self.bell.get_up();
        self.letters.swap(0, Ordering::Acquire)
    }
}

/// A letter that lies in the mailbox of a receiver that sleeps and was not rung would leave every thread blocked, and the
/// model reports that as a deadlock.
fn every_letter_is_taken(senders: u32) {
    let mailbox = Mailbox { letters: AtomicU32::new(0), bell: Doorbell::new(), waker: Notify::new() };
    let mailbox = Arc::new(mailbox);
    let threads: Vec<_> = (0..senders)
        .map(|_| {
            let mailbox = Arc::clone(&mailbox);
            thread::spawn(move || mailbox.send())
        })
        .collect();
    let mut taken = 0;
    while taken < senders {
        taken += mailbox.turn();
    }
    assert_eq!(taken, senders);
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn no_letter_is_left_with_a_sleeping_receiver() {
    loom::model(|| every_letter_is_taken(1));
}

#[test]
fn of_two_senders_none_relies_on_a_ring_that_the_other_does_not_give() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| every_letter_is_taken(2));
}
