//! The backends on real sockets as rigs: clients over loopback, CLOCK_MONOTONIC, descriptor limits, /proc/net/tcp.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use heartring_core::{Backend, BackendConfig, Instant};
use heartring_epoll::EpollBackend;
use heartring_uring::{Descriptors, UringBackend};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};
use socket2::SockRef;

use crate::rig::{End, Peer, Rig};

/// A backend on real sockets.
pub struct TcpRig<K: Kind>(K::Backend);

/// Which backend.
pub trait Kind {
    /// Its type.
    type Backend: Backend;

    /// Its name in what the tests print.
    const NAME: &'static str;

    /// Whether an accept needs a descriptor of the process.
    const ACCEPT_TAKES_DESCRIPTOR: bool;

    /// Makes one, or says why it cannot be had here.
    ///
    /// # Errors
    ///
    /// In words, for the test that is skipped.
    fn make(config: &BackendConfig) -> Result<Self::Backend, String>;
}

/// epoll.
pub struct Epoll;

/// io_uring as this kernel has it.
pub struct Uring;

/// io_uring with plain descriptors, as before Linux 6.13.
pub struct UringPlain;

impl Kind for Epoll {
    type Backend = EpollBackend;

    const NAME: &'static str = "epoll";
    const ACCEPT_TAKES_DESCRIPTOR: bool = true;

    fn make(config: &BackendConfig) -> Result<EpollBackend, String> {
        EpollBackend::new(config).map_err(|error| error.to_string())
    }
}

impl Kind for Uring {
    type Backend = UringBackend;

    const NAME: &'static str = "uring";
    const ACCEPT_TAKES_DESCRIPTOR: bool = false;

    fn make(config: &BackendConfig) -> Result<UringBackend, String> {
        UringBackend::new(config).map_err(|refusal| refusal.to_string())
    }
}

impl Kind for UringPlain {
    type Backend = UringBackend;

    const NAME: &'static str = "uring_plain";
    const ACCEPT_TAKES_DESCRIPTOR: bool = true;

    fn make(config: &BackendConfig) -> Result<UringBackend, String> {
        UringBackend::with_descriptors(config, Descriptors::Plain).map_err(|refusal| refusal.to_string())
    }
}

impl<K: Kind> Rig for TcpRig<K> {
    type Backend = K::Backend;
    type Peer = TcpPeer;

    const NAME: &'static str = K::NAME;
    const STARVES: bool = K::ACCEPT_TAKES_DESCRIPTOR;

    fn open(config: &BackendConfig) -> Result<Self, String> {
        K::make(config).map(Self)
    }

    fn backend(&mut self) -> &mut K::Backend {
        &mut self.0
    }

    fn clock(&self) -> Instant {
        monotonic()
    }

    fn connect(&mut self, listener: SocketAddr) -> TcpPeer {
        TcpPeer::connect(listener)
    }

    fn stall(&mut self, duration: Duration) {
        thread::sleep(duration);
    }

    fn starve(&mut self, _accepts: usize) {
        forbid_descriptors();
    }

    fn feed(&mut self) {
        limit_descriptors(getrlimit(Resource::Nofile).maximum);
    }

    fn kernel_keeps(&self, listener: SocketAddr, peer: SocketAddr) -> bool {
        kernel_keeps(listener, peer)
    }
}

/// A client on a real socket.
pub struct TcpPeer {
    /// `None` after [`Peer::close`] and [`Peer::reset`].
    stream: Option<TcpStream>,
    addr: SocketAddr,
    read: Vec<u8>,
    end: End,
    writers: Vec<JoinHandle<()>>,
}

impl TcpPeer {
    fn connect(listener: SocketAddr) -> Self {
        let stream = TcpStream::connect(listener).expect("a listener on loopback takes clients");
        stream.set_nonblocking(true).expect("a socket can be non-blocking");
        stream.set_nodelay(true).expect("TCP_NODELAY can be set");
        let addr = stream.local_addr().expect("a connected socket has an address");
        Self { stream: Some(stream), addr, read: Vec::new(), end: End::Open, writers: Vec::new() }
    }

    fn join_writers(&mut self) {
        for writer in self.writers.drain(..) {
            let _ = writer.join();
        }
    }

    fn pull(&mut self) {
        let Some(stream) = &mut self.stream else { return };
        let mut buffer = vec![0; 64 * 1024];
        while self.end == End::Open {
            match stream.read(&mut buffer) {
                Ok(0) => self.end = End::Eof,
                Ok(count) => self.read.extend(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => self.end = End::Reset,
                Err(error) => panic!("the client reads {error}"),
            }
        }
    }
}

impl Peer for TcpPeer {
    fn addr(&self) -> SocketAddr {
        self.addr
    }

    fn write(&mut self, bytes: &[u8]) -> usize {
        self.join_writers(); // What was written before comes before.
        let Some(stream) = &mut self.stream else { return 0 };
        let mut written = 0;
        while written < bytes.len() {
            match stream.write(&bytes[written..]) {
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // The backend may have closed already: the tests that write late count on it.
                Err(_) => break,
            }
        }
        written
    }

    fn write_after(&mut self, delay: Duration, bytes: &[u8]) {
        let Some(stream) = &self.stream else { return };
        let mut stream = stream.try_clone().expect("a descriptor is left");
        let bytes = bytes.to_vec();
        self.writers.push(thread::spawn(move || {
            thread::sleep(delay);
            // What does not fit or comes too late is missed by the test.
            let _ = stream.write(&bytes);
        }));
    }

    fn fin(&mut self) {
        if let Some(stream) = &self.stream {
            stream.shutdown(Shutdown::Write).expect("the client can shut its sending side");
        }
    }

    fn close(&mut self) {
        self.stream = None;
    }

    fn reset(&mut self) {
        if let Some(stream) = self.stream.take() {
            SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("SO_LINGER can be set");
        }
    }

    fn read(&mut self) -> &[u8] {
        self.pull();
        &self.read
    }

    fn end(&mut self) -> End {
        self.pull();
        self.end
    }
}

impl Drop for TcpPeer {
    fn drop(&mut self) {
        self.join_writers();
    }
}

fn monotonic() -> Instant {
    let now = clock_gettime(ClockId::Monotonic);
    Instant::ZERO + Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec as u32)
}

/// Lowers the soft limit so that nothing more can be opened.
///
/// A new descriptor gets the lowest free number, so that number is the limit. The highest one in use would be wrong: an
/// inherited descriptor may stand far above the others, even above the hard limit.
pub(crate) fn forbid_descriptors() {
    let lowest_free = File::open("/proc/self/fd").expect("/proc is mounted").as_raw_fd();
    limit_descriptors(Some(lowest_free.unsigned_abs().into()));
}

/// Moves the soft limit.
pub(crate) fn limit_descriptors(current: Option<u64>) {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current, maximum }).expect("a soft limit can be moved");
}

/// Looks for the backend's socket by its pair of ports, in whatever state.
fn kernel_keeps(listener: SocketAddr, peer: SocketAddr) -> bool {
    let table = if listener.is_ipv4() { "/proc/net/tcp" } else { "/proc/net/tcp6" };
    let text = fs::read_to_string(table).expect("/proc is mounted");
    let (local, remote) = (format!(":{:04X}", listener.port()), format!(":{:04X}", peer.port()));
    text.lines().skip(1).any(|line| {
        let mut words = line.split_whitespace().skip(1);
        words.next().is_some_and(|word| word.ends_with(&local))
            && words.next().is_some_and(|word| word.ends_with(&remote))
    })
}
