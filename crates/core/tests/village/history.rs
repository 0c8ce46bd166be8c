//! What the handlers of all shards were told, in the order in which it happened, and the rules that bind it.
//!
//! The order is that of the calls: a shard's own calls follow each other, and a letter is taken in after it was posted. What
//! holds of this order holds of every order that the shards could tell apart.

use std::collections::{BTreeMap, BTreeSet};

use heartring_core::{Cause, ConnAt};

/// One call of a handler method.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Told {
    Opened,
    /// The handler has claimed for it.
    Asked {
        client: usize,
        identity: String,
    },
    Claimed(u64),
    /// A note, by its number.
    Received(u64),
    Overdue,
    Late,
    Closing(Cause),
    Closed(Cause),
}

/// What a client has done.
#[derive(Clone, Debug)]
pub(crate) struct Deeds {
    pub(crate) identity: String,
    /// Complete notes that it has sent.
    pub(crate) notes: u64,
    /// Lines that it was sent.
    pub(crate) lines: Vec<String>,
}

/// See the module's own text.
#[derive(Default)]
pub(crate) struct History {
    pub(crate) entries: Vec<(ConnAt, Told)>,
    pub(crate) messages_posted: u64,
    messages_come: BTreeMap<(u64, u64), u64>,
    forwards: BTreeMap<String, u64>,
}

/// One connection, as the entries tell it.
#[derive(Debug, Default)]
struct Life {
    opened: Option<usize>,
    asked: Option<(usize, usize, String)>,
    claimed: Option<(usize, u64)>,
    received: Vec<(usize, u64)>,
    closing: Vec<usize>,
    closed: Option<(usize, Cause)>,
    last: usize,
}

impl History {
    pub(crate) fn note(&mut self, at: ConnAt, told: Told) {
        self.entries.push((at, told));
    }

    /// The number of the next payload for an identity.
    pub(crate) fn forwarded(&mut self, identity: &str) -> u64 {
        let next = self.forwards.entry(identity.to_owned()).or_default();
        *next += 1;
        *next
    }

    /// Messages of one shard to another come in order and once.
    pub(crate) fn message_came(&mut self, from: u64, to: u64, number: u64) {
        let expected = self.messages_come.entry((from, to)).or_default();
        assert_eq!(number, *expected, "from {from} to {to}");
        *expected += 1;
    }

    /// Every rule, once nothing is left open.
    pub(crate) fn check(&self, clients: &[Deeds]) {
        let lives = self.lives();
        self.at_most_one_holds_an_identity(&lives);
        self.epochs_grow(&lives);
        for (at, life) in &lives {
            life_is_whole(*at, life);
            each_claim_is_decided(*at, life);
            nothing_is_received_before_the_claim_is_granted(*at, life);
            notes_are_received_in_order_and_once(*at, life, clients);
        }
        nothing_follows_a_succession(&lives);
        who_is_superseded_has_a_successor(&lives);
        what_is_for_an_identity_reaches_only_its_holder(&lives, clients);
        let come: u64 = self.messages_come.values().sum();
        assert_eq!(come, self.messages_posted, "messages between handlers");
    }

    /// Who holds which identity now: the client, by its number. Those whose end has been announced are left out.
    pub(crate) fn holders(&self) -> BTreeMap<String, usize> {
        let granted =
            self.lives().into_values().filter(|life| life.claimed.is_some() && life.closing.is_empty());
        granted.filter_map(|life| life.asked).map(|(_, client, identity)| (identity, client)).collect()
    }

    /// Claims, and those of them that were granted.
    pub(crate) fn claims(&self) -> (usize, usize) {
        let count = |is: fn(&Told) -> bool| self.entries.iter().filter(|(_, told)| is(told)).count();
        (count(|told| matches!(told, Told::Asked { .. })), count(|told| matches!(told, Told::Claimed(_))))
    }

    /// How often each cause ended a connection.
    pub(crate) fn causes(&self) -> BTreeMap<&'static str, u64> {
        let mut causes = BTreeMap::new();
        for (_, told) in &self.entries {
            if let Told::Closed(cause) = told {
                *causes.entry(cause.name()).or_default() += 1;
            }
        }
        causes
    }

    fn lives(&self) -> BTreeMap<ConnAt, Life> {
        let mut lives: BTreeMap<ConnAt, Life> = BTreeMap::new();
        for (nth, (at, told)) in self.entries.iter().enumerate() {
            let life = lives.entry(*at).or_default();
            life.last = nth;
            let (first, what) = match told {
                Told::Opened => (life.opened.replace(nth).is_none(), "opened"),
                Told::Asked { client, identity } => {
                    (life.asked.replace((nth, *client, identity.clone())).is_none(), "asked")
                }
                Told::Claimed(epoch) => (life.claimed.replace((nth, *epoch)).is_none(), "claimed"),
                Told::Closed(cause) => (life.closed.replace((nth, *cause)).is_none(), "closed"),
                Told::Received(number) => {
                    life.received.push((nth, *number));
                    (true, "received")
                }
                Told::Closing(_) => {
                    life.closing.push(nth);
                    (true, "closing")
                }
                Told::Overdue | Told::Late => (true, "overdue or late"),
            };
            assert!(first, "{at}: {what} a second time");
        }
        lives
    }

    fn at_most_one_holds_an_identity(&self, lives: &BTreeMap<ConnAt, Life>) {
        let mut holders: BTreeMap<&str, ConnAt> = BTreeMap::new();
        for (at, told) in &self.entries {
            let Some((_, _, identity)) = &lives[at].asked else { continue };
            match told {
                Told::Claimed(_) => {
                    let former = holders.insert(identity, *at);
                    assert_eq!(former, None, "{at} was granted {identity}, which another holds");
                }
                Told::Closed(_) if holders.get(identity.as_str()) == Some(at) => {
                    holders.remove(identity.as_str());
                }
                Told::Closed(_)
                | Told::Opened
                | Told::Asked { .. }
                | Told::Received(_)
                | Told::Overdue
                | Told::Late
                | Told::Closing(_) => {}
            }
        }
    }

    fn epochs_grow(&self, lives: &BTreeMap<ConnAt, Life>) {
        let mut last: BTreeMap<&str, u64> = BTreeMap::new();
        for (at, told) in &self.entries {
            if let (Told::Claimed(epoch), Some((_, _, identity))) = (told, &lives[at].asked) {
                let before = last.insert(identity, *epoch).unwrap_or(0);
                assert!(*epoch > before, "{at}: {identity} was granted with {epoch} after {before}");
            }
        }
    }
}

/// `opened` is first and `closed` is last, and before it the close was announced, once.
fn life_is_whole(at: ConnAt, life: &Life) {
    let (closed, _) = life.closed.unwrap_or_else(|| panic!("{at} was never closed: {life:?}"));
    assert!(life.opened.is_some() && life.last == closed, "{at}: {life:?}");
    assert_eq!(life.closing.len(), 1, "{at}: the close is announced once: {life:?}");
}

/// Every claim ends as granted or with its connection.
fn each_claim_is_decided(at: ConnAt, life: &Life) {
    if let (None, Some((granted, _))) = (&life.asked, life.claimed) {
        panic!("{at} was granted at {granted} what it had not claimed");
    }
    assert!(life.asked.is_none() || life.claimed.is_some() || life.closed.is_some(), "{at}: {life:?}");
}

fn nothing_is_received_before_the_claim_is_granted(at: ConnAt, life: &Life) {
    let Some((asked, _, _)) = life.asked else { return };
    let granted = life.claimed.map_or(usize::MAX, |(granted, _)| granted);
    assert!(granted > asked);
    let between = |(nth, _): &&(usize, u64)| (asked..granted).contains(nth);
    assert_eq!(life.received.iter().find(between), None, "{at}: received under no identity");
}

/// What came after the claim is received after the grant, in order and once; all of it, if it was the peer that ended.
fn notes_are_received_in_order_and_once(at: ConnAt, life: &Life, clients: &[Deeds]) {
    for (expected, (_, number)) in (0..).zip(&life.received) {
        assert_eq!(*number, expected, "{at}");
    }
    let (Some((_, client, _)), Some((_, cause))) = (&life.asked, life.closed) else { return };
    if cause == Cause::PeerClosed {
        let received = life.received.len() as u64;
        assert_eq!(received, clients[*client].notes, "{at}: notes of client {client}, which then closed");
    }
}

/// Of a holder nothing comes after its successor was granted the claim.
fn nothing_follows_a_succession(lives: &BTreeMap<ConnAt, Life>) {
    let mut by_grant: BTreeMap<&str, Vec<(usize, ConnAt)>> = BTreeMap::new();
    for (at, life) in lives {
        if let (Some((_, _, identity)), Some((granted, _))) = (&life.asked, life.claimed) {
            by_grant.entry(identity).or_default().push((granted, *at));
        }
    }
    for grants in by_grant.values_mut() {
        grants.sort_unstable();
        for pair in grants.windows(2) {
            let ((_, former), (granted, successor)) = (pair[0], pair[1]);
            let last = lives[&former].last;
            assert!(
                last < granted,
                "{former} was told something at {last}, {successor} granted at {granted}"
            );
        }
    }
}

/// The epoch of a superseded connection's end is that of another's claim: one that was granted after its end, or one that
/// ended before it was granted.
fn who_is_superseded_has_a_successor(lives: &BTreeMap<ConnAt, Life>) {
    let mut granted: BTreeMap<(&str, u64), (usize, ConnAt)> = BTreeMap::new();
    let mut given_up: BTreeMap<&str, BTreeSet<ConnAt>> = BTreeMap::new();
    for (at, life) in lives {
        let Some((_, _, identity)) = &life.asked else { continue };
        match life.claimed {
            Some((when, epoch)) => {
                granted.insert((identity, epoch), (when, *at));
            }
            None => {
                given_up.entry(identity).or_default().insert(*at);
            }
        }
    }
    for (at, life) in lives {
        let Some((closed, Cause::Superseded { by })) = life.closed else { continue };
        let (_, _, identity) = life.asked.as_ref().unwrap_or_else(|| panic!("{at} had claimed nothing"));
        if let Some((_, own)) = life.claimed {
            assert!(by > own, "{at} of epoch {own} was superseded by {by}");
        }
        // One that had only waited may hear of it later: it was told nothing else.
        if let Some((when, successor)) = granted.get(&(identity.as_str(), by)) {
            let in_order = *when > closed || life.claimed.is_none();
            assert!(in_order && successor != at, "{at} ended at {closed}, {successor} granted at {when}");
        } else {
            let others = given_up.get(identity.as_str()).into_iter().flatten().filter(|other| *other != at);
            assert!(others.count() > 0, "{at} of {identity} was superseded by {by}, which nobody claimed");
        }
    }
}

/// What is sent to an identity comes to a client that was granted it, and each payload to one of them at the most.
fn what_is_for_an_identity_reaches_only_its_holder(lives: &BTreeMap<ConnAt, Life>, clients: &[Deeds]) {
    let granted: BTreeSet<usize> = lives
        .values()
        .filter(|life| life.claimed.is_some())
        .filter_map(|life| life.asked.as_ref().map(|(_, client, _)| *client))
        .collect();
    let mut seen = BTreeSet::new();
    for (nth, client) in clients.iter().enumerate() {
        let first = client.lines.first().map_or("", String::as_str);
        for line in client.lines.iter().filter(|line| line.starts_with("for ")) {
            assert!(
                granted.contains(&nth) && first.starts_with("claimed "),
                "client {nth}: {:?}",
                client.lines
            );
            let words: Vec<&str> = line.split(' ').collect();
            assert_eq!(words[1], client.identity, "client {nth} got {line}");
            assert!(seen.insert(line.clone()), "client {nth} got {line}, and so did another");
        }
    }
}
