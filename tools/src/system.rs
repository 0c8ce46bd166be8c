//! What the program asks of the operating system: the time, and descriptors.

use heartring::Instant;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

/// `CLOCK_MONOTONIC`, which is the same in every process of the machine and is what the gateway's backends count.
pub(crate) fn now() -> Instant {
    let time = clock_gettime(ClockId::Monotonic);
    Instant::from_nanos(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

/// Raises the soft limit on descriptors to the hard one, which any process may do, and returns how many this process may
/// now hold. Children inherit it.
pub(crate) fn raise_descriptors() -> u32 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let current = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => raised.current,
        Err(_) => limit.current,
    };
    current.map_or(u32::MAX, |n| u32::try_from(n).unwrap_or(u32::MAX))
}
