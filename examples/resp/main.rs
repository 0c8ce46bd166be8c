//! A tiny key-value server that speaks the Redis protocol (RESP2): PING, ECHO, SET, GET, DEL and QUIT.
//!
//! Try it: `cargo run --release --example resp`, then `redis-cli -p 6380` or `redis-benchmark -p 6380 -t ping_inline,set,get`.
//!
//! What it shows: a protocol of one's own (`command.rs`), pipelining that needs no care, data that all shards share, and
//! clients without heartbeats: whoever asks nothing for five minutes is cut, and who vanishes is found by TCP keepalive before.

mod command;
mod store;

use std::time::Duration;

use clap::Parser;
use heartring::{BackendChoice, Bytes, Config, Conn, Gateway, Handler, Limits};

use command::{Command, Resp};
use store::Store;

/// The longest value. Redis takes 512 MiB; a server this small does not want that in its memory.
const VALUE_BYTES_MAX: u32 = 1 << 20;

/// A key-value server that speaks the Redis protocol
#[derive(Parser)]
struct Args {
    /// Where to listen
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:6380")]
    listen: String,
    /// Which interface of the kernel to use: auto, uring or epoll
    #[arg(long, value_name = "NAME", default_value = "auto")]
    backend: BackendChoice,
    /// How many shards [default: one per core]
    #[arg(long, value_name = "N")]
    shards: Option<u16>,
}

/// One per shard. The store is shared, so that a client finds its keys whichever shard it was given.
struct Server {
    store: Store,
}

impl Handler for Server {
    type Protocol = Resp;

    fn received(&mut self, conn: &mut Conn<'_>, frame: &[u8]) {
        let reply = match Command::parse(frame) {
            Command::Nothing => return,
            Command::Ping(None) => Bytes::from_static(b"+PONG\r\n"),
            Command::Ping(Some(text)) | Command::Echo(text) => bulk(text),
            Command::Set { key, value } => {
                self.store.set(key, value);
                Bytes::from_static(b"+OK\r\n")
            }
            Command::Get(key) => {
                self.store.get(key).map_or(Bytes::from_static(b"$-1\r\n"), |value| bulk(&value))
            }
            Command::Delete(keys) => {
                let deleted = keys.iter().filter(|key| self.store.delete(key)).count();
                Bytes::from(format!(":{deleted}\r\n"))
            }
            // What redis-cli and redis-benchmark ask first; they take "nothing" for an answer.
            Command::Describe => Bytes::from_static(b"*0\r\n"),
            Command::Quit => {
                let _ = conn.send_copy(b"+OK\r\n");
                return conn.close();
            }
            Command::Wrong(why) => Bytes::from(format!("-ERR {why}\r\n")),
        };
        if conn.send(reply).is_err() {
            conn.close(); // It asks and does not read the answers.
        }
    }

    fn closing(&mut self, conn: &mut Conn<'_>, closed: &heartring::Closed) {
        if let heartring::Cause::Protocol(_) | heartring::Cause::TooLarge = closed.cause {
            let _ = conn.send(Bytes::from(format!("-ERR {}\r\n", closed.cause)));
        }
    }
}

fn bulk(value: &[u8]) -> Bytes {
    [format!("${}\r\n", value.len()).as_bytes(), value, b"\r\n"].concat().into()
}

fn main() -> Result<(), heartring::Error> {
    let args = Args::parse();
    let limits = Limits {
        frame_bytes_max: VALUE_BYTES_MAX + 1024,
        // A pipeline of gets may ask for a few large values at once.
        send_queue_bytes_max: 16 * VALUE_BYTES_MAX,
        ..Limits::default()
    };
    let config = Config {
        dead_within: Duration::from_mins(5),
        backend: args.backend,
        shards: args.shards,
        limits,
        ..Config::default()
    };
    println!("resp on {}", args.listen);
    let store = Store::default();
    Gateway::new(config).listen(args.listen).run(move |_shard| Server { store: store.clone() })?;
    Ok(())
}
