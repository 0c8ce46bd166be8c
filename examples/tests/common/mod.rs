//! What the tests of all examples need: the example as a process, and other people's clients.

#![allow(dead_code)] // Each test program uses a part of it.

pub(crate) mod browser;
pub(crate) mod client;
pub(crate) mod server;
