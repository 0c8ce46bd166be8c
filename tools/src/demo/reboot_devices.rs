//! The devices of the reboot loop: one thread on which they reboot and beat, and one on which healthy clients come and go.
//!
//! A device has at most one live connection. It reboots only after its last start was answered, so that every reboot is
//! exactly one takeover.

use std::io::{self, BufRead, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use heartring::Instant;
use heartring_socket::examine;
use rustix::io::Errno;
use rustix::net::sockopt::set_tcp_quickack;
use rustix::net::{RecvFlags, recv};
use serde::{Deserialize, Serialize};

use crate::silent_death::SilentDeath;
use crate::system;

/// A client that has had no answer for this long gives up. It is a failure of the run, not of the client.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Between two healthy clients.
const VISIT_EVERY: Duration = Duration::from_millis(100);
/// By when the kernels have acknowledged everything: they may wait 40 ms, and a busy machine lets them wait longer.
const QUIET_WITHIN: Duration = Duration::from_millis(500);
/// The longest sleep: how soon the end of the lifeline is noticed.
const NAP_MAX: Duration = Duration::from_millis(20);
/// A run in which this much fails has been lost.
const FAILURES_MAX: usize = 10;

/// What the process is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct RebootOrders {
    pub(super) gateway: SocketAddr,
    pub(super) identities: u32,
    pub(super) reboots: u32,
    pub(super) reboots_per_second: u32,
    pub(super) beat_every: Duration,
    pub(super) death: SilentDeath,
}

/// What the process reports, in one line.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct RebootReport {
    /// From each reboot's connect to the answer that it holds its identity.
    pub(super) takeovers: Vec<Duration>,
    /// The same for each healthy client, in the order in which they came.
    pub(super) visits: Vec<Duration>,
    /// Devices that found their connection ended although they lived.
    pub(super) cut_off: u32,
    /// What went wrong, in words.
    pub(super) failures: Vec<String>,
}

pub(super) fn play(orders: &RebootOrders) -> io::Result<()> {
    let over = Arc::new(AtomicBool::new(false));
    let lifeline = Arc::clone(&over);
    thread::spawn(move || {
        // Nothing comes but the end.
        let _ = io::stdin().lock().skip_until(0);
        lifeline.store(true, Ordering::Relaxed);
    });
    let visitors = {
        let (gateway, over) = (orders.gateway, Arc::clone(&over));
        thread::spawn(move || visit(gateway, &over))
    };
    let report = Loop::new(orders, &over).run();
    over.store(true, Ordering::Relaxed);
    let visits = visitors.join().unwrap_or_default();
    let failures = [report.failures, visits.failures].concat();
    let report = RebootReport { visits: visits.visits, failures, ..report };
    serde_json::to_writer(io::stdout().lock(), &report)?;
    writeln!(io::stdout())
}

struct Loop<'a> {
    orders: &'a RebootOrders,
    over: &'a AtomicBool,
    devices: Vec<Device>,
    report: RebootReport,
}

#[derive(Default)]
struct Device {
    stream: Option<TcpStream>,
    epoch: u64,
    /// The connection before, if its death needs it.
    forgotten: Option<TcpStream>,
}

impl<'a> Loop<'a> {
    fn new(orders: &'a RebootOrders, over: &'a AtomicBool) -> Self {
        let devices = (0..orders.identities).map(|_| Device::default()).collect();
        Self { orders, over, devices, report: RebootReport::default() }
    }

    /// Starts every device, reboots them in turn, and closes what is left in order.
    fn run(mut self) -> RebootReport {
        for device in 0..self.devices.len() {
            self.start(device);
        }
        let (devices, began) = (self.devices.len(), system::now());
        let reboot_every = Duration::from_secs(1) / self.orders.reboots_per_second;
        // A fifth earlier than devices were told.
        let beat_every = self.orders.beat_every.mul_f64(0.8) / self.orders.identities;
        let (mut reboots, mut beats) = (0, 0);
        while reboots < self.orders.reboots && !self.is_over() {
            let (reboot_at, beat_at) = (began + reboot_every * reboots, began + beat_every * beats);
            if !nap_until(reboot_at.min(beat_at)) {
                continue;
            }
            if beat_at <= reboot_at {
                self.beat(beats as usize % devices);
                beats += 1;
            } else {
                self.reboot(reboots as usize % devices);
                reboots += 1;
            }
        }
        self.report.cut_off += self.devices.iter().filter(|device| device.is_cut_off()).count() as u32;
        self.devices.drain(..).filter_map(|device| device.stream).for_each(leave);
        self.report
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed) || self.report.failures.len() >= FAILURES_MAX
    }

    fn reboot(&mut self, device: usize) {
        self.report.cut_off += u32::from(self.devices[device].is_cut_off());
        if let Some(stream) = self.devices[device].stream.take() {
            fall_quiet(&stream);
            match self.orders.death.befall(stream) {
                Ok(forgotten) => self.devices[device].forgotten = forgotten,
                Err(error) => self.report.failures.push(format!("a death was not silent: {error}")),
            }
        }
        if let Some(took) = self.start(device) {
            self.report.takeovers.push(took);
        }
    }

    fn start(&mut self, number: usize) -> Option<Duration> {
        let device = &mut self.devices[number];
        let name = format!("device-{number}");
        match introduce(self.orders.gateway, &name) {
            Ok(Welcome { epoch, .. }) if epoch <= device.epoch => {
                let former = device.epoch;
                self.report.failures.push(format!("{name} holds epoch {epoch} after {former}"));
                None
            }
            Ok(Welcome { stream, epoch, took }) => {
                (device.stream, device.epoch) = (Some(stream), epoch);
                Some(took)
            }
            Err(error) => {
                self.report.failures.push(format!("{name} got no answer: {error}"));
                None
            }
        }
    }

    fn beat(&mut self, device: usize) {
        if let Some(stream) = &mut self.devices[device].stream {
            // What does not get through is found when the device looks whether it is cut off.
            let _ = stream.write_all(b"\n");
        }
    }
}

impl Device {
    fn is_cut_off(&self) -> bool {
        let Some(stream) = &self.stream else { return false };
        let look = recv(stream, &mut [0; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT);
        !matches!(look, Err(Errno::AGAIN))
    }
}

/// Healthy clients, one after the other.
fn visit(gateway: SocketAddr, over: &AtomicBool) -> RebootReport {
    let mut report = RebootReport::default();
    let began = system::now();
    for nth in 0.. {
        while !nap_until(began + VISIT_EVERY * nth) {
            if over.load(Ordering::Relaxed) {
                return report;
            }
        }
        match introduce(gateway, &format!("visitor-{nth}")) {
            Ok(Welcome { stream, took, .. }) => {
                report.visits.push(took);
                leave(stream);
            }
            Err(error) => report.failures.push(format!("healthy client {nth} got no answer: {error}")),
        }
        if report.failures.len() >= FAILURES_MAX {
            break;
        }
    }
    report
}

struct Welcome {
    stream: TcpStream,
    epoch: u64,
    took: Duration,
}

/// Connects from a new port, says who is calling, and waits to be told that the identity is held.
fn introduce(gateway: SocketAddr, name: &str) -> io::Result<Welcome> {
    let began = system::now();
    let mut stream = TcpStream::connect_timeout(&gateway, ANSWER_WITHIN)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    stream.write_all(format!("{name}\n").as_bytes())?;
    let answer = read_line(&mut stream)?;
    let took = system::now().saturating_since(began);
    let epoch = answer.strip_prefix("claimed ").and_then(|epoch| epoch.parse().ok());
    let epoch = epoch.ok_or_else(|| io::Error::other(format!("unexpected answer {answer:?}")))?;
    Ok(Welcome { stream, epoch, took })
}

fn read_line(stream: &mut TcpStream) -> io::Result<String> {
    let mut line = String::new();
    let mut byte = [0];
    loop {
        stream.read_exact(&mut byte)?;
        match byte[0] {
            b'\n' => return Ok(line),
            byte => line.push(byte.into()),
        }
    }
}

/// Waits until nothing is on its way. What the gateway's kernel still sends after the death, the late acknowledgement of a beat for
/// example, this host answers with an RST; a device that has no power does not.
fn fall_quiet(stream: &TcpStream) {
    // Acknowledges at once what was read.
    let _ = set_tcp_quickack(stream, true);
    let until = system::now() + QUIET_WITHIN;
    while examine(stream.as_fd()).unsent > Some(0) && system::now() < until {
        thread::sleep(Duration::from_millis(1));
    }
}

/// Closes in order, and waits for the gateway to have done so: nothing of it is left on that side.
fn leave(mut stream: TcpStream) {
    let _ = stream.shutdown(Shutdown::Write);
    let _ = stream.read(&mut [0]);
}

/// Sleeps towards `at`; whether it has come.
fn nap_until(at: Instant) -> bool {
    let left = at.saturating_since(system::now());
    thread::sleep(left.min(NAP_MAX));
    left <= NAP_MAX
}
