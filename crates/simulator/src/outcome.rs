//! What came of a seed.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;
use std::sync::Once;
use std::time::Duration;

use crate::check::{self, Violation};
use crate::driver;
use crate::journal::Journal;
use crate::plan::Plan;
use crate::record::{Record, Told};

/// What came of a seed.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Which seed.
    pub seed: u64,
    /// How much time has passed in it.
    pub simulated: Duration,
    /// How long its connections lasted, all together.
    pub connection_time: Duration,
    /// Connections that were accepted.
    pub connections: u64,
    /// What went wrong, kernels' faults and mishaps, by name: how often. What never happened is left out.
    pub faults: BTreeMap<&'static str, u64>,
    /// Why connections ended, by name: how often.
    pub causes: BTreeMap<&'static str, u64>,
    /// Deadlines that convicted somebody.
    pub verdicts: u64,
    /// Turns of all shards.
    pub turns: u64,
    /// Differs when anything was told to a handler in another way or at another time.
    pub digest: u64,
    /// The first rule that did not hold.
    pub violation: Option<Violation>,
}

/// Plays a seed and checks what came of it. It does not panic: an assertion that breaks is a violation like others.
pub fn simulate(seed: u64) -> Outcome {
    play(seed, Journal::default()).0
}

/// Plays a seed and writes down each step.
///
/// # Errors
///
/// If `to` does not take the text.
pub fn replay(seed: u64, to: &mut dyn io::Write) -> io::Result<Outcome> {
    let (outcome, trace) = play(seed, Journal { trace: Some(Vec::new()), ..Journal::default() });
    writeln!(to, "{:#?}", Plan::new(seed))?;
    to.write_all(&trace)?;
    if let Some(violation) = &outcome.violation {
        writeln!(to, "violated: {violation}")?;
    }
    Ok(outcome)
}

fn play(seed: u64, journal: Journal) -> (Outcome, Vec<u8>) {
    let journal = Rc::new(RefCell::new(journal));
    let played = quietly(|| {
        let record = driver::play(Plan::new(seed), &journal);
        let violation = check::check(&record).err();
        (record, violation)
    });
    let outcome = match played {
        Ok((record, violation)) => outcome_of(seed, &record, violation),
        Err(message) => Outcome {
            seed,
            simulated: Duration::ZERO,
            connection_time: Duration::ZERO,
            connections: 0,
            faults: BTreeMap::new(),
            causes: BTreeMap::new(),
            verdicts: 0,
            turns: 0,
            digest: 0,
            violation: Some(Violation { invariant: "no_assertion_breaks", what: message }),
        },
    };
    let trace = journal.borrow_mut().trace.take().unwrap_or_default();
    (outcome, trace)
}

fn outcome_of(seed: u64, record: &Record, violation: Option<Violation>) -> Outcome {
    let mut faults: BTreeMap<&'static str, u64> = BTreeMap::new();
    let mut causes: BTreeMap<&'static str, u64> = BTreeMap::new();
    for (name, count) in record.mishaps.iter() {
        *faults.entry(name).or_default() += count;
    }
    for shard in &record.shards {
        for (fault, count) in shard.faults.iter() {
            *faults.entry(fault.name()).or_default() += count;
        }
        for (cause, count) in shard.stats.closed_by_cause() {
            *causes.entry(cause).or_default() += count;
        }
    }
    faults.retain(|_, count| *count > 0);
    causes.retain(|_, count| *count > 0);
    let lives = record.entries.iter().filter_map(|entry| {
        let Told::Closed(closed) = &entry.told else { return None };
        Some(entry.at.saturating_since(closed.opened_at))
    });
    Outcome {
        seed,
        simulated: record.ended_at.saturating_since(record.plan.starts_at),
        connection_time: lives.sum(),
        connections: record.shards.iter().map(|shard| shard.stats.accepted).sum(),
        faults,
        causes,
        verdicts: record.shards.iter().map(|shard| shard.stats.lateness.count()).sum(),
        turns: record.shards.iter().map(|shard| shard.turns).sum(),
        digest: crate::journal::digest(&record.entries),
        violation,
    }
}

thread_local! {
    /// Whether a panic of this thread is a result, and its text.
    static QUIET: Cell<bool> = const { Cell::new(false) };
    static MESSAGE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Does `work`; a panic in it is an error with its message, and is not printed. Other threads panic as they did before.
fn quietly<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let others = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                return others(info);
            }
            let place = info.location().map(ToString::to_string).unwrap_or_default();
            MESSAGE.set(format!("{} ({place})", text_of(info.payload())));
        }));
    });
    QUIET.set(true);
    let done = panic::catch_unwind(AssertUnwindSafe(work));
    QUIET.set(false);
    done.map_err(|_| MESSAGE.take())
}

fn text_of(payload: &dyn Any) -> String {
    let text = payload.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_its_message_and_leaves_other_threads_alone() {
        let result = quietly(|| panic!("slot {} is lost", 3));
        assert!(result.unwrap_err().starts_with("slot 3 is lost ("), "with its place");
        assert_eq!(quietly(|| 5), Ok(5));
        assert!(std::thread::spawn(|| panic!("as ever")).join().is_err());
    }
}
