//! A tiny key-value server that speaks the Redis protocol (RESP2): PING, ECHO, SET, GET, DEL and QUIT.
//!
//! Try it: `cargo run --release --example resp`, then `redis-cli -p 6380` or `redis-benchmark -p 6380 -t ping_inline,set,get`.
//!
//! What it shows: a protocol of one's own (`command.rs`), pipelining that needs no care, data that all shards share
//! (`store.rs`), and clients without heartbeats: whoever asks nothing for five minutes is cut.

mod command;
mod store;

use std::time::Duration;

use clap::Parser;
use heartring::{BackendChoice, Bytes, Cause, Closed, Config, Conn, Gateway, Handler, Limits, Overrides};

use command::{Command, Resp, bulk};
use store::Store;

/// By when a client asks something, also after it has connected: pools of connections are opened before they are needed.
const IDLE_MAX: Duration = Duration::from_mins(5);

/// The longest command, and so the longest value. Redis takes 512 MiB; a server this small does not want that in its memory.
const COMMAND_BYTES_MAX: u32 = 1 << 20;

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
    /// Memory for keys and values, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 256)]
    memory_max: u32,
}

impl Args {
    fn config(&self) -> Config {
        Config {
            dead_within: IDLE_MAX,
            overrides: Overrides { hello_within: Some(IDLE_MAX), ..Overrides::default() },
            backend: self.backend,
            shards: self.shards,
            limits: Limits {
                frame_bytes_max: COMMAND_BYTES_MAX,
                // A pipeline of gets may ask for a few large values at once. They are not copied, but they are sent slowly.
                send_queue_bytes_max: 16 * COMMAND_BYTES_MAX,
                ..Limits::default()
            },
            ..Config::default()
        }
    }
}

/// One per shard. The store is shared, so that a client finds its keys whichever shard it was given.
struct Server {
    store: Store,
}

impl Server {
    fn answer(&self, command: Command<'_>) -> Bytes {
        match command {
            Command::Nothing => Bytes::new(),
            Command::Ping(None) => Bytes::from_static(b"+PONG\r\n"),
            Command::Ping(Some(text)) | Command::Echo(text) => bulk(text),
            // Kept as the answer that GET gives: it is written once.
            Command::Set { key, value } => match self.store.set(key, bulk(value)) {
                Ok(()) => Bytes::from_static(b"+OK\r\n"),
                Err(store::Full) => {
                    Bytes::from_static(b"-OOM command not allowed when used memory > '--memory-max'.\r\n")
                }
            },
            Command::Get(key) => self.store.get(key).unwrap_or(Bytes::from_static(b"$-1\r\n")),
            Command::Delete(keys) => {
                let deleted = keys.filter(|key| self.store.delete(key)).count();
                Bytes::from(format!(":{deleted}\r\n"))
            }
            // What redis-cli and redis-benchmark ask first; they take "nothing" for an answer.
            Command::Describe => Bytes::from_static(b"*0\r\n"),
            Command::Quit => Bytes::from_static(b"+OK\r\n"),
            Command::Wrong(why) => Bytes::from(format!("-ERR {why}\r\n")),
        }
    }
}

impl Handler for Server {
    type Protocol = Resp;

    fn received(&mut self, conn: &mut Conn<'_>, frame: &[u8]) {
        let command = Command::parse(frame);
        let is_last = command == Command::Quit;
        // If there is no room for the answer, it asks and does not read.
        if conn.send(self.answer(command)).is_err() || is_last {
            conn.close();
        }
    }

    fn closing(&mut self, conn: &mut Conn<'_>, closed: &Closed) {
        if let Cause::Protocol(_) | Cause::TooLarge = closed.cause {
            let _ = conn.send(Bytes::from(format!("-ERR {}\r\n", closed.cause)));
        }
    }
}

fn main() -> Result<(), heartring::Error> {
    let args = Args::parse();
    let config = args.config();
    let store = Store::new(u64::from(args.memory_max) << 20);
    Gateway::new(config)
        .listen(args.listen)
        .when_listening(|running| println!("resp on {}", running.addrs()[0]))
        .run(move |_shard| Server { store: store.clone() })?;
    Ok(())
}
