//! Whole gateways in virtual time, from a seed, with every fault there is, and a checker.
//!
//! A seed decides everything: what the gateway is configured to, who its clients are, what goes wrong in its kernels, on the
//! network, in its threads and in its mail, and how likely each of these is. [`simulate`] plays a seed and checks it;
//! [`replay`] plays it again and writes down each step.
//!
//! # A tour
//!
//! - `plan`: what a seed decides before it begins. `character`, `script`: who comes, and what each will do.
//! - `driver`: several shards in one virtual time. `station`: one of them, on a kernel of its own, and its thread's loop.
//!   `whim`: what is done to them. `search`: who holds an identity is found.
//! - `scene`, `path`: the clients and the network. `client`: one of them. `speech`: what they say, as a protocol.
//! - `witness`: the handler, which does what the clients ask for. `post`: the letters between shards.
//! - `mishap`: what goes wrong outside the kernels, counted by kind. `journal`: what is written down on the way.
//! - `record`: what happened. `check`: the rules that it must keep, each a function. `outcome`: what came of it all.

#![forbid(unsafe_code)]

mod character;
mod check;
mod client;
mod driver;
mod journal;
mod mishap;
mod outcome;
mod path;
mod plan;
mod post;
mod record;
mod scene;
mod script;
mod search;
mod speech;
mod station;
mod whim;
mod witness;

pub use check::{INVARIANTS, Violation};
pub use mishap::Mishap;
pub use outcome::{Outcome, replay, simulate};
