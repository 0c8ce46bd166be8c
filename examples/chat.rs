//! A chat room of lines: everybody hears everybody, and who has left and why.
//!
//! Try it: `cargo run --release --example chat`, then `nc localhost 7000` in several terminals. The first line is your name;
//! then what you say. An empty line is a heartbeat. Whoever is silent for a minute is told to speak and then cut.

use std::collections::BTreeMap;
use std::time::Duration;

use heartring::{Bytes, Closed, Config, Conn, ConnId, Conns, Gateway, Handler, Lines};

/// One room on one shard. Names are kept here, connections by heartring.
#[derive(Default)]
struct Room {
    names: BTreeMap<ConnId, String>,
}

impl Room {
    /// One buffer for everybody. Who cannot take it is slow, and the room does not wait for the slow.
    fn tell_all(&self, conns: &mut Conns<'_>, text: &str) {
        let line = Bytes::from(format!("{text}\n"));
        for &member in self.names.keys() {
            if conns.send(member, line.clone()).is_err() {
                conns.close(member);
            }
        }
    }

    fn join(&mut self, conn: &mut Conn<'_>, name: String) {
        let news = format!("* {name} has joined {} others", self.names.len());
        self.names.insert(conn.id(), name);
        self.tell_all(&mut conn.conns(), &news);
    }
}

impl Handler for Room {
    type Protocol = Lines;

    fn opened(&mut self, conn: &mut Conn<'_>) {
        let _ = conn.send_copy(b"your name?\n");
    }

    fn received(&mut self, conn: &mut Conn<'_>, line: &[u8]) {
        let text = String::from_utf8_lossy(line).into_owned();
        match self.names.get(&conn.id()) {
            Some(name) => self.tell_all(&mut conn.conns(), &format!("{name}: {text}")),
            None => self.join(conn, text),
        }
    }

    fn overdue(&mut self, conn: &mut Conn<'_>) {
        let _ = conn.send_copy(b"* are you still there? (press enter)\n");
    }

    fn closed(&mut self, conn: &mut Conn<'_>, closed: &Closed) {
        if let Some(name) = self.names.remove(&conn.id()) {
            self.tell_all(&mut conn.conns(), &format!("* {name} has left: {}", closed.cause));
        }
    }
}

fn main() -> Result<(), heartring::Error> {
    let addr = std::env::args().nth(1).unwrap_or("127.0.0.1:7000".into());
    println!("chat on {addr}");
    // One shard is one room: shards share nothing.
    let config = Config { dead_within: Duration::from_mins(1), shards: Some(1), ..Config::default() };
    Gateway::new(config).listen(addr).run(|_shard| Room::default())?;
    Ok(())
}
