//! Devices: the other side of a gateway under test.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{fs, io};

use heartring::Instant;
use heartring_socket::now;
use socket2::SockRef;

use crate::rig::End;

/// How long a device waits for what should come soon.
const PATIENCE: Duration = Duration::from_secs(20);

/// One device: a blocking socket, and its owner's word for everything.
#[derive(Debug)]
pub struct Device {
    stream: TcpStream,
    addr: SocketAddr,
    /// Just before it last sent something: no later than when the gateway heard it.
    pub spoke_at: Instant,
}

impl Device {
    /// Connects.
    ///
    /// # Panics
    ///
    /// If the gateway is not there.
    pub fn connect(gateway: SocketAddr) -> Self {
        let spoke_at = now();
        let stream = TcpStream::connect(gateway).expect("a gateway takes devices");
        Self { spoke_at, ..Self::from_stream(stream) }
    }

    /// Connects and sends a first frame.
    pub fn connect_and_send(gateway: SocketAddr, frame: &[u8]) -> Self {
        let mut device = Self::connect(gateway);
        device.send(frame);
        device
    }

    /// From a socket that was connected elsewhere.
    ///
    /// # Panics
    ///
    /// If it is not connected.
    pub fn from_stream(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("TCP_NODELAY can be set");
        let addr = stream.local_addr().expect("a connected socket has an address");
        Self { stream, addr, spoke_at: now() }
    }

    /// Its own address, which is how the gateway knows it.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The socket.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends all of `bytes`.
    ///
    /// # Panics
    ///
    /// If the gateway has cut the connection.
    pub fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).expect("the connection is open");
    }

    /// Sends all of `bytes`, if the connection still takes them.
    ///
    /// # Errors
    ///
    /// What the socket says.
    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.spoke_at = now();
        self.stream.write_all(bytes)
    }

    /// Reads exactly `bytes`.
    ///
    /// # Panics
    ///
    /// If something else comes, or nothing.
    pub fn expect(&mut self, bytes: &[u8]) {
        self.stream.set_read_timeout(Some(PATIENCE)).expect("a read can have a bound");
        let mut read = vec![0; bytes.len()];
        self.stream.read_exact(&mut read).expect("the gateway answers");
        assert_eq!(read, bytes);
    }

    /// Reads until the stream ends, for at most twenty seconds: what came, and how it ended.
    pub fn read_to_end(&mut self) -> (Vec<u8>, End) {
        self.read_for(PATIENCE)
    }

    /// Reads until the stream ends, for at most about `duration`.
    ///
    /// # Panics
    ///
    /// If the socket fails in a way that is no end.
    pub fn read_for(&mut self, duration: Duration) -> (Vec<u8>, End) {
        let give_up_at = now() + duration;
        let (mut read, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
        loop {
            let left = give_up_at.saturating_since(now()).max(Duration::from_millis(1));
            self.stream.set_read_timeout(Some(left)).expect("a read can have a bound");
            match self.stream.read(&mut buffer) {
                Ok(0) => return (read, End::Eof),
                Ok(count) => read.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return (read, End::Reset),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => panic!("a device reads {error}"),
            }
            if now() >= give_up_at {
                return (read, End::Open);
            }
        }
    }

    /// Shuts its sending side.
    ///
    /// # Panics
    ///
    /// If the connection is gone.
    pub fn fin(&self) {
        self.stream.shutdown(Shutdown::Write).expect("the connection is open");
    }

    /// Closes with RST.
    ///
    /// # Panics
    ///
    /// If the option cannot be set.
    pub fn reset(self) {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).expect("SO_LINGER can be set");
    }
}

/// Devices that beat, from one thread, until they are stopped.
pub struct Fleet {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Device>>,
}

impl Fleet {
    /// Has each device send `beat` now and then every `every`.
    ///
    /// What a device cannot send any more is missed by the gateway: the test looks there.
    pub fn beat(mut devices: Vec<Device>, every: Duration, beat: &'static [u8]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let body = move || {
            while !stopped.load(Ordering::Acquire) {
                for device in &mut devices {
                    let _ = device.try_send(beat);
                }
                thread::sleep(every);
            }
            devices
        };
        Self { stop, thread: thread::spawn(body) }
    }

    /// Stops beating and returns the devices.
    ///
    /// # Panics
    ///
    /// If its thread has panicked.
    pub fn stop(self) -> Vec<Device> {
        self.stop.store(true, Ordering::Release);
        self.thread.join().expect("a fleet does not panic")
    }
}

/// The TCP states, as in the kernel's `tcp_states.h`, of what this network namespace keeps of a gateway's connection.
///
/// # Panics
///
/// If there is no /proc.
pub fn kernel_states(gateway: SocketAddr, device: SocketAddr) -> Vec<u8> {
    let table = if gateway.is_ipv4() { "tcp" } else { "tcp6" };
    // Of the thread, not of the process: they may be in different namespaces.
    let text = fs::read_to_string(format!("/proc/thread-self/net/{table}")).expect("/proc is mounted");
    let (local, remote) = (format!(":{:04X}", gateway.port()), format!(":{:04X}", device.port()));
    let state = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let ours = words.len() > 3 && words[1].ends_with(&local) && words[2].ends_with(&remote);
        ours.then(|| u8::from_str_radix(words[3], 16).expect("a state is two hexadecimal digits"))
    };
    text.lines().skip(1).filter_map(state).collect()
}

/// Waits until the kernel keeps nothing of a gateway's connection; how long it took.
///
/// # Panics
///
/// If it still keeps something after `bound`.
pub fn kernel_forgets(gateway: SocketAddr, device: SocketAddr, bound: Duration) -> Duration {
    let began = now();
    loop {
        let states = kernel_states(gateway, device);
        let waited = now().saturating_since(began);
        if states.is_empty() {
            return waited;
        }
        assert!(waited < bound, "the kernel keeps {gateway} <- {device} in states {states:?}");
        thread::sleep(Duration::from_millis(10));
    }
}
