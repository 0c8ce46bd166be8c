//! Inputs that try to break heartring. Each target reads bytes as choices, does what they say, and checks what must hold
//! whatever they are.
//!
//! A fuzzer finds the inputs (`README.md` beside this crate); the tests replay the ones that it found worth keeping, so that they
//! are checked everywhere.

#![forbid(unsafe_code)]

mod decoders;
mod directory;
mod input;
mod shard;
mod stream;

pub use decoders::decoders;
pub use directory::directory;
pub use shard::shard;
pub use stream::{End, Frame, Stream};
