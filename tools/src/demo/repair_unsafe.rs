//! `TCP_REPAIR`, the one socket option of the demo that no safe wrapper offers.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Puts a TCP socket into repair mode, in which its close sends nothing.
///
/// # Errors
///
/// `EPERM` without CAP_NET_ADMIN.
pub(super) fn enter_repair(socket: BorrowedFd<'_>) -> io::Result<()> {
    let on: libc::c_int = 1;
    let bytes = size_of_val(&on) as libc::socklen_t;
    // SAFETY: the kernel reads `bytes` bytes from `on`, which outlives the call; `socket` is borrowed, so it is open.
    let status = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_REPAIR,
            (&raw const on).cast(),
            bytes,
        )
    };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
