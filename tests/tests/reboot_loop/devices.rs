//! The devices that reboot. One reboots only after its last start was answered, so that every reboot is exactly one takeover.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use heartring::Instant;
use heartring_socket::now;
use rustix::net::{RecvFlags, recv};

use super::trial::Plan;

/// How long a client waits for its answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// All devices, and how they connect.
pub(crate) struct Devices<C> {
    gateway: SocketAddr,
    connect: C,
    /// The next one to reboot first.
    queue: VecDeque<Device>,
    takeovers: Vec<Duration>,
}

struct Device {
    name: String,
    stream: TcpStream,
    epoch: u64,
}

impl<C: FnMut(SocketAddr) -> io::Result<TcpStream>> Devices<C> {
    /// Starts them one after the other.
    pub(crate) fn start(gateway: SocketAddr, identities: u32, mut connect: C) -> Self {
        let start = |number| {
            let name = format!("device-{number}");
            let (stream, epoch) = introduce(&mut connect, gateway, &name);
            Device { name, stream, epoch }
        };
        let queue = (0..identities).map(start).collect();
        Self { gateway, connect, queue, takeovers: Vec::new() }
    }

    /// Has them `die` and come back in turn.
    pub(crate) fn reboot(&mut self, plan: Plan, die: impl Fn(TcpStream)) {
        let (began, every) = (now(), Duration::from_secs(1) / plan.reboots_per_second);
        for nth in 0..plan.reboots {
            sleep_until(began + every * nth);
            let Device { name, stream, epoch: former } = self.queue.pop_front().expect("there are some");
            assert!(is_alive(&stream), "{name} was cut off");
            die(stream);
            let connects_at = now();
            let (stream, epoch) = introduce(&mut self.connect, self.gateway, &name);
            self.takeovers.push(now().saturating_since(connects_at));
            assert!(epoch > former, "{name} holds epoch {epoch} after {former}");
            self.queue.push_back(Device { name, stream, epoch });
        }
    }

    /// All leave in order; how long each takeover took, from connect to claimed.
    pub(crate) fn leave(self) -> Vec<Duration> {
        for Device { name, stream, .. } in self.queue {
            assert!(is_alive(&stream), "{name} was cut off");
            leave(stream);
        }
        self.takeovers
    }
}

/// Connects, says who is calling and waits to hear that the identity is held, with its epoch.
pub(crate) fn introduce(
    mut connect: impl FnMut(SocketAddr) -> io::Result<TcpStream>,
    gateway: SocketAddr,
    name: &str,
) -> (TcpStream, u64) {
    let mut stream = connect(gateway).expect("a gateway takes clients");
    stream.set_nodelay(true).expect("TCP_NODELAY can be set");
    stream.set_read_timeout(Some(PATIENCE)).expect("a read can have a bound");
    stream.write_all(format!("{name}\n").as_bytes()).expect("the connection is open");
    let mut answer = String::new();
    BufReader::new(&stream).read_line(&mut answer).expect("the gateway answers");
    let epoch = answer.strip_prefix("claimed ").and_then(|epoch| epoch.trim_end().parse().ok());
    (stream, epoch.unwrap_or_else(|| panic!("{name} was answered {answer:?}")))
}

/// Closes in order and waits until the gateway has done so.
pub(crate) fn leave(mut stream: TcpStream) {
    stream.shutdown(Shutdown::Write).expect("the connection is open");
    assert_eq!(stream.read(&mut [0]).expect("an orderly end"), 0);
}

pub(crate) fn sleep_until(at: Instant) {
    thread::sleep(at.saturating_since(now()));
}

fn is_alive(stream: &TcpStream) -> bool {
    let look = recv(stream, &mut [0_u8; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT);
    matches!(look, Err(rustix::io::Errno::AGAIN))
}
