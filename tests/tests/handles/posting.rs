//! From handler to handler, and from outside to handlers.

use std::thread;
use std::time::Duration;

use heartring::{Bytes, Config, Limits, MailError, ShardId};
use heartring_tests::On;

use super::trial::{Trial, config, insist, numbers};

/// As little room as there can be.
fn narrow(on: On, shards: u16, mailbox_letters_max: u32, outbox_letters_max: u32) -> Config {
    let config = config(on, shards);
    let limits = Limits { mailbox_letters_max, outbox_letters_max, ..config.limits };
    Config { limits, tick_every: Some(Duration::from_millis(1)), ..config }
}

pub(crate) fn messages_go_in_both_directions_through_mailboxes_of_one_letter(on: On) {
    const SHARDS: u16 = 3;
    const EACH: u32 = 300;
    let trial = Trial::begin(narrow(on, SHARDS, 1, 4));
    for shard in (0..SHARDS).map(ShardId) {
        insist(|| trial.handle.post(shard, format!("storm {EACH}").into())).unwrap();
    }
    let expected = usize::from(SHARDS * (SHARDS - 1)) * EACH as usize;
    trial.board.wait("message of the storm", |notes| (notes.messages.len() >= expected).then_some(()));
    trial.board.note(|notes| {
        assert_eq!(notes.messages.len(), expected);
        assert!(notes.refused > 0, "four letters of room are not three hundred");
        for (from, to) in (0..SHARDS).flat_map(|from| (0..SHARDS).map(move |to| (ShardId(from), ShardId(to))))
        {
            let got = notes.messages.iter().filter(|(shard, _)| *shard == to).map(|(_, message)| message);
            let all = if from == to { 0..0 } else { 0..EACH };
            assert_eq!(numbers(got, &from), all.collect::<Vec<u32>>(), "from {from} to {to}");
        }
    });
    trial.finish();
}

pub(crate) fn a_full_mailbox_is_told_and_holds_up_nobody_else(on: On) {
    const ROOM: u32 = 4;
    let trial = Trial::begin(narrow(on, 2, ROOM, 4));
    let (held, free) = (ShardId(1), ShardId(0));
    trial.hold(held);
    for number in 0..ROOM {
        trial.handle.post(held, format!("a {number}").into()).unwrap();
    }
    let full = MailError::Full(vec![held]);
    assert_eq!(full.to_string(), "the mailbox is full: shard 1");
    assert_eq!(trial.handle.post(held, Bytes::from_static(b"a 4")), Err(full.clone()));
    assert_eq!(trial.handle.post_all(Bytes::from_static(b"b 0")), Err(full), "the other has it");
    let elsewhere = ShardId(2);
    assert_eq!(trial.handle.post(elsewhere, Bytes::new()), Err(MailError::NoShard(elsewhere)));
    trial.board.wait("message of the other shard", |notes| (!notes.messages.is_empty()).then_some(()));
    trial.board.release();
    trial.board.wait("messages", |notes| (notes.messages.len() > ROOM as usize).then_some(()));
    trial.board.note(|notes| {
        let got = |to| notes.messages.iter().filter(move |(shard, _)| *shard == to).map(|(_, m)| m);
        assert_eq!((numbers(got(held), &'a'), numbers(got(held), &'b')), (vec![0, 1, 2, 3], vec![]));
        assert_eq!((numbers(got(free), &'a'), numbers(got(free), &'b')), (vec![], vec![0]));
    });
    trial.finish();
}

pub(crate) fn all_that_four_threads_have_posted_arrives_in_order(on: On) {
    const SHARDS: u16 = 2;
    const THREADS: u32 = 4;
    const EACH: u32 = 25_000;
    let trial = Trial::begin(config(on, SHARDS));
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let handle = trial.handle.clone();
            scope.spawn(move || {
                for number in 0..EACH {
                    let to = ShardId((number % u32::from(SHARDS)) as u16);
                    let message = Bytes::from(format!("{thread} {number}"));
                    insist(|| handle.post(to, message.clone())).unwrap();
                }
            });
        }
    });
    let expected = (THREADS * EACH) as usize;
    trial.board.wait("messages", |notes| (notes.messages.len() >= expected).then_some(()));
    trial.board.note(|notes| {
        assert_eq!(notes.messages.len(), expected);
        for (shard, thread) in (0..SHARDS).flat_map(|shard| (0..THREADS).map(move |thread| (shard, thread))) {
            let got = notes.messages.iter().filter(|(to, _)| to.0 == shard).map(|(_, message)| message);
            let all: Vec<u32> =
                (0..EACH).filter(|number| number % u32::from(SHARDS) == u32::from(shard)).collect();
            assert_eq!(numbers(got, &thread), all, "of thread {thread} on shard {shard}");
        }
    });
    assert_eq!(trial.finish().stats.letters, expected as u64);
}
