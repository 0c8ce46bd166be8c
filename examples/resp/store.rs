//! The data: one map, in parts with a lock each.
//!
//! Shards share nothing of heartring's; what a gateway's own data needs is its own affair. With 64 parts two shards rarely
//! meet at one lock, and none is held longer than a lookup.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use heartring::Bytes;

const PARTS: usize = 64;

type Part = HashMap<Box<[u8]>, Bytes>;

/// Keys and values, for all shards.
#[derive(Clone)]
pub(crate) struct Store {
    parts: Arc<[Mutex<Part>]>,
    hasher: RandomState,
}

impl Store {
    pub(crate) fn get(&self, key: &[u8]) -> Option<Bytes> {
        self.part(key).get(key).cloned()
    }

    pub(crate) fn set(&self, key: &[u8], value: &[u8]) {
        self.part(key).insert(key.into(), Bytes::copy_from_slice(value));
    }

    /// Whether there was one.
    pub(crate) fn delete(&self, key: &[u8]) -> bool {
        self.part(key).remove(key).is_some()
    }

    fn part(&self, key: &[u8]) -> MutexGuard<'_, Part> {
        let nth = self.hasher.hash_one(key) as usize % PARTS;
        self.parts[nth].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Store {
    fn default() -> Self {
        Self { parts: (0..PARTS).map(|_| Mutex::default()).collect(), hasher: RandomState::new() }
    }
}
