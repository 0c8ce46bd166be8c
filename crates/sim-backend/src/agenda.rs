//! The clock, and what will happen: events ordered by instant, and at one instant by when they were scheduled.
//!
//! The invariant: the clock never goes back, and every event before it has been taken.

use std::collections::BTreeMap;
use std::time::Duration;

use heartring_core::Instant;

use crate::absences::Absences;
use crate::socket::SocketId;
use crate::world::World;

/// Something that happens at an instant.
pub(crate) enum Event {
    /// Something becomes of an op in flight. `serial` names the op, which may have ended long before.
    Op { socket: SocketId, serial: u64, step: Step },
    /// A listener that was slow looks at its queue.
    Accept { inbox: usize },
    /// What a test scripted.
    Act(Box<dyn FnOnce(&World)>),
}

/// What becomes of an op in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A recv: the deadline of its lease has come.
    LeaseDue,
    /// A recv: its lease ends.
    LeaseOver,
    /// A recv: there is a buffer again.
    Buffer,
    /// A watch: its deadline has come.
    WatchDue,
    /// A watch: it ends at its deadline.
    WatchOver,
    /// A watch: it says what it saw a while ago.
    WatchReady,
    /// A send: it looks whether there is room.
    SendAgain,
    /// An examination ends.
    Examined,
    /// A shutdown is carried out.
    ShutDown,
    /// A close cancels it.
    Cancel,
}

/// The clock and the events ahead of it.
#[derive(Default)]
pub(crate) struct Agenda {
    now: Instant,
    /// The program's thread does not run before this instant. The kernel does.
    stalled_until: Instant,
    absences: Absences,
    scheduled: u64,
    events: BTreeMap<(Instant, u64), Event>,
}

impl Agenda {
    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    /// Schedules `event`; what should have happened already happens at once.
    pub(crate) fn schedule(&mut self, at: Instant, event: Event) {
        self.scheduled += 1;
        self.events.insert((at.max(self.now), self.scheduled), event);
    }

    /// Keeps the program's thread away for `duration` from now.
    pub(crate) fn stall(&mut self, duration: Duration) {
        self.stalled_until = self.stalled_until.max(self.now + duration);
        self.absences.add(self.now, self.stalled_until);
    }

    /// The thread runs.
    pub(crate) fn thread_runs(&mut self) {
        self.absences.thread_runs();
    }

    pub(crate) fn absences(&self) -> &Absences {
        &self.absences
    }

    /// The earliest instant at which the program's thread can look at the world.
    pub(crate) fn thread_runs_at(&self) -> Instant {
        self.now.max(self.stalled_until)
    }

    /// What happens next, and when.
    pub(crate) fn first(&self) -> Option<(Instant, &Event)> {
        self.events.first_key_value().map(|(&(at, _), event)| (at, event))
    }

    /// Takes out what happens next: it would change nothing.
    pub(crate) fn drop_first(&mut self) {
        self.events.pop_first();
    }

    /// The next event at or before `limit` (`None`: whenever it is), with the clock set to it.
    pub(crate) fn next_by(&mut self, limit: Option<Instant>) -> Option<Event> {
        let (&(at, _), _) = self.events.first_key_value()?;
        if limit.is_some_and(|limit| at > limit) {
            return None;
        }
        self.now = at;
        self.events.pop_first().map(|(_, event)| event)
    }

    /// Gives up what lies ahead: it will not happen.
    pub(crate) fn give_up(&mut self) -> BTreeMap<(Instant, u64), Event> {
        std::mem::take(&mut self.events)
    }

    /// Lets time pass in which nothing happens.
    pub(crate) fn advance_to(&mut self, instant: Instant) {
        self.now = self.now.max(instant);
        let behind = self.events.first_key_value().is_some_and(|(&(at, _), _)| at < self.now);
        assert!(!behind, "the clock passed an event");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serials(agenda: &mut Agenda) -> Vec<u64> {
        let mut serials = Vec::new();
        while let Some(event) = agenda.next_by(None) {
            if let Event::Op { serial, .. } = event {
                serials.push(serial);
            }
        }
        serials
    }

    #[test]
    fn events_come_by_instant_and_then_in_the_order_of_their_scheduling() {
        let mut agenda = Agenda::default();
        for (at, serial) in [(7, 0), (5, 1), (7, 2), (5, 3)] {
            let event = Event::Op { socket: SocketId(0), serial, step: Step::WatchDue };
            agenda.schedule(Instant::from_nanos(at), event);
        }
        assert_eq!(serials(&mut agenda), [1, 3, 0, 2]);
        assert_eq!(agenda.now(), Instant::from_nanos(7));
    }

    #[test]
    fn what_should_have_happened_already_happens_now() {
        let mut agenda = Agenda::default();
        agenda.advance_to(Instant::from_nanos(9));
        agenda.schedule(Instant::from_nanos(3), Event::Act(Box::new(|_| ())));
        assert!(agenda.next_by(Some(Instant::from_nanos(9))).is_some());
        assert_eq!(agenda.now(), Instant::from_nanos(9));
    }
}
