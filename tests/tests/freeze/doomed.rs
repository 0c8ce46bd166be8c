//! The devices that die while the gateway is stopped, a hundred in each of three ways.

use std::collections::HashSet;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use heartring::Instant;
use heartring_socket::now;
use heartring_tests::{ChildEnd, Crowd, Device, Wire, vanish};

/// How many in each way.
const EACH: usize = 100;

/// How many in all.
pub(crate) const DOOMED: usize = 3 * EACH;

/// Alive so far.
pub(crate) struct Doomed {
    /// They will close in order.
    closing: Crowd,
    /// They will lose power and be back at once: our kernel asks (keepalive), and theirs does not know the connection.
    rebooting: Crowd,
    /// They will be cut off: nobody says anything.
    falling_silent: Crowd,
}

/// Dead, some of them.
pub(crate) struct Dying {
    closed: HashSet<SocketAddr>,
    rebooted: HashSet<SocketAddr>,
    falling_silent: Crowd,
}

/// All dead.
pub(crate) struct Dead {
    closed: HashSet<SocketAddr>,
    rebooted: HashSet<SocketAddr>,
    /// Their sockets stay as they are: what they would send arrives nowhere.
    silent: Vec<Device>,
}

impl Doomed {
    pub(crate) fn gather(gateway: SocketAddr, every: Duration, wire: &Wire) -> Self {
        let crowd = move || {
            Crowd::gather(EACH, every, move || TcpStream::connect(gateway).expect("a gateway takes devices"))
        };
        let doomed = Self { closing: crowd(), rebooting: crowd(), falling_silent: wire.at_far_end(crowd) };
        for crowd in [&doomed.closing, &doomed.rebooting, &doomed.falling_silent] {
            crowd.wait_until_complete();
        }
        doomed
    }

    /// The first two hundred die.
    pub(crate) fn begin_to_die(self) -> Dying {
        let addrs = |devices: &[Device]| devices.iter().map(Device::addr).collect();
        let (closing, rebooting) = (self.closing.stop().devices, self.rebooting.stop().devices);
        let dying = Dying {
            closed: addrs(&closing),
            rebooted: addrs(&rebooting),
            falling_silent: self.falling_silent,
        };
        drop(closing);
        for device in rebooting {
            vanish(device).expect("who may make namespaces may do that");
        }
        dying
    }
}

impl Dying {
    /// And the others.
    pub(crate) fn all_die(self, wire: &Wire) -> Dead {
        wire.cut();
        let silent = self.falling_silent.stop().devices;
        Dead { closed: self.closed, rebooted: self.rebooted, silent }
    }
}

impl Dead {
    /// How long after the thaw the last of those with this cause was told; they are all of those, and only those, who died that
    /// way.
    pub(crate) fn check(&self, ends: &[ChildEnd], thawed_at: Instant) -> [(&'static str, Duration); 3] {
        let silent = self.silent.iter().map(Device::addr).collect();
        [("peer_closed", &self.closed), ("peer_reset", &self.rebooted), ("heartbeat_missed", &silent)].map(
            |(cause, dead)| {
                let told: Vec<&ChildEnd> = ends.iter().filter(|end| end.cause == cause).collect();
                let peers: HashSet<SocketAddr> = told.iter().map(|end| end.peer).collect();
                let wrong = told.iter().find(|end| !dead.contains(&end.peer));
                assert!(wrong.is_none(), "{wrong:?} did not die that way; thawed at {thawed_at}");
                assert_eq!((told.len(), peers.len()), (EACH, EACH), "each is told once: {cause}");
                let last = told.iter().map(|end| end.condemned_at).max().expect("there are some");
                (cause, last.saturating_since(thawed_at))
            },
        )
    }

    /// Leaves no orphan behind.
    pub(crate) fn bury(self) {
        self.silent.into_iter().for_each(Device::reset);
    }
}

/// How long ago that was.
pub(crate) fn since(earlier: Instant) -> Duration {
    now().saturating_since(earlier)
}
