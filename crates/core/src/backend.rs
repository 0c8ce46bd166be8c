//! The contract between core and whatever does its I/O.

use std::any::Any;
use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use crate::id::ListenerId;
use crate::ledger::Ledger;
use crate::listen::ListenOptions;
use crate::op::{Completion, Op};
use crate::time::Instant;

/// Turns [`Op`]s into [`Completion`]s: io_uring, epoll, or a simulator. One per shard, used by one thread.
///
/// The vocabulary is completions only, because that is what io_uring is; the epoll backend emulates it (try, park on
/// EAGAIN, retry on readiness), the simulator schedules it. A loop over a backend is
///
/// ```text
/// loop {
///     shard.end_turn(backend.now(), &mut |op| backend.submit(op));
///     backend.wait(shard.wake_at(), &mut |now, completion| shard.handle(now, completion))?;
/// }
/// ```
///
/// # The contract, clause by clause
///
/// Each clause is a conformance test of the same name that runs on every backend.
///
/// **Ops**
///
/// 1. *`submit_never_completes_inline`*: `submit` does not block or fail. Whatever comes of an op comes out of a later
///    `wait`.
/// 2. *`each_op_has_one_terminal_completion`*: every op gets exactly one, and a `Recv` its items before it. An op that
///    fails at once gets its terminal completion like any other.
/// 3. The caller keeps at most one op of each [`OpKind`](crate::OpKind) in flight per connection, submits a `Watch` only
///    beside a `Recv`, and nothing for a connection before `Accepted` or after `Close`. Backends assert it where it costs
///    nothing. An op is in flight until its terminal completion has been given to the sink.
///
/// **Accepting**
///
/// 4. *`accept_binds_the_reserved_slot`*: `Accepted` names the [`ConnId`](crate::ConnId) of the op and the address that
///    the kernel's accept returned.
/// 5. *`clients_wait_in_the_queue_until_they_are_asked_for`*: no more clients are taken from the kernel's queue than
///    `Accept`s were submitted. A backend never retries a failed accept by itself: core decides, so that no error can
///    make a loop spin. A shortage (`EMFILE`) may fail one of the accepts in flight or all of them.
/// 6. *`unlisten_ends_every_accept_first`*: after `Unlisten` every `Accept` in flight ends (`Accepted`, if a client was
///    already taken, else `AcceptFailed` with `ECANCELED`), then comes `Unlistened`. The kernel resets the clients that
///    are still queued.
///
/// **Receiving**
///
/// 7. *`bytes_arrive_in_order_each_once`*: concatenated, the slices are the peer's stream. No slice is empty.
/// 8. *`end_of_stream_comes_after_every_byte`*: `Eof` or `Failed` comes after all the bytes that arrived before it. A
///    `Recv` after it is allowed and ends the same way, or with a bare `Eof`.
/// 9. *`a_lease_ends_at_its_deadline_never_before`*: a `Recv` with a deadline ends with `Expired` at or after it, whether
///    bytes came or not. No byte is lost between it and the next `Recv`.
/// 10. *`a_flood_does_not_starve_others`*: within one `wait` one connection delivers a bounded number of bytes before the
///     others that are ready have had their turn.
///
/// **Watching**
///
/// 11. *`a_watch_is_ready_when_anything_arrives`*: bytes, a FIN or an error before the deadline end it with `Ready`.
///     It may also end so when bytes of an earlier turn wake it late; it never says `Ready` on a socket that was silent
///     all the while. It may stay in flight although bytes came, if the `Recv` beside it took them first; then it ends
///     at its deadline.
/// 12. *`a_watch_never_expires_early`*: `Expired` comes at or after the deadline.
///
/// **Sending**
///
/// 13. *`a_send_takes_a_prefix_and_returns_the_payload`*: `Sent` counts bytes from the front, at least one, and gives
///     back the same buffer. A full socket buffer parks the op; it does not fail it.
/// 14. *`a_send_to_a_reset_peer_fails`*: with the errno; no signal is raised.
///
/// **Examining, shutting, closing**
///
/// 15. *`examination_sees_unread_bytes`*: the evidence is from a moment between the op and its completion.
/// 16. *`shutdown_keeps_receiving`*: the peer sees our FIN after what was sent; what it sends still arrives. A `Send` that
///     is in flight meanwhile may fail with `EPIPE`.
/// 17. *`close_joins_every_op_first`*: after `Close`, each op in flight gets its terminal completion, possibly a success,
///     possibly after more `Received`; then comes `Closed`, and after it nothing of that id.
/// 18. *`abortive_close_resets_the_peer`*: the peer reads ECONNRESET and this kernel keeps nothing.
/// 19. *`orderly_close_delivers_what_was_sent`*: the peer reads every sent byte, then end of stream, provided that
///     everything it had sent was read.
/// 20. *`a_slot_is_free_after_closed`*: the slot may be accepted into again at once under a new generation, and nothing
///     of the old one reaches it.
///
/// **Waiting**
///
/// 21. *`wait_returns_at_until`*: `wait` returns when there were completions, when `until` has come, or when it was woken;
///     it may return early with nothing. `None` waits without a bound.
/// 22. *`one_instant_per_batch`*: the instants given to the sink are read after the thread woke and never go back.
///     [`Backend::now`] continues from the last of them, and has reached `until` when `wait` returns because of it.
/// 23. *`a_wake_is_never_lost`*: a `wake` from any thread, before or during a `wait`, leads to a `Woken`; several may
///     share one, and none comes without a `wake`.
///
/// 24. *`a_ring_from_another_backend_is_a_wake`*: [`Backend::ring`] wakes the other, of whatever kind it is and on whatever
///     thread, in the ringer's next `wait` at the latest, or in its end. A backend can ring itself. Ringing one that has
///     ended does nothing, and keeps nothing of it.
///
/// **The end**
///
/// 25. *`the_ledger_returns_to_zero`*: [`Backend::ledger`] counts ops in flight per kind and open sockets; after the last
///     terminal completion all are zero.
/// 26. *`dropping_a_backend_frees_its_sockets`*: at any moment, without undefined behaviour and without leaking a
///     descriptor.
pub trait Backend {
    /// A short name for logs and reports: `uring`, `epoll` or `sim`.
    fn name(&self) -> &'static str;

    /// Opens a listening socket that accepts nothing until the first [`Op::Accept`].
    ///
    /// # Errors
    ///
    /// What the kernel says to socket, setsockopt, bind or listen: for example `EADDRINUSE`, `EADDRNOTAVAIL`, `EACCES`.
    fn listen(&mut self, addr: SocketAddr, options: &ListenOptions) -> io::Result<Listener>;

    /// The instant of the current turn: read once when `wait` returned from the kernel.
    fn now(&self) -> Instant;

    /// Takes an op on. It may be handed to the kernel only in the next `wait`, with all the others of the turn.
    fn submit(&mut self, op: Op);

    /// Hands the submitted ops to the kernel, sleeps until there is something to tell or `until` has come, and tells it.
    ///
    /// # Errors
    ///
    /// Only when the backend itself is broken (its ring or epoll descriptor fails): the shard cannot go on.
    fn wait(
        &mut self,
        until: Option<Instant>,
        sink: &mut impl FnMut(Instant, Completion<'_>),
    ) -> io::Result<()>;

    /// A handle with which other threads end a `wait`.
    fn waker(&self) -> Arc<dyn Wake>;

    /// Wakes another backend from this one's thread. It may be handed to the kernel only in the next `wait`, with the ops of
    /// the turn, where that saves a system call (two rings on one kernel send each other messages).
    fn ring(&mut self, other: &Arc<dyn Wake>) {
        other.wake();
    }

    /// The socket of a listener, for those who watch its queue from another thread. `None` where there is no socket, or no
    /// longer.
    ///
    /// They may shut it, and listen on it again: meanwhile accepts fail with `EINVAL` or wait, and then bring clients as
    /// before (*`a_listener_that_was_shut_and_reopened_accepts_again`*). A second descriptor keeps it open beyond
    /// `Unlistened`.
    fn listening_socket(&self, listener: ListenerId) -> Option<BorrowedFd<'_>> {
        let _ = listener;
        None
    }

    /// What is open and in flight.
    fn ledger(&self) -> Ledger;
}

/// Ends the `wait` of a backend from another thread. Waking a backend that no longer exists does nothing.
///
/// `Any`, so that a backend recognises its own kind in [`Backend::ring`].
pub trait Wake: Any + Send + Sync {
    /// Makes the current or the next `wait` deliver [`Completion::Woken`].
    fn wake(&self);
}

/// A listening socket that a backend has opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its name in [`Op::Accept`] and [`Op::Unlisten`].
    pub id: ListenerId,
    /// Where it listens, with the port that the kernel chose if it was asked to (port 0).
    pub addr: SocketAddr,
}
