//! The loopback device that a measurement goes over, and who pays for what it carries.
//!
//! Loopback runs the receiver's TCP input inside the sender's `send`: a server is billed for the clients' half of its answers.
//! Receive packet steering (RPS) on the device hands what is sent to another core instead. It needs a network namespace of
//! the suite's own (so that nobody else's loopback changes, and nothing is left behind, however the suite ends) and
//! CAP_NET_ADMIN of the machine.
//!
//! It is not for every workload. The other core takes a thousand packets at a time (`net.core.netdev_max_backlog`, one for the
//! whole machine) and drops what is more, and a generator that pays for all TCP input is slower, so that a server which could
//! work in batches is woken for each client instead. `auto` steers `echo` only, where neither happens.

use std::{fs, io};

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};

use crate::error::Error;
use crate::namespace_unsafe::{loopback_up, unshare_network_and_mounts};
use crate::workload::Workload;

/// Whether TCP input is steered to the generator's core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Rps {
    /// In `echo`, where privileges allow, and with more than one core.
    Auto,
    /// In every workload, or not at all.
    On,
    /// As loopback does it.
    Off,
}

impl Rps {
    /// Whether a workload is to be steered, where that can be.
    pub(crate) fn wants(self, workload: Workload) -> bool {
        match self {
            Rps::Auto => matches!(workload, Workload::Echo { .. }),
            Rps::On => true,
            Rps::Off => false,
        }
    }
}

const RPS_CPUS: &str = "/sys/class/net/lo/queues/rx-0/rps_cpus";

/// What parts without RPS go over.
pub(crate) const PLAIN: &str = "loopback: the receiver's TCP input runs inside the sender's send, so each side pays for part \
                                of what the other causes";
/// What parts with it go over.
pub(crate) const STEERED: &str = "loopback in a network namespace of its own, with RPS to the generator's core: no TCP input \
                                  is billed to the server, neither the clients' nor its own";

/// Makes the network of this process if steering is wanted; whether there is any. Only for a process with one thread.
pub(crate) fn arrange(rps: Rps, cores: usize) -> Result<bool, Error> {
    match rps {
        Rps::Off => Ok(false),
        Rps::Auto if cores < 2 => Ok(false),
        Rps::On if cores < 2 => Err(Error::Usage("--rps on needs two cores, and here is one".into())),
        Rps::Auto | Rps::On => match own_network() {
            Ok(()) => Ok(true),
            Err(Refused::Altogether(_) | Refused::Steering(_)) if rps == Rps::Auto => Ok(false),
            Err(Refused::Altogether(error) | Refused::Steering(error)) => {
                Err(Error::Usage(format!("--rps on: {error}; it takes root (CAP_SYS_ADMIN, CAP_NET_ADMIN)")))
            }
            Err(Refused::Halfway(error)) => {
                Err(Error::system("bringing up a loopback device of its own")(error))
            }
        },
    }
}

/// What it all goes over, with and without a network of this process' own.
pub(crate) fn described(rps: bool) -> &'static str {
    if rps {
        "loopback in a network namespace of its own; where TCP input is steered (RPS), the workload says so"
    } else {
        "loopback, without steering of TCP input"
    }
}

/// Steers what loopback receives to `core`, or lets it be. Only where [`arrange`] said that it can be.
pub(crate) fn steer(core: Option<usize>) -> Result<(), Error> {
    fs::write(RPS_CPUS, core.map_or("0".into(), mask)).map_err(Error::system("setting rps_cpus of loopback"))
}

/// Why there is no steering.
enum Refused {
    /// Nothing has changed.
    Altogether(io::Error),
    /// There is a network of our own, whose loopback device is down: nothing can be measured.
    Halfway(io::Error),
    /// There is one, and it works like any other.
    Steering(io::Error),
}

fn own_network() -> Result<(), Refused> {
    unshare_network_and_mounts().map_err(Refused::Altogether)?;
    loopback_up().map_err(Refused::Halfway)?;
    prepare_steering().map_err(Refused::Steering)
}

fn prepare_steering() -> io::Result<()> {
    // What is mounted from here on is not to be seen outside.
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    // sysfs shows the devices of the namespace in which it was mounted.
    mount("heartring-bench", "/sys", "sysfs", MountFlags::empty(), None)?;
    fs::write(RPS_CPUS, "0")
}

/// A mask of cores as the kernel reads it: hexadecimal words of 32 bits, the highest first.
fn mask(core: usize) -> String {
    let words = core / 32;
    format!("{:x}{}", 1_u32 << (core % 32), ",00000000".repeat(words))
}

#[cfg(test)]
mod tests {
    use super::mask;

    #[test]
    fn cores_beyond_the_first_word_have_a_comma() {
        assert_eq!(mask(0), "1");
        assert_eq!(mask(5), "20");
        assert_eq!(mask(33), "2,00000000");
    }
}
