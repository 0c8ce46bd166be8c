//! An examination does not overtake the bytes that it does not see.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};

use heartring_core::{Backend, BackendConfig, Completion, ConnId, ListenOptions, Op};
use heartring_socket::now;
use heartring_uring::{Descriptors, UringBackend};

/// A byte that the kernel has taken out of the socket, and whose completion waits behind that of the examination, is not unread any
/// more: it is told first.
fn bytes_are_unread_or_were_told(descriptors: Descriptors) {
    let config = BackendConfig::default();
    let mut backend = match UringBackend::with_descriptors(&config, descriptors) {
        Ok(backend) => backend,
        Err(refusal) => {
            let required = std::env::var("HEARTRING_REQUIRE_ALL").is_ok_and(|value| value == "1");
            assert!(!required, "HEARTRING_REQUIRE_ALL=1, but: {refusal}");
            return println!("SKIPPED: no io_uring: {refusal}");
        }
    };
    let (conn, mut peer) = connect(&mut backend);
    backend.submit(Op::Recv { conn, deadline: None });
    backend.wait(Some(now()), &mut |_, _| ()).unwrap();
    for round in 0..100 {
        peer.write_all(b"beat").unwrap();
        backend.submit(Op::Examine { conn });
        let (mut told, mut seen) = (0, None);
        while seen.is_none() {
            let mut sink = |_, completion: Completion<'_>| {
                if let Completion::Received { bytes, .. } = completion {
                    told += bytes.len();
                } else if let Completion::Examined { evidence, .. } = completion {
                    seen = Some((told, evidence.unread));
                }
            };
            backend.wait(None, &mut sink).unwrap();
        }
        let (told_before, unread) = seen.unwrap();
        assert_eq!(told_before + unread.unwrap() as usize, 4, "round {round}: told, and unread");
        while told < 4 {
            let mut sink = |_, completion: Completion<'_>| {
                if let Completion::Received { bytes, .. } = completion {
                    told += bytes.len();
                }
            };
            backend.wait(None, &mut sink).unwrap();
        }
    }
}

fn connect(backend: &mut UringBackend) -> (ConnId, TcpStream) {
    let listener = backend.listen(SocketAddr::from(([127, 0, 0, 1], 0)), &ListenOptions::default()).unwrap();
    let conn = ConnId::new(0, 1);
    backend.submit(Op::Accept { listener: listener.id, conn });
    let peer = TcpStream::connect(listener.addr).unwrap();
    peer.set_nodelay(true).unwrap();
    let mut accepted = false;
    while !accepted {
        backend.wait(None, &mut |_, c| accepted |= matches!(c, Completion::Accepted { .. })).unwrap();
    }
    (conn, peer)
}

#[test]
fn bytes_of_a_direct_descriptor_are_unread_or_were_told() {
    bytes_are_unread_or_were_told(Descriptors::Direct);
}

#[test]
fn bytes_of_a_plain_descriptor_are_unread_or_were_told() {
    bytes_are_unread_or_were_told(Descriptors::Plain);
}
