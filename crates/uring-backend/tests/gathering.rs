//! `batch_within`: completions wait for company, and what is submitted does not.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use heartring_core::{Backend, BackendConfig, Completion, ConnId, Instant, ListenOptions, Op};
use heartring_socket::now;
use heartring_uring::UringBackend;

const WITHIN: Duration = Duration::from_millis(50);

/// A backend that gathers, with one connection; `None`, aloud, where there is none.
fn open() -> Option<(UringBackend, ConnId, TcpStream)> {
    let config = BackendConfig { batch_within: WITHIN, ..BackendConfig::default() };
    let mut backend = match UringBackend::new(&config) {
        Ok(backend) if backend.features().gather => backend,
        other => {
            let required = std::env::var("HEARTRING_REQUIRE_ALL").is_ok_and(|value| value == "1");
            assert!(!required, "HEARTRING_REQUIRE_ALL=1, but: {:?}", other.err());
            println!("SKIPPED: no io_uring that gathers: {:?}", other.err());
            return None;
        }
    };
    let listener = backend.listen(SocketAddr::from(([127, 0, 0, 1], 0)), &ListenOptions::default()).unwrap();
    let conn = ConnId::new(0, 1);
    backend.submit(Op::Accept { listener: listener.id, conn });
    let stream = TcpStream::connect(listener.addr).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut accepted = false;
    while !accepted {
        backend.wait(None, &mut |_, c| accepted |= matches!(c, Completion::Accepted { .. })).unwrap();
    }
    backend.submit(Op::Recv { conn, deadline: None });
    backend.wait(Some(now()), &mut |_, _| ()).unwrap();
    Some((backend, conn, stream))
}

fn received(backend: &mut UringBackend, until: Option<Instant>) -> usize {
    let mut count = 0;
    let mut sink = |_, completion: Completion<'_>| {
        if let Completion::Received { bytes, .. } = completion {
            count += bytes.len();
        }
    };
    backend.wait(until, &mut sink).unwrap();
    count
}

#[test]
fn sparse_messages_share_a_wake_up() {
    let Some((mut backend, _, mut stream)) = open() else { return };
    let writer = thread::spawn(move || {
        for _ in 0..60 {
            stream.write_all(b"x").unwrap();
            thread::sleep(Duration::from_millis(5));
        }
        stream
    });
    let (mut bytes, mut waits) = (0, 0);
    while bytes < 60 {
        bytes += received(&mut backend, None);
        waits += 1;
    }
    drop(writer.join().unwrap());
    // 300 ms of one message each 5 ms; without company 60 wake-ups.
    assert!(waits <= 20, "{waits} waits for 60 messages");
}

#[test]
fn until_is_kept_although_company_is_awaited() {
    let Some((mut backend, _, _stream)) = open() else { return };
    for length_ms in [0, 3, 20, 120] {
        let until = now() + Duration::from_millis(length_ms);
        while now() < until {
            assert_eq!(received(&mut backend, Some(until)), 0);
        }
        let late = now().saturating_since(until);
        assert!(late < Duration::from_millis(25), "{length_ms} ms took {late:?} more");
    }
}

#[test]
fn an_idle_backend_sleeps_past_the_time_for_company_and_then_wakes_for_one() {
    let Some((mut backend, _, mut stream)) = open() else { return };
    let writer = thread::spawn(move || {
        thread::sleep(4 * WITHIN);
        stream.write_all(b"x").unwrap();
        (stream, now())
    });
    let (mut bytes, mut waits) = (0, 0);
    while bytes == 0 {
        bytes += received(&mut backend, None);
        waits += 1;
    }
    let heard = now();
    let (_stream, written) = writer.join().unwrap();
    assert!(waits <= 2, "{waits} waits in an idle time");
    assert!(heard.saturating_since(written) < WITHIN / 2, "{:?}", heard.saturating_since(written));
}

#[test]
fn a_send_leaves_before_the_wait_for_company() {
    let Some((mut backend, conn, mut stream)) = open() else { return };
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let reader = thread::spawn(move || {
        stream.read_exact(&mut [0; 5]).unwrap();
        (stream, now())
    });
    let sent = now();
    backend.submit(Op::Send { conn, payload: Bytes::from_static(b"hello"), more: false });
    let until = sent + 2 * WITHIN;
    while now() < until {
        backend.wait(Some(until), &mut |_, _| ()).unwrap();
    }
    let (_stream, read) = reader.join().unwrap();
    assert!(read.saturating_since(sent) < WITHIN / 2, "{:?}", read.saturating_since(sent));
}
