//! An MQTT gateway, 3.1.1 and 5.0: QoS 0 and 1, retained messages, last wills, wildcards, on as many shards as there are cores.
//!
//! Try it: `cargo run --release --example mqtt`, then `mosquitto_sub -p 1884 -t 'pumps/#' -v` and
//! `mosquitto_pub -p 1884 -t pumps/7 -m 3.2`. Stop a subscriber with Ctrl-Z and wait one and a half keep-alives: it is dead, and
//! its last will goes out. Connect twice with one client id (`-i`): the first is told that its session was taken over.
//!
//! What it shows: a protocol whose codec is somebody else's (`session.rs`), a deadline that each client negotiates, the client
//! id as a claim, reasons as last words (`reasons.rs`), and routing across shards (`broker.rs`, `topics.rs`).
//!
//! Sessions end with their connection: nothing is kept for a client that is away. QoS 2 is refused as the specification
//! says.

mod broker;
mod message;
mod reasons;
mod session;
mod topics;
mod wire;

use std::time::Duration;

use clap::Parser;
use heartring::{BackendChoice, Config, Gateway, Limits, Overrides};

use broker::{Broker, Rules};

/// An MQTT gateway
#[derive(Parser)]
struct Args {
    /// Where to listen
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:1884")]
    listen: String,
    /// Which interface of the kernel to use: auto, uring or epoll
    #[arg(long, value_name = "NAME", default_value = "auto")]
    backend: BackendChoice,
    /// How many shards [default: one per core]
    #[arg(long, value_name = "N")]
    shards: Option<u16>,
    /// Let in only who knows this user and password
    #[arg(long, value_name = "USER:PASSWORD")]
    user: Option<String>,
    /// The shortest keep-alive that is granted, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 2)]
    keep_alive_min: u16,
    /// The longest, also for those who ask for none
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    keep_alive_max: u16,
    /// The largest packet
    #[arg(long, value_name = "BYTES", default_value_t = 64 << 10)]
    packet_bytes_max: u32,
}

impl Args {
    fn config(&self) -> Config {
        Config {
            // The longest deadline that anybody is granted: TCP's own timings must not be shorter.
            dead_within: session::dead_within(self.keep_alive_max),
            overrides: Overrides { grace: Some(Duration::ZERO), ..Overrides::default() },
            claim_required: true,
            backend: self.backend,
            shards: self.shards,
            limits: Limits {
                frame_bytes_max: self.packet_bytes_max,
                dead_within_min: session::dead_within(self.keep_alive_min),
                dead_within_max: session::dead_within(self.keep_alive_max),
                ..Limits::default()
            },
            ..Config::default()
        }
    }
}

fn main() -> Result<(), heartring::Error> {
    let args = Args::parse();
    let config = args.config();
    let rules = Rules {
        user: args.user.and_then(|user| user.split_once(':').map(|(user, word)| (user.into(), word.into()))),
        keep_alive: args.keep_alive_min..=args.keep_alive_max,
        packet_bytes_max: args.packet_bytes_max,
    };
    println!("mqtt on {}", args.listen);
    Gateway::new(config).listen(args.listen).run(move |_shard| Broker::new(rules.clone()))?;
    Ok(())
}
