//! The server's process: a contender on its own threads, and the thread that answers for what it costs.

use std::fs;
use std::net::SocketAddr;

use crate::clock;
use crate::control::{self, Command, ServerMark, ServerReport, Verdicts};
use crate::plan::ServePlan;
use crate::process;

/// A server that serves.
pub(crate) struct Served {
    pub(crate) addr: SocketAddr,
    /// What it says of its verdicts, if it keeps account of them.
    pub(crate) verdicts: Option<Box<dyn Fn() -> Verdicts>>,
}

/// The server's process, whose contender `start` starts. Returns when the suite closes its pipe, or when the contender
/// cannot run.
pub(crate) fn run(plan: &ServePlan, start: impl FnOnce(&ServePlan) -> Result<Served, String>) {
    let started = process::become_child(plan.core)
        .map_err(|e| format!("setup of the server: {e}"))
        .and_then(|()| start(plan));
    let served = match started {
        Ok(served) => served,
        Err(why) => return control::report(&ServerReport::Failed { why }),
    };
    control::report(&ServerReport::Ready { addr: served.addr });
    for command in control::commands() {
        control::report(&ServerReport::Mark(mark(command, &served)));
    }
}

/// What was used so far. Looking has a price too: it is kept outside the window at both of its ends.
fn mark(command: Command, served: &Served) -> ServerMark {
    match command {
        Command::Begin => {
            let voluntary_switches = voluntary_switches();
            ServerMark { cpu_ns: clock::process_cpu_ns(), voluntary_switches, verdicts: None }
        }
        Command::End => {
            let cpu_ns = clock::process_cpu_ns();
            let voluntary_switches = voluntary_switches();
            let verdicts = served.verdicts.as_ref().map(|verdicts| verdicts());
            ServerMark { cpu_ns, voluntary_switches, verdicts }
        }
    }
}

/// Of all threads but the main one, which only answers commands. A thread that ends in between is left out.
fn voluntary_switches() -> u64 {
    let main = std::process::id().to_string();
    let Ok(tasks) = fs::read_dir("/proc/self/task") else { return 0 };
    let others = tasks.flatten().filter(|task| task.file_name().to_str() != Some(&main));
    others.filter_map(|task| switches_of(&fs::read_to_string(task.path().join("status")).ok()?)).sum()
}

fn switches_of(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::switches_of;

    #[test]
    fn voluntary_switches_are_read_not_the_others() {
        let status = "Threads:\t1\nnonvoluntary_ctxt_switches:\t7\nvoluntary_ctxt_switches:\t42\n";
        assert_eq!(switches_of(status), Some(42));
        assert_eq!(switches_of("Name:\tx\n"), None);
    }
}
