//! The rooms, as far as one shard knows them: its own players, and what the other shards say of theirs.
//!
//! A tick posts what the shard's own players look like to the other shards, and sends everybody the newest picture of the
//! whole room. So a room spans shards, one tick behind. A player that resumes on another shard is taken over from the
//! picture, and the shard that had it is told.

use std::collections::BTreeMap;

use heartring::{Bytes, ConnId, Conns, Instant, ShardId, websocket};
use serde::{Deserialize, Serialize};

use crate::player::{Figure, Join, KEPT_FOR, Player, Presence, Token};

type Rooms = BTreeMap<String, Vec<Figure>>;

/// What shards tell each other.
#[derive(Deserialize, Serialize)]
enum News {
    /// The players of a shard.
    Figures { shard: u16, rooms: Rooms },
    /// A player is on this shard now.
    Moved { id: String },
}

/// See the module's own text.
pub(crate) struct World {
    shard: ShardId,
    players: BTreeMap<Token, Player>,
    /// The last picture of each other shard.
    elsewhere: BTreeMap<u16, Rooms>,
}

impl World {
    pub(crate) fn new(shard: ShardId) -> Self {
        Self { shard, players: BTreeMap::new(), elsewhere: BTreeMap::new() }
    }

    /// A player comes in, or back.
    pub(crate) fn enter(&mut self, conns: &mut Conns<'_>, join: Join, conn: ConnId) {
        let token = join.token.clone();
        if let Some(player) = self.players.get_mut(&token) {
            (player.conn, player.lost_at) = (Some(conn), None);
            return;
        }
        let id = token.id();
        let figures = self.elsewhere.values().flat_map(|rooms| rooms.values().flatten());
        let figure = figures.into_iter().find(|figure| figure.id == id).cloned();
        self.forget(&id);
        self.players.insert(token, Player::new(join, figure, conn));
        self.tell_others(conns, &News::Moved { id });
    }

    pub(crate) fn act(&mut self, token: &Token, message: &[u8]) {
        if let Some(player) = self.players.get_mut(token) {
            player.act(message);
        }
    }

    /// A player's connection has died: it may come back.
    pub(crate) fn lose(&mut self, token: &Token) {
        if let Some(player) = self.players.get_mut(token) {
            player.conn = None;
        }
    }

    /// What another shard says.
    pub(crate) fn hear(&mut self, message: &[u8]) {
        match serde_json::from_slice(message).expect("shards speak one language") {
            News::Figures { shard, rooms } => drop(self.elsewhere.insert(shard, rooms)),
            News::Moved { id } => {
                self.players.retain(|token, _| token.id() != id);
                self.forget(&id);
            }
        }
    }

    pub(crate) fn tick(&mut self, conns: &mut Conns<'_>) {
        self.look(conns);
        let mut rooms = Rooms::new();
        for player in self.players.values() {
            rooms.entry(player.room.clone()).or_default().push(player.figure.clone());
        }
        self.tell_others(conns, &News::Figures { shard: self.shard.0, rooms: rooms.clone() });
        for (name, mut figures) in rooms {
            let others = self.elsewhere.values().filter_map(|rooms| rooms.get(&name));
            let is_new = |figure: &&Figure| !self.players.keys().any(|token| token.id() == figure.id);
            figures.extend(others.flatten().filter(is_new).cloned());
            // One buffer for the whole room. Who has not taken the last one gets this one instead.
            let picture = websocket::text(&serde_json::json!({ "players": figures }).to_string());
            for player in self.players.values().filter(|player| player.room == name) {
                if let Some(conn) = player.conn {
                    let _ = conns.send_latest(conn, picture.clone());
                }
            }
        }
    }

    /// Sees who is late, and forgets who has been lost for too long.
    fn look(&mut self, conns: &mut Conns<'_>) {
        let now = conns.now();
        for player in self.players.values_mut() {
            let overdue = player.conn.and_then(|id| conns.get(id)).map(|conn| conn.is_overdue());
            player.figure.presence = match overdue {
                Some(false) => Presence::Here,
                Some(true) => Presence::Late,
                None => Presence::Lost,
            };
            if overdue.is_none() {
                player.lost_at.get_or_insert(now);
            }
        }
        let is_kept = |lost_at: Option<Instant>| lost_at.is_none_or(|at| now.saturating_since(at) < KEPT_FOR);
        self.players.retain(|_, player| is_kept(player.lost_at));
    }

    fn forget(&mut self, id: &str) {
        let rooms = self.elsewhere.values_mut().flat_map(|rooms| rooms.values_mut());
        rooms.for_each(|figures| figures.retain(|figure| figure.id != id));
    }

    fn tell_others(&self, conns: &mut Conns<'_>, news: &News) {
        if conns.shards() == 1 {
            return;
        }
        let message = Bytes::from(serde_json::to_vec(news).expect("news are plain data"));
        for shard in (0..conns.shards()).map(ShardId).filter(|shard| *shard != self.shard) {
            // A shard that does not take its mail misses a tick.
            let _ = conns.post(shard, message.clone());
        }
    }
}
