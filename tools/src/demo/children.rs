//! The fleet's processes, seen from the parent: started with their orders, ended by their lifeline, and by their id if
//! that does not help.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use heartring::Instant;

use serde::de::DeserializeOwned;

use super::account::Truth;
use super::child::Orders;
use super::fleet::FleetOrders;
use super::plan::Plan;
use crate::failure::Failure;
use crate::system;

/// Descriptors that a fleet process keeps for itself: standard streams, epoll, and room for the unforeseen.
const DESCRIPTORS_RESERVED: u32 = 32;
/// A fleet reports within a second of the end of its lifeline.
const REPORT_WITHIN: Duration = Duration::from_secs(10);

/// All processes of a fleet. Dropping it ends them.
pub(super) struct Fleets(Vec<FleetProcess<Truth>>);

/// One process that plays devices, and reports in lines that are an `R` each. Dropping it ends the process.
pub(super) struct FleetProcess<R> {
    child: Child,
    lifeline: Option<ChildStdin>,
    reader: Option<JoinHandle<Vec<R>>>,
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
            let orders = Orders::Fleet(FleetOrders {
                plan: plan.clone(),
                gateway,
                start_ns: start.as_nanos(),
                device_first,
                device_count: devices_per_process.min(plan.devices - device_first),
            });
            fleets.0.push(FleetProcess::start(&orders)?);
        }
        Ok(fleets)
    }

    /// How many processes there are.
    pub(super) fn processes(&self) -> usize {
        self.0.len()
    }

    /// Finds a process that failed.
    pub(super) fn check(&mut self) -> Result<(), Failure> {
        self.0.iter_mut().try_for_each(|process| process.has_ended().map(drop))
    }

    /// Ends the lifelines and collects what the devices have to say. Devices of a fleet that does not answer are missing.
    pub(super) fn collect(mut self) -> Vec<Truth> {
        self.0.iter_mut().for_each(FleetProcess::stop);
        let until = system::now() + REPORT_WITHIN;
        self.0.iter_mut().flat_map(|process| process.report(until)).collect()
    }
}

impl<R: DeserializeOwned + Send + 'static> FleetProcess<R> {
    pub(super) fn start(orders: &Orders) -> Result<Self, Failure> {
        Self::spawn(orders).map_err(|error| {
            Failure::new(format!("cannot start the fleet: {error}"), "see `ulimit -u` and free memory")
        })
    }

    fn spawn(orders: &Orders) -> io::Result<Self> {
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

    /// Whether the process has ended.
    ///
    /// # Errors
    ///
    /// If it failed, with its complaint.
    pub(super) fn has_ended(&mut self) -> Result<bool, Failure> {
        match self.child.try_wait() {
            Ok(Some(status)) if !status.success() => {
                let mut complaint = String::new();
                if let Some(stderr) = &mut self.child.stderr {
                    let _ = stderr.read_to_string(&mut complaint);
                }
                Err(Failure::new(
                    format!("the fleet ended early: {status} {complaint}"),
                    "try fewer --devices or --identities",
                ))
            }
            Ok(status) => Ok(status.is_some()),
            Err(_) => Ok(false),
        }
    }

    /// Ends the lifeline: the devices stop and the process reports.
    pub(super) fn stop(&mut self) {
        self.lifeline = None;
    }

    /// Stops it and collects what it has to say.
    pub(super) fn collect(mut self) -> Vec<R> {
        self.stop();
        self.report(system::now() + REPORT_WITHIN)
    }

    fn report(&mut self, until: Instant) -> Vec<R> {
        while system::now() < until && matches!(self.child.try_wait(), Ok(None)) {
            thread::sleep(Duration::from_millis(5));
        }
        self.end();
        self.reader.take().and_then(|reader| reader.join().ok()).unwrap_or_default()
    }
}

impl<R> FleetProcess<R> {
    fn end(&mut self) {
        self.lifeline = None;
        // Both fail only if the process has ended and been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl<R> Drop for FleetProcess<R> {
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
fn read_report<R: DeserializeOwned>(stdout: ChildStdout) -> Vec<R> {
    BufReader::new(stdout).lines().map_while(|line| serde_json::from_str(&line.ok()?).ok()).collect()
}
