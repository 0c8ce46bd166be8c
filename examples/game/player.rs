//! A player: who it is, where it is, and whether it is there.

use std::fs::File;
use std::io::{self, Read};
use std::time::Duration;

use heartring::{Bytes, ConnId, Instant, websocket};
use serde::{Deserialize, Serialize};

/// How long a lost player can come back.
pub(crate) const KEPT_FOR: Duration = Duration::from_secs(30);

/// The board is a square of this many points.
pub(crate) const BOARD: f32 = 1000.0;

/// The secret by which a player is resumed. What others see of it is [`Token::id`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Token(String);

/// A player on its way into a room.
pub(crate) struct Join {
    pub(crate) token: Token,
    pub(crate) room: String,
    pub(crate) name: String,
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
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Figure {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) x: f32,
    pub(crate) y: f32,
    pub(crate) presence: Presence,
}

/// A player of this shard.
pub(crate) struct Player {
    pub(crate) room: String,
    pub(crate) figure: Figure,
    /// `None` while it is lost.
    pub(crate) conn: Option<ConnId>,
    pub(crate) lost_at: Option<Instant>,
}

/// What a client says.
#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
pub(crate) enum Action {
    Move {
        x: f32,
        y: f32,
    },
    /// A heartbeat: a browser cannot send a ping of its own accord.
    Beat,
}

impl Token {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The half of it that is no secret.
    pub(crate) fn id(&self) -> String {
        self.0[..8].to_owned()
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
    pub(crate) fn parse(path: &str) -> io::Result<Self> {
        let query = path.split_once('?').map_or("", |(_, query)| query);
        let find = |key: &str| {
            let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.into_iter().find(|(name, _)| *name == key).map(|(_, value)| value)
        };
        let word = |key: &str, default: &str| {
            let text = find(key).filter(|text| !text.is_empty()).unwrap_or(default);
            text.chars().filter(|c| c.is_ascii_alphanumeric()).take(16).collect::<String>()
        };
        let token = find("token").and_then(Token::parse).map_or_else(Token::new, Ok)?;
        Ok(Self { token, room: word("room", "lobby"), name: word("name", "somebody") })
    }

    /// The first message: who you are.
    pub(crate) fn welcome(&self) -> Bytes {
        let Token(token) = &self.token;
        websocket::text(&serde_json::json!({ "token": token, "id": self.token.id() }).to_string())
    }
}

impl Player {
    pub(crate) fn new(join: Join, figure: Option<Figure>, conn: ConnId) -> Self {
        let id = join.token.id();
        // Somewhere else for everybody, the same for the same token.
        let spread =
            |at: usize| u8::from_str_radix(&id[at..at + 2], 16).map_or(0.5, |byte| f32::from(byte) / 255.0);
        let (x, y) = figure.map_or((spread(0) * BOARD, spread(2) * BOARD), |figure| (figure.x, figure.y));
        let figure = Figure { id, name: join.name, x, y, presence: Presence::Here };
        Self { room: join.room, figure, conn: Some(conn), lost_at: None }
    }

    pub(crate) fn act(&mut self, message: &[u8]) {
        match serde_json::from_slice(message) {
            Ok(Action::Move { x, y }) if x.is_finite() && y.is_finite() => {
                (self.figure.x, self.figure.y) = (x.clamp(0.0, BOARD), y.clamp(0.0, BOARD));
            }
            // What it says makes no sense, but it lives.
            Ok(Action::Move { .. } | Action::Beat) | Err(_) => {}
        }
    }
}
