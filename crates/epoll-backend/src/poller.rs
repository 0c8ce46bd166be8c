//! epoll itself: registering sockets, sleeping, and the events of one sleep.
//!
//! Everything is registered once, edge-triggered, with the name of its owner in the event. What an edge means is not
//! decided here.

use std::io;
use std::num::NonZeroU64;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use heartring_core::{ConnId, Errno, Instant, ListenerId};
use heartring_socket::now;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::thread::{ClockId, clock_nanosleep_absolute, set_current_timer_slack};

use crate::pwait2_unsafe::epoll_pwait2;

/// Events taken from the kernel at a time, and so the most sockets that one turn hears of. What is left keeps its place
/// in the kernel's list, behind which those that were taken queue again: nobody starves. 1024 are 12 KiB.
const EVENTS_MAX: usize = 1024;

/// The kernel adds up to 0.1 % to a timeout (`__estimate_accuracy` in fs/select.c), which is 30 ms after half a minute.
/// Where that is more than this, the poller asks for less and sleeps a second time for the rest.
const LATENESS_MAX: Duration = Duration::from_micros(50);

/// Whom an event is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Conn(ConnId),
    Listener(ListenerId),
    Waker,
}

/// The epoll descriptor and the events of the last poll.
pub(crate) struct Poller {
    epoll: OwnedFd,
    events: Box<[Event]>,
    /// How many of `events` are from the last poll.
    found: usize,
    resolution: Resolution,
}

/// What the kernel takes as a timeout. It is found out by the first call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Resolution {
    Nanoseconds,
    /// Before Linux 5.11, and under seccomp profiles that do not know the newer call. Rounded up: late, never early.
    Milliseconds,
}

impl Poller {
    /// Also sets the timer slack of the calling thread, which must be the one that will poll, to its minimum: by default
    /// the kernel lets every sleep of a thread last 50 µs longer than asked, to save wake-ups.
    pub(crate) fn new() -> io::Result<Self> {
        let no_event = Event { flags: EventFlags::empty(), data: EventData::new_u64(0) };
        // A refusal costs precision, nothing else.
        let _ = set_current_timer_slack(NonZeroU64::new(1));
        Ok(Self {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            events: vec![no_event; EVENTS_MAX].into_boxed_slice(),
            found: 0,
            resolution: Resolution::Nanoseconds,
        })
    }

    /// Watches `fd` until it is closed.
    pub(crate) fn register(&self, fd: impl AsFd, source: Source) -> Result<(), Errno> {
        let interest = match source {
            // Both directions at once, so that parking a send needs no second call. PRI because an urgent mark ends a
            // `recv` early; HUP and ERR are always reported.
            Source::Conn(_) => EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::PRI,
            Source::Listener(_) | Source::Waker => EventFlags::IN,
        };
        let data = EventData::new_u64(source.to_bits());
        epoll::add(&self.epoll, fd, data, interest | EventFlags::ET)
            .map_err(|error| Errno(error.raw_os_error()))
    }

    /// Takes what is ready and does not sleep.
    pub(crate) fn poll(&mut self) -> io::Result<()> {
        self.found = self.wait(Some(Duration::ZERO))?;
        Ok(())
    }

    /// Sleeps until something is ready or `until` has come, whichever is first; a signal may end it early.
    pub(crate) fn sleep(&mut self, until: Option<Instant>) -> io::Result<()> {
        loop {
            let left = until.map(|until| until.saturating_since(now()));
            self.found = self.wait(left.map(shortened))?;
            let done = left.is_none_or(|left| shortened(left) == left);
            if done || self.found > 0 {
                return Ok(());
            }
        }
    }

    /// Sleeps until `until`, whatever becomes ready.
    pub(crate) fn nap(until: Instant) {
        // A signal ends it early, which is as good.
        let _ =
            clock_nanosleep_absolute(ClockId::Monotonic, &timespec(Duration::from_nanos(until.as_nanos())));
    }

    /// How many events the last poll found.
    pub(crate) fn found(&self) -> usize {
        self.found
    }

    /// The event `index` of the last poll.
    pub(crate) fn event(&self, index: usize) -> (Source, EventFlags) {
        let event = self.events[..self.found][index];
        (Source::from_bits(event.data.u64()), event.flags)
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        if self.resolution == Resolution::Nanoseconds {
            match epoll_pwait2(self.epoll.as_fd(), &mut self.events, timeout) {
                Err(Errno::ENOSYS | Errno::EPERM) => self.resolution = Resolution::Milliseconds,
                Err(Errno::EINTR) => return Ok(0),
                result => return Ok(result?),
            }
        }
        match epoll::wait(&self.epoll, &mut self.events[..], timeout.map(timespec).as_ref()) {
            Err(rustix::io::Errno::INTR) => Ok(0),
            result => Ok(result?),
        }
    }
}

/// `left` without what the kernel may add to it, if that is too much to be late.
fn shortened(left: Duration) -> Duration {
    let addition = left / 1000;
    if addition > LATENESS_MAX { left.saturating_sub(addition) } else { left }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec::try_from(duration).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 })
}

impl Source {
    /// Connection: 24 bits of slot above 32 of generation, and zero in the top byte. The generation is what keeps an
    /// event for an old occupant of a slot from its new one: closing a socket ends its registration, but not while a
    /// child that is between fork and exec still holds it.
    fn to_bits(self) -> u64 {
        match self {
            Self::Conn(conn) => u64::from(conn.slot()) << 32 | u64::from(conn.generation()),
            Self::Listener(listener) => 1 << 56 | u64::from(listener.0),
            Self::Waker => 2 << 56,
        }
    }

    fn from_bits(bits: u64) -> Self {
        match bits >> 56 {
            0 => Self::Conn(ConnId::new((bits >> 32) as u32, bits as u32)),
            1 => Self::Listener(ListenerId(bits as u8)),
            2 => Self::Waker,
            _ => unreachable!("the kernel gives back what was registered"),
        }
    }
}

#[cfg(test)]
mod tests {
    use heartring_core::Wake;
    use heartring_socket::WakeFd;

    use super::*;

    #[test]
    fn a_source_survives_the_kernel() {
        let conn = Source::Conn(ConnId::new(ConnId::SLOT_MAX, u32::MAX));
        for source in [conn, Source::Listener(ListenerId(255)), Source::Waker] {
            assert_eq!(Source::from_bits(source.to_bits()), source);
        }
    }

    #[test]
    fn a_sleep_ends_at_its_time_and_not_before() {
        let mut poller = Poller::new().unwrap();
        for resolution in [Resolution::Nanoseconds, Resolution::Milliseconds] {
            poller.resolution = resolution;
            for micros in [0, 150, 1_500, 120_000] {
                let until = now() + Duration::from_micros(micros);
                poller.sleep(Some(until)).unwrap();
                let woken = now();
                assert!(woken >= until && poller.found() == 0);
                eprintln!("{micros} µs: {:?} late", woken.saturating_since(until));
            }
        }
    }

    #[test]
    fn each_ring_of_an_undrained_doorbell_is_an_edge() {
        let mut poller = Poller::new().unwrap();
        let bell = WakeFd::new().unwrap();
        poller.register(&bell, Source::Waker).unwrap();
        for _ in 0..3 {
            poller.poll().unwrap();
            assert_eq!(poller.found(), 0);
            bell.wake();
            poller.sleep(None).unwrap();
            assert_eq!(poller.event(0), (Source::Waker, EventFlags::IN));
        }
    }
}
