//! CPU time of threads, also of those of other processes.

use std::fs;
use std::time::Duration;

/// The time that the threads of `process` (a number, or `self`) whose name is `is_it` have spent on a CPU, together.
///
/// # Panics
///
/// If the process is not there, or if this kernel does not count it.
pub fn cpu_time(process: &str, is_it: impl Fn(&str) -> bool) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).expect("the process is there");
    // A thread that ends meanwhile has nothing to read.
    let of = |name: &str, path: &str| fs::read_to_string(format!("{path}/{name}")).unwrap_or_default();
    let paths = tasks.flatten().map(|task| task.path().display().to_string());
    let ours = paths.filter(|path| is_it(of("comm", path).trim_end()));
    let nanos = ours.map(|path| {
        let text = of("schedstat", &path);
        text.split(' ').next().and_then(|word| word.parse::<u64>().ok()).unwrap_or(0)
    });
    let total = Duration::from_nanos(nanos.sum());
    assert!(!total.is_zero(), "{process} has no such thread, or this kernel has no schedstat");
    total
}
