//! The data: one map, in parts with a lock each.
//!
//! Shards share nothing of heartring's; what a gateway's own data needs is its own affair. With 64 parts two shards rarely
//! meet at one lock, and none is held longer than a lookup. Together the entries take `bytes_max` at most.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use heartring::Bytes;

const PARTS: usize = 64;

/// What an entry takes beside its key and its value: the handles of both, a place in a table that is half full, and what the
/// allocator adds to three allocations.
const ENTRY_BYTES: u64 = 192;

type Part = HashMap<Box<[u8]>, Bytes>;

/// Keys and values, for all shards.
#[derive(Clone)]
pub(crate) struct Store(Arc<Shared>);

struct Shared {
    parts: [Mutex<Part>; PARTS],
    bytes: AtomicU64,
    bytes_max: u64,
}

/// There is no room for a value.
#[derive(Debug, PartialEq)]
pub(crate) struct Full;

impl Store {
    pub(crate) fn new(bytes_max: u64) -> Self {
        let parts = std::array::from_fn(|_| Mutex::default());
        Self(Arc::new(Shared { parts, bytes: AtomicU64::new(0), bytes_max }))
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<Bytes> {
        self.part(key).get(key).cloned()
    }

    /// Puts a value in the place of the one that there was, if any. If there is no room, that one stays.
    pub(crate) fn set(&self, key: &[u8], value: Bytes) -> Result<(), Full> {
        let Shared { bytes, bytes_max, .. } = &*self.0;
        let mut part = self.part(key);
        let place = part.get_mut(key);
        let (old, new) = (place.as_ref().map_or(0, |old| cost(key, old)), cost(key, &value));
        // Added before it is compared, because the other parts are not locked.
        let with_both = bytes.fetch_add(new, Ordering::Relaxed) + new;
        if with_both - old > *bytes_max {
            bytes.fetch_sub(new, Ordering::Relaxed);
            return Err(Full);
        }
        bytes.fetch_sub(old, Ordering::Relaxed);
        match place {
            Some(place) => *place = value,
            None => drop(part.insert(key.into(), value)),
        }
        Ok(())
    }

    /// Whether there was one.
    pub(crate) fn delete(&self, key: &[u8]) -> bool {
        let deleted = self.part(key).remove(key);
        let freed = deleted.as_ref().map_or(0, |value| cost(key, value));
        self.0.bytes.fetch_sub(freed, Ordering::Relaxed);
        deleted.is_some()
    }

    /// By the end of the key, where keys differ. Who makes them all alike has only made shards wait for each other's lookups;
    /// within a part a keyed hash keeps them apart.
    fn part(&self, key: &[u8]) -> MutexGuard<'_, Part> {
        let nth = key.iter().rev().take(8).fold(0, |nth, &byte| (31 * nth + usize::from(byte)) % PARTS);
        self.0.parts[nth].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn cost(key: &[u8], value: &Bytes) -> u64 {
    (key.len() + value.len()) as u64 + ENTRY_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_store_keeps_what_it_has_and_takes_what_fits() {
        let value = |length| Bytes::from(vec![b'x'; length]);
        let store = Store::new(2 * (1 + 100 + ENTRY_BYTES));
        assert_eq!(store.set(b"a", value(100)), Ok(()));
        assert_eq!(store.set(b"b", value(101)), Err(Full));
        assert_eq!(store.set(b"b", value(100)), Ok(()));
        assert_eq!(store.set(b"a", value(101)), Err(Full));
        assert_eq!(store.get(b"a"), Some(value(100)), "the old value stays");
        assert_eq!(store.set(b"a", value(99)), Ok(()), "a smaller one fits into its place");
        assert_eq!(store.set(b"c", Bytes::new()), Err(Full));
        assert!(store.delete(b"a") && !store.delete(b"a"));
        assert_eq!(store.set(b"c", value(100)), Ok(()));
        assert!(store.delete(b"b") && store.delete(b"c"));
        assert_eq!(store.0.bytes.load(Ordering::Relaxed), 0, "all is given back");
    }
}
