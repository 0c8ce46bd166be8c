//! Faults of the wait itself.

use std::time::Duration;

use heartring_core::{CloseHow, Op};
use heartring_sim::{Fault, FaultOdds};

use crate::stage::{Stage, Told};

const DELAY_MAX: Duration = FaultOdds::NONE.delay_max;

#[test]
fn a_wait_returns_early_with_nothing_and_loses_nothing() {
    let mut stage = Stage::new();
    let (conn, peer) = stage.accept_and_recv();
    stage.always(Fault::WaitEarly);
    let until = stage.after(1_000_000_000);
    assert_eq!(stage.wait(Some(until)), []);
    assert!(stage.now() < until);
    peer.send(b"beat");
    assert_eq!(stage.wait(Some(until)), []);
    assert_eq!(stage.world.next_at(), Some(stage.now()), "the bytes are still there");
    stage.never();
    assert_eq!(stage.wait(Some(until)), [Told::Received(conn, b"beat".to_vec())]);
    assert!(stage.count(Fault::WaitEarly) >= 2);
}

#[test]
fn an_early_return_may_leave_the_ops_with_the_program() {
    let mut stage = Stage::new();
    let (conn, _) = stage.accept();
    stage.always(Fault::WaitEarly);
    for _ in 0..10 {
        stage.submit(Op::Examine { conn });
        assert_eq!(stage.wait(Some(stage.now())), []);
        assert_eq!(stage.world.next_at(), Some(stage.now()), "handed over or not, there is something to do");
        stage.never();
        assert!(matches!(stage.wait(Some(stage.now()))[..], [Told::Examined(..)]));
        stage.always(Fault::WaitEarly);
    }
}

#[test]
fn a_late_wait_is_an_absence_that_begins_when_it_should_have_returned() {
    let mut stage = Stage::new();
    let (conn, peer) = stage.accept_and_recv();
    stage.always(Fault::WaitLate);
    let until = stage.after(5_000_000);
    stage.world.at(until + Duration::from_nanos(1), move |_| peer.send(b"beat"));
    let told = stage.wait(Some(until));
    assert!(stage.now() > until && stage.now() <= until + DELAY_MAX);
    assert_eq!(stage.world.absences(), [(until, stage.now())]);
    assert_eq!(told, [Told::Received(conn, b"beat".to_vec())], "what came meanwhile is told");
    assert_eq!(stage.count(Fault::WaitLate), 1);
}

#[test]
fn a_wait_that_something_ends_is_not_late() {
    let mut stage = Stage::new();
    let (_, peer) = stage.accept_and_recv();
    stage.always(Fault::WaitLate);
    let at = stage.after(3);
    peer.send_at(at, b"beat");
    stage.wait(Some(stage.after(10)));
    assert_eq!((stage.now(), stage.count(Fault::WaitLate)), (at, 0));
}

#[test]
fn an_absence_is_short_and_a_stall_is_long() {
    let mut odds = FaultOdds::NONE;
    odds.stall_max = Duration::from_secs(9);
    for (fault, least, most) in
        [(Fault::Absence, Duration::from_nanos(1), DELAY_MAX), (Fault::Stall, DELAY_MAX, odds.stall_max)]
    {
        let mut stage = Stage::new();
        odds.set(fault, 1_000_000);
        stage.world.inject(5, odds.clone());
        odds.set(fault, 0);
        for _ in 0..20 {
            let before = stage.now();
            stage.wait(Some(before));
            let away = stage.now().saturating_since(before);
            assert!((least..=most).contains(&away), "{fault:?} of {away:?}");
        }
        let absences = stage.world.absences();
        let each_begins_where_the_last_ended = absences.windows(2).all(|two| two[0].1 == two[1].0);
        assert!(each_begins_where_the_last_ended && absences.len() == 20, "{absences:?}");
        assert_eq!(stage.count(fault), 20);
    }
}

#[test]
fn an_early_return_does_not_end_an_absence() {
    let mut stage = Stage::new();
    let (_, peer) = stage.accept_and_recv();
    let mut odds = FaultOdds::NONE;
    odds.set(Fault::WaitEarly, 500_000);
    odds.set(Fault::Absence, 500_000);
    stage.world.inject(2, odds);
    for round in 0..200 {
        if round % 10 == 0 {
            stage.world.stall(Duration::from_micros(10));
        }
        peer.send(b"beat");
        stage.wait(Some(stage.now()));
        assert!(
            stage.world.absences().iter().all(|(_, to)| *to <= stage.now()),
            "it returned while it was away"
        );
    }
    assert!(stage.count(Fault::WaitEarly) > 20 && stage.count(Fault::Absence) > 20);
}

#[test]
fn ops_are_handed_over_before_an_absence_or_after_it() {
    let mut stage = Stage::new();
    let (conn, _) = stage.accept();
    stage.always(Fault::Absence);
    let mut ages = Vec::new();
    for _ in 0..20 {
        let before = stage.now();
        stage.submit(Op::Examine { conn });
        let told = stage.wait(Some(before));
        let [Told::Examined(_, evidence)] = &told[..] else { panic!("{told:?}") };
        // Nothing was ever received, so the silence tells when it was looked at.
        let looked_at = heartring_core::Instant::ZERO + evidence.tcp.unwrap().last_data_received;
        assert!(looked_at == before || looked_at == stage.now());
        ages.push(looked_at == before);
    }
    assert!(ages.contains(&true) && ages.contains(&false), "{ages:?}");
}

#[test]
fn what_there_is_may_be_told_in_parts_of_one_instant() {
    let mut stage = Stage::new();
    let peers: Vec<_> = (0..10).map(|_| stage.accept_and_recv().1).collect();
    stage.always(Fault::ToldInParts);
    for peer in &peers {
        peer.send(b"beat");
    }
    let (now, mut parts) = (stage.now(), Vec::new());
    while stage.world.next_at() == Some(now) {
        parts.push(stage.wait(None).len());
    }
    assert!(parts.len() > 1 && parts.iter().sum::<usize>() == 10, "{parts:?}");
    assert!(parts.iter().all(|count| *count > 0), "{parts:?}");
    assert_eq!(stage.now(), now);
}

#[test]
fn connections_overtake_each_other_and_none_overtakes_itself() {
    let mut orders = Vec::new();
    for seed in 0..20 {
        let mut stage = Stage::new();
        let conns: Vec<_> = (0..6).map(|_| stage.accept_and_recv().0).collect();
        stage.sometimes(seed, Fault::ToldInAnotherOrder, 1_000_000);
        let parked = stage.submit_accept();
        for conn in &conns {
            stage.watch(*conn, stage.after(1000));
            stage.send(*conn, b"bye");
            stage.close(*conn, CloseHow::Orderly);
        }
        stage.submit(Op::Unlisten { listener: stage.listener.id });
        let told = stage.wait(Some(stage.now()));
        assert_eq!(told.last(), Some(&Told::Unlistened));
        assert!(told.iter().any(|told| matches!(told, Told::AcceptFailed(conn, _) if *conn == parked)));
        let closed: Vec<_> =
            conns.iter().map(|conn| told.iter().position(|t| *t == Told::Closed(*conn))).collect();
        for (conn, closed) in conns.iter().zip(&closed) {
            let sent = told.iter().position(|told| *told == Told::Sent(*conn, Ok(3)));
            let is_end =
                |told: &Told| matches!(told, Told::RecvEnded(of, _) | Told::WatchEnded(of, _) if of == conn);
            let before = told.iter().take(closed.unwrap()).filter(|told| is_end(told));
            assert!(sent < *closed && before.count() == 2, "{told:?}");
        }
        orders.push(closed);
    }
    orders.sort();
    orders.dedup();
    assert!(orders.len() > 5, "{} orders in 20 seeds", orders.len());
}
