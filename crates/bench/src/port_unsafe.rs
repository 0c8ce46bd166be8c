//! The one socket option that no safe wrapper offers.

use std::io;
use std::os::fd::AsRawFd;

use socket2::Socket;

/// Lets `bind` to an address leave the choice of the port to `connect`, which knows the whole connection: one port then serves a
/// connection from every source address, and is found without a look at all who have it (`IP_BIND_ADDRESS_NO_PORT`, ip(7)).
///
/// # Errors
///
/// What the kernel says.
pub(crate) fn bind_without_port(socket: &Socket) -> io::Result<()> {
    let on: libc::c_int = 1;
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    let value = (&raw const on).cast();
    // SAFETY: the kernel reads `length` bytes at `value`, which is an integer of that size that lives until the call returns.
    let status = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, value, length)
    };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
