//! Accepting when the process has no descriptor left. Alone in its process, because the limit is the process's.

use std::net::TcpStream;
use std::time::Duration;

use heartring_core::{Backend, BackendConfig, Completion, ConnId, Errno, ListenOptions, Op};
use heartring_epoll::EpollBackend;
use heartring_socket::now;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[test]
fn a_shortage_fails_one_accept_and_the_next_one_finds_the_client() {
    let mut backend = EpollBackend::new(&BackendConfig::default()).unwrap();
    let listener = backend.listen("127.0.0.1:0".parse().unwrap(), &ListenOptions::default()).unwrap();
    let _client = TcpStream::connect(listener.addr).unwrap();
    let limit = getrlimit(Resource::Nofile);
    // Below what is open already: every new descriptor is one too many.
    setrlimit(Resource::Nofile, Rlimit { current: Some(1), ..limit }).unwrap();
    for slot in 0..3 {
        backend.submit(Op::Accept { listener: listener.id, conn: ConnId::new(slot, 1) });
    }
    let mut told = Vec::new();
    for _ in 0..3 {
        let until = Some(now() + Duration::from_millis(10));
        backend.wait(until, &mut |_, completion| told.push(words(&completion))).unwrap();
    }
    assert_eq!(told, [format!("0 {}", Errno::EMFILE.name())], "one, and nothing was retried");
    setrlimit(Resource::Nofile, limit).unwrap();
    backend.submit(Op::Accept { listener: listener.id, conn: ConnId::new(0, 2) });
    backend.wait(Some(now() + Duration::from_secs(5)), &mut |_, c| told.push(words(&c))).unwrap();
    assert_eq!(told[1..], ["1 accepted"], "without an edge");
}

fn words(completion: &Completion<'_>) -> String {
    if let Completion::AcceptFailed { conn, errno, .. } = completion {
        return format!("{} {}", conn.slot(), errno.name());
    }
    if let Completion::Accepted { conn, .. } = completion {
        return format!("{} accepted", conn.slot());
    }
    format!("{completion:?}")
}
