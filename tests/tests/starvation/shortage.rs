//! Cause 8: no descriptor is left for the next client; and its like where descriptors are not what runs out.
//!
//! The gateway has a process of its own, so that its CPU time is its own, and its clients keep their descriptors.

use std::collections::VecDeque;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use heartring::{BackendChoice, Config, Limits};
use heartring_socket::now;
use heartring_tests::{
    ChildStats, Device, End, GatewayChild, On, TcpState, accept_queues, eventually, gateway_sockets,
};
use socket2::{Domain, Socket, Type};

use super::site::{config, is_drained, is_served};

/// Clients that try to connect in a second.
const PRESSURE: u32 = 200;

/// How long such a client waits until it gives up.
const PATIENCE: Duration = Duration::from_secs(1);

/// Those who are in before, and stay.
const INSIDE: usize = 5;

/// On epoll every client needs a descriptor: the queue fills and overflows, and after a pause that grows to half a second one
/// accept is tried. On io_uring connections live in the ring's table, so that clients are served as if nothing were missing,
/// and only the evidence of an end can be missing.
pub(crate) fn cause_8_ten_seconds_without_descriptors(on: On) {
    let test = format!("{}::cause_8_ten_seconds_without_descriptors", on.module);
    if GatewayChild::is_child(&test) {
        let limits = Limits { conns_max: Some(4096), ..Limits::default() };
        return GatewayChild::serve(Config { limits, backlog: 1024, ..config(on) });
    }
    let mut gateway = GatewayChild::spawn(&test);
    let mut inside = enter(gateway.addr());
    let before = gateway.descriptors();
    gateway.starve();
    let crowd = Crowd::gather(gateway.addr());
    let cpu = cpu_share(&gateway, Duration::from_secs(10), &mut inside);
    let waiting: usize = accept_queues(gateway.addr()).iter().sum();
    let needs_descriptors = on.backend == BackendChoice::Epoll;
    assert!(!needs_descriptors || waiting > 100, "only {waiting} wait: it was no shortage");
    gateway.feed();
    let recovery = recovery(gateway.addr());
    let came = crowd.disperse();
    leave(&mut gateway, inside, before);
    let stats = gateway.end();
    println!(
        "{}: {cpu:.2} % of a core for 10 s under {PRESSURE} connects/s, {waiting} waiting, recovered in {recovery:?}; {came} came, {stats:?}",
        on.module
    );
    assert!(cpu < 10.0, "{cpu:.1} % of a core: it spins");
    assert!(recovery < Duration::from_secs(1), "it recovered after {recovery:?}");
    check(stats, needs_descriptors);
}

fn check(stats: ChildStats, needs_descriptors: bool) {
    // 10, 20, 40 ... 500 ms make 25 pauses in ten seconds.
    let pauses = if needs_descriptors { 10..60 } else { 0..1 };
    assert!(pauses.contains(&stats.accept_back_offs), "{stats:?}");
    assert!(stats.accept_failures <= stats.accept_back_offs + 5, "{stats:?}");
}

/// What runs out on io_uring is the table. It is the gateway's own limit, so that nobody waits for it: each client is told at
/// once, on either backend.
pub(crate) fn a_full_table_refuses_without_spinning(on: On) {
    let test = format!("{}::a_full_table_refuses_without_spinning", on.module);
    if GatewayChild::is_child(&test) {
        let limits = Limits { conns_max: Some(INSIDE as u32), ..Limits::default() };
        return GatewayChild::serve(Config { limits, ..config(on) });
    }
    let mut gateway = GatewayChild::spawn(&test);
    let mut inside = enter(gateway.addr());
    let before = gateway.descriptors();
    let crowd = Crowd::gather(gateway.addr());
    let cpu = cpu_share(&gateway, Duration::from_secs(2), &mut inside);
    assert_eq!(Device::connect(gateway.addr()).read_to_end().1, End::Reset);
    // Others come all the time, so that at any one moment one of them may be on its way through.
    eventually("nobody is left in the queue", || is_drained(gateway.addr()));
    let came = crowd.disperse();
    leave(&mut gateway, inside, before);
    let stats = gateway.end();
    println!("{}: {cpu:.2} % of a core with a full table, {came} came, {stats:?}", on.module);
    assert!(cpu < 10.0, "{cpu:.1} % of a core: it spins");
    assert_eq!((stats.accepted - stats.refused, stats.accept_failures), (INSIDE as u64, 0), "{stats:?}");
    assert!(stats.refused > 50, "{stats:?}");
}

fn enter(gateway: SocketAddr) -> Vec<Device> {
    let mut inside: Vec<Device> = (0..INSIDE).map(|_| Device::connect(gateway)).collect();
    inside.iter_mut().for_each(is_served);
    inside
}

/// The gateway's CPU time in per cent of a core, while those inside are served all the time.
fn cpu_share(gateway: &GatewayChild, duration: Duration, inside: &mut [Device]) -> f64 {
    let (began, cpu_before) = (now(), gateway.cpu_time());
    while now().saturating_since(began) < duration {
        inside.iter_mut().for_each(is_served);
        thread::sleep(Duration::from_millis(200));
    }
    let cpu = gateway.cpu_time().saturating_sub(cpu_before);
    100.0 * cpu.as_secs_f64() / now().saturating_since(began).as_secs_f64()
}

/// How long it takes until a client that comes has its answer and nobody waits in the queue.
fn recovery(gateway: SocketAddr) -> Duration {
    let began = now();
    eventually("a client that comes is served", || {
        // One whose SYN was ignored would try again only after a second.
        let client = TcpStream::connect_timeout(&gateway, Duration::from_millis(50));
        client.is_ok_and(|stream| {
            is_served(&mut Device::from_stream(stream));
            true
        })
    });
    eventually("nobody waits", || is_drained(gateway));
    now().saturating_since(began)
}

/// Waits until nothing is left of those who came, and has those inside leave, too.
fn leave(gateway: &mut GatewayChild, mut inside: Vec<Device>, descriptors_before: usize) {
    inside.iter_mut().for_each(is_served);
    eventually("only those inside are left", || {
        gateway_sockets(gateway.addr(), TcpState::Established) == INSIDE
            && gateway_sockets(gateway.addr(), TcpState::CloseWait) == 0
            && gateway.descriptors() == descriptors_before
    });
}

/// Clients that come all the time, ask, wait for a while and leave.
struct Crowd {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<usize>,
}

impl Crowd {
    fn gather(gateway: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let body = move || {
            let (mut clients, mut came) = (VecDeque::new(), 0);
            while !stopped.load(Ordering::Acquire) {
                clients.push_back(come(gateway));
                came += 1;
                if clients.len() > (PRESSURE * PATIENCE.as_secs() as u32) as usize {
                    clients.pop_front();
                }
                thread::sleep(Duration::from_secs(1) / PRESSURE);
            }
            came
        };
        Self { stop, thread: thread::spawn(body) }
    }

    /// Stops it; how many came.
    fn disperse(self) -> usize {
        self.stop.store(true, Ordering::Release);
        self.thread.join().expect("a crowd does not panic")
    }
}

/// Begins to connect, and asks if the handshake is over at once.
fn come(gateway: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a descriptor is left");
    socket.set_nonblocking(true).expect("a socket can be non-blocking");
    // In progress, or done; what is refused is the test's point.
    let _ = socket.connect(&gateway.into());
    let _ = socket.send(b"echo hello\n");
    socket
}
