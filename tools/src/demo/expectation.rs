//! What each fate must be reported as, and what is wrong with a report that differs.

use heartring::Cause;

use super::account::{End, Ending, Truth};
use super::plan::Fate;

/// The cause that a fate must be reported with.
pub(super) const fn expected_cause(fate: Fate) -> Cause {
    match fate {
        Fate::Healthy => Cause::Draining,
        Fate::Closes => Cause::PeerClosed,
        Fate::Resets => Cause::PeerReset,
        Fate::Late | Fate::Silent => Cause::HeartbeatMissed,
    }
}

/// What a comparison of the two accounts of one device comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It ended as its fate demands, and was reported so.
    AsExpected,
    /// The run was cut short before the device was through with its fate.
    CutShort,
    /// Something is wrong, in words.
    Differs(String),
}

/// Compares the accounts of one device. `interrupted`: the run was cut short.
pub(super) fn compare(interrupted: bool, fate: Fate, truth: Option<&Truth>, endings: &[&Ending]) -> Outcome {
    let differs = |what: &str| Outcome::Differs(what.to_owned());
    let Some(truth) = truth else { return differs("the fleet has no account of it") };
    let ending = match endings {
        [] => return Outcome::Differs(format!("the gateway never knew it; it saw {:?}", truth.end)),
        [ending] => ending,
        _ => return Outcome::Differs(format!("{} ends were reported", endings.len())),
    };
    if interrupted && is_cut_short(truth, ending) {
        return Outcome::CutShort;
    }
    let expected = expected_cause(fate);
    if ending.cause != expected {
        let (expected, reported) = (expected.name(), ending.cause.name());
        return Outcome::Differs(format!("expected {expected}, reported {reported}"));
    }
    if ending.late.garbled || ending.late.count > truth.late_bytes {
        return differs("its late data arrived changed");
    }
    unfinished(fate, truth).map_or(Outcome::AsExpected, Outcome::Differs)
}

/// A device that did not get through its fate: then the right cause is no proof.
fn unfinished(fate: Fate, truth: &Truth) -> Option<String> {
    match fate {
        Fate::Late if !truth.carried_out => Some("it could not send all its late data".to_owned()),
        // S4: an orderly close towards a dead device would stay in the kernel for minutes.
        Fate::Silent if truth.end != End::SawReset => {
            Some(format!("it was never cut; it saw {:?}", truth.end))
        }
        Fate::Closes | Fate::Resets if !truth.carried_out => Some(format!("it saw {:?} first", truth.end)),
        Fate::Healthy | Fate::Closes | Fate::Resets | Fate::Late | Fate::Silent => None,
    }
}

/// The end of the run came before the device was through with its fate. One that is drained takes the FIN for its deadline
/// and may still speak, to a gateway that has stopped.
pub(super) fn is_cut_short(truth: &Truth, ending: &Ending) -> bool {
    match (truth.fate, ending.cause) {
        (Fate::Healthy, _) => false,
        (_, Cause::Draining) => true,
        (fate, cause) => cause == expected_cause(fate) && unfinished(fate, truth).is_some(),
    }
}

/// The gateway never heard its hello, and sent it away.
pub(super) fn was_turned_away(truth: &Truth) -> bool {
    match truth.end {
        End::SawFin | End::SawReset => !truth.carried_out,
        End::Open | End::Own | End::NotConnected(_) => false,
    }
}

/// The gateway accuses the device of silence: then it must have waited for the whole deadline.
pub(super) fn is_deadline_verdict(cause: Cause) -> bool {
    matches!(cause, Cause::HeartbeatMissed | Cause::PeerStuck)
}
