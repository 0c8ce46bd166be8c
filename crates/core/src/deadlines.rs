//! Deadlines: instants in ticks, and the sweep that finds who is due.
//!
//! Keeping a connection alive is one store: `deadline = now + overdue_after`. No timer moves, nothing is re-linked. Finding who
//! is due is a sweep over the dense heads of the slots ([`Slots`](crate::Slots)), and between sweeps the shard sleeps until
//! the earliest deadline that the last sweep saw, a lower bound, because stores only move deadlines later or lower the bound
//! themselves.
//!
//! Invariant: every deadline of its kind is at or after the [`Bound`], or is watched by the kernel.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::time::Instant;

/// log2 of a tick's nanoseconds. A tick is 65.5 µs: an array of `u32` then spans 78 hours and a verdict is late by at most
/// one tick on account of the array. Half the memory of `u64` nanoseconds is half the time of a sweep.
const TICK_SHIFT: u32 = 16;

/// The longest time for which a deadline can be set: half of what a `u32` of ticks spans, since instants wrap around and
/// are compared by their distance.
pub const DEADLINE_AHEAD_MAX: Duration = Duration::from_hours(24);

/// An instant in ticks, modulo 2^32. Only distances below [`DEADLINE_AHEAD_MAX`] have a meaning. Zero is left out, and the next
/// tick taken instead, so that `Option<Tick>` has four bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick(NonZeroU32);

impl Tick {
    /// The first tick at or after `instant`: what is due by it is never early.
    pub const fn at_or_after(instant: Instant) -> Self {
        Self::avoiding_zero(instant.as_nanos().div_ceil(1 << TICK_SHIFT) as u32)
    }

    /// The last tick at or before `instant`.
    const fn at_or_before(instant: Instant) -> u32 {
        (instant.as_nanos() >> TICK_SHIFT) as u32
    }

    /// `ticks` later.
    #[must_use]
    pub const fn plus(self, ticks: Ticks) -> Self {
        Self::avoiding_zero(self.0.get().wrapping_add(ticks.0))
    }

    /// `ticks` earlier.
    #[must_use]
    pub const fn minus(self, ticks: Ticks) -> Self {
        Self::avoiding_zero(self.0.get().wrapping_sub(ticks.0))
    }

    /// Whether this tick is at or before `now`.
    pub const fn is_due(self, now: Instant) -> bool {
        self.0.get().wrapping_sub(Self::at_or_before(now)).cast_signed() <= 0
    }

    /// Whether this tick is at or before `other`, which lies within a day of it.
    pub const fn is_by(self, other: Self) -> bool {
        self.0.get().wrapping_sub(other.0.get()).cast_signed() <= 0
    }

    /// The earlier of two ticks that lie within a day of each other.
    #[must_use]
    pub const fn min(self, other: Self) -> Self {
        if self.is_by(other) { self } else { other }
    }

    /// The instant of this tick, which lies within a day of `now`.
    pub const fn near(self, now: Instant) -> Instant {
        let now_ticks = now.as_nanos() >> TICK_SHIFT;
        let distance = self.0.get().wrapping_sub(now_ticks as u32).cast_signed() as i64;
        Instant::from_nanos(now_ticks.saturating_add_signed(distance).saturating_mul(1 << TICK_SHIFT))
    }

    /// This tick, or `oldest` if it lies before it. It lies within a day of `now`.
    pub(crate) fn not_before(self, oldest: Instant, now: Instant) -> Self {
        if self.near(now) < oldest { Self::at_or_after(oldest) } else { self }
    }

    const fn avoiding_zero(ticks: u32) -> Self {
        match NonZeroU32::new(ticks) {
            Some(ticks) => Self(ticks),
            None => Self(NonZeroU32::MIN),
        }
    }
}

/// A duration in ticks, rounded up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticks(u32);

impl Ticks {
    /// No time.
    pub const ZERO: Self = Self(0);

    /// The shortest time.
    pub const ONE: Self = Self(1);

    pub(crate) const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    pub(crate) const fn bits(self) -> u32 {
        self.0
    }

    /// `duration` in ticks, rounded up; at most [`DEADLINE_AHEAD_MAX`].
    pub fn of(duration: Duration) -> Self {
        let nanos = duration.min(DEADLINE_AHEAD_MAX).as_nanos() as u64;
        Self(nanos.div_ceil(1 << TICK_SHIFT) as u32)
    }

    /// The time they last.
    pub const fn duration(self) -> Duration {
        Duration::from_nanos((self.0 as u64) << TICK_SHIFT)
    }
}

/// Heads that a sweep takes together: enough for the vector unit, few enough to look through again when one is due.
pub(crate) const CHUNK: usize = 64;

/// Running minima of a chunk. A single one makes each step wait for the last and keeps the compiler off the vector unit.
const LANES: usize = 16;

/// Until when nothing can be due: no deadline of its kind is earlier, unless the kernel watches it. `None`: there is none.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bound(Option<Tick>);

impl Bound {
    /// Takes a deadline into account that may be earlier than all others.
    pub(crate) fn include(&mut self, due: Tick) {
        if self.0.is_none_or(|bound| !bound.is_by(due)) {
            self.0 = Some(due);
        }
    }

    pub(crate) fn near(self, now: Instant) -> Option<Instant> {
        self.0.map(|bound| bound.near(now))
    }

    pub(crate) fn tick_mut(&mut self) -> Option<&mut Tick> {
        self.0.as_mut()
    }

    /// Appends to `due` the places whose deadline has come, at most `max` of them, and finds the next bound. `deadline` reads
    /// that of one head; there are whole chunks of them. Returns whether they were walked: they are not, before the bound.
    pub(crate) fn sweep<H>(
        &mut self,
        heads: &[H],
        deadline: impl Fn(&H) -> Option<Tick>,
        now: Instant,
        max: usize,
        due: &mut Vec<u32>,
    ) -> bool {
        if self.0.is_none_or(|bound| !bound.is_due(now)) {
            return false;
        }
        let now_tick = Tick::at_or_before(now);
        // Branch-free, so that it compiles to vector instructions.
        let ahead = |head: &H| match deadline(head) {
            Some(tick) => tick.0.get().wrapping_sub(now_tick).cast_signed(),
            None => i32::MAX,
        };
        let end = due.len() + max;
        let mut nearest = i32::MAX;
        for (index, chunk) in heads.as_chunks::<CHUNK>().0.iter().enumerate() {
            let mut lanes = [i32::MAX; LANES];
            for row in chunk.as_chunks::<LANES>().0 {
                for (lane, head) in lanes.iter_mut().zip(row) {
                    *lane = (*lane).min(ahead(head));
                }
            }
            let chunk_nearest = lanes.into_iter().fold(i32::MAX, i32::min);
            nearest = nearest.min(chunk_nearest);
            if chunk_nearest <= 0 && due.len() < end {
                let places = ((index * CHUNK) as u32..).zip(chunk).filter(|(_, head)| ahead(head) <= 0);
                due.extend(places.map(|(place, _)| place).take(end - due.len()));
            }
        }
        self.0 = (nearest < i32::MAX).then(|| Tick::avoiding_zero(now_tick.wrapping_add_signed(nearest)));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slots::Deadline::Beat;
    use crate::slots::Slots;

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    fn table(slots: u32) -> Slots<()> {
        let mut table = Slots::new(slots);
        while table.insert((), Ticks::of(Duration::ZERO)).is_ok() {}
        table
    }

    fn sweep(deadlines: &mut Slots<()>, now: Instant) -> Vec<u32> {
        let mut due = Vec::new();
        deadlines.sweep(Beat, now, usize::MAX >> 1, &mut due);
        due
    }

    #[test]
    fn nothing_is_due_early_and_everything_within_a_tick() {
        let mut deadlines = table(1);
        for nanos in [1, 65_535, 65_536, 65_537, 1_000_000_007] {
            let due_at = Instant::from_nanos(nanos);
            deadlines.set(Beat, 0, Tick::at_or_after(due_at));
            assert_eq!(sweep(&mut deadlines, Instant::from_nanos(nanos - 1)), [0; 0], "{nanos}");
            assert_eq!(sweep(&mut deadlines, Instant::from_nanos(nanos + 65_536)), [0], "{nanos}");
        }
    }

    #[test]
    fn a_touch_moves_the_deadline_and_not_the_bound() {
        let mut deadlines = table(2);
        deadlines.set(Beat, 0, Tick::at_or_after(at(100)));
        let bound = deadlines.bound(Beat, at(0)).unwrap();
        deadlines.set(Beat, 0, Tick::at_or_after(at(200)));
        assert_eq!(deadlines.bound(Beat, at(0)), Some(bound), "still a lower bound");
        assert_eq!(sweep(&mut deadlines, at(101)), [0; 0]);
        assert!(deadlines.bound(Beat, at(101)).unwrap() >= at(200), "the sweep found the true one");
        assert_eq!(sweep(&mut deadlines, at(201)), [0]);
    }

    #[test]
    fn an_earlier_deadline_lowers_the_bound() {
        let mut deadlines = table(2);
        deadlines.set(Beat, 0, Tick::at_or_after(at(500)));
        deadlines.set(Beat, 1, Tick::at_or_after(at(50)));
        assert!(deadlines.bound(Beat, at(0)).unwrap() < at(51));
        assert_eq!(sweep(&mut deadlines, at(60)), [1]);
    }

    #[test]
    fn a_bounded_sweep_finds_the_rest_later() {
        let mut deadlines = table(200);
        for slot in 0..200 {
            deadlines.set(Beat, slot, Tick::at_or_after(at(10)));
        }
        let mut seen = Vec::new();
        while deadlines.bound(Beat, at(20)).is_some() {
            let mut due = Vec::new();
            deadlines.sweep(Beat, at(20), 64, &mut due);
            assert!(due.len() <= 64);
            for &slot in &due {
                deadlines.clear(Beat, slot);
            }
            seen.extend(due);
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..200).collect::<Vec<_>>());
    }

    #[test]
    fn ticks_wrap_around_after_78_hours() {
        let wrap = Instant::from_nanos(1 << (32 + TICK_SHIFT));
        let mut deadlines = table(3);
        let before = wrap - Duration::from_secs(1);
        let offsets = [-500_i64, 0, 500];
        for (slot, millis) in (0..).zip(offsets) {
            let due = Instant::from_nanos(wrap.as_nanos().saturating_add_signed(millis * 1_000_000));
            deadlines.set(Beat, slot, Tick::at_or_after(due));
        }
        assert_eq!(sweep(&mut deadlines, before), [0; 0]);
        assert_eq!(sweep(&mut deadlines, wrap - Duration::from_millis(400)), [0]);
        deadlines.clear(Beat, 0);
        assert_eq!(sweep(&mut deadlines, wrap + Duration::from_millis(1)), [1]);
        deadlines.clear(Beat, 1);
        assert_eq!(sweep(&mut deadlines, wrap + Duration::from_millis(600)), [2]);
        let tick = Tick::at_or_after(wrap + Duration::from_hours(1));
        let back = tick.near(before).saturating_since(wrap + Duration::from_hours(1));
        assert!(back < Duration::from_micros(66), "{back:?}");
    }

    #[test]
    fn the_tick_that_is_left_out_is_told_a_tick_later() {
        let zero = Instant::from_nanos(1 << (32 + TICK_SHIFT));
        let mut deadlines = table(1);
        deadlines.set(Beat, 0, Tick::at_or_after(zero));
        assert_eq!(sweep(&mut deadlines, zero - Duration::from_nanos(1)), [0; 0]);
        assert_eq!(sweep(&mut deadlines, zero + Duration::from_millis(1)), [0]);
    }
}
