//! A ring without policy, for the bare io_uring contender and the generator: setup, the buffer ring, and one
//! function per operation.
//!
//! What makes it sound is one decision: the memory that the kernel is
//! given lives for ever (receive buffers and their ring are leaked, messages are static), so it outlives every
//! operation, whatever the caller does; and no Rust reference to a buffer is ever made: servers pass them on or
//! copy a few bytes out of them, and the generator only counts.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use io_uring::types::{BufRingEntry, Fd, Fixed, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use socket2::Socket;

/// Operations that a turn can hand over without an extra system call.
const SQ_ENTRIES: u32 = 2048;
/// At 8192 and above the kernel gives its cancellation table all the buckets it has.
const CQ_ENTRIES: u32 = 16_384;
/// One per message under way at a thousand busy connections; more than that would leave the cache.
const BUFFERS: u16 = 1024;
const BUFFER_GROUP: u16 = 0;
/// More completions than a batched wait will ever find, so that the time is what ends it.
const BATCH_COMPLETIONS: usize = 4096;
/// Direct descriptors beyond the connections that were announced.
const SLOTS_SPARE: u32 = 16;
/// The minimal wait needs a longer one to be the minimum of; without it the kernel returns empty-handed.
const IDLE_WAIT: Duration = Duration::from_hours(1);

/// Page-aligned memory, as the kernel wants a buffer ring to be.
#[derive(Clone)]
#[repr(C, align(4096))]
struct Page([u8; 4096]);

/// A message of which the kernel may read the bytes at any time, whenever they were written. It lives for ever.
pub(crate) struct Message {
    bytes: NonNull<u8>,
    len: usize,
}

impl Message {
    pub(crate) fn leak(len: usize) -> &'static Message {
        Box::leak(Box::new(Message { bytes: leak_pages(len), len }))
    }

    /// Changes its first bytes. A send that is under way may take some of the old and some of the new.
    pub(crate) fn write(&self, bytes: &[u8]) {
        let count = bytes.len().min(self.len);
        // SAFETY: the source is a slice of at least `count` bytes; the allocation holds `len` and lives for ever, no Rust
        // reference to it is ever made, and a `Message` stays on its thread (NonNull is neither Send nor Sync), so that
        // nobody else writes. They do not overlap: the slice is not of this memory, to which there are no references.
        unsafe { self.bytes.as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), count) };
    }
}

/// What an operation was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Accept,
    Receive,
    Send,
    Close,
    /// Of a timeout that has failed or run out; the receive that it guards says what became of it.
    Deadline,
    Cancel,
}

/// The end, or one item, of an operation.
pub(crate) struct Completion {
    pub(crate) kind: Kind,
    /// The connection; for accepts it is in `result`.
    pub(crate) slot: u32,
    pub(crate) result: Result<u32, Errno>,
    /// More completions of the same operation will follow.
    pub(crate) more: bool,
    pub(crate) received_buffer: Option<u16>,
    /// Of a send: the buffer it was made from.
    pub(crate) sent_buffer: u16,
}

pub(crate) struct Ring {
    io: IoUring,
    entries: NonNull<BufRingEntry>,
    buffers: NonNull<u8>,
    buffer_bytes: u32,
    /// The next entry to fill; published before the kernel is entered.
    tail: u16,
    free: u16,
    /// SINGLE_ISSUER: the ring stays on the thread that made it.
    not_send: PhantomData<*const ()>,
}

impl Ring {
    pub(crate) fn open(connections: u32, message_bytes: u32) -> io::Result<Ring> {
        let io = build()?;
        io.submitter().register_files_sparse(connections + SLOTS_SPARE)?;
        // At least two cache lines, so that neighbours do not share one.
        let buffer_bytes = message_bytes.next_power_of_two().max(128);
        let entries = leak_pages(usize::from(BUFFERS) * size_of::<BufRingEntry>()).cast();
        let buffers = leak_pages(usize::from(BUFFERS) * buffer_bytes as usize);
        let addr = entries.as_ptr() as u64;
        // SAFETY: `entries` is page-aligned, holds BUFFERS entries, and is leaked, so it stays valid as long as
        // the ring can use it.
        unsafe { io.submitter().register_buf_ring_with_flags(addr, BUFFERS, BUFFER_GROUP, 0) }?;
        let not_send = PhantomData;
        let mut ring = Ring { io, entries, buffers, buffer_bytes, tail: 0, free: 0, not_send };
        (0..BUFFERS).for_each(|buffer| ring.recycle(buffer));
        Ok(ring)
    }

    pub(crate) fn accept(&mut self, listener: &Socket) -> io::Result<()> {
        let accept = opcode::AcceptMulti::new(Fd(listener.as_raw_fd())).allocate_file_index(true).build();
        self.push(accept, Kind::Accept, 0, 0)
    }

    /// What became of an accept: the slot of the client, if there is one. Accepting goes on.
    pub(crate) fn accepted(&mut self, completion: &Completion, listener: &Socket) -> io::Result<Option<u32>> {
        let slot = match completion.result {
            Ok(slot) => Some(slot),
            // The client has left already.
            Err(Errno::CONNABORTED | Errno::INTR) => None,
            Err(error) => return Err(error.into()),
        };
        if !completion.more {
            self.accept(listener)?;
        }
        Ok(slot)
    }

    pub(crate) fn receive(&mut self, slot: u32) -> io::Result<()> {
        self.push(opcode::RecvMulti::new(Fixed(slot), BUFFER_GROUP).build(), Kind::Receive, slot, 0)
    }

    /// Receives what comes first, and nothing more.
    pub(crate) fn receive_once(&mut self, slot: u32) -> io::Result<()> {
        let receive = opcode::Recv::new(Fixed(slot), std::ptr::null_mut(), self.buffer_bytes);
        let receive = receive.buf_group(BUFFER_GROUP).build().flags(squeue::Flags::BUFFER_SELECT);
        self.push(receive, Kind::Receive, slot, 0)
    }

    /// Receives what comes first, but no later than `within` from the submission on: then the receive ends with ECANCELED.
    pub(crate) fn receive_within(&mut self, slot: u32, within: &'static Timespec) -> io::Result<()> {
        self.make_room(2)?;
        let receive = opcode::Recv::new(Fixed(slot), std::ptr::null_mut(), self.buffer_bytes);
        let receive = receive.buf_group(BUFFER_GROUP).build();
        let receive = receive.flags(squeue::Flags::BUFFER_SELECT | squeue::Flags::IO_LINK);
        self.push(receive, Kind::Receive, slot, 0)?;
        let deadline = opcode::LinkTimeout::new(within).build().flags(squeue::Flags::SKIP_SUCCESS);
        self.push(deadline, Kind::Deadline, slot, 0)
    }

    /// Ends the receive of a connection with ECANCELED, unless it ends by itself.
    pub(crate) fn cancel_receive(&mut self, slot: u32) -> io::Result<()> {
        let cancel = opcode::AsyncCancel::new(encode(Kind::Receive, slot, 0)).build();
        self.push(cancel.flags(squeue::Flags::SKIP_SUCCESS), Kind::Cancel, slot, 0)
    }

    /// A copy of the first bytes of a buffer that was received.
    pub(crate) fn front<const BYTES: usize>(&self, buffer: u16) -> [u8; BYTES] {
        assert!(BYTES <= self.buffer_bytes as usize, "a buffer is longer");
        let front = self.buffer(buffer).cast::<[u8; BYTES]>();
        // SAFETY: `buffer` checks the number, every buffer has `buffer_bytes` bytes, which were zeroed when they were
        // leaked, and bytes have no alignment. The kernel may be filling a buffer that was given back; the copy is
        // volatile, and its bytes are numbers, whatever they are.
        unsafe { front.as_ptr().read_volatile() }
    }

    /// Makes `conn` the ring's connection `slot`.
    pub(crate) fn adopt(&mut self, slot: u32, conn: BorrowedFd<'_>) -> io::Result<()> {
        self.io.submitter().register_files_update(slot, &[conn.as_raw_fd()]).map(drop)
    }

    /// Sends a message of which nothing is heard again, unless it fails.
    pub(crate) fn say(&mut self, slot: u32, message: &'static [u8]) -> io::Result<()> {
        let send = opcode::Send::new(Fixed(slot), message.as_ptr(), message.len() as u32).flags(send_flags());
        self.push(send.build().flags(squeue::Flags::SKIP_SUCCESS), Kind::Send, slot, 0)
    }

    /// The same for a message whose bytes change.
    pub(crate) fn say_message(&mut self, slot: u32, message: &'static Message) -> io::Result<()> {
        let send =
            opcode::Send::new(Fixed(slot), message.bytes.as_ptr(), message.len as u32).flags(send_flags());
        self.push(send.build().flags(squeue::Flags::SKIP_SUCCESS), Kind::Send, slot, 0)
    }

    /// Sends the first `count` bytes of `buffer`, which the completion gives back.
    pub(crate) fn send(&mut self, slot: u32, buffer: u16, count: u32) -> io::Result<()> {
        assert!(count <= self.buffer_bytes, "the kernel received more than a buffer holds");
        let bytes = self.buffer(buffer).as_ptr();
        let send = opcode::Send::new(Fixed(slot), bytes, count).flags(send_flags()).build();
        self.push(send, Kind::Send, slot, buffer)
    }

    pub(crate) fn close(&mut self, slot: u32) -> io::Result<()> {
        self.push(opcode::Close::new(Fixed(slot)).build(), Kind::Close, slot, 0)
    }

    /// Receive buffers that the kernel could fill now.
    pub(crate) fn buffers_free(&self) -> u16 {
        self.free
    }

    /// Gives a buffer back to the kernel.
    pub(crate) fn recycle(&mut self, buffer: u16) {
        let index = usize::from(self.tail & (BUFFERS - 1));
        // SAFETY: BUFFERS is a power of two, so `index` is below it, and the allocation holds BUFFERS entries.
        let entry = unsafe { self.entries.add(index) };
        let addr = self.buffer(buffer).as_ptr() as u64;
        // SAFETY: the entry lies inside the leaked allocation, and the kernel does not read it until the tail
        // moves past it; zeroed memory is a valid entry of plain integers.
        let entry = unsafe { &mut *entry.as_ptr() };
        entry.set_addr(addr);
        entry.set_len(self.buffer_bytes);
        entry.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
        self.free += 1;
    }

    /// Hands over what was pushed, and waits for something to complete, and for company if there is time for it.
    pub(crate) fn wait_with(&mut self, batch_within: Duration, into: &mut Vec<Completion>) -> io::Result<()> {
        if batch_within.is_zero() { self.wait(into) } else { self.wait_for_batch(batch_within, into) }
    }

    /// Hands over what was pushed, and waits for something to complete.
    pub(crate) fn wait(&mut self, into: &mut Vec<Completion>) -> io::Result<()> {
        self.publish_buffers();
        let submitted = self.io.submit_and_wait(1);
        self.reap(submitted, into)
    }

    /// The same, but waits for `batch_within` in any case, so that company can arrive.
    fn wait_for_batch(&mut self, batch_within: Duration, into: &mut Vec<Completion>) -> io::Result<()> {
        self.publish_buffers();
        let idle = Timespec::from(IDLE_WAIT);
        let args = SubmitArgs::new().min_wait_usec(batch_within.as_micros() as u32).timespec(&idle);
        let submitted = self.io.submitter().submit_with_args(BATCH_COMPLETIONS, &args);
        self.reap(submitted, into)
    }

    /// The same, but returns after `at_most` even if nothing has completed.
    pub(crate) fn wait_at_most(&mut self, at_most: Duration, into: &mut Vec<Completion>) -> io::Result<()> {
        self.publish_buffers();
        let at_most = Timespec::from(at_most);
        let submitted = self.io.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&at_most));
        self.reap(submitted, into)
    }

    fn reap(&mut self, submitted: io::Result<usize>, into: &mut Vec<Completion>) -> io::Result<()> {
        match submitted.map_err(|e| Errno::from_io_error(&e)) {
            // A full completion queue, a signal, the time: take what is there and come again.
            Ok(_) | Err(Some(Errno::BUSY | Errno::AGAIN | Errno::INTR | Errno::TIME)) => {}
            Err(errno) => return Err(errno.unwrap_or(Errno::IO).into()),
        }
        for entry in self.io.completion() {
            let completion = decode(&entry);
            self.free -= u16::from(completion.received_buffer.is_some());
            into.push(completion);
        }
        Ok(())
    }

    fn publish_buffers(&mut self) {
        // SAFETY: `entries` is the address of the first entry of the buffer ring, and zeroed at least.
        let tail = unsafe { BufRingEntry::tail(self.entries.as_ptr()) };
        // SAFETY: the tail is an aligned u16 in leaked memory. The kernel only loads it, and this thread is the
        // only one that stores to it, always through an atomic.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }

    fn buffer(&self, buffer: u16) -> NonNull<u8> {
        assert!(buffer < BUFFERS, "no such buffer");
        // SAFETY: `buffer` is below BUFFERS, and the allocation holds BUFFERS times `buffer_bytes`.
        unsafe { self.buffers.add(usize::from(buffer) * self.buffer_bytes as usize) }
    }

    /// Hands over what was pushed if `entries` more would not fit: linked ones must go together.
    fn make_room(&mut self, entries: usize) -> io::Result<()> {
        let queue = self.io.submission();
        let room = queue.capacity() - queue.len();
        drop(queue);
        if room < entries {
            self.io.submit()?;
        }
        Ok(())
    }

    fn push(&mut self, op: squeue::Entry, kind: Kind, slot: u32, buffer: u16) -> io::Result<()> {
        let op = op.user_data(encode(kind, slot, buffer));
        self.make_room(1)?;
        // SAFETY: every pointer in an entry that this file builds leads into leaked or static memory, and
        // the descriptors are slots of this ring or the listener, whose reuse could harm no memory.
        unsafe { self.io.submission().push(&op) }.map_err(io::Error::other)
    }
}

/// The kernel goes on until all is sent, so that a short send needs no code anywhere.
fn send_flags() -> i32 {
    (SendFlags::NOSIGNAL.bits() | RecvFlags::WAITALL.bits()).cast_signed()
}

/// A ring as the newest kernel allows: older ones refuse the index array's absence, nothing else.
fn build() -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder.setup_single_issuer().setup_defer_taskrun().setup_submit_all().setup_cqsize(CQ_ENTRIES);
    let newest = builder.clone().setup_no_sqarray().build(SQ_ENTRIES);
    newest.or_else(|_| builder.build(SQ_ENTRIES))
}

fn leak_pages(bytes: usize) -> NonNull<u8> {
    let pages = vec![Page([0; 4096]); bytes.div_ceil(size_of::<Page>())];
    NonNull::from(Box::leak(pages.into_boxed_slice())).cast()
}

/// `user_data`: the kind in the top byte, then the buffer of a send, then the connection.
fn encode(kind: Kind, slot: u32, buffer: u16) -> u64 {
    u64::from(kind as u8) << 56 | u64::from(buffer) << 32 | u64::from(slot)
}

fn decode(entry: &cqueue::Entry) -> Completion {
    let user_data = entry.user_data();
    let kind = match user_data >> 56 {
        0 => Kind::Accept,
        1 => Kind::Receive,
        2 => Kind::Send,
        3 => Kind::Close,
        4 => Kind::Deadline,
        _ => Kind::Cancel,
    };
    Completion {
        kind,
        slot: user_data as u32,
        result: u32::try_from(entry.result()).map_err(|_| Errno::from_raw_os_error(-entry.result())),
        more: cqueue::more(entry.flags()),
        received_buffer: cqueue::buffer_select(entry.flags()),
        sent_buffer: (user_data >> 32) as u16,
    }
}
