//! The watchdog: a thread that looks after shards that do not turn.
//!
//! A shard whose turn lasts too long is reported once, and once more when it turns again. If the configuration says so, its
//! listeners leave the group that shares their address meanwhile, so that the kernel gives new clients to the other shards. At
//! least one shard that turns keeps listening.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;
use std::{io, thread};

use heartring_core::Instant;

use crate::control::Control;
use crate::progress::{Progress, Watched};

/// Between two looks, at least: a look costs a microsecond.
const LOOK_EVERY_MIN: Duration = Duration::from_millis(10);

/// And at most.
const LOOK_EVERY_MAX: Duration = Duration::from_secs(1);

/// The watchdog of a gateway. It ends when this is dropped.
pub(crate) struct Watchdog {
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    pub(crate) fn start(control: &Arc<Control>, config: heartring_core::Watchdog) -> io::Result<Self> {
        let (end, ended) = mpsc::channel::<()>();
        let control = Arc::clone(control);
        let body = move || {
            let mut patrol = Patrol::new(control.watched(), config);
            while ended.recv_timeout(patrol.pause()) == Err(RecvTimeoutError::Timeout) {
                patrol.look(heartring_socket::now());
            }
        };
        let thread = thread::Builder::new().name("heartring-watchdog".into()).spawn(body)?;
        Ok(Self { end: Some(end), thread: Some(thread) })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.end = None; // Wakes the thread.
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the watchdog knows from its looks so far.
struct Patrol<'a> {
    watched: &'a Watched,
    close_listeners: bool,
    patients: Vec<Patient<'a>>,
}

/// One shard.
struct Patient<'a> {
    shard: usize,
    progress: &'a Progress,
    /// The turn that the last look has seen.
    seen: Option<Instant>,
    /// The turn that was reported as stuck, until it is over.
    stuck: Option<Instant>,
    /// The watchdog has closed its listeners.
    closed: bool,
}

impl<'a> Patrol<'a> {
    fn new(watched: &'a Watched, config: heartring_core::Watchdog) -> Self {
        let patient = |(shard, progress)| Patient { shard, progress, seen: None, stuck: None, closed: false };
        let patients = watched.shards.iter().enumerate().map(patient).collect();
        Self { watched, close_listeners: config.close_listeners, patients }
    }

    /// Until the next look. A shard without listeners is to have them back as soon as it turns. While every shard sleeps, a look
    /// per `stuck_after` is enough: whoever gets stuck after it is seen by the next one, and reported a quarter later, as with
    /// looks in between; and an idle gateway does not wake for nothing.
    fn pause(&self) -> Duration {
        if self.patients.iter().any(|patient| patient.stuck.is_some() && patient.closed) {
            return LOOK_EVERY_MIN;
        }
        let all_sleep = self.patients.iter().all(|patient| patient.seen.is_none());
        let pause = if all_sleep { self.watched.stuck_after } else { self.watched.stuck_after / 4 };
        pause.clamp(LOOK_EVERY_MIN, LOOK_EVERY_MAX)
    }

    fn look(&mut self, now: Instant) {
        for patient in &mut self.patients {
            patient.look(now, self.watched.stuck_after);
        }
        for nth in 0..self.patients.len() {
            let patient = &self.patients[nth];
            if self.close_listeners && patient.stuck.is_some() && !patient.closed && self.another_listens() {
                self.patients[nth].close();
                self.nudge_others(nth);
            }
        }
    }

    /// Whether some shard that turns listens.
    fn another_listens(&self) -> bool {
        self.patients.iter().any(|patient| patient.stuck.is_none() && patient.listens())
    }

    /// The clients of a listener that has been closed may have been moved to the others.
    fn nudge_others(&self, closed: usize) {
        for patient in self.patients.iter().filter(|patient| patient.shard != closed) {
            patient.progress.listening().iter().for_each(|listening| listening.nudge());
        }
    }
}

impl Patient<'_> {
    fn look(&mut self, now: Instant, stuck_after: Duration) {
        let turn = self.progress.turn_began();
        // A turn that an earlier look has not seen may be one in which the whole process was stopped, and nobody is to blame.
        let was_seen = std::mem::replace(&mut self.seen, turn) == turn;
        if self.stuck.is_some() && self.stuck != turn {
            self.recover(now);
        }
        if self.closed && self.stuck.is_none() {
            self.reopen();
        }
        if let Some(began) = turn.filter(|_| was_seen && self.stuck.is_none())
            && now.saturating_since(began) > stuck_after
        {
            self.report(began, now);
        }
    }

    fn report(&mut self, began: Instant, now: Instant) {
        self.stuck = Some(began);
        self.progress.count_stuck();
        let queues: Vec<String> = (self.progress.listening().iter())
            .filter_map(|listening| listening.queue().map(|queue| (listening.addr, queue)))
            .map(|(addr, queue)| format!("{addr}: {} of {}", queue.len, queue.max))
            .collect();
        let stuck_for = now.saturating_since(began);
        tracing::warn!(
            shard = self.shard,
            ?stuck_for,
            queues = queues.join(", "),
            "the shard is stuck in a turn: its handler should not block"
        );
    }

    fn recover(&mut self, now: Instant) {
        let stuck_for = self.stuck.take().map(|began| now.saturating_since(began));
        tracing::info!(shard = self.shard, ?stuck_for, "the shard turns again");
    }

    fn listens(&self) -> bool {
        self.progress.listening().iter().any(|listening| listening.queue().is_some())
    }

    fn close(&mut self) {
        for listening in self.progress.listening().iter() {
            match listening.close() {
                Ok(()) => {
                    tracing::warn!(shard = self.shard, addr = %listening.addr, "its listener is closed");
                }
                Err(error) => tracing::warn!(shard = self.shard, %error, "its listener cannot be closed"),
            }
        }
        self.closed = true;
    }

    fn reopen(&mut self) {
        self.closed = false;
        for listening in self.progress.listening().iter().filter(|listening| listening.queue().is_none()) {
            match listening.reopen() {
                Ok(()) => {
                    tracing::info!(shard = self.shard, addr = %listening.addr, "its listener is open again");
                }
                Err(error) => {
                    // Somebody else has taken the port. The next look tries again.
                    tracing::error!(shard = self.shard, addr = %listening.addr, %error, "its listener stays closed");
                    self.closed = true;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STUCK_AFTER: Duration = Duration::from_secs(1);

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    fn times_stuck_after(looks: impl FnOnce(&Progress, &mut Patrol<'_>)) -> u64 {
        let watched = Watched::new(1, STUCK_AFTER);
        let config = heartring_core::Watchdog { stuck_after: STUCK_AFTER, close_listeners: true };
        looks(&watched.shards[0], &mut Patrol::new(&watched, config));
        watched.shards[0].times_stuck()
    }

    #[test]
    fn a_turn_is_reported_once_when_it_has_lasted_too_long() {
        let times = times_stuck_after(|shard, patrol| {
            shard.turn(at(1));
            patrol.look(at(1001));
            assert_eq!(shard.times_stuck(), 0);
            (0..5).for_each(|nth| patrol.look(at(1002 + nth)));
        });
        assert_eq!(times, 1);
    }

    #[test]
    fn a_turn_that_was_not_seen_before_may_have_been_stopped_with_the_watchdog() {
        let times = times_stuck_after(|shard, patrol| {
            patrol.look(at(1));
            shard.turn(at(2));
            patrol.look(at(60_000));
            shard.rest();
            patrol.look(at(60_010));
        });
        assert_eq!(times, 0);
    }

    #[test]
    fn short_turns_one_after_the_other_are_not_one_long_turn() {
        let times = times_stuck_after(|shard, patrol| {
            for nth in 0..20 {
                shard.rest();
                shard.turn(at(1 + nth * 900));
                patrol.look(at(nth * 900 + 300));
                patrol.look(at(nth * 900 + 600));
            }
        });
        assert_eq!(times, 0);
    }

    #[test]
    fn it_looks_often_enough_and_not_too_often() {
        let pause = |stuck_after, seen| {
            let watched = Watched::new(1, stuck_after);
            let mut patrol = Patrol::new(&watched, heartring_core::Watchdog::default());
            patrol.patients[0].seen = seen;
            patrol.pause()
        };
        let turning = Some(Instant::ZERO);
        assert_eq!(pause(Duration::from_millis(10), turning), LOOK_EVERY_MIN);
        assert_eq!(pause(STUCK_AFTER, turning), STUCK_AFTER / 4);
        assert_eq!(pause(STUCK_AFTER, None), STUCK_AFTER, "nobody turns");
        assert_eq!(pause(Duration::from_hours(1), turning), LOOK_EVERY_MAX);
        assert_eq!(pause(Duration::from_hours(1), None), LOOK_EVERY_MAX);
    }
}
