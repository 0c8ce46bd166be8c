//! Several shards in one virtual time, and clients that fight for a few identities: histories drawn from a seed, and what
//! must hold of every one of them.
//!
//! `village` is the driver, `post` carries the letters, `villager` is the handler, `clients` what the peers do, `history` what
//! was told and the rules that it is checked by. A failure prints its seed: `HEARTRING_SEED=... cargo test -p heartring-core
//! --test village`. `HEARTRING_SEEDS=...` plays so many instead of the usual few.

#![allow(clippy::unchecked_time_subtraction, reason = "an overflow panics, which is what a test is for")]

mod clients;
mod dice;
mod history;
mod post;
mod village;
mod villager;

mod histories;
