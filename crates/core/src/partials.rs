//! Frames that have not arrived whole.
//!
//! A buffer exists only while a frame is partial. Buffers are pooled, and what they hold together is bounded, so that half
//! frames cannot fill the memory.

use crate::deadlines::Tick;

/// A buffer that grew beyond this gives its memory back instead of keeping it in the pool.
const POOLED_BYTES_MAX: usize = 4096;

/// The pool of one shard.
#[derive(Debug)]
pub(crate) struct Partials {
    entries: Vec<Partial>,
    free: Vec<u32>,
    bytes: u64,
    bytes_max: u64,
}

/// The front of a frame.
#[derive(Debug)]
pub(crate) struct Partial {
    bytes: Vec<u8>,
    /// How many of them the decoder has seen.
    seen: usize,
    /// How many bytes there must be before decoding is worth trying again.
    pub(crate) needed: usize,
    /// By when the frame must be complete.
    pub(crate) due: Tick,
}

/// The name of a partial frame in the pool. One of two users of the niche in `Option`, which keeps a connection small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PartialId(std::num::NonZeroU32);

impl PartialId {
    fn of(index: u32) -> Self {
        Self(std::num::NonZeroU32::MIN.saturating_add(index))
    }

    fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

impl Partials {
    pub(crate) fn new(bytes_max: u64) -> Self {
        Self { entries: Vec::new(), free: Vec::new(), bytes: 0, bytes_max }
    }

    /// Keeps `front` as the beginning of a frame; `None` if there is no room.
    pub(crate) fn begin(&mut self, front: &[u8], needed: usize, due: Tick) -> Option<PartialId> {
        if !self.reserve(front.len()) {
            return None;
        }
        let index = self.free.pop().unwrap_or_else(|| {
            self.entries.push(Partial { bytes: Vec::new(), seen: 0, needed: 0, due });
            self.entries.len() as u32 - 1
        });
        let partial = &mut self.entries[index as usize];
        assert!(partial.bytes.is_empty(), "a free buffer is empty");
        partial.bytes.extend_from_slice(front);
        (partial.seen, partial.needed, partial.due) = (front.len(), needed, due);
        Some(PartialId::of(index))
    }

    /// Adds `more` to the frame; false if there is no room.
    pub(crate) fn append(&mut self, id: PartialId, more: &[u8]) -> bool {
        if !self.reserve(more.len()) {
            return false;
        }
        self.entries[id.index()].bytes.extend_from_slice(more);
        true
    }

    /// Keeps the bytes from being decoded until `needed` is set anew. Some of them the decoder has not seen.
    pub(crate) fn hold(&mut self, id: PartialId) {
        let partial = &mut self.entries[id.index()];
        (partial.seen, partial.needed) = (0, usize::MAX);
    }

    pub(crate) fn len(&self, id: PartialId) -> usize {
        self.entries[id.index()].bytes.len()
    }

    pub(crate) fn get_mut(&mut self, id: PartialId) -> &mut Partial {
        &mut self.entries[id.index()]
    }

    /// Whether enough has arrived to decode, and when the frame is due.
    pub(crate) fn is_ripe(&self, id: PartialId) -> bool {
        let partial = &self.entries[id.index()];
        partial.bytes.len() >= partial.needed
    }

    /// When each frame is due, to be moved.
    pub(crate) fn ticks_mut(&mut self) -> impl Iterator<Item = &mut Tick> {
        self.entries.iter_mut().map(|partial| &mut partial.due)
    }

    pub(crate) fn due(&self, id: PartialId) -> Tick {
        self.entries[id.index()].due
    }

    /// Takes the bytes out, so that they can be lent to a handler while it changes other things, with how many of them the
    /// decoder has seen. They go back with [`Partials::put_back`].
    pub(crate) fn take(&mut self, id: PartialId) -> (Vec<u8>, usize) {
        let partial = &mut self.entries[id.index()];
        (std::mem::take(&mut partial.bytes), partial.seen)
    }

    /// Puts the bytes back without the first `used`, which have been decoded. Returns what is left.
    pub(crate) fn put_back(&mut self, id: PartialId, mut bytes: Vec<u8>, used: usize) -> usize {
        bytes.drain(..used);
        self.bytes -= used as u64;
        let left = bytes.len();
        if left == 0 {
            forget(&mut bytes); // The pool may have the buffer back already: its connection can end while it is lent.
        }
        let partial = &mut self.entries[id.index()];
        (partial.bytes, partial.seen) = (bytes, left);
        left
    }

    /// Gives the buffer back to the pool.
    pub(crate) fn release(&mut self, id: PartialId) {
        let bytes = &mut self.entries[id.index()].bytes;
        self.bytes -= bytes.len() as u64;
        forget(bytes);
        self.free.push(id.index() as u32);
    }

    /// Partial frames at present.
    pub(crate) fn open(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    fn reserve(&mut self, more: usize) -> bool {
        let fits = self.bytes + more as u64 <= self.bytes_max;
        if fits {
            self.bytes += more as u64;
        }
        fits
    }
}

/// Empties a buffer for the pool.
fn forget(bytes: &mut Vec<u8>) {
    bytes.clear();
    if bytes.capacity() > POOLED_BYTES_MAX {
        *bytes = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Instant;

    #[test]
    fn a_large_buffer_is_not_kept_although_its_connection_ends_while_it_is_lent() {
        let mut partials = Partials::new(1 << 20);
        let front = vec![0; 2 * POOLED_BYTES_MAX];
        let id = partials.begin(&front, front.len(), Tick::at_or_after(Instant::ZERO)).unwrap();
        let (lent, _) = partials.take(id);
        partials.release(id);
        let used = lent.len();
        partials.put_back(id, lent, used);
        assert_eq!((partials.open(), partials.bytes, partials.entries[0].bytes.capacity()), (0, 0, 0));
    }

    #[test]
    fn bytes_are_counted_until_they_are_used_or_released() {
        let due = Tick::at_or_after(Instant::ZERO);
        let mut partials = Partials::new(10);
        let one = partials.begin(b"abcd", 6, due).unwrap();
        assert!(partials.begin(b"1234567", 8, due).is_none(), "10 bytes are the limit");
        assert!(!partials.is_ripe(one));
        assert!(partials.append(one, b"efg"));
        assert!(partials.is_ripe(one));
        let (bytes, seen) = partials.take(one);
        assert_eq!((bytes.as_slice(), seen), (&b"abcdefg"[..], 4));
        assert_eq!(partials.put_back(one, bytes, 6), 1);
        assert!(partials.append(one, b"123456789") && !partials.append(one, b"x"));
        partials.release(one);
        assert_eq!((partials.open(), partials.bytes), (0, 0));
        let again = partials.begin(b"z", 2, due).unwrap();
        assert_eq!(again, one, "buffers are reused");
    }
}
