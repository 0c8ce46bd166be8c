//! The rooms, as far as one shard knows them: its own players, and what the other shards say of theirs.
//!
//! With each tick a shard tells the others what its own players look like, and sends its own players the newest picture
//! of their room. So a room spans shards, one tick behind. A player who resumes on another shard is seen on both for that
//! long: the epoch of its claim says which sighting is true, and the shard that hears of a newer one forgets its own. So a
//! message that gets lost does no harm: the next one says all of it again.

use std::collections::BTreeMap;
use std::time::Duration;

use heartring::{Bytes, ConnId, Conns, Instant, ShardId, websocket};

use crate::player::{Figure, Join, KEPT_FOR, Player, Presence, Sighting, Token};

/// Players of a shard, lost ones included. Everybody is told of everybody: that many in one room are 1.4 MB a tick.
const PLAYERS_MAX: usize = 128;

/// After this long without news from a shard nobody knows whether its players are there.
const NEWS_WITHIN: Duration = Duration::from_secs(1);

/// See the module's own text.
pub(crate) struct World {
    shard: ShardId,
    players: BTreeMap<Token, Player>,
    elsewhere: BTreeMap<u16, News>,
}

/// What another shard has said last.
struct News {
    heard_at: Instant,
    sightings: Vec<Sighting>,
}

impl World {
    pub(crate) fn new(shard: ShardId) -> Self {
        Self { shard, players: BTreeMap::new(), elsewhere: BTreeMap::new() }
    }

    /// A player comes in, or back. `false`: there is no place for it.
    pub(crate) fn enter(&mut self, join: Join, conn: ConnId, epoch: u64) -> bool {
        if !self.players.contains_key(&join.token) && !self.make_place() {
            return false;
        }
        let id = join.token.id();
        let before = self.sightings().filter(|seen| seen.figure.id == id).max_by_key(|seen| seen.epoch);
        let before = before.map(|seen| (seen.figure.x, seen.figure.y));
        self.players.insert(join.token.clone(), Player::new(join, before, conn, epoch));
        true
    }

    pub(crate) fn act(&mut self, token: &Token, message: &[u8]) {
        if let Some(player) = self.players.get_mut(token) {
            player.act(message);
        }
    }

    /// What another shard says.
    pub(crate) fn hear(&mut self, message: &[u8], heard_at: Instant) {
        let (shard, sightings): (u16, Vec<Sighting>) =
            serde_json::from_slice(message).expect("shards speak one language");
        let epochs: BTreeMap<_, _> = sightings.iter().map(|seen| (&seen.figure.id, seen.epoch)).collect();
        // Who is seen there with a newer claim has left.
        self.players.retain(|_, Player { seen, .. }| {
            epochs.get(&seen.figure.id).is_none_or(|&epoch| epoch < seen.epoch)
        });
        self.elsewhere.insert(shard, News { heard_at, sightings });
    }

    pub(crate) fn tick(&mut self, conns: &mut Conns<'_>) {
        self.look(conns);
        self.tell_others(conns);
        let pictures = self.pictures();
        for Player { seen, conn, .. } in self.players.values() {
            // Who has not taken the last picture gets this one instead.
            let _ = conns.send_latest(*conn, pictures[seen.room.as_str()].clone());
        }
    }

    /// Sees who is late, and forgets who has been lost for too long.
    fn look(&mut self, conns: &mut Conns<'_>) {
        let now = conns.now();
        for player in self.players.values_mut() {
            player.seen.figure.presence = match conns.get(player.conn).map(|conn| conn.is_overdue()) {
                Some(false) => Presence::Here,
                Some(true) => Presence::Late,
                None => Presence::Lost,
            };
            if player.seen.figure.presence == Presence::Lost {
                player.lost_at.get_or_insert(now);
            }
        }
        let is_kept = |lost_at: Option<Instant>| lost_at.is_none_or(|at| now.saturating_since(at) < KEPT_FOR);
        self.players.retain(|_, player| is_kept(player.lost_at));
        let is_silent = |news: &&mut News| now.saturating_since(news.heard_at) > NEWS_WITHIN;
        for seen in self.elsewhere.values_mut().filter(is_silent).flat_map(|news| &mut news.sightings) {
            if seen.figure.presence == Presence::Here {
                seen.figure.presence = Presence::Late;
            }
        }
    }

    fn tell_others(&self, conns: &mut Conns<'_>) {
        if conns.shards() == 1 {
            return;
        }
        let sightings: Vec<_> = self.players.values().map(|player| &player.seen).collect();
        let message = serde_json::to_vec(&(self.shard.0, sightings)).expect("sightings are plain data");
        let message = Bytes::from(message);
        let _ = conns.post_to_others(&message); // A shard that does not take its mail misses a tick.
    }

    /// What each room looks like: one buffer, however many take it.
    fn pictures(&self) -> BTreeMap<&str, Bytes> {
        let mut newest: BTreeMap<&str, &Sighting> = BTreeMap::new();
        for seen in self.sightings() {
            let known = newest.entry(&seen.figure.id).or_insert(seen);
            if seen.epoch > known.epoch {
                *known = seen;
            }
        }
        let own = self.players.values().map(|player| (player.seen.room.as_str(), Vec::new()));
        let mut rooms: BTreeMap<&str, Vec<&Figure>> = own.collect();
        for seen in newest.into_values() {
            if let Some(figures) = rooms.get_mut(seen.room.as_str()) {
                figures.push(&seen.figure);
            }
        }
        let picture = |figures| websocket::text(&serde_json::json!({ "players": figures }).to_string());
        rooms.into_iter().map(|(room, figures)| (room, picture(figures))).collect()
    }

    /// Every sighting of everybody, a player's older ones too.
    fn sightings(&self) -> impl Iterator<Item = &Sighting> {
        let theirs = self.elsewhere.values().flat_map(|news| &news.sightings);
        self.players.values().map(|player| &player.seen).chain(theirs)
    }

    /// At the limit, who has been lost for longest gives way.
    fn make_place(&mut self) -> bool {
        if self.players.len() < PLAYERS_MAX {
            return true;
        }
        let lost = self.players.iter().filter_map(|(token, player)| Some((player.lost_at?, token)));
        let Some((_, token)) = lost.min() else { return false };
        let token = token.clone();
        self.players.remove(&token).is_some()
    }
}
