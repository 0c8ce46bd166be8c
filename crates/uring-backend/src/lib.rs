//! heartring's backend on io_uring: one ring per shard.
//!
//! [`UringBackend`] implements the contract of [`Backend`](heartring_core::Backend); [`probe`] says beforehand whether it
//! can, and if not, [`Refusal`] says why and what would help. The oldest kernel is 6.1 (`setup.rs` says for what).
//!
//! A turn is one system call: [`wait`](heartring_core::Backend::wait) hands over everything that was submitted, sleeps, and
//! tells what came. The way through the files, from the contract down to the kernel:
//!
//! - `backend.rs`: the turn, and who hears which completion; `listeners.rs`, `receiving.rs`, `sending.rs`,
//!   `examinations.rs` and `closing.rs`: how each op begins and ends; `slots.rs`: what is remembered of a connection;
//!   `waker.rs`: how a ring is woken.
//! - `request_unsafe.rs`: what is asked of the kernel; `completion.rs`: what it says; `user_data.rs`: by which name.
//! - `ring_unsafe.rs`: the queues and the end; `ring_fd_unsafe.rs`: the system call and the sleep; `buffers_unsafe.rs` and
//!   `loans.rs`: the memory that the kernel may touch. `setup.rs` and `refusal.rs`: the beginning.
//!
//! All `unsafe` is in the files that are named for it. Its argument is short: a request points only at memory that the ring
//! owns, and that memory leaves the ring only for the request's final completion, of which there is one.

mod backend;
#[allow(unsafe_code)] // the memory that the kernel fills
mod buffers_unsafe;
mod closing;
mod completion;
mod examinations;
mod listeners;
mod loans;
mod receiving;
mod refusal;
#[allow(unsafe_code)] // entries that point at lent memory
mod request_unsafe;
#[allow(unsafe_code)] // the system call
mod ring_fd_unsafe;
#[allow(unsafe_code)] // handing entries and memory to the kernel
mod ring_unsafe;
mod sending;
mod setup;
mod slots;
mod user_data;
mod waker;

pub use backend::{UringBackend, probe};
pub use refusal::Refusal;
pub use setup::{Descriptors, Features};
