//! A network and mounts of this process' own: what no safe wrapper offers.

use std::io;
use std::os::fd::AsRawFd;

use socket2::{Domain, Socket, Type};

/// Gives the calling thread, and the processes that it starts, a network with nothing but a loopback device that is down, and
/// mounts of their own.
///
/// # Errors
///
/// `EPERM` without CAP_SYS_ADMIN.
pub(crate) fn unshare_network_and_mounts() -> io::Result<()> {
    // SAFETY: `unshare` takes a number and reads no memory. The namespaces decide what sockets and paths mean to the calling
    // thread; nothing in Rust relies on that.
    let status = unsafe { libc::unshare(libc::CLONE_NEWNET | libc::CLONE_NEWNS) };
    checked(status)
}

/// Brings the loopback device up.
///
/// # Errors
///
/// `EPERM` without CAP_NET_ADMIN in the network.
pub(crate) fn loopback_up() -> io::Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    // SAFETY: all zero is a valid `ifreq`: it is made of integers and arrays of them.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
    // SAFETY: SIOCSIFFLAGS reads one `ifreq`, which lives until the call returns; the descriptor is an open socket.
    let status = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw mut request) };
    checked(status)
}

fn checked(status: libc::c_int) -> io::Result<()> {
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
