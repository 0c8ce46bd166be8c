//! The fleet's processes, seen from the parent: started with their orders, ended by their lifeline, and by their id if
//! that does not help.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use heartring::Instant;

use super::account::Truth;
use super::fleet::Orders;
use super::plan::Plan;
use crate::failure::Failure;
use crate::system;

/// Descriptors that a fleet process keeps for itself: standard streams, epoll, and room for the unforeseen.
const DESCRIPTORS_RESERVED: u32 = 32;
/// A fleet reports within a second of the end of its lifeline.
const REPORT_WITHIN: Duration = Duration::from_secs(10);

/// All fleet processes of a run. Dropping it ends them.
pub(super) struct Fleets(Vec<FleetProcess>);

struct FleetProcess {
    child: Child,
    lifeline: Option<ChildStdin>,
    reader: Option<JoinHandle<Vec<Truth>>>,
}

impl Fleets {
    /// Starts as many processes as the devices need. `descriptors` is what one process may hold.
    pub(super) fn start(
        plan: &Plan,
        gateway: SocketAddr,
        start: Instant,
        descriptors: u32,
    ) -> Result<Self, Failure> {
        let devices_per_process = descriptors.saturating_sub(DESCRIPTORS_RESERVED).max(1);
        let mut fleets = Self(Vec::new());
        for device_first in (0..plan.devices).step_by(devices_per_process as usize) {
            let orders = Orders {
                plan: plan.clone(),
                gateway,
                start_ns: start.as_nanos(),
                device_first,
                device_count: devices_per_process.min(plan.devices - device_first),
            };
            let process = FleetProcess::start(&orders).map_err(|error| {
                Failure::new(format!("cannot start the fleet: {error}"), "see `ulimit -u` and free memory")
            })?;
            fleets.0.push(process);
        }
        Ok(fleets)
    }

    /// How many processes there are.
    pub(super) fn processes(&self) -> usize {
        self.0.len()
    }

    /// Finds a process that failed.
    pub(super) fn check(&mut self) -> Result<(), Failure> {
        self.0.iter_mut().try_for_each(FleetProcess::check)
    }

    /// Ends the lifelines and collects what the devices have to say. Devices of a fleet that does not answer are missing.
    pub(super) fn collect(mut self) -> Vec<Truth> {
        for process in &mut self.0 {
            process.lifeline = None;
        }
        let until = system::now() + REPORT_WITHIN;
        self.0.iter_mut().flat_map(|process| process.report(until)).collect()
    }
}

impl FleetProcess {
    fn start(orders: &Orders) -> io::Result<Self> {
        // A group of its own: Ctrl-C goes to the parent alone, which then ends everything in order.
        let mut child = Command::new(std::env::current_exe()?)
            .arg("fleet")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let mut lifeline = child.stdin.take();
        let reader = child.stdout.take().map(|stdout| thread::spawn(|| read_report(stdout)));
        let given = give_orders(lifeline.as_mut(), orders);
        let process = Self { child, lifeline, reader };
        given.map(|()| process)
    }

    fn check(&mut self) -> Result<(), Failure> {
        match self.child.try_wait() {
            Ok(Some(status)) if !status.success() => {
                let mut complaint = String::new();
                if let Some(stderr) = &mut self.child.stderr {
                    let _ = stderr.read_to_string(&mut complaint);
                }
                Err(Failure::new(
                    format!("the fleet ended early: {status} {complaint}"),
                    "try fewer --devices",
                ))
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }

    fn report(&mut self, until: Instant) -> Vec<Truth> {
        while system::now() < until && matches!(self.child.try_wait(), Ok(None)) {
            thread::sleep(Duration::from_millis(5));
        }
        self.end();
        self.reader.take().and_then(|reader| reader.join().ok()).unwrap_or_default()
    }

    fn end(&mut self) {
        self.lifeline = None;
        // Both fail only if the process has ended and been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for FleetProcess {
    fn drop(&mut self) {
        self.end();
    }
}

fn give_orders(lifeline: Option<&mut ChildStdin>, orders: &Orders) -> io::Result<()> {
    let mut line = serde_json::to_vec(orders)?;
    line.push(b'\n');
    lifeline.map_or(Ok(()), |pipe| pipe.write_all(&line))
}

/// Keeps the whole lines of a report that breaks off.
fn read_report(stdout: ChildStdout) -> Vec<Truth> {
    BufReader::new(stdout).lines().map_while(|line| serde_json::from_str(&line.ok()?).ok()).collect()
}
