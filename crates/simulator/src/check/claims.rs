//! What a claim does to its connection.

use crate::record::Told;

use super::story::Stories;

/// A connection claims once, is granted only what it has claimed, and between the two nothing is received: what the peer sends
/// meanwhile is held back. Exact.
pub(super) fn decided_before_anything_is_received(stories: &Stories<'_>) -> Result<(), String> {
    for story in &stories.all {
        let (mut asked, mut granted) = (0, 0);
        for (_, entry) in &story.entries {
            let in_its_time = match entry.told {
                Told::Claims { .. } => {
                    asked += 1;
                    asked == 1
                }
                Told::Claimed { .. } => {
                    granted += 1;
                    granted == 1 && asked == 1
                }
                Told::Received { .. } | Told::Late { .. } | Told::Overdue => asked == granted,
                Told::Opened { .. }
                | Told::Writable
                | Told::Closing(_)
                | Told::Closed(_)
                | Told::Sends { .. }
                | Told::Closes
                | Told::Negotiates(_) => true,
            };
            if !in_its_time {
                return Err(format!(
                    "{story}: {:?} at {}, claims {asked}, grants {granted}",
                    entry.told, entry.at
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::handmade::{Made, at};
    use super::*;

    #[test]
    fn what_is_received_before_the_grant_is_found() {
        let mut made = Made::whole();
        let conn = made.claimed(0, at(100), at(150), 1);
        made.leaves(conn, at(300));
        made.keeps_all();
        let claims = made.place(conn, |told| matches!(told, Told::Claims { .. }));
        made.data(conn, at(120));
        made.insert(conn, claims + 1, at(120), Told::Received { number: Some(1) });
        made.breaks("claims_are_decided_before_anything_is_received");
    }

    #[test]
    fn a_grant_of_what_was_not_claimed_is_found() {
        let mut made = Made::whole();
        let conn = made.peer_closed(&[at(100)], at(300));
        made.insert(conn, 2, at(100), Told::Claimed { epoch: 1 });
        made.breaks("claims_are_decided_before_anything_is_received");
    }
}
