//! The other shard: its connections claim identities of this shard's directory, and its own directory decides about what
//! connections of this shard claim.
//!
//! Its connections do what they are told. Its directory lies; what this shard makes of that is its own safety, not its truth.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, VecDeque};
use std::hash::BuildHasherDefault;

use heartring_core::{
    ConnAt, ConnId, Directory, FlapGuard, Identity, Instant, Letter, Order, Partition, Post, Request, ShardId,
};

use super::holders::Holders;
use super::{HERE, THERE};

/// The identities of each directory; this shard decides about the lower case.
pub(super) const NAMES: [&[u8]; 3] = [b"a", b"bb", b"cccc"];

/// The identity of this shard's directory with the nth name.
pub(super) fn here(name: usize) -> Identity {
    Identity::new(NAMES[name])
}

/// The identity of the neighbour's directory with the nth name.
pub(super) fn there(name: usize) -> Identity {
    Identity::new(&NAMES[name].to_ascii_uppercase())
}

/// The place of the name, if this shard decides about it.
pub(super) fn name_here(identity: &Identity) -> Option<usize> {
    NAMES.iter().position(|name| *name == identity.as_bytes())
}

/// This shard's directory: one partition, for the identities that are its.
pub(super) struct Here(Partition<BuildHasherDefault<DefaultHasher>>);

impl Here {
    pub(super) fn new(guard: Option<FlapGuard>) -> Self {
        Self(Partition::new(HERE, 1, BuildHasherDefault::default(), guard))
    }
}

impl Directory for Here {
    fn owner(&self, identity: &Identity) -> ShardId {
        if name_here(identity).is_some() { HERE } else { THERE }
    }

    fn handle(&mut self, now: Instant, request: Request, post: Post<'_>) {
        assert_eq!(self.owner(request.identity()), HERE, "{request:?} was asked of the wrong shard");
        self.0.handle(now, request, post);
    }

    fn open_total(&self) -> u64 {
        self.0.open_total()
    }
}

/// See the module's own text.
#[derive(Default)]
pub(super) struct Neighbour {
    /// Takes no letters.
    pub(super) is_full: bool,
    inbox: VecDeque<Letter>,
    /// Its connections that have claimed and live, and what.
    conns: BTreeMap<ConnId, usize>,
    next: u32,
}

impl Neighbour {
    /// Takes a letter into its mailbox, or gives it back.
    pub(super) fn take(&mut self, letter: Letter) -> Result<(), Letter> {
        if self.is_full {
            return Err(letter);
        }
        self.inbox.push_back(letter);
        Ok(())
    }

    /// A new connection claims.
    pub(super) fn claim(&mut self, name: usize) -> Vec<Letter> {
        self.next += 1;
        let conn = ConnId::new(self.next, 0);
        self.conns.insert(conn, name);
        vec![Letter::Request(Request::Claim { identity: here(name), by: ConnAt { shard: THERE, conn } })]
    }

    /// One of its connections ends of itself.
    pub(super) fn leave(&mut self, nth: usize, holders: &mut Holders) -> Vec<Letter> {
        let conn = nth.checked_rem(self.conns.len()).and_then(|nth| self.conns.keys().nth(nth).copied());
        conn.map(|conn| self.release(conn, holders)).unwrap_or_default()
    }

    /// All of its connections end.
    pub(super) fn leave_all(&mut self, holders: &mut Holders) -> Vec<Letter> {
        let conns: Vec<ConnId> = self.conns.keys().copied().collect();
        conns.into_iter().flat_map(|conn| self.release(conn, holders)).collect()
    }

    fn release(&mut self, conn: ConnId, holders: &mut Holders) -> Vec<Letter> {
        let Some(name) = self.conns.remove(&conn) else { return Vec::new() };
        let by = ConnAt { shard: THERE, conn };
        holders.leave(name, by);
        vec![Letter::Request(Request::Release { identity: here(name), by })]
    }

    pub(super) fn is_idle(&self) -> bool {
        self.inbox.is_empty() && self.conns.is_empty()
    }

    /// Who is to follow a holder that its directory evicts.
    pub(super) fn successor(&self, there: bool, here: Option<ConnId>) -> Option<ConnAt> {
        let stranger = ConnAt { shard: THERE, conn: ConnId::new(self.next + 1, 1) };
        if there { Some(stranger) } else { here.map(|conn| ConnAt { shard: HERE, conn }) }
    }

    /// Reads its next letter; what it says to that.
    pub(super) fn read(&mut self, holders: &mut Holders) -> Option<Vec<Letter>> {
        let order = match self.inbox.pop_front()? {
            Letter::Order(order) => order,
            Letter::Request(request) => {
                assert_eq!(name_here(request.identity()), None, "{request:?} went astray");
                return Some(Vec::new());
            }
            Letter::Broadcast(_) | Letter::Message(_) => return Some(Vec::new()),
        };
        Some(match order {
            Order::Grant { conn, epoch } => {
                if let Some(&name) = self.conns.get(&conn) {
                    holders.enter(name, ConnAt { shard: THERE, conn }, epoch);
                }
                Vec::new()
            }
            Order::Refuse { conn, .. } => self.release(conn, holders),
            Order::Evict { conn, identity, by, successor } => {
                self.evict(conn, identity, by, successor, holders)
            }
            Order::Deliver { .. } => Vec::new(),
            Order::Send { .. } | Order::Close { .. } => panic!("a directory does not order this: {order:?}"),
        })
    }

    fn evict(
        &mut self,
        conn: ConnId,
        identity: Identity,
        by: u64,
        successor: Option<ConnAt>,
        holders: &mut Holders,
    ) -> Vec<Letter> {
        if let Some(name) = self.conns.remove(&conn) {
            holders.leave(name, ConnAt { shard: THERE, conn });
        }
        let Some(successor) = successor else { return Vec::new() };
        let grant = Letter::Order(Order::Grant { conn: successor.conn, epoch: by });
        let evicted = Letter::Request(Request::Evicted { identity, epoch: by });
        if successor.shard == HERE {
            return vec![grant, evicted];
        }
        self.inbox.push_back(grant);
        vec![evicted]
    }
}
