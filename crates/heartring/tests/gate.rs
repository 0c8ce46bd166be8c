//! The gate of a mailbox, in all interleavings with at most three preemptions of two senders and whoever closes it.

#[path = "../src/gate.rs"]
mod gate;

mod sync {
    pub(crate) use loom::sync::atomic::{AtomicU32, Ordering};
    pub(crate) use loom::thread::yield_now;
}

use gate::Gate;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread;

struct Mailbox {
    letters: AtomicU32,
    gate: Gate,
}

impl Mailbox {
    /// Whether the letter was accepted.
    fn send(&self) -> bool {
        let Some(_inside) = self.gate.enter() else { return false };
        // Relaxed: only the gate brings it to the receiver.
        self.letters.fetch_add(1, Ordering::Relaxed);
        true
    }
}

fn what_is_accepted_is_in() {
    let mailbox = Arc::new(Mailbox { letters: AtomicU32::new(0), gate: Gate::new() });
    let senders: Vec<_> = (0..2)
        .map(|_| {
            let mailbox = Arc::clone(&mailbox);
            thread::spawn(move || u32::from(mailbox.send()))
        })
        .collect();
    mailbox.gate.close();
    let taken = mailbox.letters.load(Ordering::Relaxed);
    assert!(!mailbox.send(), "it is closed");
    let accepted: u32 = senders.into_iter().map(|sender| sender.join().unwrap()).sum();
    assert_eq!(accepted, taken);
}

#[test]
fn what_was_accepted_is_in_when_the_gate_is_closed() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(what_is_accepted_is_in);
}
