//! Before the start, during the end and after it.

use std::net::TcpListener;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use heartring::{
    Bytes, Config, ConnAt, ConnId, Error, Gateway, Handle, Limits, MailError, Order, Overrides, ShardId,
};
use heartring_tests::{On, Patience};

use super::talker::{Board, Habit, Talker};
use super::trial::{Trial, config, insist, numbers};

/// So long that no test passes by waiting for it.
const DRAIN_WITHIN: Duration = Duration::from_secs(50);

fn says_stopped(handle: &Handle) {
    let conn = ConnAt { shard: ShardId(0), conn: ConnId::new(0, 0) };
    let payload = Bytes::from_static(b"nobody hears it\n");
    let answers = [
        handle.send(conn, payload.clone()),
        handle.send_to(b"nobody", payload.clone()),
        handle.broadcast(payload.clone()),
        handle.post(ShardId(0), payload.clone()),
        handle.post_all(payload),
        handle.close(conn),
        handle.order(ShardId(0), Order::Close { conn: conn.conn }),
        handle.snapshot(Duration::from_mins(1)).map(drop),
    ];
    assert!(answers.iter().all(|answer| *answer == Err(MailError::Stopped)), "{answers:?}");
    handle.stop(); // Changes nothing.
}

pub(crate) fn before_the_start_and_after_the_end_every_call_says_so(on: On) {
    let gateway = Gateway::new(config(on, 2));
    let handle = gateway.handle();
    says_stopped(&handle);
    assert_eq!(handle.shards(), 0);
    let trial = Trial::begin_with(gateway, Habit::Quiet);
    assert_eq!(handle.shards(), 2);
    handle.post_all(Bytes::from_static(b"a 0")).unwrap();
    handle.stop();
    assert_eq!(trial.take().join().unwrap().ledger_open, 0);
    says_stopped(&handle);
    assert_eq!(handle.shards(), 2);
}

pub(crate) fn what_is_accepted_while_it_ends_is_dealt_with(on: On) {
    const SHARDS: u16 = 2;
    const THREADS: u32 = 4;
    let trial = Trial::begin(config(on, SHARDS));
    let post_until_stopped = |thread: u32| {
        let handle = trial.handle.clone();
        move || {
            let mut accepted = 0;
            // Each thread to one shard, so that what it had accepted has no gap.
            let to = ShardId((thread % u32::from(SHARDS)) as u16);
            while insist(|| handle.post(to, format!("{thread} {accepted}").into())).is_ok() {
                accepted += 1;
            }
            accepted
        }
    };
    let threads: Vec<_> = (0..THREADS).map(|thread| thread::spawn(post_until_stopped(thread))).collect();
    trial.board.wait("messages", |notes| (notes.messages.len() >= 1000).then_some(()));
    let board = Arc::clone(&trial.board);
    trial.finish();
    for (nth, thread) in threads.into_iter().enumerate() {
        let accepted: u32 = thread.join().unwrap();
        let got = board.note(|notes| numbers(notes.messages.iter().map(|(_, message)| message), &nth));
        assert!(got == (0..accepted).collect::<Vec<_>>(), "{} of {accepted}", got.len());
    }
}

pub(crate) fn a_shard_that_panics_ends_the_others_although_letters_wait_for_it(on: On) {
    let config = config(on, 2);
    let limits = Limits { mailbox_letters_max: 2, ..config.limits };
    let overrides = Overrides { drain_within: Some(DRAIN_WITHIN), ..config.overrides };
    let trial = Trial::begin(Config { limits, overrides, ..config });
    let (broken, other) = (ShardId(1), ShardId(0));
    trial.hold(broken);
    trial.handle.post(broken, Bytes::from_static(b"panic")).unwrap();
    // One fits into its mailbox, the others wait with the sender.
    trial.handle.post(other, Bytes::from_static(b"storm 100")).unwrap();
    trial.handle.post(other, Bytes::from_static(b"a 0")).unwrap();
    trial.board.wait("message after the storm", |notes| (!notes.messages.is_empty()).then_some(()));
    let (handle, board, patience) = (trial.handle.clone(), Arc::clone(&trial.board), Patience::new());
    let running = trial.take();
    board.release();
    let error = running.join().expect_err("a shard has panicked");
    assert!(matches!(error, Error::Panicked(1)), "{error}");
    assert!(patience.elapsed() < DRAIN_WITHIN / 2, "the other has waited for it");
    says_stopped(&handle);
}

pub(crate) fn a_gateway_that_does_not_start_takes_no_letters(on: On) {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let in_use = Gateway::new(config(on, 2)).listen(holder.local_addr().unwrap().to_string());
    let board = Arc::new(Board::default());
    // The second fails when one shard has started already: its handler cannot be made.
    let fragile = Gateway::new(config(on, 3)).listen("127.0.0.1:0");
    for gateway in [in_use, fragile] {
        let (handle, board) = (gateway.handle(), Arc::clone(&board));
        let its_handle = handle.clone();
        let started = gateway.start(move |shard| {
            assert_ne!(shard, ShardId(1), "as it was asked to");
            Talker::new(shard, &board, &its_handle, Habit::Quiet)
        });
        assert!(started.is_err());
        says_stopped(&handle);
    }
}

pub(crate) fn ticks_that_post_do_not_hold_up_the_end(on: On) {
    for _ in 0..20 {
        let config = config(on, 4);
        let overrides = Overrides { drain_within: Some(DRAIN_WITHIN), ..config.overrides };
        let config = Config { overrides, tick_every: Some(Duration::from_millis(1)), ..config };
        let trial = Trial::begin_with(Gateway::new(config), Habit::Chatty);
        let patience = Patience::new();
        trial.finish();
        assert!(patience.elapsed() < DRAIN_WITHIN / 2, "letters of ticks were waited for");
    }
}
