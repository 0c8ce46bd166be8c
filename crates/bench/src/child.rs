//! A process of a measurement, seen from the suite: what it says, and that it ends.

use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::clock;
use crate::contender::RUNTIMES_REMEDY;
use crate::control::Command;
use crate::plan::ServePlan;

/// How soon an interrupt is seen while a child is silent.
const POLL_NS: u64 = 50_000_000;

/// Set by SIGINT and SIGTERM.
pub(crate) type Interrupt = Arc<AtomicBool>;

/// Why a child cannot be used any more.
#[derive(Debug)]
pub(crate) enum ChildError {
    /// The user has had enough.
    Interrupted,
    /// The child failed, was silent for too long, or ended.
    Failed(String),
}

/// Ends, and is waited for, when dropped.
pub(crate) struct Child {
    role: &'static str,
    process: std::process::Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    interrupt: Interrupt,
}

impl Child {
    /// Starts this program again, as `bench ROLE PLAN`.
    pub(crate) fn start<P: Serialize>(
        role: &'static str,
        plan: &P,
        interrupt: &Interrupt,
    ) -> Result<Child, ChildError> {
        let program = std::env::current_exe().map_err(|e| setup_failed(role, &e))?;
        let mut program = std::process::Command::new(program);
        program.args(["bench", role]);
        Child::spawn(role, program, plan, interrupt)
    }

    /// Starts the server that `plan` names: this program again, or the contender's own.
    pub(crate) fn start_server(plan: &ServePlan, interrupt: &Interrupt) -> Result<Child, ChildError> {
        let Some(executable) = plan.contender.server.executable() else {
            return Child::start("serve", plan, interrupt);
        };
        if !executable.is_file() {
            return Err(ChildError::Failed(format!("not built: {RUNTIMES_REMEDY}")));
        }
        Child::spawn("serve", std::process::Command::new(executable), plan, interrupt)
    }

    /// Starts `program` with `plan` as its last argument.
    fn spawn<P: Serialize>(
        role: &'static str,
        mut program: std::process::Command,
        plan: &P,
        interrupt: &Interrupt,
    ) -> Result<Child, ChildError> {
        let failed = |what: &dyn fmt::Display| setup_failed(role, what);
        let plan = serde_json::to_string(plan).map_err(|e| failed(&e))?;
        let mut process =
            program.arg(plan).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(|e| failed(&e))?;
        let (stdin, stdout) = (process.stdin.take(), process.stdout.take());
        let stdin = stdin.expect("stdin is piped");
        let stdout = BufReader::new(stdout.expect("stdout is piped"));
        Ok(Child { role, process, stdin, stdout, interrupt: interrupt.clone() })
    }

    /// Sleeps, unless the user has had enough.
    pub(crate) fn sleep(time: Duration, interrupt: &Interrupt) -> Result<(), ChildError> {
        let until = clock::now_ns() + time.as_nanos() as u64;
        loop {
            let rest = until.saturating_sub(clock::now_ns());
            if interrupt.load(Ordering::Relaxed) {
                return Err(ChildError::Interrupted);
            }
            if rest == 0 {
                return Ok(());
            }
            std::thread::sleep(Duration::from_nanos(rest.min(POLL_NS)));
        }
    }

    /// Ends it, without waiting for its end.
    pub(crate) fn kill(&mut self) {
        let _ = self.process.kill();
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn command(&mut self, command: Command) -> Result<(), ChildError> {
        let mut line = serde_json::to_vec(&command).expect("a command is plain data");
        line.push(b'\n');
        self.stdin.write_all(&line).map_err(|e| self.failed(&e))
    }

    /// The child's next report.
    pub(crate) fn report<R: DeserializeOwned>(&mut self, within: Duration) -> Result<R, ChildError> {
        self.await_line(within)?;
        let mut line = String::new();
        let count = self.stdout.read_line(&mut line).map_err(|e| self.failed(&e))?;
        if count == 0 {
            return Err(self.failed(&"it ended early"));
        }
        serde_json::from_str(&line).map_err(|e| self.failed(&format_args!("said {:?}: {e}", line.trim_end())))
    }

    fn await_line(&mut self, within: Duration) -> Result<(), ChildError> {
        let until = clock::now_ns() + within.as_nanos() as u64;
        while self.stdout.buffer().is_empty() {
            let mut fds = [PollFd::new(self.stdout.get_ref(), PollFlags::IN)];
            let ready = poll(&mut fds, Some(&clock::timespec(POLL_NS)));
            if self.interrupt.load(Ordering::Relaxed) {
                return Err(ChildError::Interrupted);
            }
            if ready.is_ok_and(|count| count > 0) {
                return Ok(());
            }
            if clock::now_ns() > until {
                return Err(self.failed(&format_args!("it said nothing for {} s", within.as_secs())));
            }
        }
        Ok(())
    }

    /// Ctrl-C on a terminal reaches the child as well, so an end that it explains is not the child's fault.
    fn failed(&self, what: &dyn fmt::Display) -> ChildError {
        if self.interrupt.load(Ordering::Relaxed) {
            return ChildError::Interrupted;
        }
        ChildError::Failed(format!("the {} process: {what}", self.role))
    }
}

fn setup_failed(role: &str, what: &dyn fmt::Display) -> ChildError {
    ChildError::Failed(format!("the {role} process: {what}"))
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
        let _ = self.process.wait();
    }
}
