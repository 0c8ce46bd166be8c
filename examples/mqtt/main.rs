//! An MQTT gateway, 3.1.1 and 5.0: QoS 0 and 1, retained messages, last wills, wildcards, on as many shards as there are cores.
//!
//! Try it: `cargo run --release --example mqtt`, then `mosquitto_sub -p 1884 -t 'pumps/#' -v` and
//! `mosquitto_pub -p 1884 -t pumps/7 -m 3.2`. Stop a subscriber with Ctrl-Z and wait one and a half keep-alives: it is dead, and
//! its last will goes out. Connect twice with one client id (`-i`): the first is told that its session was taken over.
//!
//! What it shows: a codec that is somebody else's (`session.rs`), the client id as a claim and a deadline that each client
//! negotiates (`rules.rs`), reasons as last words and routing across shards (`broker.rs`). Sessions end with their connection.
//! QoS 2 is refused, as 5.0 allows. When a message expires is told to its listeners and not enforced.

#![allow(clippy::wildcard_enum_match_arm)] // The codec knows thirty packets and fifty reasons.

mod broker;
mod dialect;
mod rules;
mod session;
mod topics;

use clap::Parser;
use heartring::{BackendChoice, Config, Gateway, Limits, Overrides};

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
    #[command(flatten)]
    rules: rules::Rules,
}

fn main() -> Result<(), heartring::Error> {
    let Args { listen, backend, shards, rules } = Args::parse();
    let config = Config {
        // The longest deadline that anybody is granted: TCP's own timings must not be shorter.
        dead_within: rules::dead_within(rules.keep_alive_max),
        // A dead client's last will goes out at once.
        overrides: Overrides { grace: Some(std::time::Duration::ZERO), ..Overrides::default() },
        claim_required: true,
        backend,
        shards,
        limits: Limits {
            frame_bytes_max: rules.packet_bytes_max,
            outbox_letters_max: 1 << 16, // Much can be published in one turn.
            ..Limits::default()
        },
        ..Config::default()
    };
    let gateway = Gateway::new(config).listen(listen);
    let gateway = gateway.when_listening(|running| println!("mqtt on {}", running.addrs()[0]));
    gateway.run(move |_shard| broker::Broker::new(rules.clone()))?;
    Ok(())
}
