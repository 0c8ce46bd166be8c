//! What the doorbell is made of. Its model check brings its own.

pub(crate) use std::sync::atomic::{AtomicBool, Ordering, fence};
