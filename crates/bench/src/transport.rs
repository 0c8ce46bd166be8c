//! The loopback device that a measurement goes over, and who pays for what it carries.
//!
//! Loopback runs the receiver's TCP input inside the sender's `send`: a server is billed for the clients' half of its answers.
//! Receive packet steering (RPS) on the device hands what is sent to another core instead. It needs a network namespace of
//! the suite's own (so that nobody else's loopback changes, and nothing is left behind, however the suite ends) and
//! CAP_NET_ADMIN of the machine.

use std::{fs, io};

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};

use crate::error::Error;
use crate::namespace_unsafe::{loopback_up, unshare_network_and_mounts};

/// Whether TCP input is steered to the generator's core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Rps {
    /// Where privileges allow, and with more than one core.
    Auto,
    /// Or not at all.
    On,
    /// As loopback does it.
    Off,
}

const PLAIN: &str = "loopback: the receiver's TCP input runs inside the sender's send, so each side pays for part of what \
                     the other causes";
const STEERED: &str = "loopback in a network namespace of its own, with RPS to the generator's core: TCP input is not billed \
                       to the server, neither the clients' nor its own";

/// Makes the network of this process, and says what it is. Only for a process with one thread.
pub(crate) fn arrange(rps: Rps, generator_core: usize, cores: usize) -> Result<&'static str, Error> {
    match rps {
        Rps::Off => Ok(PLAIN),
        Rps::Auto if cores < 2 => Ok(PLAIN),
        Rps::On if cores < 2 => Err(Error::Usage("--rps on needs two cores, and here is one".into())),
        Rps::Auto | Rps::On => match steer(generator_core) {
            Ok(()) => Ok(STEERED),
            Err(Refused::Altogether(_) | Refused::Steering(_)) if rps == Rps::Auto => Ok(PLAIN),
            Err(Refused::Altogether(error) | Refused::Steering(error)) => {
                Err(Error::Usage(format!("--rps on: {error}; it takes root (CAP_SYS_ADMIN, CAP_NET_ADMIN)")))
            }
            Err(Refused::Halfway(error)) => {
                Err(Error::system("bringing up a loopback device of its own")(error))
            }
        },
    }
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

fn steer(core: usize) -> Result<(), Refused> {
    unshare_network_and_mounts().map_err(Refused::Altogether)?;
    loopback_up().map_err(Refused::Halfway)?;
    steer_to(core).map_err(Refused::Steering)
}

fn steer_to(core: usize) -> io::Result<()> {
    // What is mounted from here on is not to be seen outside.
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    // sysfs shows the devices of the namespace in which it was mounted.
    mount("heartring-bench", "/sys", "sysfs", MountFlags::empty(), None)?;
    fs::write("/sys/class/net/lo/queues/rx-0/rps_cpus", mask(core))
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
