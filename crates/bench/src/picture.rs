//! What a fan-out sends: a picture of the game, which says when it was taken, and when the next is due.

use crate::workload::Workload;

/// The message of a tick: a length-prefixed frame that begins with the tick's time in monotonic nanoseconds, big-endian. Both
/// ends are on one machine and read one clock.
pub(crate) struct Picture {
    frame: Vec<u8>,
}

/// Bytes of the frame's length.
const HEADER: usize = 4;
/// Bytes before the end of the time.
pub(crate) const STAMPED: usize = HEADER + size_of::<u64>();

impl Picture {
    pub(crate) fn of(workload: Workload) -> Picture {
        let Workload::Fanout { bytes, .. } = workload else { return Picture { frame: vec![0; STAMPED] } };
        let mut frame = vec![b'.'; bytes as usize];
        frame[..HEADER].copy_from_slice(&(bytes - HEADER as u32).to_be_bytes());
        Picture { frame }
    }

    pub(crate) fn len(&self) -> usize {
        self.frame.len()
    }

    /// The bytes of the picture that is taken now.
    pub(crate) fn taken_at(&mut self, now: u64) -> &[u8] {
        self.frame[HEADER..STAMPED].copy_from_slice(&now.to_be_bytes());
        &self.frame
    }
}

/// When a picture was taken, from its first bytes.
pub(crate) fn taken_at(front: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(front.get(HEADER..STAMPED)?.try_into().ok()?))
}

/// A clock that ticks a number of times a second. A tick that was missed is not made up for.
pub(crate) struct Ticks {
    every_ns: u64,
    next: u64,
}

impl Ticks {
    pub(crate) fn of(workload: Workload) -> Ticks {
        Ticks { every_ns: every_ns(workload), next: 0 }
    }

    /// Until the next tick.
    pub(crate) fn rest_ns(&self, now: u64) -> u64 {
        self.next.saturating_sub(now)
    }

    /// Whether the next tick has come. Then the one after it is a period later.
    pub(crate) fn is_due(&mut self, now: u64) -> bool {
        let due = now >= self.next;
        if due {
            let in_rhythm = self.next + self.every_ns;
            self.next = if in_rhythm > now { in_rhythm } else { now + self.every_ns };
        }
        due
    }
}

/// The period of a fan-out's ticks.
pub(crate) fn every_ns(workload: Workload) -> u64 {
    let Workload::Fanout { hz, .. } = workload else { return u64::MAX / 4 };
    1_000_000_000 / u64::from(hz.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FANOUT: Workload = Workload::Fanout { connections: 1, bytes: 64, hz: 20 };

    #[test]
    fn a_picture_is_one_frame_that_says_when_it_was_taken() {
        let mut picture = Picture::of(FANOUT);
        let frame = picture.taken_at(4711);
        assert_eq!(frame.len(), 64);
        assert_eq!(frame[..HEADER], 60_u32.to_be_bytes());
        assert_eq!(taken_at(frame), Some(4711));
        assert_eq!(taken_at(&frame[..STAMPED - 1]), None);
    }

    #[test]
    fn ticks_keep_their_rhythm_and_are_not_made_up_for() {
        let mut ticks = Ticks::of(FANOUT);
        let period = every_ns(FANOUT);
        assert!(ticks.is_due(10 * period));
        assert!(!ticks.is_due(11 * period - 1));
        // A little late: the rhythm is kept.
        assert!(ticks.is_due(11 * period + 5));
        assert_eq!(ticks.rest_ns(11 * period + 5), period - 5);
        // Five periods late: one tick, and the next a period later.
        assert!(ticks.is_due(17 * period));
        assert!(!ticks.is_due(17 * period));
    }
}
