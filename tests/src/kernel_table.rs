//! What the kernel knows of a port in the calling thread's network namespace: its queue, its sockets, its counters.
//!
//! A condition that a test has brought about is read here, not assumed. The kernel gives no notice of any of it, so waiting
//! for it is looking again.

use std::collections::HashSet;
use std::fs;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use heartring_socket::now;

/// How long a test waits for something that should come soon.
const PATIENCE: Duration = Duration::from_secs(20);

const TIME_WAIT: u8 = 6;
const NEW_SYN_RECV: u8 = 12;

/// A TCP state, as in the kernel's `tcp_states.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum TcpState {
    /// Both sides may send.
    Established = 1,
    /// The peer has closed, and its end has not been read.
    CloseWait = 8,
    /// The third packet of the handshake has not come, or found no room.
    SynRecv = 3,
    /// A listener.
    Listen = 10,
}

/// A line of /proc/net/tcp.
struct Line {
    local_port: u16,
    remote_port: u16,
    state: u8,
    /// Of a listener: clients that wait to be accepted.
    receive_queue: usize,
}

/// Clients that wait to be accepted, for each listener of the port: `tcpi_unacked` of its TCP_INFO.
pub fn accept_queues(gateway: SocketAddr) -> Vec<usize> {
    let listeners = table(gateway)
        .into_iter()
        .filter(|line| line.local_port == gateway.port() && line.state == TcpState::Listen as u8);
    listeners.map(|line| line.receive_queue).collect()
}

/// The gateway's sockets in `state`, those included that nobody has accepted.
pub fn gateway_sockets(gateway: SocketAddr, state: TcpState) -> usize {
    let ours = |line: &&Line| line.local_port == gateway.port() && line.state == state as u8;
    table(gateway).iter().filter(ours).count()
}

/// The states of everything that the kernel keeps of the gateway's connections, orphans included. Listeners, TIME-WAIT and
/// unfinished handshakes, which hold no buffers, are left out.
pub fn gateway_states(gateway: SocketAddr) -> Vec<u8> {
    let without_buffers = [TcpState::SynRecv as u8, TIME_WAIT, TcpState::Listen as u8, NEW_SYN_RECV];
    let ours = |line: &Line| line.local_port == gateway.port() && !without_buffers.contains(&line.state);
    table(gateway).into_iter().filter(ours).map(|line| line.state).collect()
}

/// The sockets of its clients in `state`.
pub fn client_sockets(gateway: SocketAddr, state: TcpState) -> usize {
    let theirs = |line: &&Line| line.remote_port == gateway.port() && line.state == state as u8;
    table(gateway).iter().filter(theirs).count()
}

/// A counter of /proc/net/netstat, for example `ListenOverflows`.
///
/// # Panics
///
/// If this kernel has none of that name.
pub fn network_counter(name: &str) -> u64 {
    let text = fs::read_to_string("/proc/thread-self/net/netstat").expect("/proc is mounted");
    let lines: Vec<&str> = text.lines().collect();
    // Pairs of lines: names, then values.
    let value = lines.chunks_exact(2).find_map(|pair| {
        let mut columns = pair[0].split_whitespace().zip(pair[1].split_whitespace());
        columns.find(|(column, _)| *column == name).map(|(_, value)| value)
    });
    value.expect("the kernel counts it").parse().expect("a counter is a number")
}

/// Looks until `holds`; how long it took.
///
/// # Panics
///
/// If it does not within twenty seconds.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let began = now();
    loop {
        let waited = now().saturating_since(began);
        if holds() {
            return waited;
        }
        assert!(waited < PATIENCE, "not within {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

fn table(gateway: SocketAddr) -> Vec<Line> {
    let name = if gateway.is_ipv4() { "tcp" } else { "tcp6" };
    // Of the thread, not of the process: they may be in different namespaces.
    let text = fs::read_to_string(format!("/proc/thread-self/net/{name}")).expect("/proc is mounted");
    // The kernel writes the table piece by piece, and a socket that is near a seam can come twice.
    let mut seen = HashSet::new();
    text.lines().skip(1).filter(|line| seen.insert(name_of(line))).filter_map(line).collect()
}

/// What no other socket has. Listeners that share a port differ only in their inode, which a connection gets when it is accepted.
fn name_of(text: &str) -> Option<[&str; 3]> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let &[_, local, remote, state, _, _, _, _, _, inode, ..] = words.as_slice() else { return None };
    Some([local, remote, if state == "0A" { inode } else { "" }])
}

fn line(text: &str) -> Option<Line> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let hex = |word: Option<&str>| u32::from_str_radix(word?.rsplit(':').next()?, 16).ok();
    Some(Line {
        local_port: hex(words.get(1).copied())? as u16,
        remote_port: hex(words.get(2).copied())? as u16,
        state: hex(words.get(3).copied())? as u8,
        receive_queue: hex(words.get(4).copied())? as usize,
    })
}
