//! heartring's backend on epoll: for machines where io_uring is forbidden, and the opponent in our own benchmark. So it
//! is as good an epoll server as we know how to write.
//!
//! The contract speaks in completions; epoll speaks of readiness. The translation is: try at the start of the next
//! `wait`, park what would block, and try again when an edge says that it may succeed now. From the outside in:
//!
//! - `backend.rs` is the turn: perform what was submitted, sleep, serve what is ready, expire what is overdue.
//!   `backend/ops.rs` says what each op does when it is performed, `backend/readiness.rs` what is done for sockets that
//!   have become ready.
//! - `conns.rs` is the table of connections, 12 bytes per slot: the socket, its generation, and what is known about its
//!   readiness, so that no system call is made in vain.
//! - `listeners.rs` keeps the accepts that core has granted; `deadlines.rs` the watches and leases, of which epoll knows
//!   nothing.
//! - `poller.rs` is epoll itself, and the timer that ends its sleeps.
//!
//! A socket is registered once, edge-triggered, for everything; a message costs one `recv` and its answer one `send`.

mod backend;
mod conns;
mod deadlines;
mod listeners;
mod poller;

pub use backend::EpollBackend;
