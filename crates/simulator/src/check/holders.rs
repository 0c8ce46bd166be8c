//! Who holds which identity. The order is that of the calls over all shards: what holds of it holds of every order that the
//! shards could tell apart, since a letter is taken in after it was posted.

use heartring_core::Cause;

use super::story::{Stories, Story};

/// An identity is granted when its former holder has been closed, of which nothing comes afterwards, and with a larger epoch than
/// ever before. Exact.
pub(super) fn an_identity_has_one_holder(stories: &Stories<'_>) -> Result<(), String> {
    let mut turns: Vec<(usize, &Story<'_>)> = Vec::new();
    for story in stories.all.iter().filter(|story| story.claimed.is_some()) {
        turns.extend(story.claimed.map(|(place, _, _)| (place, story)));
        turns.push((story.last_place(), story));
    }
    turns.sort_unstable_by_key(|(place, _)| *place);
    let mut holders: Vec<(Option<&Story<'_>>, u64)> = Vec::new();
    for (place, story) in turns {
        let (Some((_, _, identity)), Some((granted, _, epoch))) = (story.claims, story.claimed) else {
            continue;
        };
        let identity = identity as usize;
        if holders.len() <= identity {
            holders.resize(identity + 1, (None, 0));
        }
        let (holder, last) = &mut holders[identity];
        if place != granted {
            *holder = None;
            continue;
        }
        if let Some(holder) = holder {
            return Err(format!("{story} was granted identity {identity}, which {holder} holds"));
        }
        if epoch <= *last {
            return Err(format!("{story} was granted identity {identity} with epoch {epoch} after {last}"));
        }
        (*holder, *last) = (Some(story), epoch);
    }
    Ok(())
}

/// The epoch of a superseded connection's end is larger than its own, and that of another's claim: one that was granted after
/// its end, or one that ended before it was granted. Exact.
pub(super) fn the_superseded_have_a_successor(stories: &Stories<'_>) -> Result<(), String> {
    let is = |cause: &Cause| matches!(cause, Cause::Superseded { .. });
    let mut by_identity: Vec<Vec<&Story<'_>>> = Vec::new();
    for story in &stories.all {
        let Some((_, _, identity)) = story.claims else { continue };
        if by_identity.len() <= identity as usize {
            by_identity.resize_with(identity as usize + 1, Vec::new);
        }
        by_identity[identity as usize].push(story);
    }
    for (story, end) in stories.ended(is) {
        let (Cause::Superseded { by }, Some((_, _, identity))) = (end.cause, story.claims) else {
            return Err(format!("{story}: it had claimed nothing"));
        };
        let others = by_identity[identity as usize].iter().filter(|other| other.conn != story.conn);
        let succeeds = |other: &Story<'_>| match other.claimed {
            // One that had only waited may hear of it later.
            Some((place, _, epoch)) => epoch == by && (place > story.last_place() || story.claimed.is_none()),
            None => true,
        };
        let own = story.claimed.map_or(0, |(_, _, epoch)| epoch);
        if by <= own || !others.clone().any(|other| succeeds(other)) {
            return Err(format!("{story}, of epoch {own}: nobody succeeded with {by}"));
        }
    }
    Ok(())
}

/// Whoever holds an identity at the end is reached by what is sent to it, as the driver has tried.
pub(super) fn every_holder_is_found(stories: &Stories<'_>) -> Result<(), String> {
    match stories.record.holders_lost.first() {
        Some(lost) => Err(lost.clone()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::handmade::{Made, at};
    use super::*;

    #[test]
    fn two_holders_at_a_time_are_found() {
        let mut made = Made::whole();
        let one = made.claimed(0, at(100), at(100), 1);
        let two = made.claimed(0, at(200), at(200), 2);
        made.leaves(one, at(300));
        made.leaves(two, at(300));
        made.breaks("an_identity_has_one_holder");
    }

    #[test]
    fn an_epoch_that_does_not_grow_is_found() {
        let mut made = Made::whole();
        for (epoch, when) in [(1, 100), (2, 300)] {
            let conn = made.claimed(0, at(when), at(when), epoch);
            made.leaves(conn, at(when + 100));
        }
        made.keeps_all();
        let mut made = Made::whole();
        for (epoch, when) in [(2, 100), (2, 300)] {
            let conn = made.claimed(0, at(when), at(when), epoch);
            made.leaves(conn, at(when + 100));
        }
        made.breaks("an_identity_has_one_holder");
    }

    #[test]
    fn a_succession_is_kept_and_one_without_a_successor_found() {
        let mut made = Made::whole();
        let one = made.claimed(0, at(100), at(100), 1);
        made.ends(one, at(200), Cause::Superseded { by: 2 });
        let two = made.claimed(0, at(200), at(200), 2);
        made.leaves(two, at(300));
        made.keeps_all();
        let mut made = Made::whole();
        let one = made.claimed(0, at(100), at(100), 1);
        made.ends(one, at(200), Cause::Superseded { by: 3 });
        let two = made.claimed(0, at(200), at(200), 2);
        made.leaves(two, at(300));
        made.breaks("the_superseded_have_a_successor");
    }

    #[test]
    fn a_holder_that_is_not_found_is_found_out() {
        let mut made = Made::whole();
        made.record.holders_lost.push("client 3".to_owned());
        made.breaks("every_holder_is_found");
    }
}
