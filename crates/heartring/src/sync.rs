//! What the doorbell and the gate are made of. Their model checks bring their own.

pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, Ordering, fence};
pub(crate) use std::thread::yield_now;
