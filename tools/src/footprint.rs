//! What a gateway holds and costs by the kernel's account, which shares nothing with the gateway's own.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

/// TCP states, as in the kernel's `tcp_states.h`.
const SYN_RECV: u8 = 0x03;
const TIME_WAIT: u8 = 0x06;
const CLOSE_WAIT: u8 = 0x08;
const LISTEN: u8 = 0x0A;
const NEW_SYN_RECV: u8 = 0x0C;

/// The kernel's sockets of one port of this machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sockets {
    /// Connections, orphans included: everything that holds buffers. TIME-WAIT and unfinished handshakes do not.
    pub(crate) held: u32,
    /// Those of them whose peer has closed and which the gateway has not.
    pub(crate) close_wait: u32,
    /// Connections that wait to be accepted, of all listeners.
    pub(crate) queued: u32,
}

impl Sockets {
    /// Counts the sockets that are bound to `port`, over IPv4 and IPv6. Zero where there is no /proc.
    pub(crate) fn of_port(port: u16) -> Self {
        Self::of_port_of("thread-self", port)
    }

    /// The same in the network of another `process`, named as in /proc.
    pub(crate) fn of_port_of(process: &str, port: u16) -> Self {
        let tables = ["tcp", "tcp6"]
            .map(|table| fs::read_to_string(format!("/proc/{process}/net/{table}")).unwrap_or_default());
        let rows = tables.iter().flat_map(|table| table.lines().skip(1)).filter_map(Row::parse);
        // The kernel writes its table piece by piece, and a socket that is near a seam can come twice.
        let ours = rows.filter(|row| row.port() == Some(port));
        let ours: HashMap<_, _> = ours.map(|row| (row.name(), row)).collect();
        ours.values().fold(Self::default(), Self::with)
    }

    fn with(self, row: &Row<'_>) -> Self {
        match row.state {
            LISTEN => Self { queued: self.queued + row.receive_queue, ..self },
            TIME_WAIT | SYN_RECV | NEW_SYN_RECV => self,
            CLOSE_WAIT => Self { held: self.held + 1, close_wait: self.close_wait + 1, ..self },
            _ => Self { held: self.held + 1, ..self },
        }
    }
}

/// A line of the kernel's table.
struct Row<'a> {
    local: &'a str,
    remote: &'a str,
    state: u8,
    /// Of a listener: the clients that wait to be accepted.
    receive_queue: u32,
    inode: &'a str,
}

impl<'a> Row<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let &[_, local, remote, state, queues, _, _, _, _, inode, ..] = words.as_slice() else { return None };
        let (_, receive_queue) = queues.split_once(':')?;
        Some(Self {
            local,
            remote,
            state: u8::from_str_radix(state, 16).ok()?,
            receive_queue: u32::from_str_radix(receive_queue, 16).ok()?,
            inode,
        })
    }

    /// What no other socket has. Listeners that share a port differ only in their inode, which a connection gets when it is
    /// accepted.
    fn name(&self) -> [&'a str; 3] {
        [self.local, self.remote, if self.state == LISTEN { self.inode } else { "" }]
    }

    fn port(&self) -> Option<u16> {
        u16::from_str_radix(self.local.rsplit_once(':')?.1, 16).ok()
    }
}

/// How many descriptors this process has open.
pub(crate) fn descriptors() -> usize {
    descriptors_of("self")
}

/// How many descriptors a `process`, named as in /proc, has open.
pub(crate) fn descriptors_of(process: &str) -> usize {
    fs::read_dir(format!("/proc/{process}/fd")).map_or(0, Iterator::count)
}

/// What the threads of the gateway have used of the processor so far. They are known by their names.
pub(crate) fn shards_cpu() -> Duration {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let one = |task: fs::DirEntry| {
        let read = |file: &str| fs::read_to_string(task.path().join(file)).ok();
        read("comm")?.starts_with("heartring-").then_some(())?;
        // The first number is the time on a processor, in nanoseconds.
        let nanos = read("schedstat")?.split_whitespace().next()?.parse().ok()?;
        Some(Duration::from_nanos(nanos))
    };
    tasks.filter_map(one).sum()
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_client_is_counted_in_the_queue_and_as_a_socket_until_it_is_gone() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(Sockets::of_port(port), Sockets::default());
        let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        assert_eq!(Sockets::of_port(port), Sockets { held: 1, close_wait: 0, queued: 1 });
        let (served, _) = listener.accept().unwrap();
        drop(client);
        served.peek(&mut [0]).unwrap(); // Blocks until the FIN is there.
        assert_eq!(Sockets::of_port(port), Sockets { held: 1, close_wait: 1, queued: 0 });
    }
}
