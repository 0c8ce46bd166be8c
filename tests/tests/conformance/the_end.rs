//! Clauses 25 and 26: nothing is left.

use std::net::IpAddr;
use std::time::Duration;

use heartring_core::{Backend, CloseHow, ConnId, ListenOptions, Op, OpKind};
use heartring_tests::{End, Patience, Peer, Rig, Run, alone, descriptors_open};

/// `Run::wait` compares the ledger with the model after every wait of every test; here it goes up and comes down.
pub(crate) fn the_ledger_returns_to_zero<R: Rig>(ip: IpAddr) {
    let mut run = Run::<R>::open(ip);
    assert_eq!(run.rig.backend().ledger().open_total(), 1, "one listener");
    let fleet: Vec<(ConnId, R::Peer)> = (0..20).map(|_| run.accept_and_recv()).collect();
    let deadline = run.clock() + Duration::from_mins(1);
    for (conn, _) in &fleet {
        run.submit(Op::Watch { conn: *conn, deadline });
    }
    let parked = run.submit_accept();
    run.pass(Duration::from_millis(20));
    let ledger = run.rig.backend().ledger();
    assert_eq!((ledger.sockets, ledger.listeners, ledger.ops(OpKind::Accept)), (20, 1, 1), "{ledger}");
    assert_eq!((ledger.ops(OpKind::Recv), ledger.ops(OpKind::Watch)), (20, 20), "{ledger}");
    let listener = run.listener.id;
    run.submit(Op::Unlisten { listener });
    for (conn, _) in &fleet {
        run.submit(Op::Close { conn: *conn, how: CloseHow::Orderly });
    }
    run.until("an empty ledger", |run| run.rig.backend().ledger().open_total() == 0);
    assert!(run.conn(parked).refused.is_some());
    assert!(fleet.iter().all(|(conn, _)| run.conn(*conn).closed));
}

/// Ten thousand connections through forty slots, ended in five ways; then the ledger is zero and the process has as many
/// descriptors as before.
pub(crate) fn ten_thousand_connections_leave_nothing<R: Rig>(ip: IpAddr) {
    alone(&format!("{}::ten_thousand_connections_leave_nothing", R::NAME), || {
        let mut run = Run::<R>::open(ip);
        run.turn(Duration::from_millis(1));
        let before = descriptors_open();
        for round in 0..250 {
            let mut batch: Vec<(ConnId, R::Peer)> = (0..40).map(|_| run.accept()).collect();
            let deadline = run.clock() + Duration::from_millis(round % 2);
            for (at, (conn, peer)) in batch.iter_mut().enumerate() {
                let conn = *conn;
                run.submit(Op::Recv { conn, deadline: (at % 3 == 0).then_some(deadline) });
                run.submit(Op::Watch { conn, deadline });
                run.submit_send(conn, &b"hello"[..]);
                match at % 5 {
                    0 => peer.reset(),
                    1 => peer.fin(),
                    2 => assert_eq!(peer.write(b"hello"), 5),
                    3 => run.submit(Op::Shutdown { conn }),
                    _ => {}
                }
                if at % 2 == 0 {
                    run.submit(Op::Close { conn, how: CloseHow::Abortive });
                }
            }
            run.turn(Duration::ZERO);
            for (conn, _) in batch.iter().skip(1).step_by(2) {
                run.submit(Op::Close { conn: *conn, how: CloseHow::Abortive });
            }
            run.until("forty Closed", |run| batch.iter().all(|(conn, _)| run.conn(*conn).closed));
            drop(batch);
            run.model.forget_closed();
        }
        let patience = Patience::new();
        while descriptors_open() > before && !patience.is_over() {
            run.turn(Duration::from_millis(10));
        }
        assert_eq!(descriptors_open(), before, "descriptors were leaked");
        run.end();
    });
}

/// Dropped at each moment, with everything in flight; the peers notice, the descriptors are back, the port is free.
pub(crate) fn dropping_a_backend_frees_its_sockets<R: Rig>(ip: IpAddr) {
    alone(&format!("{}::dropping_a_backend_frees_its_sockets", R::NAME), || {
        for round in 0..3 {
            for moment in 0..6 {
                let before = descriptors_open();
                drop_at::<R>(ip, moment);
                let patience = Patience::new();
                while descriptors_open() > before && !patience.is_over() {
                    std::thread::sleep(Duration::from_millis(5));
                }
                assert_eq!(descriptors_open(), before, "moment {moment} of round {round} leaks descriptors");
            }
        }
    });
}

fn drop_at<R: Rig>(ip: IpAddr, moment: u32) {
    let mut run = Run::<R>::open(ip);
    let mut peers = Vec::new();
    if moment >= 1 {
        run.submit_accept();
        run.pass(Duration::from_millis(5));
    }
    if moment >= 2 {
        let mut peer = run.rig.connect(run.listener.addr);
        run.until("Accepted", |run| run.rig.backend().ledger().sockets == 1);
        peer.write(b"unread");
        peers.push(peer);
    }
    if moment >= 3 {
        let (conn, peer) = run.accept_and_recv();
        let deadline = run.clock() + Duration::from_mins(1);
        run.submit(Op::Watch { conn, deadline });
        run.fill(conn);
        peers.push(peer);
        if moment == 4 {
            run.submit(Op::Close { conn, how: CloseHow::Orderly });
        }
        if moment == 5 {
            // Submitted and never handed over.
            run.submit(Op::Examine { conn });
            run.submit(Op::Shutdown { conn });
            run.submit_accept();
        }
    }
    let addr = run.listener.addr;
    drop(run);
    let patience = Patience::new();
    while peers.iter_mut().any(|peer| peer.end() == End::Open) {
        assert!(!patience.is_over(), "moment {moment}: a peer still has its connection");
        std::thread::sleep(Duration::from_millis(1));
    }
    let mut again =
        R::open(&heartring_core::BackendConfig::default()).unwrap_or_else(|error| panic!("{error}"));
    while let Err(error) = again.backend().listen(addr, &ListenOptions::default()) {
        assert!(!patience.is_over(), "moment {moment}: {addr} is not free: {error}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
