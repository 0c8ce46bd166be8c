//! Faults of sending, examining and shutting down.

use std::time::Duration;

use heartring_core::{CloseHow, Errno, Op};
use heartring_sim::{Fault, FaultOdds, Harm, Saw};

use crate::stage::{Stage, Told};

const DELAY_MAX: Duration = FaultOdds::NONE.delay_max;

#[test]
fn a_send_takes_less_than_it_could_and_at_least_a_byte() {
    let mut stage = Stage::new();
    let (conn, peer) = stage.accept();
    stage.always(Fault::SendShort);
    let mut sent = 0;
    for _ in 0..50 {
        stage.send(conn, b"hello");
        let told = stage.wait(None);
        let [Told::Sent(_, Ok(count))] = told[..] else { panic!("{told:?}") };
        assert!((1..5).contains(&count), "{count} of 5 bytes");
        assert_eq!(peer.take_received(), b"hello"[..count]);
        sent += count;
    }
    assert!((60..200).contains(&sent), "{sent} of 250 bytes in all");
}

#[test]
fn a_send_may_park_although_there_is_room() {
    let mut stage = Stage::new();
    let (conn, peer) = stage.accept();
    stage.always(Fault::SendParks);
    stage.send(conn, b"hello");
    let before = stage.now();
    assert_eq!(stage.wait(Some(before)), []);
    // What else happens to the socket does not wake it.
    peer.send(b"x");
    assert_eq!(stage.wait(Some(before)), []);
    assert_eq!(stage.wait(None), [Told::Sent(conn, Ok(5))]);
    let late = stage.now().saturating_since(before);
    assert!(!late.is_zero() && late <= DELAY_MAX, "{late:?}");
}

#[test]
fn a_parked_send_hears_at_once_that_the_peer_is_gone() {
    let mut stage = Stage::new();
    let (conn, peer) = stage.accept();
    stage.always(Fault::SendParks);
    stage.send(conn, b"hello");
    stage.wait(Some(stage.now()));
    peer.reset();
    assert_eq!(stage.wait(Some(stage.now())), [Told::Sent(conn, Err(Errno::ECONNRESET))]);
}

#[test]
fn a_send_that_fails_harms_the_connection_and_sends_nothing() {
    let mut stage = Stage::new();
    let (conn, peer) = stage.accept();
    stage.always(Fault::SendFails);
    stage.send(conn, b"hello");
    let told = stage.wait(None);
    let [Told::Sent(_, Err(errno))] = told[..] else { panic!("{told:?}") };
    assert!([Errno::ENOMEM, Errno::ENOBUFS].contains(&errno), "{errno}");
    assert_eq!((peer.harm(), peer.received()), (Some(Harm::SendFailed(errno)), vec![]));
}

#[test]
fn the_first_harm_is_the_one_that_counts() {
    let mut stage = Stage::new();
    let (conn, peer) = stage.accept_and_recv();
    stage.always(Fault::SendFails);
    stage.send(conn, b"hello");
    stage.wait(None);
    let first = peer.harm();
    stage.always(Fault::RecvFails);
    peer.send(b"x");
    stage.wait(None);
    assert!(matches!(first, Some(Harm::SendFailed(_))) && peer.harm() == first);
}

#[test]
fn a_late_examination_has_seen_a_moment_in_between() {
    let mut stage = Stage::new();
    let (conn, peer) = stage.accept();
    stage.always(Fault::ExamineLate);
    let mut news = Vec::new();
    for round in 0..20 {
        stage.submit(Op::Examine { conn });
        let before = stage.now();
        assert_eq!(stage.wait(Some(before)), []);
        peer.send(b"x");
        let told = stage.wait(None);
        let [Told::Examined(_, evidence)] = &told[..] else { panic!("{told:?}") };
        let late = stage.now().saturating_since(before);
        assert!(!late.is_zero() && late <= DELAY_MAX, "{late:?}");
        news.push(evidence.unread.unwrap() - round);
    }
    assert!(news.iter().all(|news| *news <= 1) && news.contains(&0) && news.contains(&1), "{news:?}");
}

#[test]
fn an_examination_may_leave_parts_out_and_never_invents_any() {
    let mut stage = Stage::new();
    let (conn, peer) = stage.accept();
    peer.send(b"abc");
    stage.always(Fault::ExamineBlank);
    let mut known = [0; 3];
    for _ in 0..50 {
        stage.submit(Op::Examine { conn });
        let told = stage.wait(None);
        let [Told::Examined(_, evidence)] = &told[..] else { panic!("{told:?}") };
        assert!(
            evidence.unread.is_none_or(|bytes| bytes == 3) && evidence.unsent.is_none_or(|bytes| bytes == 0)
        );
        let parts = [evidence.unread.is_some(), evidence.unsent.is_some(), evidence.tcp.is_some()];
        assert!(parts.contains(&false), "{evidence:?}");
        known.iter_mut().zip(parts).for_each(|(known, part)| *known += u32::from(part));
    }
    assert!(known.iter().all(|known| *known > 0), "{known:?}");
}

#[test]
fn a_shutdown_may_be_carried_out_late() {
    let mut stage = Stage::new();
    let (conn, peer) = stage.accept();
    stage.always(Fault::ShutdownLate);
    stage.submit(Op::Shutdown { conn });
    assert_eq!((stage.wait(Some(stage.now())), peer.saw()), (vec![], Saw::Open));
    assert_eq!((stage.wait(None), peer.saw()), (vec![Told::ShutDown(conn, Ok(()))], Saw::Eof));
}

#[test]
fn a_close_waits_for_a_late_examination_and_a_late_shutdown() {
    let mut stage = Stage::new();
    let (conn, _peer) = stage.accept();
    stage.always(Fault::ExamineLate);
    stage.submit(Op::Examine { conn });
    stage.wait(Some(stage.now()));
    stage.always(Fault::ShutdownLate);
    stage.submit(Op::Shutdown { conn });
    stage.close(conn, CloseHow::Abortive);
    let told = stage.settle();
    assert_eq!((told.len(), told.last()), (3, Some(&Told::Closed(conn))), "{told:?}");
}
