//! The servers that are measured, one file each. None knows the suite; each gets a plan and serves.

pub(crate) mod accept_epoll;
pub(crate) mod accept_uring;
pub(crate) mod bare_epoll;
pub(crate) mod bare_uring;
pub(crate) mod claim_epoll;
pub(crate) mod claim_uring;
pub(crate) mod heartring;
