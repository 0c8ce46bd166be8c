//! The accept queue of a listening socket, for those who look after it from another thread: how full it is, and how to take
//! the socket out of the group that shares its address and put it back.

use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use rustix::net::{Shutdown, shutdown};

use crate::kernel_unsafe;

/// `TCP_LISTEN` of the kernel's `tcp_states.h`.
const TCP_LISTEN: u8 = 10;

/// Clients whose handshake is finished and who have not been accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcceptQueue {
    /// How many they are.
    pub len: u32,
    /// How many the kernel keeps; it admits one more.
    pub max: u32,
}

/// The queue of `listener`; `None` if it does not listen.
///
/// # Errors
///
/// What `getsockopt(TCP_INFO)` says; on a TCP socket nothing.
pub fn accept_queue(listener: BorrowedFd<'_>) -> io::Result<Option<AcceptQueue>> {
    let info = kernel_unsafe::tcp_info(listener)?;
    // Of a listener the two fields have this meaning: `tcp_get_info` in net/ipv4/tcp.c.
    let queue = AcceptQueue { len: info.tcpi_unacked, max: info.tcpi_sacked };
    Ok((info.tcpi_state == TCP_LISTEN).then_some(queue))
}

/// Ends the listening, whoever else holds the socket: new clients go to the others that listen on its address
/// (`SO_REUSEPORT`). The kernel resets the clients in the queue, or moves them to the others if `net.ipv4.tcp_migrate_req`
/// is 1. An accept on the socket fails with `EINVAL` from now on.
///
/// # Errors
///
/// `ENOTCONN` if it does not listen.
pub fn stop_listening(listener: BorrowedFd<'_>) -> io::Result<()> {
    shut(listener, Shutdown::Read)
}

/// Listens again on the address of before, after [`stop_listening`].
///
/// # Errors
///
/// What `bind` or `listen` says: `EADDRINUSE` if somebody has taken the port meanwhile.
pub fn listen_again(listener: BorrowedFd<'_>, addr: SocketAddr, backlog: u32) -> io::Result<()> {
    // A port that the program chose stays bound. One that the kernel chose was given back, and `listen` alone would choose
    // another one.
    match rustix::net::bind(listener, &addr) {
        Ok(()) | Err(Errno::INVAL) => {}
        Err(errno) => return Err(errno.into()),
    }
    Ok(rustix::net::listen(listener, i32::try_from(backlog).unwrap_or(i32::MAX))?)
}

/// Wakes whoever waits for a client of `listener`, to look once more. Kernels before 2026 wake nobody when they move the
/// clients of another listener here.
///
/// # Errors
///
/// `ENOTCONN` if it does not listen.
pub fn nudge(listener: BorrowedFd<'_>) -> io::Result<()> {
    // A listener does not send: `inet_shutdown` changes nothing and then wakes those who poll.
    shut(listener, Shutdown::Write)
}

/// A socket that does not listen would remember being shut, and hand it down to every connection that it accepts later. Only
/// one thread may stop and nudge a listener, so that nobody stops it between the look and the call.
fn shut(listener: BorrowedFd<'_>, how: Shutdown) -> io::Result<()> {
    match accept_queue(listener)? {
        Some(_) => Ok(shutdown(listener, how)?),
        None => Err(Errno::NOTCONN.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read};
    use std::net::TcpStream;
    use std::os::fd::{AsFd, OwnedFd};

    use heartring_core::ListenOptions;

    use super::*;
    use crate::{listen, local_addr};

    const BACKLOG: u32 = 16;

    fn listener(addr: SocketAddr) -> (OwnedFd, SocketAddr) {
        let options = ListenOptions { backlog: BACKLOG, reuse_port: true, ..ListenOptions::default() };
        let listener = listen(addr, &options).unwrap();
        let addr = local_addr(listener.as_fd()).unwrap();
        (listener, addr)
    }

    fn any_port() -> SocketAddr {
        "127.0.0.1:0".parse().unwrap()
    }

    fn len(listener: &OwnedFd) -> Option<u32> {
        accept_queue(listener.as_fd()).unwrap().map(|queue| queue.len)
    }

    #[test]
    fn the_queue_counts_those_who_were_not_accepted() {
        let (listener, addr) = listener(any_port());
        assert_eq!(accept_queue(listener.as_fd()).unwrap(), Some(AcceptQueue { len: 0, max: BACKLOG }));
        let _clients = [TcpStream::connect(addr).unwrap(), TcpStream::connect(addr).unwrap()];
        assert_eq!(len(&listener), Some(2));
        rustix::net::accept(&listener).unwrap();
        assert_eq!(len(&listener), Some(1));
    }

    #[test]
    fn a_listener_that_was_stopped_resets_its_queue_and_takes_nobody() {
        let (listener, addr) = listener(any_port());
        let mut client = TcpStream::connect(addr).unwrap();
        stop_listening(listener.as_fd()).unwrap();
        assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert_eq!(TcpStream::connect(addr).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        assert_eq!(rustix::net::accept(&listener).unwrap_err(), Errno::INVAL);
        assert_eq!(len(&listener), None);
    }

    #[test]
    fn it_listens_again_on_the_port_that_the_kernel_chose() {
        let (listener, addr) = listener(any_port());
        for _ in 0..2 {
            stop_listening(listener.as_fd()).unwrap();
            listen_again(listener.as_fd(), addr, BACKLOG).unwrap();
            assert_eq!(local_addr(listener.as_fd()).unwrap(), addr);
            TcpStream::connect(addr).unwrap();
            rustix::net::accept(&listener).unwrap();
        }
    }

    #[test]
    fn the_others_of_the_address_get_its_clients() {
        let (first, addr) = listener(any_port());
        let (second, _) = listener(addr);
        stop_listening(first.as_fd()).unwrap();
        let clients: Vec<TcpStream> = (0..8).map(|_| TcpStream::connect(addr).unwrap()).collect();
        assert_eq!((len(&first), len(&second)), (None, Some(8)));
        listen_again(first.as_fd(), addr, BACKLOG).unwrap();
        // The kernel chooses by the client's port: among many, some fall to each.
        let more: Vec<TcpStream> = (0..16)
            .map(|_| TcpStream::connect(addr).unwrap())
            .take_while(|_| len(&first) == Some(0))
            .collect();
        assert!(
            len(&first).unwrap() > 0,
            "{} of {} clients came to the second",
            more.len(),
            16 + clients.len()
        );
    }

    #[test]
    fn what_is_done_to_a_stopped_listener_is_not_handed_down() {
        let (listener, addr) = listener(any_port());
        stop_listening(listener.as_fd()).unwrap();
        for twice in [stop_listening, nudge] {
            assert_eq!(twice(listener.as_fd()).unwrap_err().kind(), ErrorKind::NotConnected);
        }
        listen_again(listener.as_fd(), addr, BACKLOG).unwrap();
        let mut client = TcpStream::connect(addr).unwrap();
        let accepted = rustix::net::accept(&listener).unwrap();
        rustix::io::write(&accepted, b"served").unwrap();
        client.read_exact(&mut [0; 6]).unwrap();
    }

    #[test]
    fn a_nudge_changes_nothing() {
        let (listener, addr) = listener(any_port());
        let _waiting = TcpStream::connect(addr).unwrap();
        nudge(listener.as_fd()).unwrap();
        let _another = TcpStream::connect(addr).unwrap();
        assert_eq!(len(&listener), Some(2));
    }
}
