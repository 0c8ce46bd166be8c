//! The clocks of the benchmark, in nanoseconds. The only file of this crate that reads one.

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Monotonic time.
pub(crate) fn now_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::Monotonic))
}

/// CPU time of this process, user and system, over all its threads (io-wq workers included).
pub(crate) fn process_cpu_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::ProcessCPUTime))
}

/// A monotonic time or a span, as the kernel wants it.
pub(crate) fn timespec(ns: u64) -> Timespec {
    let (seconds, nanoseconds) = (ns / 1_000_000_000, ns % 1_000_000_000);
    Timespec { tv_sec: seconds.cast_signed(), tv_nsec: nanoseconds.cast_signed() }
}

fn nanoseconds(time: Timespec) -> u64 {
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
