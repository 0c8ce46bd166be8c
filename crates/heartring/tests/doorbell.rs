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

    /// One turn of a shard: sleeps unless there is something, and takes what there is, unless nobody has rung.
    fn turn(&self) -> u32 {
        self.bell.lie_down();
        let sleeps = self.letters.load(Ordering::Acquire) == 0;
        if sleeps {
            self.waker.wait();
        }
        let nobody_rang = self.bell.get_up();
        if sleeps && nobody_rang { 0 } else { self.letters.swap(0, Ordering::Acquire) }
    }
}

/// A letter that lies in the mailbox of a receiver that sleeps and was not rung would leave every thread blocked, and the
/// model reports that as a deadlock.
fn every_letter_is_taken(senders: u32, other_wakes: bool) {
    let mailbox = Mailbox { letters: AtomicU32::new(0), bell: Doorbell::new(), waker: Notify::new() };
    let mailbox = Arc::new(mailbox);
    let threads: Vec<_> = (0..senders)
        .map(|_| {
            let mailbox = Arc::clone(&mailbox);
            thread::spawn(move || {
                if other_wakes {
                    mailbox.waker.notify();
                }
                mailbox.send();
            })
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
    loom::model(|| every_letter_is_taken(1, false));
}

#[test]
fn a_receiver_that_something_else_wakes_misses_no_letter() {
    loom::model(|| every_letter_is_taken(1, true));
}

#[test]
fn of_two_senders_none_relies_on_a_ring_that_the_other_does_not_give() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| every_letter_is_taken(2, false));
}
