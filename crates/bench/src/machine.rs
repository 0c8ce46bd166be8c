//! The machine that a report is about: everything that a reader needs to compare it with another.

use std::fs;

use serde::{Deserialize, Serialize};
use socket2::{Domain, Socket, Type};

use crate::error::Error;
use crate::plan::Engine;
use crate::process;
use crate::ring_unsafe::Ring;
use crate::transport::{self, Rps};

/// In order of preference. A kernel may allow an unprivileged process fewer than it has. BBR, a common default,
/// paces with timers and distorts loopback; these two do not.
const CONGESTION: [&str; 2] = ["cubic", "reno"];

/// What a report says about where it was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) kernel: String,
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) server_core: usize,
    pub(crate) generator_core: usize,
    /// What the generator plays busy devices with.
    pub(crate) generator: Engine,
    pub(crate) memory_mib: u64,
    /// On both ends of every connection.
    pub(crate) congestion_control: String,
    pub(crate) congestion_control_default: String,
    pub(crate) descriptors_max: u64,
    /// Over what bytes get from one end to the other.
    pub(crate) transport: String,
    /// Whether TCP input can be steered to the generator's core; where it was, the params say.
    pub(crate) rps: bool,
    /// The version of heartring that made the report.
    pub(crate) version: String,
}

impl Machine {
    /// Looks at it. For `rps` this process gets a network of its own, so no thread may have been started.
    pub(crate) fn examine(rps: Rps) -> Result<Machine, Error> {
        let cores = process::allowed_cores().map_err(Error::system("which cores there are"))?;
        let generator_core = cores.first().copied().unwrap_or(0);
        let rps = transport::arrange(rps, cores.len())?;
        let default = read("/proc/sys/net/ipv4/tcp_congestion_control");
        let chosen = CONGESTION.into_iter().find(|name| permitted(name));
        Ok(Machine {
            kernel: read("/proc/sys/kernel/osrelease"),
            cpu: field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".into()),
            cores: cores.len(),
            // The last core for the server: the first ones serve most interrupts.
            server_core: cores.last().copied().unwrap_or(0),
            generator_core,
            generator: if Ring::open(1, 1).is_ok() { Engine::IoUring } else { Engine::Epoll },
            memory_mib: field("/proc/meminfo", "MemTotal").and_then(|text| kib(&text)).unwrap_or(0) / 1024,
            congestion_control: chosen.map_or_else(|| default.clone(), String::from),
            congestion_control_default: default,
            descriptors_max: process::descriptors_max(),
            transport: transport::described(rps).into(),
            rps,
            version: env!("CARGO_PKG_VERSION").into(),
        })
    }

    /// What sockets are to be set to; none where the system's own choice is all there is.
    pub(crate) fn congestion(&self) -> Option<String> {
        CONGESTION.contains(&self.congestion_control.as_str()).then(|| self.congestion_control.clone())
    }

    /// Whether server and generator have one core between them.
    pub(crate) fn is_shared(&self) -> bool {
        self.server_core == self.generator_core
    }

    /// What a reader of the figures should know first.
    pub(crate) fn cautions(&self) -> Vec<String> {
        let mut cautions = Vec::new();
        if self.is_shared() {
            cautions.push("one core only: server and generator take turns on it".into());
        }
        if self.generator == Engine::Epoll {
            cautions.push("no io_uring here, so the generator is on epoll and may be the limit".into());
        }
        if self.congestion().is_none() {
            cautions.push(format!("congestion control is {}, not cubic", self.congestion_control));
        }
        cautions
    }
}

fn permitted(congestion: &str) -> bool {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None);
    socket.and_then(|socket| socket.set_tcp_congestion(congestion.as_bytes())).is_ok()
}

fn read(path: &str) -> String {
    fs::read_to_string(path).map_or_else(|_| "unknown".into(), |text| text.trim().into())
}

/// The first `name: value` of a file.
fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':'))?;
    Some(value.trim().into())
}

fn kib(text: &str) -> Option<u64> {
    text.strip_suffix("kB")?.trim().parse().ok()
}
