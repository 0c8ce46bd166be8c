//! Faults of receiving.

use std::time::Duration;

use heartring_core::{CloseHow, Errno, RecvEnd};
use heartring_sim::{Fault, FaultOdds, Harm};

use crate::stage::{Stage, Told};

const DELAY_MAX: Duration = FaultOdds::NONE.delay_max;

fn stream(told: &[Told]) -> Vec<u8> {
    let pieces = told
        .iter()
        .filter_map(|told| if let Told::Received(_, bytes) = told { Some(bytes.as_slice()) } else { None });
    pieces.collect::<Vec<_>>().concat()
}

#[test]
fn the_stream_comes_in_pieces_down_to_a_byte() {
    let mut stage = Stage::new();
    let (_, peer) = stage.accept_and_recv();
    stage.always(Fault::ReadPiece);
    let sent: Vec<u8> = (0..5000).map(|at| (at % 251) as u8).collect();
    peer.send(&sent);
    let told = stage.settle();
    assert_eq!(stream(&told), sent);
    let sizes = told.iter().map(|told| stream(std::slice::from_ref(told)).len());
    let (least, most) = (sizes.clone().min(), sizes.max());
    assert!(least == Some(1) && most > Some(100), "pieces of {least:?} to {most:?} bytes");
}

#[test]
fn a_readable_socket_is_not_read_while_there_is_no_buffer() {
    let mut stage = Stage::new();
    let (conn, peer) = stage.accept_and_recv();
    stage.always(Fault::BuffersOut);
    peer.send(b"beat");
    assert_eq!(stage.wait(Some(stage.now())), []);
    assert_eq!((peer.unread_bytes(), stage.count(Fault::BuffersOut)), (4, 1));
    let back = stage.world.next_at().expect("a buffer comes back");
    assert!(back > stage.now() && back <= stage.now() + DELAY_MAX);
    stage.never();
    assert_eq!(stage.wait(None), [Told::Received(conn, b"beat".to_vec())]);
    assert_eq!(stage.now(), back);
}

#[test]
fn a_recv_without_a_buffer_gives_way_to_the_next() {
    let mut stage = Stage::new();
    let (conn, peer) = stage.accept();
    stage.recv(conn, Some(stage.after(1)));
    stage.always(Fault::BuffersOut);
    peer.send(b"beat");
    assert_eq!(stage.wait(Some(stage.now())), []);
    stage.never();
    stage.pass_until(stage.after(1));
    stage.recv(conn, None);
    let told = stage.settle();
    assert_eq!(told, [Told::Received(conn, b"beat".to_vec())], "the next recv has a buffer of its own");
}

#[test]
fn a_recv_that_fails_harms_the_connection_and_leaves_the_bytes() {
    let mut stage = Stage::new();
    let (conn, peer) = stage.accept_and_recv();
    stage.always(Fault::RecvFails);
    peer.send(b"beat");
    let told = stage.settle();
    let [Told::RecvEnded(_, RecvEnd::Failed(errno))] = told[..] else { panic!("{told:?}") };
    assert!([Errno::ENOMEM, Errno::ENOBUFS].contains(&errno), "{errno}");
    assert_eq!(peer.harm(), Some(Harm::RecvFailed(errno)));
    assert_eq!((peer.unread_bytes(), peer.arrived_bytes()), (4, 4));
    stage.never();
    stage.recv(conn, None);
    assert_eq!(stage.settle(), [Told::Received(conn, b"beat".to_vec())]);
}

#[test]
fn a_recv_that_is_being_closed_fails_no_more() {
    let mut stage = Stage::new();
    let (conn, peer) = stage.accept_and_recv();
    stage.always(Fault::RecvFails);
    peer.send(b"beat");
    stage.close(conn, CloseHow::Abortive);
    stage.settle();
    assert_eq!((peer.harm(), stage.count(Fault::RecvFails)), (None, 0));
}

#[test]
fn a_lease_ends_late_and_never_early() {
    let mut stage = Stage::new();
    let (conn, _peer) = stage.accept();
    stage.always(Fault::LeaseLate);
    let deadline = stage.after(100);
    stage.recv(conn, Some(deadline));
    assert_eq!(stage.wait(None), [Told::RecvEnded(conn, RecvEnd::Expired)]);
    assert!(stage.now() > deadline && stage.now() <= deadline + DELAY_MAX);
}

#[test]
fn a_lease_ends_in_the_moment_of_the_bytes_and_leaves_them() {
    let mut stage = Stage::new();
    let (conn, peer) = stage.accept();
    stage.always(Fault::LeaseMeetsBytes);
    let deadline = stage.after(100);
    stage.recv(conn, Some(deadline));
    peer.send_at(deadline + Duration::from_nanos(1), b"beat");
    assert_eq!(stage.wait(None), [Told::RecvEnded(conn, RecvEnd::Expired)]);
    assert!(stage.now() > deadline && peer.unread_bytes() == 4);
    stage.recv(conn, None);
    assert_eq!(stage.wait(None), [Told::Received(conn, b"beat".to_vec())]);
}

#[test]
fn a_lease_that_no_bytes_meet_ends_all_the_same() {
    let mut stage = Stage::new();
    let (conn, _peer) = stage.accept();
    stage.always(Fault::LeaseMeetsBytes);
    let deadline = stage.after(100);
    stage.recv(conn, Some(deadline));
    assert_eq!(stage.wait(None), [Told::RecvEnded(conn, RecvEnd::Expired)]);
    assert!(stage.now() > deadline && stage.now() <= deadline + DELAY_MAX);
}
