//! The shard in virtual time: every scenario of a connection's life, under each of the three ways of keeping deadlines.
//!
//! `world` is the driver, `recorder` the handler that writes down what it is told, `by_hand` a shard without a backend for
//! orders of completions that the contract allows and the simulator does not produce.

#![allow(clippy::unchecked_time_subtraction, reason = "an overflow panics, which is what a test is for")]

mod by_hand;
mod recorder;
mod world;

mod accepting;
mod admitting;
mod claiming;
mod closing;
mod endings;
mod framing;
mod grace;
mod holding;
mod last_words;
mod letters;
mod life;
mod looking;
mod negotiating;
mod sending;
mod stalling;
mod undecided;
