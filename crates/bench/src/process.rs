//! What a process of a measurement arranges for itself before it starts: its core, its descriptors, and that
//! it ends with its parent.

use std::{fs, io};

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Keeps the calling thread, and all that it will start, on one core.
pub(crate) fn pin(core: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    Ok(sched_setaffinity(None, &set)?)
}

/// The cores on which this process may run, in order.
pub(crate) fn allowed_cores() -> io::Result<Vec<usize>> {
    let set = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|&core| set.is_set(core)).collect())
}

/// The most descriptors a process of ours can have: the hard limit, to which children raise their own.
pub(crate) fn descriptors_max() -> u64 {
    getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX)
}

/// How long `core` was not idle since the machine started, by whomever it was used, the hypervisor included. The
/// kernel counts in hundredths of a second.
pub(crate) fn core_busy_ns(core: usize) -> Option<u64> {
    busy_ns_in(&fs::read_to_string("/proc/stat").ok()?, core)
}

/// A line is `cpuN user nice system idle iowait irq softirq steal guest guest_nice`; guests are in user already.
fn busy_ns_in(stat: &str, core: usize) -> Option<u64> {
    let line = stat.lines().find_map(|line| line.strip_prefix(&format!("cpu{core} ")))?;
    let ticks: Vec<u64> = line.split_whitespace().map_while(|field| field.parse().ok()).collect();
    let [user, nice, system, _idle, _iowait, irq, softirq, steal, ..] = ticks[..] else { return None };
    Some((user + nice + system + irq + softirq + steal) * 10_000_000)
}

/// Prepares a child: it dies with the suite, may open all descriptors it is entitled to, and keeps to `core`.
pub(crate) fn become_child(core: usize) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    pin(core)
}

#[cfg(test)]
mod tests {
    use super::busy_ns_in;

    #[test]
    fn idle_time_is_not_busy_and_steal_is() {
        let stat = "cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 1 1 1 1 1 1 1 1 0 0\ncpu1 10 1 20 5000 300 2 3 4 10 0\n";
        assert_eq!(busy_ns_in(stat, 1), Some(40 * 10_000_000));
        assert_eq!(busy_ns_in(stat, 2), None);
    }
}
