//! A death that nobody is told of.

use std::io;
use std::os::fd::AsFd;

use heartring_socket::enter_repair;

use crate::device::Device;

/// Closes a device's connection without a word, neither FIN nor RST, as a device does that loses power. What is sent to it later is
/// answered with RST, as by a device that has rebooted.
///
/// # Errors
///
/// `EPERM` without CAP_NET_ADMIN.
pub fn vanish(device: Device) -> io::Result<()> {
    let result = enter_repair(device.stream().as_fd());
    drop(device); // The death.
    result
}
