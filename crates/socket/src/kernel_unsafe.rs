//! The system calls that neither `rustix` nor `socket2` offers: TCP_INFO, SIOCOUTQ, TCP_RTO_MAX_MS and TCP_REPAIR.
//!
//! Each function borrows its descriptor, so the descriptor is open for the call; the kernel checks whether it is a TCP
//! socket. Nothing here keeps a pointer.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

/// `TCP_RTO_MAX_MS` of `include/uapi/linux/tcp.h`, in Linux since 6.15; the `libc` crate does not have it yet.
const TCP_RTO_MAX_MS: libc::c_int = 44;

/// `getsockopt(TCP_INFO)`. A kernel that knows fewer fields than we do leaves the others zero.
pub(crate) fn tcp_info(fd: BorrowedFd<'_>) -> io::Result<libc::tcp_info> {
    // SAFETY: `tcp_info` is a C struct of integers, for which all bits zero is a value.
    let mut info: libc::tcp_info = unsafe { mem::zeroed() };
    let mut length = size_of_val(&info) as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `info`, which has that size, and the count to `length`. Both
    // are exclusively borrowed for the call, and every bit pattern of `info` is a value.
    let status = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            ptr::from_mut(&mut info).cast(),
            ptr::from_mut(&mut length),
        )
    };
    checked(status).map(|()| info)
}

/// `ioctl(SIOCOUTQ)`: bytes that were sent and that the peer's kernel has not acknowledged.
pub(crate) fn unsent_bytes(fd: BorrowedFd<'_>) -> io::Result<u32> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: this request (SIOCOUTQ is another name of TIOCOUTQ) writes one C int to its argument, which is exclusively
    // borrowed for the call.
    let status = unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCOUTQ, ptr::from_mut(&mut bytes)) };
    checked(status).map(|()| bytes.cast_unsigned())
}

/// `setsockopt(TCP_RTO_MAX_MS)`. The kernel takes 1000 to 120 000.
pub(crate) fn set_rto_max_ms(fd: BorrowedFd<'_>, millis: libc::c_int) -> io::Result<()> {
    set_tcp_option(fd, TCP_RTO_MAX_MS, millis)
}

/// `setsockopt(TCP_REPAIR)`.
pub(crate) fn set_repair(fd: BorrowedFd<'_>) -> io::Result<()> {
    set_tcp_option(fd, libc::TCP_REPAIR, 1)
}

fn set_tcp_option(fd: BorrowedFd<'_>, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    // SAFETY: the kernel reads one C int from `value`, which outlives the call.
    let status = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::IPPROTO_TCP,
            option,
            ptr::from_ref(&value).cast(),
            size_of_val(&value) as libc::socklen_t,
        )
    };
    checked(status)
}

/// `getsockopt(TCP_RTO_MAX_MS)`, to prove that it is inherited.
#[cfg(test)]
pub(crate) fn rto_max_ms(fd: BorrowedFd<'_>) -> io::Result<libc::c_int> {
    let mut millis: libc::c_int = 0;
    let mut length = size_of_val(&millis) as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `millis`, which has that size, and the count to `length`.
    let status = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::IPPROTO_TCP,
            TCP_RTO_MAX_MS,
            ptr::from_mut(&mut millis).cast(),
            ptr::from_mut(&mut length),
        )
    };
    checked(status).map(|()| millis)
}

fn checked(status: libc::c_int) -> io::Result<()> {
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
