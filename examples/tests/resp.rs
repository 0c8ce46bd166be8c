//! The Redis-protocol example, driven by redis-cli, redis-benchmark and raw sockets, on both backends.

mod common;

// Its own unit tests run here, since Cargo runs none in examples that it builds as programs.
#[allow(dead_code)]
#[path = "../resp/command.rs"]
mod command;
#[path = "../resp/store.rs"]
mod store;

#[path = "resp/benchmark.rs"]
mod benchmark;
#[path = "resp/cli.rs"]
mod cli;
#[path = "resp/wire.rs"]
mod wire;
