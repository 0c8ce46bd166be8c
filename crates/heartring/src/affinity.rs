//! Which cores the shards run on.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The cores that this process may use: a gateway starts one shard on each unless it is told otherwise.
pub fn cores() -> Vec<usize> {
    match sched_getaffinity(None) {
        Ok(set) => (0..CpuSet::MAX_CPU).filter(|&core| set.is_set(core)).collect(),
        Err(_) => (0..std::thread::available_parallelism().map_or(1, usize::from)).collect(),
    }
}

/// Pins the calling thread. Without permission it stays where it is: pinning is for speed only.
pub(crate) fn pin(core: Option<usize>) {
    let Some(core) = core else { return };
    let mut set = CpuSet::new();
    set.set(core);
    if let Err(errno) = sched_setaffinity(None, &set) {
        tracing::debug!(core, %errno, "the shard's thread cannot be pinned");
    }
}
