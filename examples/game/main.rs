//! A game of moving dots over WebSocket: rooms, twenty ticks a second, and everybody sees who is there, late or lost.
//!
//! Try it: `cargo run --release --example game`, then open http://localhost:7001 in two windows (arrow keys move; add `?room=attic`
//! for another room). Close a laptop's lid or pull a cable: the others see the player late, then lost; when it comes back within half a minute
//! it resumes where it was.
//!
//! What it shows: a page and a WebSocket on one port (`page.html`), a room's tick as one shared buffer of which only the newest waits
//! for a slow client (`send_latest`), pings as heartbeats, a claim as the right to resume (`player.rs`), and a world that
//! spans shards by messages (`world.rs`).

mod page;
mod player;
mod world;

use std::time::Duration;

use clap::Parser;
use heartring::websocket::{self, Request, WebSocket};
use heartring::{
    BackendChoice, Bytes, Closed, Config, Conn, ConnMap, Conns, Gateway, Handler, Limits, Overrides,
};

use player::{Join, Token};
use world::World;

/// Twenty ticks a second.
const TICK: Duration = Duration::from_millis(50);

/// By when a player who vanished is shown as lost.
const LOST_WITHIN: Duration = Duration::from_secs(3);

/// What a client may send at most: a name and a position.
const MESSAGE_BYTES_MAX: usize = 1024;

/// The status code of a WebSocket that a full server closes, as IANA registers it.
const TRY_AGAIN_LATER: u16 = 1013;

/// A game of moving dots over WebSocket
#[derive(Parser)]
struct Args {
    /// Where to listen
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7001")]
    listen: String,
    /// Which interface of the kernel to use: auto, uring or epoll
    #[arg(long, value_name = "NAME", default_value = "auto")]
    backend: BackendChoice,
    /// How many shards [default: one per core]
    #[arg(long, value_name = "N")]
    shards: Option<u16>,
}

/// One shard's part of the game.
struct Game {
    clients: ConnMap<Client>,
    world: World,
}

/// What a connection is at present.
enum Client {
    /// It asks for pages.
    Browser,
    /// It has opened a WebSocket and waits for its claim.
    Joining(Join),
    /// It plays.
    Player(Token),
}

impl Game {
    /// An HTTP request: the page, or the WebSocket.
    fn request(&mut self, conn: &mut Conn<'_>, head: &[u8]) {
        let Some(request) = Request::parse(head) else { return conn.close() };
        let (Some(answer), Some(join)) = (request.accept(), Join::parse(request.path)) else {
            let _ = conn.send(page::answer(&request));
            return conn.close();
        };
        let welcome = join.welcome(conn.at().shard);
        // A token is the secret of one player: who has it may take the player over from a connection that is still open.
        if conn.send(answer).and_then(|()| conn.send(welcome)).is_err()
            || conn.claim(join.token.as_bytes()).is_err()
        {
            return conn.close();
        }
        self.clients.insert(conn.id(), Client::Joining(join));
    }
}

impl Handler for Game {
    type Protocol = WebSocket<MESSAGE_BYTES_MAX>;

    fn opened(&mut self, conn: &mut Conn<'_>) {
        self.clients.insert(conn.id(), Client::Browser);
    }

    fn received(&mut self, conn: &mut Conn<'_>, frame: &[u8]) {
        match self.clients.get(conn.id()) {
            Some(Client::Player(token)) => self.world.act(token, frame),
            Some(Client::Browser) => self.request(conn, frame),
            // What follows a claim is held back until it is granted.
            Some(Client::Joining(_)) | None => {}
        }
    }

    /// The player is this connection's now; if another had it, that one is closed.
    fn claimed(&mut self, conn: &mut Conn<'_>, epoch: u64) {
        let Some(Client::Joining(join)) = self.clients.remove(conn.id()) else { return };
        let player = Client::Player(join.token.clone());
        if self.world.enter(join, conn.id(), epoch) {
            self.clients.insert(conn.id(), player);
        } else {
            let _ = conn.send(websocket::close(TRY_AGAIN_LATER, "the game is full"));
            conn.close();
        }
    }

    fn closing(&mut self, conn: &mut Conn<'_>, closed: &Closed) {
        let is_open = !matches!(self.clients.get(conn.id()), Some(Client::Browser) | None);
        if let Some(farewell) = websocket::farewell(&closed.cause).filter(|_| is_open) {
            let _ = conn.send(farewell);
        }
    }

    fn closed(&mut self, conn: &mut Conn<'_>, _closed: &Closed) {
        // The world sees by itself who has no connection any more.
        self.clients.remove(conn.id());
    }

    /// News from the other shards.
    fn message(&mut self, conns: &mut Conns<'_>, message: Bytes) {
        self.world.hear(&message, conns.now());
    }

    fn tick(&mut self, conns: &mut Conns<'_>) {
        self.world.tick(conns);
    }
}

fn main() -> Result<(), heartring::Error> {
    let args = Args::parse();
    let config = Config {
        dead_within: LOST_WITHIN,
        // A player who is lost is to be shown as lost at once.
        overrides: Overrides { grace: Some(Duration::ZERO), ..Overrides::default() },
        tick_every: Some(TICK),
        backend: args.backend,
        shards: args.shards,
        // An old picture that waits in the kernel gives way to no new one.
        send_buffer_bytes: Some(32 << 10),
        // Heads of HTTP requests are that long; and two pictures of a crowded room wait at most.
        limits: Limits { frame_bytes_max: 16 << 10, send_queue_bytes_max: 1 << 20, ..Limits::default() },
        ..Config::default()
    };
    Gateway::new(config)
        .listen(args.listen)
        .when_listening(|running| println!("game on http://{}", running.addrs()[0]))
        .run(|shard| Game { clients: ConnMap::new(), world: World::new(shard) })?;
    Ok(())
}
