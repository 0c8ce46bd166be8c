//! epoll_pwait2 (Linux 5.11): epoll_wait with a timeout in nanoseconds.
//!
//! `rustix` calls it only when compiled for kernels that surely have it, and otherwise rounds to milliseconds. A backend
//! that is the fallback for machines without io_uring must also run on older kernels, so it asks at run time.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;
use std::time::Duration;

use heartring_core::Errno;
use rustix::event::epoll::Event;

/// `struct __kernel_timespec`: 64 bits each on every architecture, unlike the C library's.
#[repr(C)]
struct KernelTimespec {
    seconds: i64,
    nanos: i64,
}

/// Fills `events` from the front with what is ready and says how many there are. Sleeps for `timeout` if nothing is;
/// `None` sleeps without a bound.
///
/// # Errors
///
/// `ENOSYS`, or under old seccomp profiles `EPERM`, where the kernel lacks the call; `EINTR` for a signal.
pub(crate) fn epoll_pwait2(
    epoll: BorrowedFd<'_>,
    events: &mut [Event],
    timeout: Option<Duration>,
) -> Result<usize, Errno> {
    let timeout = timeout.map(|timeout| KernelTimespec {
        seconds: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        nanos: timeout.subsec_nanos().into(),
    });
    let room = libc::c_int::try_from(events.len()).unwrap_or(libc::c_int::MAX);
    // SAFETY: `Event` is `repr(C)`, packed where the kernel's `epoll_event` is, and every bit pattern of it is a value;
    // the kernel writes at most `room` of them, which are no more than there are, to `events`, which is exclusively borrowed. It reads `timeout`,
    // which outlives the call, or null. The signal mask is null, so its size is not looked at.
    let found = unsafe {
        libc::syscall(
            libc::SYS_epoll_pwait2,
            epoll.as_raw_fd(),
            events.as_mut_ptr(),
            room,
            timeout.as_ref().map_or(ptr::null(), ptr::from_ref),
            ptr::null::<libc::sigset_t>(),
            0_usize,
        )
    };
    usize::try_from(found).map_err(|_negative| std::io::Error::last_os_error().into())
}
