//! A listener that is given away by its number, because glommio takes it in no other way, and its own `bind` sets none of the
//! options that all contenders have in common.

use std::os::fd::{FromRawFd, IntoRawFd};

use socket2::Socket;

/// Makes `L`, a listener of a runtime, the owner of `listener`.
pub fn hand_over<L: FromRawFd>(listener: Socket) -> L {
    let fd = listener.into_raw_fd();
    // SAFETY: `from_raw_fd` asks for an open descriptor that nobody else owns. `into_raw_fd` has just given one up.
    unsafe { L::from_raw_fd(fd) }
}
