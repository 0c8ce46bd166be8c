//! A player: who it is, where it is, and whether it is there.

use std::fs::File;
use std::io::{self, Read};
use std::time::Duration;

use heartring::{Bytes, ConnId, Instant, ShardId, websocket};
use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};

/// How long a lost player can come back.
pub(crate) const KEPT_FOR: Duration = Duration::from_secs(30);

/// The board is a square of this many points.
const BOARD: f32 = 1000.0;

/// Letters of a name, of a player or of a room.
const NAME_MAX: usize = 16;

/// The secret by which a player is resumed. It is told to nobody else, not even to other shards.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Token(String);

/// A player on its way into a room.
pub(crate) struct Join {
    pub(crate) token: Token,
    room: String,
    name: String,
}

/// Whether a player is there.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Presence {
    Here,
    /// A beat is missing.
    Late,
    /// Its connection is dead; it may come back.
    Lost,
}

/// What everybody sees of a player.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Figure {
    pub(crate) id: String,
    name: String,
    pub(crate) x: f32,
    pub(crate) y: f32,
    pub(crate) presence: Presence,
}

/// What a shard tells the others of a player.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Sighting {
    pub(crate) room: String,
    /// That of its claim: of two sightings of a player the one with the higher epoch is true.
    pub(crate) epoch: u64,
    pub(crate) figure: Figure,
}

/// A player of this shard.
pub(crate) struct Player {
    pub(crate) seen: Sighting,
    /// Its last connection.
    pub(crate) conn: ConnId,
    pub(crate) lost_at: Option<Instant>,
}

/// What a client says: `{"do":"move","x":1,"y":2}`, or `{"do":"beat"}`, since a browser cannot send a ping of its own accord.
#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
enum Action {
    Move { x: f32, y: f32 },
    Beat,
}

impl Token {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// What the others know the player by. It does not tell the token, and nobody can choose another's.
    pub(crate) fn id(&self) -> String {
        let digest = Sha1::digest(&self.0);
        format!("{:016x}", u64::from_be_bytes(*digest.first_chunk().expect("it has 20 bytes")))
    }

    fn new() -> io::Result<Self> {
        let mut random = [0; 16];
        File::open("/dev/urandom")?.read_exact(&mut random)?;
        Ok(Self(format!("{:032x}", u128::from_ne_bytes(random))))
    }

    fn parse(text: &str) -> Option<Self> {
        let valid = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        valid.then(|| Self(text.to_owned()))
    }
}

impl Join {
    /// Reads `/play?room=attic&name=Ann&token=...`; whoever has no token gets a new one.
    pub(crate) fn parse(path: &str) -> Option<Self> {
        let query = path.strip_prefix("/play")?;
        let query = if query.is_empty() { query } else { query.strip_prefix('?')? };
        let find = |key: &str| {
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.find(|(name, _)| *name == key).map(|(_, value)| value)
        };
        let word = |key: &str, default: &str| {
            let text = find(key).filter(|text| !text.is_empty()).unwrap_or(default);
            text.chars().filter(char::is_ascii_alphanumeric).take(NAME_MAX).collect()
        };
        let token = match find("token").and_then(Token::parse) {
            Some(token) => token,
            None => Token::new().ok()?,
        };
        Some(Self { token, room: word("room", "lobby"), name: word("name", "somebody") })
    }

    /// The first message: who you are.
    pub(crate) fn welcome(&self, shard: ShardId) -> Bytes {
        let (Token(token), id) = (&self.token, self.token.id());
        websocket::text(&serde_json::json!({ "token": token, "id": id, "shard": shard.0 }).to_string())
    }
}

impl Player {
    /// A player who was last seen at `before`, if ever.
    pub(crate) fn new(join: Join, before: Option<(f32, f32)>, conn: ConnId, epoch: u64) -> Self {
        let id = join.token.id();
        // Somewhere else for everybody, and not at the edge.
        let random =
            |at: usize| u8::from_str_radix(&id[at..at + 2], 16).map_or(0.5, |byte| f32::from(byte) / 256.0);
        let somewhere = |at| BOARD * (0.1 + 0.8 * random(at));
        let (x, y) = before.unwrap_or_else(|| (somewhere(0), somewhere(2)));
        let figure = Figure { id, name: join.name, x, y, presence: Presence::Here };
        Self { seen: Sighting { room: join.room, epoch, figure }, conn, lost_at: None }
    }

    pub(crate) fn act(&mut self, message: &[u8]) {
        match serde_json::from_slice(message) {
            Ok(Action::Move { x, y }) => {
                let figure = &mut self.seen.figure;
                (figure.x, figure.y) = (x.clamp(0.0, BOARD), y.clamp(0.0, BOARD));
            }
            // What it says makes no sense, but it lives.
            Ok(Action::Beat) | Err(_) => {}
        }
    }
}
