//! Faults of accepting.

use heartring_core::{AcceptNews, Op};
use heartring_sim::{Fault, FaultOdds, Harm, Saw};

use crate::stage::{Stage, Told};

#[test]
fn an_accept_and_its_client_may_find_each_other_late() {
    let mut stage = Stage::new();
    stage.always(Fault::AcceptLate);
    let (conn, _peer) = (stage.submit_accept(), stage.world.connect(stage.listener.addr));
    let before = stage.now();
    assert_eq!(stage.wait(None), [Told::Accepted(conn)]);
    let late = stage.now().saturating_since(before);
    assert!(!late.is_zero() && late <= FaultOdds::NONE.delay_max, "{late:?}");
    assert_eq!(stage.count(Fault::AcceptLate), 1);
}

#[test]
fn a_late_accept_ends_with_its_listener() {
    let mut stage = Stage::new();
    stage.always(Fault::AcceptLate);
    let conn = stage.submit_accept();
    let peer = stage.world.connect(stage.listener.addr);
    stage.wait(Some(stage.now()));
    stage.submit(Op::Unlisten { listener: stage.listener.id });
    let told = stage.wait(Some(stage.now()));
    assert!(matches!(told[..], [Told::AcceptFailed(of, _), Told::Unlistened] if of == conn), "{told:?}");
    assert_eq!((peer.saw(), stage.settle()), (Saw::Reset, vec![]));
}

#[test]
fn an_accept_may_lose_its_client_which_is_no_fault_of_the_client() {
    let mut stage = Stage::new();
    stage.always(Fault::AcceptLosesClient);
    let (conn, peer) = (stage.submit_accept(), stage.world.connect(stage.listener.addr));
    let told = stage.wait(None);
    let [Told::AcceptFailed(of, errno)] = told[..] else { panic!("{told:?}") };
    assert_eq!((of, errno.accept_news()), (conn, AcceptNews::NextClient));
    assert_eq!((peer.harm(), peer.saw()), (Some(Harm::LostInAccept), Saw::Reset));
}

#[test]
fn a_shortage_fails_an_accept_and_loses_nobody() {
    let mut stage = Stage::new();
    let peer = stage.world.connect(stage.listener.addr);
    stage.always(Fault::AcceptShortage);
    let conn = stage.submit_accept();
    let told = stage.wait(None);
    let [Told::AcceptFailed(of, errno)] = told[..] else { panic!("{told:?}") };
    assert_eq!((of, errno.accept_news()), (conn, AcceptNews::BackOff));
    stage.never();
    let again = stage.submit_accept();
    assert_eq!(stage.wait(None), [Told::Accepted(again)]);
    assert_eq!((peer.harm(), peer.saw()), (None, Saw::Open));
}

#[test]
fn a_listener_that_closes_may_still_bring_a_client() {
    let mut stage = Stage::new();
    // A slow listener has both a client and an accept when it is told to close.
    stage.always(Fault::AcceptLate);
    let (conn, parked) = (stage.submit_accept(), stage.submit_accept());
    let peer = stage.world.connect(stage.listener.addr);
    stage.wait(Some(stage.now()));
    stage.always(Fault::AcceptedAfterUnlisten);
    stage.submit(Op::Unlisten { listener: stage.listener.id });
    let told = stage.wait(Some(stage.now()));
    assert!(
        matches!(told[..], [Told::Accepted(one), Told::AcceptFailed(other, _), Told::Unlistened] if one == conn && other == parked),
        "{told:?}"
    );
    assert_eq!(peer.saw(), Saw::Open);
}
