//! One device of the fleet: a socket, a script, and an honest account of what happened.
//!
//! ```text
//! Waiting ─ connect ─▶ Connecting ─ hello ─▶ Beating ─ fate ─┬─ closes, resets ───────────────▶ Done
//!                                                            └─ Quiet ─ FIN ─▶ Speaking (late) ─▶ Done
//!                                                                 └─ cut (silent) ─────────────▶ Done
//! ```
//!
//! Invariant: a device has at most one timer pending, and none once it is quiet or done.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use heartring::Instant;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, connect, recv, send, socket_with,
    sockopt,
};

use super::account::{End, Truth};
use super::plan::{Fate, Script, Timetable};
use crate::system;
use crate::wire::{BEAT, Message};

/// Data frames that a late device still has to send.
const LATE_FRAMES: u32 = 8;
/// Devices behind one source address. Few, so that the kernel finds a free port for each at once.
const DEVICES_PER_SOURCE: u32 = 64;

/// What all devices of a fleet share.
pub(super) struct World {
    pub(super) epoll: OwnedFd,
    pub(super) gateway: SocketAddr,
    pub(super) timetable: Timetable,
    pub(super) start: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Waiting,
    Connecting,
    Beating,
    /// No longer sends: waits for the gateway's FIN (late) or for the end (silent).
    Quiet,
    /// Sends its data during grace; `sent` frames are out.
    Speaking {
        sent: u32,
    },
    Done,
}

/// One device.
pub(super) struct Device {
    script: Script,
    phase: Phase,
    socket: Option<OwnedFd>,
    truth: Truth,
}

impl Device {
    pub(super) fn new(number: u32, script: Script) -> Self {
        let truth = Truth::new(number, script.fate);
        Self { script, phase: Phase::Waiting, socket: None, truth }
    }

    pub(super) fn connect_at(&self) -> Duration {
        self.script.connect_at
    }

    pub(super) fn is_done(&self) -> bool {
        self.phase == Phase::Done
    }

    pub(super) fn truth(&self) -> &Truth {
        &self.truth
    }

    /// The device's timer fired. Returns when the next one shall.
    pub(super) fn timer(&mut self, world: &World, now: Instant) -> Option<Instant> {
        match self.phase {
            Phase::Waiting => self.connect(world),
            Phase::Beating if now >= world.start + self.script.fate_at => self.meet_fate(),
            Phase::Beating => Some(self.beat(world, now)),
            Phase::Speaking { sent } => self.speak(world, now, sent),
            Phase::Connecting | Phase::Quiet | Phase::Done => None,
        }
    }

    /// The device's socket reported something. Returns when its next timer shall fire.
    pub(super) fn ready(&mut self, world: &World, flags: EventFlags, now: Instant) -> Option<Instant> {
        if flags.intersects(EventFlags::ERR | EventFlags::HUP) {
            return self.cut();
        }
        // One edge may carry both the end of the handshake and a FIN.
        let greeting = (self.phase == Phase::Connecting).then(|| self.greet(world, now));
        let heard =
            if flags.intersects(EventFlags::IN | EventFlags::RDHUP) { self.read(world, now) } else { None };
        heard.or(greeting)
    }

    fn connect(&mut self, world: &World) -> Option<Instant> {
        match open_socket(world, self.truth.device) {
            Ok(socket) => {
                self.socket = Some(socket);
                self.phase = Phase::Connecting;
            }
            Err(errno) => self.finish(End::NotConnected(errno.raw_os_error())),
        }
        None
    }

    fn greet(&mut self, world: &World, now: Instant) -> Instant {
        self.phase = Phase::Beating;
        self.truth.beat(system::now());
        self.send(&Message::Hello { device: self.truth.device }.frame());
        self.next_beat(world, now)
    }

    fn beat(&mut self, world: &World, now: Instant) -> Instant {
        // The gateway may have ended it, which the event loop will tell in a moment: that beat does not count as sent.
        let before = system::now();
        if self.send(&BEAT) > 0 {
            self.truth.beat(before);
        }
        self.next_beat(world, now)
    }

    /// Jitter makes beats up to a fifth earlier, never later than what devices were told.
    fn next_beat(&mut self, world: &World, now: Instant) -> Instant {
        let beat_every = world.timetable.beat_every;
        let beat_at = now + self.script.random.between(beat_every.mul_f64(0.8), beat_every);
        beat_at.min(world.start + self.script.fate_at)
    }

    fn meet_fate(&mut self) -> Option<Instant> {
        match self.script.fate {
            Fate::Healthy => unreachable!("never comes"),
            Fate::Closes => {
                self.truth.carried_out = true;
                self.finish(End::Own);
            }
            Fate::Resets => {
                self.truth.carried_out = self.abort_on_close();
                self.finish(End::Own);
            }
            Fate::Late => self.phase = Phase::Quiet,
            Fate::Silent => {
                self.truth.carried_out = true;
                self.phase = Phase::Quiet;
            }
        }
        None
    }

    /// First the beat that comes too late, then the data, spread over half the grace period; then it closes.
    fn speak(&mut self, world: &World, now: Instant, sent: u32) -> Option<Instant> {
        let frame = match sent {
            0 => BEAT.to_vec(),
            n => Message::Data { device: self.truth.device, counter: n - 1 }.frame(),
        };
        let taken = self.send(&frame);
        self.truth.late_bytes += taken as u64;
        if taken < frame.len() {
            return self.cut();
        }
        if sent == LATE_FRAMES {
            self.truth.carried_out = true;
            self.finish(End::Own);
            return None;
        }
        self.phase = Phase::Speaking { sent: sent + 1 };
        Some(now + world.timetable.grace / 2 / LATE_FRAMES)
    }

    /// Reads until nothing is left. The gateway of this demo never answers, so anything but the end is dropped.
    fn read(&mut self, world: &World, now: Instant) -> Option<Instant> {
        let socket = self.socket.as_ref()?;
        let mut buffer = [0_u8; 256];
        loop {
            match recv(socket, &mut buffer, RecvFlags::empty()) {
                Ok((_, 0)) => return self.hear_fin(world, now),
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return None,
                Err(_) => return self.cut(),
            }
        }
    }

    fn hear_fin(&mut self, world: &World, now: Instant) -> Option<Instant> {
        match (self.phase, self.script.fate) {
            (Phase::Quiet, Fate::Late) => self.speak(world, now, 0),
            (Phase::Quiet, Fate::Silent) => {
                self.truth.end = End::SawFin;
                None
            }
            (Phase::Speaking { .. } | Phase::Done, _) => None,
            (Phase::Waiting | Phase::Connecting | Phase::Beating | Phase::Quiet, _) => {
                self.finish(End::SawFin);
                None
            }
        }
    }

    /// The connection is gone, or it never came to be.
    fn cut(&mut self) -> Option<Instant> {
        let end = match (self.phase, self.socket_error()) {
            (Phase::Connecting, Some(errno)) if errno != Errno::CONNRESET => {
                End::NotConnected(errno.raw_os_error())
            }
            // An RST may overtake our looking at the finished handshake.
            (Phase::Connecting | Phase::Beating | Phase::Quiet | Phase::Speaking { .. }, _) => End::SawReset,
            (Phase::Waiting | Phase::Done, _) => return None,
        };
        self.finish(end);
        None
    }

    fn finish(&mut self, end: End) {
        self.truth.end = end;
        self.phase = Phase::Done;
        self.socket = None;
    }

    /// How many bytes the kernel took. A refusal is an end that epoll reports as well.
    fn send(&self, bytes: &[u8]) -> usize {
        let Some(socket) = &self.socket else { return 0 };
        send(socket, bytes, SendFlags::NOSIGNAL).unwrap_or(0)
    }

    fn abort_on_close(&self) -> bool {
        self.socket.as_ref().is_some_and(|s| sockopt::set_socket_linger(s, Some(Duration::ZERO)).is_ok())
    }

    fn socket_error(&self) -> Option<Errno> {
        sockopt::socket_error(self.socket.as_ref()?).ok()?.err()
    }
}

fn open_socket(world: &World, device: u32) -> Result<OwnedFd, Errno> {
    let family = if world.gateway.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    if let Some(source) = source_address(world.gateway, device) {
        bind(&socket, &source)?;
    }
    match connect(&socket, &world.gateway) {
        Ok(()) | Err(Errno::INPROGRESS) => {}
        Err(errno) => return Err(errno),
    }
    // Edge-triggered: a silent device is told of the FIN once and does not spin on it.
    let interest = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
    epoll::add(world.epoll.as_fd(), &socket, EventData::new_u64(u64::from(device)), interest)?;
    Ok(socket)
}

/// One source address has about 28 000 ports towards one gateway; 127.0.0.0/8 has sixteen million addresses.
fn source_address(gateway: SocketAddr, device: u32) -> Option<SocketAddr> {
    let IpAddr::V4(address) = gateway.ip() else { return None };
    let [_, _, c, d] = (device / DEVICES_PER_SOURCE + 1).to_be_bytes();
    address.is_loopback().then(|| SocketAddr::from((Ipv4Addr::new(127, 64, c, d), 0)))
}
