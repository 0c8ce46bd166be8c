//! epoll itself: registering sockets, sleeping, and the events of one sleep.
//!
//! Everything is registered once, edge-triggered, with the name of its owner in the event. What an edge means is not
//! decided here.

use std::io;
use std::num::NonZeroU64;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use heartring_core::{ConnId, Errno, Instant, ListenerId};
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::thread::{ClockId, clock_nanosleep_absolute, set_current_timer_slack};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};

/// Events taken from the kernel at a time, and so the most sockets that one turn hears of. What is left keeps its place
/// in the kernel's list, behind which those that were taken queue again: nobody starves. 1024 are 12 KiB.
const EVENTS_MAX: usize = 1024;

/// Whom an event is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Conn(ConnId),
    Listener(ListenerId),
    Waker,
    /// The poller's own: a sleep is over, or was to be.
    Alarm,
}

/// The epoll descriptor and the events of the last poll.
pub(crate) struct Poller {
    epoll: OwnedFd,
    events: Box<[Event]>,
    /// How many of `events` are from the last poll.
    found: usize,
    /// A timer of the kernel that ends sleeps. A timeout given to each sleep would be armed and taken back once per wake-up,
    /// and the kernel adds up to 0.1 % to it (`__estimate_accuracy` in fs/select.c); this one is exact, and stays.
    alarm: OwnedFd,
    /// When it goes off; `None` if it has.
    alarm_at: Option<Instant>,
}

impl Poller {
    /// Also sets the timer slack of the calling thread, which must be the one that will poll, to its minimum: by default
    /// the kernel lets every nap of a thread last 50 µs longer than asked, to save wake-ups.
    pub(crate) fn new() -> io::Result<Self> {
        let no_event = Event { flags: EventFlags::empty(), data: EventData::new_u64(0) };
        // A refusal costs precision, nothing else.
        let _ = set_current_timer_slack(NonZeroU64::new(1));
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let poller = Self {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            events: vec![no_event; EVENTS_MAX].into_boxed_slice(),
            found: 0,
            alarm: timerfd_create(TimerfdClockId::Monotonic, flags)?,
            alarm_at: None,
        };
        poller.register(&poller.alarm, Source::Alarm)?;
        Ok(poller)
    }

    /// Watches `fd` until it is closed.
    pub(crate) fn register(&self, fd: impl AsFd, source: Source) -> Result<(), Errno> {
        let interest = match source {
            // Both directions at once, so that parking a send needs no second call. PRI because an urgent mark ends a
            // `recv` early; HUP and ERR are always reported.
            Source::Conn(_) => EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::PRI,
            Source::Listener(_) | Source::Waker | Source::Alarm => EventFlags::IN,
        };
        let data = EventData::new_u64(source.to_bits());
        epoll::add(&self.epoll, fd, data, interest | EventFlags::ET)
            .map_err(|error| Errno(error.raw_os_error()))
    }

    /// Takes what is ready and does not sleep.
    pub(crate) fn poll(&mut self) -> io::Result<()> {
        self.wait(Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))
    }

    /// Sleeps until something is ready or `until` has come, whichever is first; a signal, or an alarm that was set for an
    /// earlier `until`, may end it before. It was `now` when the thread was last awake.
    pub(crate) fn sleep(&mut self, until: Option<Instant>, now: Instant) -> io::Result<()> {
        match until {
            Some(until) if until <= now => return self.poll(),
            Some(until) => self.set_alarm(until)?,
            None => {}
        }
        self.wait(None)
    }

    /// The alarm has gone off.
    pub(crate) fn alarm_is_over(&mut self) {
        self.alarm_at = None;
    }

    /// Sees to it that the alarm goes off at `until` or before. One that is set for earlier stays: nearly always the sleep ends by
    /// something else, and the next one has a later end.
    fn set_alarm(&mut self, until: Instant) -> io::Result<()> {
        if self.alarm_at.is_none_or(|at| until < at) {
            let it_value = timespec(Duration::from_nanos(until.as_nanos()));
            let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value };
            timerfd_settime(&self.alarm, TimerfdTimerFlags::ABSTIME, &once)?;
            self.alarm_at = Some(until);
        }
        Ok(())
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

    fn wait(&mut self, timeout: Option<&Timespec>) -> io::Result<()> {
        self.found = match epoll::wait(&self.epoll, &mut self.events[..], timeout) {
            Err(rustix::io::Errno::INTR) => 0,
            result => result?,
        };
        Ok(())
    }
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
            Self::Alarm => 3 << 56,
        }
    }

    fn from_bits(bits: u64) -> Self {
        match bits >> 56 {
            0 => Self::Conn(ConnId::new((bits >> 32) as u32, bits as u32)),
            1 => Self::Listener(ListenerId(bits as u8)),
            2 => Self::Waker,
            3 => Self::Alarm,
            _ => unreachable!("the kernel gives back what was registered"),
        }
    }
}

#[cfg(test)]
mod tests {
    use heartring_core::Wake;
    use heartring_socket::{WakeFd, now};

    use super::*;

    #[test]
    fn a_source_survives_the_kernel() {
        let conn = Source::Conn(ConnId::new(ConnId::SLOT_MAX, u32::MAX));
        for source in [conn, Source::Listener(ListenerId(255)), Source::Waker] {
            assert_eq!(Source::from_bits(source.to_bits()), source);
        }
    }

    /// Sleeps again when it was woken by an alarm for an earlier time.
    fn sleep(poller: &mut Poller, until: Instant) {
        while now() < until {
            poller.sleep(Some(until), now()).unwrap();
            assert!((0..poller.found()).all(|index| poller.event(index).0 == Source::Alarm));
            if poller.found() > 0 {
                poller.alarm_is_over();
            }
        }
    }

    #[test]
    fn a_sleep_ends_at_its_time_and_not_before() {
        let mut poller = Poller::new().unwrap();
        for micros in [0, 150, 1_500, 120_000] {
            let until = now() + Duration::from_micros(micros);
            sleep(&mut poller, until);
            eprintln!("{micros} µs: {:?} late", now().saturating_since(until));
        }
    }

    #[test]
    fn an_alarm_is_set_anew_for_what_is_earlier_and_stays_for_what_is_later() {
        let mut poller = Poller::new().unwrap();
        let start = now();
        let (early, late) = (start + Duration::from_millis(20), start + Duration::from_millis(60));
        poller.set_alarm(late).unwrap();
        poller.set_alarm(early).unwrap();
        poller.set_alarm(late).unwrap();
        assert_eq!(poller.alarm_at, Some(early));
        poller.wait(None).unwrap();
        assert!(poller.found() == 1 && now() >= early);
        poller.alarm_is_over();
        sleep(&mut poller, late);
        assert_eq!(poller.alarm_at, None);
    }

    #[test]
    fn an_alarm_that_nobody_has_heard_does_not_end_more_than_one_sleep() {
        let mut poller = Poller::new().unwrap();
        poller.set_alarm(now()).unwrap();
        poller.set_alarm(now() + Duration::from_millis(5)).unwrap();
        poller.wait(None).unwrap();
        poller.alarm_is_over();
        let until = now() + Duration::from_millis(20);
        poller.sleep(Some(until), now()).unwrap();
        assert!(now() >= until);
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
            poller.sleep(None, now()).unwrap();
            assert_eq!(poller.event(0), (Source::Waker, EventFlags::IN));
        }
    }
}
