//! A death that nobody is told of.

use std::io;
use std::os::fd::AsRawFd;

use crate::device::Device;

/// Closes a device's connection without a word, neither FIN nor RST, as a device does that loses power. What is sent to it later is
/// answered with RST, as by a device that has rebooted.
///
/// # Errors
///
/// `EPERM` without CAP_NET_ADMIN.
pub fn vanish(device: Device) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the kernel reads one C int from `on`, which outlives the call; the descriptor is borrowed for it. A socket in
    // TCP_REPAIR mode is closed like any other.
    let status = unsafe {
        libc::setsockopt(
            device.stream().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_REPAIR,
            std::ptr::from_ref(&on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    // Read before the descriptor is closed.
    let result = if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
    drop(device);
    result
}
