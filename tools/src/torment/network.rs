//! Three networks of our own, joined by two wires, and what can be done to one of them.
//!
//! ```text
//!  healthy devices ── h1 ═ h0 ──┐
//!                               gateway
//!          victims ── v1 ═ v0 ──┘      faults befall this wire only
//! ```
//!
//! Each is a namespace without a name that lasts as long as a process in it: a `cat` whose stdin is our pipe. So nothing is
//! left when we end, whatever ends us.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::failure::Failure;

/// The gateway's port, on all its addresses.
pub(super) const PORT: u16 = 7000;
const GATEWAY_MAC: &str = "02:00:00:00:00:01";
const DEVICES_MAC: &str = "02:00:00:00:00:02";
/// What networks are set to, so that results do not depend on the machine: as many connections as ports, a congestion control
/// that does not pace with timers, and no memory of former losses.
const SETTINGS: &str = "
    echo 1024 65535 > /proc/sys/net/ipv4/ip_local_port_range
    echo cubic > /proc/sys/net/ipv4/tcp_congestion_control
    echo 1 > /proc/sys/net/ipv4/tcp_no_metrics_save
    true";

/// A network of our own.
pub(super) struct Namespace {
    holder: Child,
}

pub(super) struct Network {
    pub(super) gateway: Namespace,
    pub(super) healthy: Namespace,
    pub(super) victims: Namespace,
    /// Why packets cannot be dropped here.
    filter: Result<(), String>,
}

/// What is done to packets that arrive at either end of the victims' wire.
#[derive(Clone, Copy, Debug)]
pub(super) enum Loss {
    All,
    Percent(u64),
}

impl Network {
    pub(super) fn new() -> Result<Self, Failure> {
        let build = || {
            let network = Self {
                gateway: Namespace::new()?,
                healthy: Namespace::new()?,
                victims: Namespace::new()?,
                filter: Ok(()),
            };
            network.join(&network.healthy, 'h', 1)?;
            network.join(&network.victims, 'v', 2)?;
            Ok(network)
        };
        let mut network = build().map_err(|why: String| {
            Failure::new(
                format!("cannot make networks of its own: {why}"),
                "run as root, or where `unshare -Urn` works; it takes the programs ip, unshare and nsenter",
            )
        })?;
        network.filter = network.prepare_filter();
        Ok(network)
    }

    fn join(&self, devices: &Namespace, wire: char, subnet: u8) -> Result<(), String> {
        self.gateway.ip(&format!(
            "link add {wire}0 address {GATEWAY_MAC} type veth peer name {wire}1 address {DEVICES_MAC} netns {}
             addr add {}/16 dev {wire}0
             link set {wire}0 up
             link set lo up
             neigh replace 10.{}.0.2 lladdr {DEVICES_MAC} dev {wire}0 nud permanent",
            devices.holder.id(),
            gateway_address(subnet).ip(),
            210 + subnet
        ))?;
        devices.ip(&format!(
            "addr add 10.{}.0.2/16 dev {wire}1
             link set {wire}1 up
             link set lo up
             {}",
            210 + subnet,
            knows_gateway(wire, subnet)
        ))
    }

    fn prepare_filter(&self) -> Result<(), String> {
        for (namespace, interface) in self.victims_wire() {
            namespace.run(
                &["nft", "-f", "-"],
                &format!(
                    "table inet torment {{
                        chain fault {{ }}
                        chain quiet {{ }}
                        chain in {{ type filter hook prerouting priority -300; iifname \"{interface}\" jump fault; }}
                        chain out {{ type filter hook output priority 0; jump quiet; }}
                    }}"
                ),
            )?;
        }
        Ok(())
    }

    fn victims_wire(&self) -> [(&Namespace, &str); 2] {
        [(&self.gateway, "v0"), (&self.victims, "v1")]
    }

    /// Why packets cannot be dropped here.
    pub(super) fn can_lose(&self) -> Result<(), String> {
        self.filter.clone()
    }

    /// From now on packets get lost where they arrive, in both directions; neither kernel is told.
    pub(super) fn lose(&self, loss: Loss) -> Result<(), String> {
        let rule = match loss {
            Loss::All => "drop".to_owned(),
            Loss::Percent(percent) => format!("numgen random mod 100 < {percent} drop"),
        };
        let rule = format!("add rule inet torment fault {rule}");
        self.victims_wire().iter().try_for_each(|(namespace, _)| namespace.run(&["nft", "-f", "-"], &rule))
    }

    /// The victims' kernel no longer says that it does not know a connection: as if the machine were off.
    pub(super) fn hush(&self) -> Result<(), String> {
        let rule = "add rule inet torment quiet tcp flags & rst == rst drop";
        self.victims.run(&["nft", "-f", "-"], rule)
    }

    /// The wire is whole again, and the victims' kernel speaks.
    pub(super) fn heal(&self) -> Result<(), String> {
        let rules = "flush chain inet torment fault\nflush chain inet torment quiet";
        self.victims_wire().iter().try_for_each(|(namespace, _)| namespace.run(&["nft", "-f", "-"], rules))
    }

    /// Takes the victims' interface down, or up again.
    pub(super) fn plug(&self, up: bool) -> Result<(), String> {
        let up = if up {
            format!("link set v1 up\n{}", knows_gateway('v', 2))
        } else {
            "link set v1 down".to_owned()
        };
        self.victims.ip(&up)
    }
}

/// Hardware addresses are known on both sides: a question for one that gets lost would be asked again only a second later, and
/// an outage would be longer than it was meant to be.
fn knows_gateway(wire: char, subnet: u8) -> String {
    format!("neigh replace {} lladdr {GATEWAY_MAC} dev {wire}1 nud permanent", gateway_address(subnet).ip())
}

/// Where devices of a subnet find the gateway.
pub(super) fn gateway_address(subnet: u8) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(10, 210 + subnet, 0, 1), PORT))
}

impl Namespace {
    fn new() -> Result<Self, String> {
        let failed = |error: io::Error| format!("unshare: {error}");
        let mut command = Command::new("unshare");
        command.args(["--net", "cat"]);
        let mut holder = piped(&mut command).stderr(Stdio::piped()).spawn().map_err(failed)?;
        // When the word comes back, `cat` runs, and `unshare` has done its work.
        let sent = holder.stdin.as_mut().map(|stdin| stdin.write_all(b"here\n"));
        let mut line = String::new();
        let heard = holder.stdout.as_mut().map(|stdout| BufReader::new(stdout).read_line(&mut line));
        let namespace = Self { holder };
        match (sent, heard) {
            (Some(Ok(())), Some(Ok(_))) if line == "here\n" => {}
            _ => return Err(namespace.complaint()),
        }
        let _ = namespace.run(&["sh"], SETTINGS);
        Ok(namespace)
    }

    fn complaint(mut self) -> String {
        let _ = self.holder.kill();
        let mut complaint = String::new();
        if let Some(stderr) = self.holder.stderr.take() {
            let _ = io::Read::read_to_string(&mut BufReader::new(stderr), &mut complaint);
        }
        complaint.trim().to_owned()
    }

    /// A program that runs there, with all its streams piped but stderr.
    pub(super) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.holder.id())).arg("--").arg(program);
        piped(&mut command);
        command
    }

    fn ip(&self, commands: &str) -> Result<(), String> {
        self.run(&["ip", "-batch", "-"], commands)
    }

    /// Runs a program there to its end.
    fn run(&self, words: &[&str], input: &str) -> Result<(), String> {
        let program = words[0];
        let failed = |error: io::Error| format!("{program}: {error}");
        let mut command = self.command(Path::new(program));
        let mut child = command.args(&words[1..]).stderr(Stdio::piped()).spawn().map_err(failed)?;
        let written = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(input.as_bytes()));
        let output = child.wait_with_output().map_err(failed)?;
        if output.status.success() {
            return written.map_err(failed);
        }
        Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim()))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Both fail only if it has ended and been waited for.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// In a group of its own: Ctrl-C goes to the parent alone, which then ends everything in order.
fn piped(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0)
}
