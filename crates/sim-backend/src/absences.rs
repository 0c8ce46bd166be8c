//! When the program's thread was away.

use heartring_core::Instant;

/// The intervals in which the thread could not run, or slept longer than it had asked for. In order and disjoint; two that
/// touch are two if the thread ran in between.
#[derive(Default)]
pub(crate) struct Absences {
    all: Vec<(Instant, Instant)>,
    /// It has run since the last of them began.
    has_run: bool,
}

impl Absences {
    /// Adds an absence, which begins no earlier than any before it.
    pub(crate) fn add(&mut self, from: Instant, to: Instant) {
        let has_run = std::mem::take(&mut self.has_run);
        match self.all.last_mut() {
            Some((_, end)) if *end > from || (*end == from && !has_run) => *end = to.max(*end),
            Some(_) | None => self.all.push((from, to)),
        }
    }

    /// The thread runs.
    pub(crate) fn thread_runs(&mut self) {
        self.has_run = true;
    }

    pub(crate) fn all(&self) -> &[(Instant, Instant)] {
        &self.all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absences_that_touch_are_one_unless_the_thread_ran_in_between() {
        let at = Instant::from_nanos;
        let mut absences = Absences::default();
        for (from, to) in [(1, 4), (2, 3), (4, 6), (8, 9)] {
            absences.add(at(from), at(to));
        }
        absences.thread_runs();
        absences.add(at(9), at(10));
        assert_eq!(absences.all(), [(at(1), at(6)), (at(8), at(9)), (at(9), at(10))]);
    }
}
