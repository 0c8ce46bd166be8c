//! The servers that are measured, one file each. None knows the suite; each gets a plan and serves.

pub(crate) mod bare_epoll;
pub(crate) mod bare_uring;
pub(crate) mod heartring;
