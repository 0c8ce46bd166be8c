//! Clauses 4 to 6: accepting.

use std::net::{IpAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::thread;
use std::time::Duration;

use heartring_core::{AcceptNews, Backend, CloseHow, ConnId, Errno, ListenOptions, Op, OpKind};
use heartring_tests::{Peer, Rig, Run, alone};
use rustix::net::Shutdown;

/// Catches swapped addresses among clients that wait at once, and a backend that numbers slots itself.
pub(crate) fn accept_binds_the_reserved_slot<R: Rig>(ip: IpAddr) {
    let mut run = Run::<R>::open(ip);
    let listener = run.listener.id;
    let conns = [63, 5, 17, 0, 40].map(|slot| ConnId::new(slot, 0xffff_ff00 + slot));
    for conn in conns {
        run.submit(Op::Accept { listener, conn });
    }
    let mut peers: Vec<R::Peer> = conns.iter().map(|_| run.rig.connect(run.listener.addr)).collect();
    run.until("five clients", |run| conns.iter().all(|conn| run.conn(*conn).peer.is_some()));
    for peer in &mut peers {
        let bound = conns.into_iter().find(|conn| run.conn(*conn).peer == Some(peer.addr()));
        let conn = bound.expect("each client's address is that of one connection");
        // The address is not only right, it is this client's connection.
        run.submit(Op::Recv { conn, deadline: None });
        let text = peer.addr().to_string().into_bytes();
        peer.write(&text);
        run.until("its bytes", |run| run.conn(conn).received == text);
        run.close(conn, CloseHow::Abortive);
    }
    run.end();
}

/// Catches a multishot accept that takes whoever comes.
pub(crate) fn clients_wait_in_the_queue_until_they_are_asked_for<R: Rig>(ip: IpAddr) {
    let mut run = Run::<R>::open(ip);
    let peers: Vec<R::Peer> = (0..5).map(|_| run.rig.connect(run.listener.addr)).collect();
    run.pass(Duration::from_millis(50));
    assert_eq!(run.rig.backend().ledger().sockets, 0, "taken without an Accept");

    let mut conns = vec![run.submit_accept(), run.submit_accept()];
    run.until("two clients", |run| conns.iter().all(|conn| run.conn(*conn).peer.is_some()));
    run.pass(Duration::from_millis(50));
    assert_eq!(run.rig.backend().ledger().sockets, 2, "more taken than asked for");

    let rest = [run.submit_accept(), run.submit_accept(), run.submit_accept()];
    run.until("three more", |run| rest.iter().all(|conn| run.conn(*conn).peer.is_some()));
    conns.extend(rest);
    let mut accepted: Vec<_> = conns.iter().filter_map(|conn| run.conn(*conn).peer).collect();
    let mut connected: Vec<_> = peers.iter().map(Peer::addr).collect();
    accepted.sort();
    connected.sort();
    assert_eq!(accepted, connected, "each client once");
    for conn in conns {
        run.close(conn, CloseHow::Orderly);
    }
    run.end();
}

/// With no descriptor left, an accept fails at most once and says that it is scarcity, and the clients stay in the
/// queue. The next accept that is submitted when there are descriptors again also revives those that are still in flight.
/// A backend that needs no descriptor goes on.
pub(crate) fn a_failed_accept_is_not_retried<R: Rig>(ip: IpAddr) {
    alone(&format!("{}::a_failed_accept_is_not_retried", R::NAME), || {
        let mut run = Run::<R>::open(ip);
        let peers: Vec<R::Peer> = (0..3).map(|_| run.rig.connect(run.listener.addr)).collect();
        run.rig.starve(3);
        let mut conns = vec![run.submit_accept(), run.submit_accept(), run.submit_accept()];
        let refused = |run: &Run<R>, conns: &[ConnId]| {
            conns.iter().filter_map(|conn| run.conn(*conn).refused).collect()
        };
        let accepted =
            |run: &Run<R>, conns: &[ConnId]| conns.iter().filter(|conn| run.conn(**conn).is_open()).count();
        run.until("a first end of an accept", |run| {
            conns.iter().any(|conn| !run.conn(*conn).in_flight(OpKind::Accept))
        });
        run.pass(Duration::from_millis(50));
        let errnos: Vec<Errno> = refused(&run, &conns);
        assert!(errnos.iter().all(|errno| errno.accept_news() == AcceptNews::BackOff), "{errnos:?}");
        let before = accepted(&run, &conns);
        assert_eq!(
            (before, errnos.is_empty()),
            if R::STARVES { (0, false) } else { (3, true) },
            "{errnos:?}"
        );

        run.rig.feed();
        conns.extend(errnos.iter().map(|_| run.submit_accept()));
        run.until("the clients after all", |run| accepted(run, &conns) == peers.len());
        assert_eq!(refused(&run, &conns).len(), errnos.len(), "no accept fails twice, or without need");
        assert_eq!(run.rig.backend().ledger().sockets as usize, peers.len(), "each client once");
        conns.retain(|conn| run.conn(*conn).is_open());
        for conn in conns {
            run.close(conn, CloseHow::Orderly);
        }
        run.end();
    });
}

/// The model checks the order; here clients come in at that very moment, and none may be lost half-way.
pub(crate) fn unlisten_ends_every_accept_first<R: Rig>(ip: IpAddr) {
    for clients in [0, 1, 3] {
        let mut run = Run::<R>::open(ip);
        let listener = run.listener.id;
        let conns: Vec<ConnId> = (0..3).map(|_| run.submit_accept()).collect();
        run.pass(Duration::from_millis(10));
        let _peers: Vec<R::Peer> = (0..clients).map(|_| run.rig.connect(run.listener.addr)).collect();
        run.submit(Op::Unlisten { listener });
        run.until("Unlistened", |run| run.model.unlistened == [listener]);
        let accepted: Vec<ConnId> = conns.iter().copied().filter(|conn| run.conn(*conn).is_open()).collect();
        assert!(accepted.len() <= clients, "{accepted:?} of {clients} clients");
        for conn in &conns {
            let ended = run.conn(*conn);
            assert!(ended.is_open() || ended.refused == Some(Errno::ECANCELED), "{ended:?}");
        }
        for conn in accepted {
            run.close(conn, CloseHow::Abortive);
        }
        let ledger = run.rig.backend().ledger();
        assert_eq!(ledger.open_total(), 0, "{ledger}");
    }
}

/// `Unlistened` says that the socket is closed: nothing of it, such as a parked accept, keeps the address.
pub(crate) fn the_address_is_free_after_unlistened<R: Rig>(ip: IpAddr) {
    let mut run = Run::<R>::open(ip);
    for round in 0..20 {
        let (conn, _peer) = run.accept();
        run.close(conn, CloseHow::Abortive);
        let parked = run.submit_accept();
        let (listener, addr) = (run.listener.id, run.listener.addr);
        run.submit(Op::Unlisten { listener });
        run.until("Unlistened", |run| run.model.unlistened.contains(&listener));
        assert!(run.conn(parked).refused.is_some());
        let again = run.rig.backend().listen(addr, &ListenOptions::default());
        run.listener = again.unwrap_or_else(|error| panic!("round {round}: {addr} is not free: {error}"));
        run.model.listeners += 1;
    }
    run.end();
}

/// Who watches a listener from another thread may shut it, so that the kernel sends the clients elsewhere, and open it
/// again. Whatever the moment: the accepts in flight end or wait, no error makes the backend spin, and the next client of
/// the reopened listener is accepted. The simulator has no socket to shut.
pub(crate) fn a_listener_that_was_shut_and_reopened_accepts_again<R: Rig>(ip: IpAddr) {
    let mut run = Run::<R>::open(ip);
    let Some(mut socket) = watchdogs_socket(&mut run) else { return };
    for moment in 0..4 {
        let mut conns = vec![run.submit_accept(), run.submit_accept()];
        run.turn(Duration::ZERO);
        let addr = run.listener.addr;
        let queued = (moment == 1).then(|| [(); 3].map(|()| TcpStream::connect(addr)));
        socket = elsewhere(move || rustix::net::shutdown(&socket, Shutdown::Read).map(|()| socket));
        if moment != 2 {
            stays_quiet(&mut run);
            assert!(TcpStream::connect(addr).is_err(), "a shut listener takes no clients");
            conns.push(run.submit_accept());
            let last = conns[conns.len() - 1];
            run.until("the end of an accept", |run| run.conn(last).is_idle());
            stays_quiet(&mut run);
        }
        drop(queued);
        socket = elsewhere(move || rustix::net::listen(&socket, 16).map(|()| socket));
        if moment == 3 {
            stays_quiet(&mut run);
        }
        let errnos: Vec<Errno> = conns.iter().filter_map(|conn| run.conn(*conn).refused).collect();
        assert!(errnos.iter().all(|errno| errno.accept_news() == AcceptNews::Broken), "{errnos:?}");
        conns.retain(|conn| run.conn(*conn).refused.is_none() && !run.conn(*conn).is_open());
        serves_three(&mut run, conns);
    }
    run.end();
}

/// Exactly as many clients as accepts: each is needed, those that outlived the shutdown too.
fn serves_three<R: Rig>(run: &mut Run<R>, mut conns: Vec<ConnId>) {
    let early = run.rig.connect(run.listener.addr);
    while conns.len() < 3 {
        conns.push(run.submit_accept());
    }
    let late = [(); 2].map(|()| run.rig.connect(run.listener.addr));
    run.until("three clients", |run| conns.iter().all(|conn| run.conn(*conn).is_open()));
    drop((early, late));
    for conn in conns {
        run.close(conn, CloseHow::Abortive);
    }
}

/// The listener with a port of its own choice, since the kernel forgets one of its choice when the listener is shut, and a
/// second descriptor of it.
fn watchdogs_socket<R: Rig>(run: &mut Run<R>) -> Option<OwnedFd> {
    let (listener, addr) = (run.listener.id, run.listener.addr);
    run.rig.backend().listening_socket(listener)?;
    run.submit(Op::Unlisten { listener });
    run.until("Unlistened", |run| run.model.unlistened.contains(&listener));
    run.listener = run.rig.backend().listen(addr, &ListenOptions::default()).expect("the port is free");
    run.model.listeners += 1;
    let socket = run.rig.backend().listening_socket(run.listener.id).expect("it is open");
    Some(socket.as_fd().try_clone_to_owned().expect("a descriptor is left"))
}

fn elsewhere(call: impl FnOnce() -> rustix::io::Result<OwnedFd> + Send + 'static) -> OwnedFd {
    thread::spawn(call).join().expect("a call does not panic").expect("a listener can be shut and reopened")
}

fn stays_quiet<R: Rig>(run: &mut Run<R>) {
    let until = run.clock() + Duration::from_millis(50);
    let mut waits = 0;
    while run.clock() < until {
        run.wait(Some(until));
        waits += 1;
        assert!(waits < 20, "a shut listener makes the backend spin");
    }
}
