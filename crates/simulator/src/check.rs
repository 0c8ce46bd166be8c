//! The rules that a record must keep, each a function; the first that is broken is told.
//!
//! A rule knows the world as it was and what the handlers were told of it, and nothing of how core comes to its verdicts. Where
//! it cannot be exact, because a kernel may be late or a thread away, it allows what the record says was late, and no more:
//! see `patience`.

#[cfg(test)]
mod handmade;

mod books;
mod causes;
mod claims;
mod endings;
mod holders;
mod lateness;
mod lives;
mod patience;
mod silence;
mod story;
mod stream;
mod towards_peer;

use std::fmt;

use crate::record::Record;

use story::Stories;

/// A rule that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The rule's name.
    pub invariant: &'static str,
    /// What broke it, with everything that helps to find it in a trace.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.what)
    }
}

/// A rule: its name and its function.
type Rule = (&'static str, fn(&Stories<'_>) -> Result<(), String>);

/// Every rule, in the order in which they are tried: those first whose break explains others.
const RULES: [Rule; 45] = [
    ("every_bound_is_respected", books::every_bound_is_respected),
    ("each_op_ends_once", books::each_op_ends_once),
    ("nothing_is_told_of_strangers", lives::nothing_is_told_of_strangers),
    ("a_client_is_accepted_once", lives::a_client_is_accepted_once),
    ("an_end_is_announced_once_and_is_last", lives::an_end_is_announced_once_and_is_last),
    ("the_first_cause_wins", lives::the_first_cause_wins),
    ("quiescence_is_reached", books::quiescence_is_reached),
    ("nothing_is_left_open", books::nothing_is_left_open),
    ("every_connection_ends", lives::every_connection_ends),
    ("every_client_is_accounted_for", lives::every_client_is_accounted_for),
    ("frames_come_in_order_and_once", stream::frames_come_in_order_and_once),
    ("nothing_comes_before_it_was_sent", stream::nothing_comes_before_it_was_sent),
    ("no_byte_is_lost", stream::no_byte_is_lost),
    ("late_is_told_in_grace_only", stream::late_is_told_in_grace_only),
    ("late_bytes_are_counted", stream::late_bytes_are_counted),
    ("silence_is_never_judged_early", silence::silence_is_never_judged_early),
    ("hello_is_never_missed_early", silence::hello_is_never_missed_early),
    ("a_frame_is_never_stalled_early", silence::a_frame_is_never_stalled_early),
    ("no_healthy_peer_is_convicted", silence::no_healthy_peer_is_convicted),
    ("an_absence_gives_everybody_another_beat", silence::an_absence_gives_everybody_another_beat),
    ("amnesty_has_a_reason", silence::amnesty_has_a_reason),
    ("overdue_is_told_in_time", silence::overdue_is_told_in_time),
    ("peer_closed_is_warranted", causes::peer_closed_is_warranted),
    ("peer_reset_is_warranted", causes::peer_reset_is_warranted),
    ("path_dead_is_warranted", causes::path_dead_is_warranted),
    ("peer_stuck_is_warranted", causes::peer_stuck_is_warranted),
    ("slow_consumer_is_warranted", causes::slow_consumer_is_warranted),
    ("protocol_and_size_are_warranted", causes::protocol_and_size_are_warranted),
    ("a_refusal_is_warranted", causes::a_refusal_is_warranted),
    ("our_own_closes_are_warranted", causes::our_own_closes_are_warranted),
    ("os_is_warranted", causes::os_is_warranted),
    ("the_silent_are_found_in_time", lateness::the_silent_are_found_in_time),
    ("stalled_frames_are_found_in_time", lateness::stalled_frames_are_found_in_time),
    ("ends_are_noticed_in_time", lateness::ends_are_noticed_in_time),
    ("grace_and_drain_end_in_time", lateness::grace_and_drain_end_in_time),
    ("evidence_is_sane", endings::evidence_is_sane),
    ("the_client_saw_what_the_cause_says", endings::the_client_saw_what_the_cause_says),
    ("the_client_reads_what_was_sent", towards_peer::the_client_reads_what_was_sent),
    ("claims_are_decided_before_anything_is_received", claims::decided_before_anything_is_received),
    ("an_identity_has_one_holder", holders::an_identity_has_one_holder),
    ("the_superseded_have_a_successor", holders::the_superseded_have_a_successor),
    ("every_holder_is_found", holders::every_holder_is_found),
    ("what_is_for_an_identity_reaches_its_holder", towards_peer::what_is_for_an_identity_reaches_its_holder),
    ("messages_come_in_order_and_once", books::messages_come_in_order_and_once),
    ("the_books_agree", books::the_books_agree),
];

/// The names of the rules, in the order in which they are tried.
pub const INVARIANTS: [&str; RULES.len()] = {
    let mut names = [""; RULES.len()];
    let mut nth = 0;
    while nth < RULES.len() {
        names[nth] = RULES[nth].0;
        nth += 1;
    }
    names
};

/// Tries every rule.
///
/// # Errors
///
/// The first rule that does not hold.
pub(crate) fn check(record: &Record) -> Result<(), Violation> {
    let stories = Stories::of(record);
    for (invariant, rule) in RULES {
        rule(&stories).map_err(|what| Violation { invariant, what })?;
    }
    Ok(())
}
