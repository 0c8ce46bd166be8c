//! What both real backends need from a socket, so that io_uring and epoll cannot differ in it.
//!
//! - [`listen`] opens a listening socket. Linux copies its options into every accepted socket, so accepting sets
//!   nothing; the tests here prove it for each option.
//! - [`examine`] asks the kernel what it knows about a connection; [`set_abortive`] makes its close a reset.
//! - [`accept_queue`] says how many clients wait at a listener; [`stop_listening`] and [`listen_again`] take it from its
//!   address and put it back, from any thread.
//! - [`enter_repair`] is for fleets and tests: a socket that dies without a word.
//! - [`now`] is the clock, [`WakeFd`] the doorbell.
//!
//! The wrappers (`socket2`, `rustix`) lack four calls. They are in `kernel_unsafe.rs`, which holds all the `unsafe` of
//! this crate.

mod accept_queue;
mod evidence;
#[allow(unsafe_code)] // four system calls that no safe wrapper offers
mod kernel_unsafe;
mod listener;
mod wake;

pub use accept_queue::{AcceptQueue, accept_queue, listen_again, nudge, stop_listening};
pub use evidence::examine;
pub use listener::{listen, local_addr};
pub use wake::WakeFd;

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use heartring_core::Instant;

/// `CLOCK_MONOTONIC`, in which every deadline of a real backend is written. It stands still while the machine is
/// suspended, as do the kernel's timeouts.
#[inline]
pub fn now() -> Instant {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).expect("the monotonic clock starts at boot");
    let nanos = u64::try_from(time.tv_nsec).expect("a timespec is normalised");
    Instant::from_nanos(seconds * 1_000_000_000 + nanos)
}

/// Makes the next `close` of `fd` abortive (`SO_LINGER` with zero seconds): the peer gets an RST, unsent bytes are
/// dropped, and nothing of the connection stays in the kernel.
///
/// # Errors
///
/// What `setsockopt` says; on an open TCP socket nothing.
pub fn set_abortive(fd: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::net::sockopt::set_socket_linger(fd, Some(Duration::ZERO))?)
}

/// Puts a TCP socket into repair mode, in which its close sends neither FIN nor RST: as a device dies that loses power. What
/// is sent to it later is answered with RST, as by a device that has rebooted.
///
/// # Errors
///
/// `EPERM` without CAP_NET_ADMIN.
pub fn enter_repair(fd: BorrowedFd<'_>) -> io::Result<()> {
    kernel_unsafe::set_repair(fd)
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn an_abortive_close_resets_the_peer() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (served, _) = listener.accept().unwrap();
        set_abortive(served.as_fd()).unwrap();
        drop(served);
        assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    }

    #[test]
    fn the_clock_moves_forward() {
        let earlier = now();
        std::thread::sleep(Duration::from_millis(1));
        assert!(now().saturating_since(earlier) >= Duration::from_millis(1));
    }
}
