//! The receive buffers, which the kernel fills, and the ring through which they are offered to it.
//!
//! Owns the memory of both and its registration. It does not know which connection a buffer was filled for. Invariant: a
//! buffer belongs to the kernel from [`BufferRing::give_back`] until a completion names it, and to us from then until it
//! is given back; it is never in the ring twice.
//!
//! The entries are atomics, so the kernel may read them at any time without a data race, and need no `unsafe`. What
//! remains is the registration and the view of a filled buffer.

use std::cell::UnsafeCell;
use std::io;
use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};

use io_uring::IoUring;

/// `struct io_uring_buf` of the kernel. In the first entry of a ring, `tail` is the ring's tail; elsewhere it means
/// nothing.
#[repr(C)]
struct Entry {
    addr: AtomicU64,
    len: AtomicU32,
    id: AtomicU16,
    tail: AtomicU16,
}

const ENTRIES_PER_PAGE: usize = 256;

/// The kernel wants the ring to begin on a page.
#[repr(C, align(4096))]
struct Page([Entry; ENTRIES_PER_PAGE]);

/// A ring of equal buffers for received bytes.
pub(crate) struct BufferRing {
    pages: Box<[Page]>,
    memory: Box<[UnsafeCell<u8>]>,
    buffers: u16,
    buffer_bytes: usize,
    /// Our copy of the ring's tail: it counts every buffer ever given, and wraps.
    tail: u16,
}

impl BufferRing {
    /// The only group of buffers on a ring.
    pub(crate) const GROUP: u16 = 0;

    /// `buffers` buffers, all of them offered. `buffers` is a power of two, at most 32768.
    pub(crate) fn new(buffers: u16, buffer_bytes: u32) -> Self {
        assert!(buffers.is_power_of_two() && buffer_bytes > 0, "checked with the configuration");
        let page = || Page(std::array::from_fn(|_| Entry::empty()));
        let bytes = usize::from(buffers) * buffer_bytes as usize;
        let mut ring = Self {
            pages: (0..usize::from(buffers).div_ceil(ENTRIES_PER_PAGE)).map(|_| page()).collect(),
            memory: (0..bytes).map(|_| UnsafeCell::new(0)).collect(),
            buffers,
            buffer_bytes: buffer_bytes as usize,
            tail: 0,
        };
        for id in 0..buffers {
            ring.give_back(id);
        }
        ring
    }

    /// Shows the buffers to the kernel.
    pub(crate) fn register(&self, uring: &IoUring) -> io::Result<()> {
        let base = self.pages.as_ptr() as u64;
        let submitter = uring.submitter();
        // SAFETY: `base` is page-aligned, holds `buffers` entries and lives until `unregister`: the owner of `self`
        // (`Ring`) unregisters before it frees, and leaks `self` where it cannot.
        unsafe { submitter.register_buf_ring_with_flags(base, self.buffers, Self::GROUP, 0) }
    }

    /// Takes the buffers of `uring` from the kernel: it picks none of them any more.
    pub(crate) fn unregister(uring: &IoUring) -> io::Result<()> {
        uring.submitter().unregister_buf_ring(Self::GROUP)
    }

    /// How many receives can find a buffer, when all are offered.
    pub(crate) const fn len(&self) -> u16 {
        self.buffers
    }

    /// Shows the first `len` bytes of buffer `id` to `reader` and gives the buffer back.
    ///
    /// # Safety
    ///
    /// A completion has named `id` since it was last given back: until we return, the kernel does not write to it.
    pub(crate) unsafe fn read_and_give_back(&mut self, id: u16, len: usize, reader: impl FnOnce(&[u8])) {
        let start = usize::from(id) * self.buffer_bytes;
        assert!(len <= self.buffer_bytes, "the kernel fills no buffer beyond its end");
        let filled: &[UnsafeCell<u8>] = &self.memory[start..start + len];
        // SAFETY: the bytes are initialised (zeroed at first) and of `len`; nobody writes to them while the slice lives,
        // because the buffer is ours until `give_back`, which needs `&mut self`: upheld by our caller.
        let bytes = unsafe { std::slice::from_raw_parts(filled.as_ptr().cast::<u8>(), len) };
        reader(bytes);
        self.give_back(id);
    }

    fn give_back(&mut self, id: u16) {
        let index = usize::from(self.tail & (self.buffers - 1));
        let start = usize::from(id) * self.buffer_bytes;
        let buffer = &self.memory[start..start + self.buffer_bytes];
        let entry = &self.pages[index / ENTRIES_PER_PAGE].0[index % ENTRIES_PER_PAGE];
        entry.addr.store(buffer.as_ptr() as u64, Ordering::Relaxed);
        entry.len.store(self.buffer_bytes as u32, Ordering::Relaxed);
        entry.id.store(id, Ordering::Relaxed);
        self.tail = self.tail.wrapping_add(1);
        // Release: the kernel, which loads the tail with acquire, must see the entry that it covers.
        self.pages[0].0[0].tail.store(self.tail, Ordering::Release);
    }
}

impl Entry {
    const fn empty() -> Self {
        Self {
            addr: AtomicU64::new(0),
            len: AtomicU32::new(0),
            id: AtomicU16::new(0),
            tail: AtomicU16::new(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_has_the_kernels_layout() {
        assert_eq!(size_of::<Entry>(), 16);
        assert_eq!(std::mem::offset_of!(Entry, id), 12);
        assert_eq!(std::mem::offset_of!(Entry, tail), 14);
        assert_eq!(size_of::<Page>(), 4096);
    }

    #[test]
    fn the_tail_wraps_and_the_entries_follow_it() {
        let mut ring = BufferRing::new(4, 64);
        assert_eq!(ring.tail, 4, "all are offered at first");
        let rounds = u32::from(u16::MAX) + 9;
        for round in 0..rounds {
            let id = (round % 4) as u16;
            let before = ring.tail;
            // SAFETY: no kernel knows this ring.
            unsafe { ring.read_and_give_back(id, 64, |bytes| assert_eq!(bytes.len(), 64)) };
            let entry = &ring.pages[0].0[usize::from(before & 3)];
            assert_eq!(entry.id.load(Ordering::Relaxed), id);
            assert_eq!(ring.pages[0].0[0].tail.load(Ordering::Relaxed), before.wrapping_add(1));
        }
        assert_eq!(ring.tail, (rounds as u16).wrapping_add(4));
    }

    #[test]
    fn buffers_do_not_overlap_and_reach_across_pages() {
        let ring = BufferRing::new(512, 32);
        let address = |id: usize| {
            ring.pages[id / ENTRIES_PER_PAGE].0[id % ENTRIES_PER_PAGE].addr.load(Ordering::Relaxed)
        };
        for id in 1..512 {
            assert_eq!(address(id) - address(id - 1), 32);
        }
    }

    #[test]
    #[should_panic(expected = "beyond its end")]
    fn a_length_beyond_the_buffer_is_refused() {
        // SAFETY: no kernel knows this ring.
        unsafe { BufferRing::new(2, 16).read_and_give_back(0, 17, |_| ()) };
    }
}
