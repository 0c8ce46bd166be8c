//! One device: a socket, what it was told to do, and an honest account of what happened.
//!
//! Everything that it says after its hello is data frames of one size, counted from zero; they are its beats, too. So it knows
//! from the bytes that TCP has acknowledged how many of them are with the gateway.

use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use heartring::Instant;
use heartring_socket::{examine, set_abortive};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect, recv, send, socket_with, sockopt,
};

use super::words::{Act, Beat, Counts, End, Truth};
use crate::random::Random;
use crate::silent_death::SilentDeath;
use crate::system;
use crate::wire::{DATA_BYTES, Message, PREFIX_BYTES};

/// The last beats that a device remembers: more than fall into a deadline and the grace after it.
const BEATS_MAX: usize = 12;
/// Between two bytes of a frame that drips.
const DRIP_EVERY: Duration = Duration::from_millis(100);
const FRAME_BYTES: u64 = (PREFIX_BYTES + DATA_BYTES) as u64;
const HELLO_BYTES: u64 = (PREFIX_BYTES + 8) as u64;
/// A receive buffer that is soon full; the kernel doubles it.
const SMALL_BUFFER: usize = 2048;

/// What all devices of a fleet share.
pub(super) struct World {
    pub(super) epoll: OwnedFd,
    pub(super) gateway: SocketAddr,
    pub(super) beat_every: Duration,
    pub(super) random: Random,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Connecting,
    Beating,
    /// Has begun a frame.
    Dripping,
    /// Sends nothing more of itself.
    Quiet,
    Done,
}

pub(super) struct Device {
    phase: Phase,
    socket: Option<OwnedFd>,
    reads: bool,
    /// What the socket has not taken yet.
    out: Vec<u8>,
    /// Bytes that it has taken.
    taken: u64,
    /// When it acts next of itself.
    pub(super) due: Option<Instant>,
    truth: Truth,
}

impl Device {
    pub(super) fn connect(world: &World, number: u32, small: bool) -> Self {
        let truth = Truth { device: number, came_at: system::now().as_nanos(), ..Truth::default() };
        let mut device = Self {
            phase: Phase::Connecting,
            socket: None,
            reads: true,
            out: Vec::new(),
            taken: 0,
            due: None,
            truth,
        };
        match open_socket(world, number, small) {
            Ok(socket) => device.socket = Some(socket),
            Err(errno) => device.finish(End::Cut(errno.raw_os_error())),
        }
        device
    }

    pub(super) fn truth(&self) -> &Truth {
        &self.truth
    }

    pub(super) fn counts(&self) -> Counts {
        let Truth { connected_at, served_at, .. } = self.truth;
        let sent = self.socket.is_some() && self.out.is_empty() && self.unacked() == Some(0);
        Counts {
            connected: u32::from(connected_at.is_some()),
            served: u32::from(served_at.is_some()),
            sent: u32::from(sent),
            open: u32::from(self.socket.is_some()),
        }
    }

    /// Does what it is told.
    pub(super) fn act(&mut self, world: &mut World, act: Act) {
        let before = system::now().as_nanos();
        match act {
            Act::Close => self.finish(End::Own),
            Act::Reset => {
                if let Some(socket) = &self.socket {
                    let _ = set_abortive(socket.as_fd());
                }
                self.finish(End::Own);
            }
            Act::Vanish => self.vanish(),
            Act::Flood { frames } => (0..frames).for_each(|_| self.queue_frame()),
            Act::Ask { bytes } => {
                self.reads = false;
                self.queue(&Message::Ask { bytes }.frame());
            }
            Act::Drip => {
                self.phase = Phase::Dripping;
                self.queue(&(DATA_BYTES as u32).to_be_bytes());
                self.due = Some(system::now() + DRIP_EVERY);
            }
            Act::Garbage => {
                self.phase = Phase::Quiet;
                self.due = None;
                // Whatever follows, a length of 2 GiB and more is none.
                let noise: Vec<u8> = (0..32).map(|_| 0x80 | world.random.below(256) as u8).collect();
                self.queue(&noise);
            }
            Act::Connect { .. } | Act::Count | Act::Tell | Act::Forget => {}
        }
        self.flush();
        self.truth.acted = Some((before, system::now().as_nanos()));
    }

    /// The time has come that it waited for.
    pub(super) fn timer(&mut self, world: &mut World) {
        match self.phase {
            Phase::Beating => self.beat(world),
            Phase::Dripping => {
                self.queue(b".");
                self.flush();
                self.due = Some(system::now() + DRIP_EVERY);
            }
            Phase::Connecting | Phase::Quiet | Phase::Done => self.due = None,
        }
    }

    /// Its socket reported something.
    pub(super) fn ready(&mut self, world: &mut World, flags: EventFlags) {
        if flags.intersects(EventFlags::ERR | EventFlags::HUP) {
            return self.cut();
        }
        if self.phase == Phase::Connecting {
            self.greet(world);
        }
        if flags.intersects(EventFlags::IN | EventFlags::RDHUP) && self.reads {
            self.read();
        }
        self.flush();
    }

    fn greet(&mut self, world: &mut World) {
        self.phase = Phase::Beating;
        self.truth.connected_at = Some(system::now().as_nanos());
        self.queue(&Message::Hello { device: self.truth.device }.frame());
        self.beat(world);
    }

    /// Jitter makes beats up to a fifth earlier, never later than what devices were told.
    fn beat(&mut self, world: &mut World) {
        self.beat_now();
        let next = world.random.between(world.beat_every.mul_f64(0.8), world.beat_every);
        if self.phase == Phase::Beating {
            self.due = Some(system::now() + next);
        }
    }

    /// What waits already serves as well.
    fn beat_now(&mut self) {
        if self.out.len() as u64 >= FRAME_BYTES {
            return self.flush();
        }
        let beat = Beat { at: system::now().as_nanos(), frame: self.truth.frames, acked: self.acked() };
        self.queue_frame();
        self.flush();
        if self.phase != Phase::Done {
            self.truth.beats.push(beat);
            let surplus = self.truth.beats.len().saturating_sub(BEATS_MAX);
            self.truth.beats.drain(..surplus);
        }
    }

    fn vanish(&mut self) {
        self.beat_now();
        let Some(socket) = self.socket.take() else { return };
        // Where that is not permitted the parent has noticed before.
        let _ = SilentDeath::TcpRepair.befall(TcpStream::from(socket));
        self.finish(End::Own);
    }

    fn queue_frame(&mut self) {
        self.queue(&Message::Data { device: self.truth.device, counter: self.truth.frames }.frame());
        self.truth.frames += 1;
    }

    fn queue(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    fn flush(&mut self) {
        while let (Some(socket), false) = (&self.socket, self.out.is_empty()) {
            match send(socket, &self.out, SendFlags::NOSIGNAL) {
                Ok(taken) => {
                    self.taken += taken as u64;
                    self.out.drain(..taken);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(errno) => return self.finish(End::Cut(errno.raw_os_error())),
            }
        }
    }

    /// Reads until nothing is left. The first bytes are the answer to its hello.
    fn read(&mut self) {
        let mut buffer = [0_u8; 4096];
        while let Some(socket) = &self.socket {
            match recv(socket, &mut buffer, RecvFlags::empty()) {
                Ok((_, 0)) => {
                    // Grace: it may still speak, but this one has nothing to say.
                    self.truth.end = End::SawFin;
                    self.phase = Phase::Quiet;
                    self.due = None;
                    return;
                }
                Ok(_) => {
                    self.truth.served_at.get_or_insert_with(|| system::now().as_nanos());
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(errno) => return self.finish(End::Cut(errno.raw_os_error())),
            }
        }
    }

    /// The connection is gone, or it never came to be.
    fn cut(&mut self) {
        let errno = self.socket.as_ref().and_then(|socket| sockopt::socket_error(socket).ok()?.err());
        if self.phase == Phase::Connecting && errno == Some(Errno::CONNRESET) {
            // The reset has overtaken our looking at the finished handshake; without one it would be ECONNREFUSED.
            self.truth.connected_at = Some(system::now().as_nanos());
        }
        self.finish(End::Cut(errno.map_or(0, Errno::raw_os_error)));
    }

    fn finish(&mut self, end: End) {
        if self.phase != Phase::Done {
            self.truth.end = end;
        }
        self.phase = Phase::Done;
        self.socket = None;
        self.due = None;
        self.out = Vec::new();
    }

    fn unacked(&self) -> Option<u32> {
        examine(self.socket.as_ref()?.as_fd()).unsent
    }

    /// Data frames that are with the gateway's kernel, whole.
    fn acked(&self) -> u32 {
        let Some(unacked) = self.unacked() else { return 0 };
        let bytes = self.taken.saturating_sub(u64::from(unacked)).saturating_sub(HELLO_BYTES);
        (bytes / FRAME_BYTES) as u32
    }
}

fn open_socket(world: &World, device: u32, small: bool) -> Result<OwnedFd, Errno> {
    let family = if world.gateway.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, None)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    if small {
        sockopt::set_socket_recv_buffer_size(&socket, SMALL_BUFFER)?;
    }
    match connect(&socket, &world.gateway) {
        Ok(()) | Err(Errno::INPROGRESS) => {}
        Err(errno) => return Err(errno),
    }
    // Edge-triggered: a device that does not read is told once and does not spin on it.
    let interest = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
    epoll::add(world.epoll.as_fd(), &socket, EventData::new_u64(u64::from(device)), interest)?;
    Ok(socket)
}
