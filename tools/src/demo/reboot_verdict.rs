//! What must hold in the reboot loop, and whether it did.

use std::time::Duration;

use heartring::Lateness;

use super::reboot_devices::RebootReport;

/// A client that waits longer lost a packet of its handshake to a full queue: the kernel sends the next one after a second.
const VISIT_WITHIN: Duration = Duration::from_secs(1);
/// With fewer healthy clients nothing can be said about quarters of them.
const VISITS_MIN: usize = 40;
/// The last quarter of the healthy clients may take this many times as long as the first, and this much longer. Noise of a busy
/// machine stays below it; ghosts that pile up do not, for they are ten times as many at the end.
const SLOWER_MAX: u32 = 4;
const SLOWER_SLACK: Duration = Duration::from_millis(5);

/// Both accounts of a run, and the kernel's.
#[derive(Clone, Debug)]
pub(super) struct Evidence {
    pub(super) identities: u32,
    /// As ordered; fewer are due if the run was interrupted.
    pub(super) reboots: u32,
    pub(super) interrupted: bool,
    pub(super) report: RebootReport,
    pub(super) superseded: u64,
    /// Connections that ended for another cause than `Superseded` or `PeerClosed`.
    pub(super) others_ended: u64,
    pub(super) bound_max: u32,
    pub(super) conns_max: u32,
    pub(super) sockets_max: u32,
    pub(super) sockets_end: u32,
    pub(super) close_wait_end: u32,
    pub(super) queued_max: u32,
    pub(super) queued_end: u32,
    pub(super) descriptors_start: usize,
    pub(super) descriptors_end: usize,
    pub(super) ledger_open: u64,
}

/// One thing that must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) what: &'static str,
    pub(super) bound: Bound,
    pub(super) seen: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bound {
    Exactly(u64),
    AtMost(u64),
}

impl Row {
    pub(super) const fn holds(&self) -> bool {
        match self.bound {
            Bound::Exactly(number) => self.seen == number,
            Bound::AtMost(number) => self.seen <= number,
        }
    }
}

impl Evidence {
    pub(super) fn rows(&self) -> Vec<Row> {
        use Bound::{AtMost, Exactly};
        let answered = self.report.takeovers.len() as u64;
        let due = if self.interrupted { answered } else { u64::from(self.reboots) };
        // Each identity's connection and the one that replaces it, and two healthy clients, one of which is leaving.
        let sockets = u64::from(self.identities) * 2 + 2;
        let rows = [
            ("reboots that were answered", Exactly(due), answered),
            ("connections superseded", Exactly(answered), self.superseded),
            ("connections ended for other causes than these and FIN", Exactly(0), self.others_ended),
            ("living devices cut off", Exactly(0), u64::from(self.report.cut_off)),
            ("connections bound to one identity", AtMost(1), u64::from(self.bound_max)),
            ("connections of one identity, its ghost included", AtMost(2), u64::from(self.conns_max)),
            ("sockets in the kernel", AtMost(sockets), u64::from(self.sockets_max)),
            ("sockets at the end", Exactly(0), u64::from(self.sockets_end)),
            ("of them in CLOSE_WAIT", Exactly(0), u64::from(self.close_wait_end)),
            ("clients in the listeners' queues at the end", Exactly(0), u64::from(self.queued_end)),
            (
                "descriptors at the end, as at the start",
                Exactly(self.descriptors_start as u64),
                self.descriptors_end as u64,
            ),
            ("operations left open", Exactly(0), self.ledger_open),
        ];
        rows.map(|(what, bound, seen)| Row { what, bound, seen }).to_vec()
    }

    /// Why the demo fails; empty if it does not.
    pub(super) fn objections(&self) -> Vec<String> {
        let broken = self.rows().into_iter().filter(|row| !row.holds()).map(|row| match row.bound {
            Bound::Exactly(number) => format!("{}: {} instead of {number}", row.what, row.seen),
            Bound::AtMost(number) => format!("{}: {} are more than {number}", row.what, row.seen),
        });
        broken.chain(self.report.failures.iter().cloned()).chain(self.unevenness()).collect()
    }

    /// How the healthy clients' waiting times grew, if they did.
    fn unevenness(&self) -> Option<String> {
        let visits = &self.report.visits;
        let longest = visits.iter().max().copied().unwrap_or_default();
        if longest >= VISIT_WITHIN {
            return Some(format!("a healthy client waited {longest:?}"));
        }
        let (first, last) = (median(self.first_visits()), median(self.last_visits()));
        let slower = visits.len() >= VISITS_MIN && last > first * SLOWER_MAX + SLOWER_SLACK;
        slower.then(|| format!("healthy clients waited {first:?} at first and {last:?} at last"))
    }

    pub(super) fn first_visits(&self) -> &[Duration] {
        &self.report.visits[..self.report.visits.len() / 4]
    }

    pub(super) fn last_visits(&self) -> &[Duration] {
        let visits = &self.report.visits;
        &visits[visits.len() - visits.len() / 4..]
    }
}

pub(super) fn histogram(durations: &[Duration]) -> Lateness {
    let mut histogram = Lateness::default();
    for &duration in durations {
        histogram.record(duration);
    }
    histogram
}

fn median(durations: &[Duration]) -> Duration {
    histogram(durations).quantile(0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run in which everything went well, to be spoilt by each test.
    fn good() -> Evidence {
        let report = RebootReport {
            takeovers: vec![Duration::from_micros(300); 100],
            visits: vec![Duration::from_micros(250); 40],
            ..RebootReport::default()
        };
        Evidence {
            identities: 10,
            reboots: 100,
            interrupted: false,
            report,
            superseded: 100,
            others_ended: 0,
            bound_max: 1,
            conns_max: 2,
            sockets_max: 12,
            sockets_end: 0,
            close_wait_end: 0,
            queued_max: 3,
            queued_end: 0,
            descriptors_start: 20,
            descriptors_end: 20,
            ledger_open: 0,
        }
    }

    fn objections(spoil: impl FnOnce(&mut Evidence)) -> Vec<String> {
        let mut evidence = good();
        spoil(&mut evidence);
        evidence.objections()
    }

    #[test]
    fn a_good_run_is_not_objected_to() {
        assert_eq!(good().objections(), Vec::<String>::new());
    }

    #[test]
    fn each_thing_that_must_hold_is_objected_to_when_it_does_not() {
        let spoils: [fn(&mut Evidence); 12] = [
            |evidence| evidence.superseded = 99,
            |evidence| evidence.others_ended = 1,
            |evidence| evidence.report.cut_off = 1,
            |evidence| evidence.bound_max = 2,
            |evidence| evidence.conns_max = 3,
            |evidence| evidence.sockets_max = 23,
            |evidence| evidence.sockets_end = 1,
            |evidence| evidence.close_wait_end = 1,
            |evidence| evidence.queued_end = 1,
            |evidence| evidence.descriptors_end = 21,
            |evidence| evidence.ledger_open = 1,
            |evidence| evidence.report.failures.push("device-7 got no answer".into()),
        ];
        for (nth, spoil) in spoils.into_iter().enumerate() {
            assert_eq!(objections(spoil).len(), 1, "spoil {nth}");
        }
        assert_eq!(
            objections(|evidence| evidence.superseded = 99),
            ["connections superseded: 99 instead of 100"]
        );
    }

    #[test]
    fn an_interrupt_excuses_reboots_that_did_not_come_but_not_those_that_were_not_noticed() {
        let cut_short = |superseded| {
            objections(|evidence| {
                evidence.report.takeovers.truncate(60);
                (evidence.superseded, evidence.interrupted) = (superseded, true);
            })
        };
        assert_eq!(cut_short(60), Vec::<String>::new());
        assert_eq!(cut_short(59).len(), 1);
    }

    #[test]
    fn healthy_clients_that_wait_longer_and_longer_are_noticed() {
        let slow = |range: std::ops::Range<usize>, duration| {
            objections(|evidence| evidence.report.visits[range].fill(duration))
        };
        assert_eq!(slow(30..40, Duration::from_millis(20)).len(), 1, "the last quarter");
        assert_eq!(slow(0..10, Duration::from_millis(20)), Vec::<String>::new(), "only the first");
        assert_eq!(slow(20..21, Duration::from_secs(1)).len(), 1, "a handshake was lost");
    }
}
