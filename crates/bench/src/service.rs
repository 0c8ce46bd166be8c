//! The thread on which a contender other than heartring runs, and the listener it gets: the same for every one of them.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::control::{self, ServerReport};
use crate::plan::ServePlan;
use crate::serve::Served;

/// Enough for a whole fleet to connect while the server is busy; the kernel lowers it to `somaxconn`.
pub(crate) const BACKLOG: u32 = 4096;

/// Two seconds in all.
const OPEN_TRIES: u32 = 20;
const OPEN_PAUSE: Duration = Duration::from_millis(100);

/// A server with one thread.
pub trait Service: Sized {
    /// Sets it up, on the thread that will run it. The listener does not block, and what it accepts inherits its options.
    ///
    /// # Errors
    ///
    /// Why it cannot run here.
    fn open(listener: Socket, plan: &ServePlan) -> io::Result<Self>;

    /// Serves. Ends only when it cannot go on.
    ///
    /// # Errors
    ///
    /// Why it cannot go on.
    fn run(self) -> io::Result<Infallible>;
}

/// Starts `S` on a thread of its own, and returns once it is set up.
pub(crate) fn start<S: Service>(plan: &ServePlan) -> Result<Served, String> {
    let (listener, addr) = listen(plan).map_err(|e| format!("listener: {e}"))?;
    let (opened, outcome) = mpsc::channel();
    let plan = plan.clone();
    thread::Builder::new()
        .name("service".into())
        .spawn(move || match open_when_memory_is_back::<S>(&listener, &plan) {
            Ok(service) => {
                let _ = opened.send(Ok(()));
                let Err(error) = service.run();
                control::report(&ServerReport::Failed { why: error.to_string() });
            }
            Err(error) => {
                let _ = opened.send(Err(error.to_string()));
            }
        })
        .map_err(|e| format!("thread: {e}"))?;
    outcome.recv().map_err(|_| String::from("it panicked while it was set up"))??;
    Ok(Served { addr, verdicts: None })
}

/// The kernel takes a ring down after its process has ended. Until then the memory counts as locked, and the
/// next ring may not get its own.
fn open_when_memory_is_back<S: Service>(listener: &Socket, plan: &ServePlan) -> io::Result<S> {
    for _ in 1..OPEN_TRIES {
        match S::open(listener.try_clone()?, plan) {
            Err(error) if error.kind() == io::ErrorKind::OutOfMemory => thread::sleep(OPEN_PAUSE),
            outcome => return outcome,
        }
    }
    S::open(listener.try_clone()?, plan)
}

/// A non-blocking listener on a free port, whose options accepted sockets inherit.
fn listen(plan: &ServePlan) -> io::Result<(Socket, SocketAddr)> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    if let Some(congestion) = &plan.congestion {
        socket.set_tcp_congestion(congestion.as_bytes())?;
    }
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    socket.listen(BACKLOG.cast_signed())?;
    let addr = socket.local_addr()?.as_socket().ok_or_else(|| io::Error::other("no IP address"))?;
    Ok((socket, addr))
}
