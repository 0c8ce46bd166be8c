//! Two network namespaces and a wire between them, which can be cut without anybody being told.
//!
//! The thread that makes a [`Wire`] moves to the near end for good, with the threads that it starts later: a gateway started
//! there listens there. The far end is a thread that makes sockets; a socket stays in the namespace that it was made in,
//! whoever uses it.
//!
//! A cut is a neighbour entry with a hardware address that nobody has: packets leave and arrive nowhere. It needs nothing
//! but `ip`. Everything disappears with the last thread and socket.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};

use socket2::SockRef;

use crate::device::Device;
use crate::privileged_unsafe::unshare_network;

/// The gateway's address.
pub const NEAR: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 99, 0, 1));
/// The devices' address.
pub const FAR: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 99, 0, 2));

const NEAR_MAC: &str = "02:00:00:00:00:01";
const FAR_MAC: &str = "02:00:00:00:00:02";
const NOBODY_MAC: &str = "02:00:00:00:00:99";

type Job = Box<dyn FnOnce() + Send>;

/// The wire. Its calls belong on the thread that made it.
pub struct Wire {
    jobs: Option<Sender<Job>>,
    far: Option<JoinHandle<()>>,
}

impl Wire {
    /// Moves the calling thread into a namespace of its own and connects it to another.
    ///
    /// # Errors
    ///
    /// Why not: no privilege, or no `ip`.
    pub fn new() -> Result<Self, String> {
        unshare_network().map_err(|error| format!("unshare(CLONE_NEWNET): {error}"))?;
        let (jobs, inbox) = mpsc::channel::<Job>();
        let far = thread::spawn(move || inbox.into_iter().for_each(|job| job()));
        let wire = Self { jobs: Some(jobs), far: Some(far) };
        let thread_id = wire.at_far_end(|| unshare_network().map(|()| rustix::thread::gettid()));
        let thread_id = thread_id.map_err(|error| format!("unshare(CLONE_NEWNET): {error}"))?;
        ip(&format!(
            "link set lo up
             link add near address {NEAR_MAC} type veth peer name far address {FAR_MAC} netns {}
             addr add {NEAR}/24 dev near
             link set near up
             neigh replace {FAR} lladdr {FAR_MAC} dev near nud permanent",
            thread_id.as_raw_nonzero()
        ))?;
        wire.at_far_end(|| {
            ip(&format!(
                "link set lo up
                 addr add {FAR}/24 dev far
                 link set far up
                 neigh replace {NEAR} lladdr {NEAR_MAC} dev far nud permanent"
            ))
        })?;
        Ok(wire)
    }

    /// Runs `job` in the far namespace.
    ///
    /// # Panics
    ///
    /// If the job panics.
    pub fn at_far_end<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = mpsc::channel();
        let job = Box::new(move || {
            let _ = done.send(job());
        });
        self.jobs.as_ref().expect("the far end lives as long as the wire").send(job).expect("it is there");
        result.recv().expect("the job does not panic")
    }

    /// Connects a device of the far end.
    pub fn connect(&self, gateway: SocketAddr) -> Device {
        self.at_far_end(move || Device::connect(gateway))
    }

    /// The same with a small receive buffer, which is soon full.
    ///
    /// # Panics
    ///
    /// If it cannot connect.
    pub fn connect_small(&self, gateway: SocketAddr) -> Device {
        self.at_far_end(move || {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)
                .expect("a descriptor is left");
            SockRef::from(&socket).set_recv_buffer_size(4096).expect("SO_RCVBUF can be set");
            socket.connect(&gateway.into()).expect("a gateway takes devices");
            Device::from_stream(TcpStream::from(socket))
        })
    }

    /// From now on nothing arrives, in either direction.
    pub fn cut(&self) {
        self.cut_to_far();
        self.far_ip(format!("neigh replace {NEAR} lladdr {NOBODY_MAC} dev far nud permanent"));
    }

    /// From now on nothing that we send arrives; what the far end sends does.
    pub fn cut_to_far(&self) {
        near_ip(&format!("neigh replace {FAR} lladdr {NOBODY_MAC} dev near nud permanent"));
    }

    /// The wire is whole again.
    pub fn heal(&self) {
        near_ip(&format!("neigh replace {FAR} lladdr {FAR_MAC} dev near nud permanent"));
        self.far_ip(format!("neigh replace {NEAR} lladdr {NEAR_MAC} dev far nud permanent"));
    }

    /// Takes the far network interface down, and our knowledge of its hardware address with it.
    pub fn unplug_far(&self) {
        self.far_ip("link set far down".into());
        near_ip(&format!("neigh del {FAR} dev near"));
    }

    fn far_ip(&self, commands: String) {
        self.at_far_end(move || ip(&commands)).expect("ip accepts it");
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.jobs = None; // Ends the thread.
        if let Some(far) = self.far.take() {
            let _ = far.join();
        }
    }
}

fn near_ip(commands: &str) {
    ip(commands).expect("ip accepts it");
}

/// Runs `ip` in the calling thread's namespace, with one command per line.
fn ip(commands: &str) -> Result<(), String> {
    let mut child = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("ip: {error}"))?;
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(commands.as_bytes()).map_err(|error| format!("ip: {error}"))?;
    drop(stdin);
    let output = child.wait_with_output().map_err(|error| format!("ip: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("ip: {}", String::from_utf8_lossy(&output.stderr).trim()))
}
