//! That the story of each connection is whole, and each client has one.

use heartring_core::Cause;
use heartring_sim::{Harm, Saw};

use crate::record::{Act, Client, Told};

use super::story::{Stories, Story};

/// `opened` comes first, and after `closed` nothing comes. Exact: entries of a connection that was not opened, or whose slot has
/// another occupant, belong to no story.
pub(super) fn nothing_is_told_of_strangers(stories: &Stories<'_>) -> Result<(), String> {
    match stories.strays.first() {
        Some(&place) => {
            let entry = &stories.record.entries[place];
            Err(format!("{} at {}: {:?}, and it was never opened", entry.conn, entry.at, entry.told))
        }
        None => Ok(()),
    }
}

/// No client has two connections, and none is accepted before it has connected, after its shard was told to drain, or after it
/// was lost. Exact.
pub(super) fn a_client_is_accepted_once(stories: &Stories<'_>) -> Result<(), String> {
    let mut seen = vec![false; stories.record.clients.len()];
    for story in &stories.all {
        if std::mem::replace(&mut seen[story.number as usize], true) {
            return Err(format!("{story}: a second connection of this client"));
        }
        if story.client.connected_at > story.opened_at || story.client.shard != story.conn.shard {
            let (shard, at) = (story.client.shard, story.client.connected_at);
            return Err(format!(
                "{story}: it connected to {shard} at {at}, and was opened at {}",
                story.opened_at
            ));
        }
        let drained_at = stories.record.shards[usize::from(story.conn.shard.0)].drained_at;
        if drained_at.is_some_and(|at| at < story.opened_at) || story.client.harm == Some(Harm::LostInAccept)
        {
            return Err(format!("{story}: opened at {}, drained at {drained_at:?}", story.opened_at));
        }
    }
    Ok(())
}

/// `closing` comes once, then `closed` once and last; between them, or after them, nothing is received, claimed, overdue or
/// negotiated. Exact. (What a handler does in `closing` itself, a last word, is not told.)
pub(super) fn an_end_is_announced_once_and_is_last(stories: &Stories<'_>) -> Result<(), String> {
    for story in &stories.all {
        let (mut opened, mut closing, mut closed) = (0, 0, 0);
        for (_, entry) in &story.entries {
            let in_its_time = match &entry.told {
                Told::Opened { .. } => {
                    opened += 1;
                    closing == 0
                }
                Told::Closing(_) => {
                    closing += 1;
                    closed == 0
                }
                Told::Closed(_) => {
                    closed += 1;
                    closing == 1
                }
                Told::Late { .. } | Told::Sends { .. } | Told::Closes => closed == 0,
                Told::Received { .. }
                | Told::Overdue
                | Told::Claimed { .. }
                | Told::Writable
                | Told::Claims { .. }
                | Told::Negotiates(_) => closing == 0 && closed == 0,
            };
            if !in_its_time || opened > 1 || closing > 1 || closed > 1 {
                return Err(format!("{story}: {:?} at {} out of its time", entry.told, entry.at));
            }
        }
    }
    Ok(())
}

/// `closing` and `closed` say the same cause, decided at the same instant; what may come to be known in grace is an errno and
/// the number of late bytes. Exact.
pub(super) fn the_first_cause_wins(stories: &Stories<'_>) -> Result<(), String> {
    for story in &stories.all {
        let (Some((_, at, first)), Some((_, _, last))) = (story.closing, story.closed) else { continue };
        let mut same = *first;
        same.evidence.errno = last.evidence.errno;
        same.late_bytes = last.late_bytes;
        if same != *last || first.decided_at != at {
            return Err(format!("{story}: announced at {at} as {first:?}, closed as {last:?}"));
        }
    }
    Ok(())
}

/// Every connection has ended when the run is over. Exact: each shard is drained.
pub(super) fn every_connection_ends(stories: &Stories<'_>) -> Result<(), String> {
    match stories.all.iter().find(|story| story.closed.is_none()) {
        Some(story) => Err(format!("{story}, opened at {}", story.opened_at)),
        None => Ok(()),
    }
}

/// A client that was not opened has an explanation: its accept failed and took it along, it was refused at the door, or its
/// listener was gone. In each case it was reset, unless nothing could reach it. Exact; how many were refused is among the
/// books.
pub(super) fn every_client_is_accounted_for(stories: &Stories<'_>) -> Result<(), String> {
    let mut opened = vec![false; stories.record.clients.len()];
    for story in &stories.all {
        opened[story.number as usize] = true;
    }
    let outside = stories.record.clients.iter().enumerate().filter(|(number, _)| !opened[*number]);
    for (number, client) in outside {
        let told = client.saw == Saw::Reset || is_out_of_reach(client);
        if !told || !client.read.is_empty() {
            return Err(format!(
                "client {number}, connected at {}: never opened, saw {:?} and read {:?}",
                client.connected_at, client.saw, client.read
            ));
        }
    }
    Ok(())
}

/// Whether an RST might not have reached it: it was gone, or its path was, or it had reset the connection itself.
pub(super) fn is_out_of_reach(client: &Client) -> bool {
    client.acts.iter().any(|(_, act)| match act {
        Act::Vanished | Act::Cut | Act::Reset | Act::PathFailed(_) | Act::Closed => true,
        Act::Fin
        | Act::Hung
        | Act::Mended
        | Act::Garbage
        | Act::TooLarge
        | Act::BeganFrame
        | Act::StoppedReading
        | Act::Reads
        | Act::OrderedClosed => false,
    })
}

/// Whether its end was silence, after which there can be a grace period.
pub(super) fn is_silence(cause: &Cause) -> bool {
    matches!(cause, Cause::HeartbeatMissed | Cause::PeerStuck)
}

/// Its acts of which `is` says yes, that had happened by its end.
pub(super) fn acted(story: &Story<'_>, is: fn(&Act) -> bool) -> bool {
    let Some(end) = story.end() else { return false };
    story.client.acts.iter().any(|(at, act)| *at <= end.decided_at && is(act))
}

#[cfg(test)]
mod tests {
    use heartring_core::{Cause, Errno};

    use super::super::handmade::{Made, at};
    use super::*;

    #[test]
    fn an_entry_of_a_stranger_is_found() {
        let mut made = Made::whole();
        made.peer_closed(&[at(100)], at(200));
        let mut entry = made.record.entries[1].clone();
        entry.conn.conn = heartring_core::ConnId::new(9, 9);
        made.record.entries.insert(1, entry);
        made.breaks("nothing_is_told_of_strangers");
    }

    #[test]
    fn a_second_connection_of_a_client_is_found() {
        let mut made = Made::whole();
        let client = made.client(at(0));
        let one = made.open(client, at(0));
        made.ends(one, at(500), Cause::Local);
        made.record.clients[client as usize].acts.push((at(400), Act::OrderedClosed));
        let two = made.open(client, at(600));
        made.ends(two, at(700), Cause::Local);
        made.breaks("a_client_is_accepted_once");
    }

    #[test]
    fn what_follows_the_end_is_found() {
        let mut made = Made::whole();
        let conn = made.peer_closed(&[at(100)], at(200));
        made.tell(conn, at(200), Told::Writable);
        made.breaks("an_end_is_announced_once_and_is_last");
        let mut made = Made::whole();
        let conn = made.peer_closed(&[at(100)], at(200));
        let closed = made.told_last(conn);
        made.tell(conn, at(200), closed);
        made.breaks("an_end_is_announced_once_and_is_last");
    }

    #[test]
    fn a_cause_that_changes_is_found() {
        let mut made = Made::whole();
        let conn = made.peer_closed(&[at(100)], at(200));
        made.change_end(conn, |closed| closed.cause = Cause::Os(Errno::ENOMEM));
        made.breaks("the_first_cause_wins");
    }

    #[test]
    fn a_connection_that_never_ends_is_found() {
        let mut made = Made::whole();
        let client = made.client(at(0));
        made.open(client, at(0));
        made.breaks("every_connection_ends");
    }

    #[test]
    fn a_client_without_an_explanation_is_found() {
        let mut made = Made::whole();
        made.client(at(0));
        made.breaks("every_client_is_accounted_for");
    }
}
