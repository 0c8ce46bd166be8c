//! heartring's backend in virtual time: scripted peers, no socket, no clock, no thread.
//!
//! A [`World`] holds everything outside the program: the clock, what will happen and when, the kernel's side of every
//! socket, and the peers. A [`SimBackend`] is the program's way into it and keeps the contract of
//! [`Backend`](heartring_core::Backend) to the letter; where the contract leaves a choice, it takes the one that is
//! harder on the caller (an expired lease leaves bytes in the socket, a large message comes in pieces). It asserts the
//! caller's half, clause 3, strictly. Time passes only in `wait`, so a test of hours takes milliseconds, and the same
//! script gives the same completions at the same instants every time.
//!
//! # Example
//!
//! A device beats once and falls silent; the watch expires at exactly its deadline.
//!
//! ```
//! use std::time::Duration;
//!
//! use heartring_core::{
//!     Backend, BackendConfig, Completion, ConnId, Instant, ListenOptions, Op, WatchEnd,
//! };
//! use heartring_sim::SimBackend;
//!
//! let mut backend = SimBackend::new(&BackendConfig::default());
//! let world = backend.world();
//! let listener = backend.listen("[::]:7000".parse().unwrap(), &ListenOptions::default()).unwrap();
//!
//! let device = world.connect(listener.addr);
//! device.send_after(Duration::from_secs(10), b"beat");
//!
//! let conn = ConnId::new(0, 1);
//! backend.submit(Op::Accept { listener: listener.id, conn });
//! backend.wait(None, &mut |_, completion| assert!(matches!(completion, Completion::Accepted { .. }))).unwrap();
//!
//! backend.submit(Op::Recv { conn, deadline: None });
//! backend.wait(None, &mut |now, completion| {
//!     assert!(matches!(completion, Completion::Received { bytes: b"beat", .. }));
//!     assert_eq!(now, Instant::ZERO + Duration::from_secs(10));
//! }).unwrap();
//!
//! backend.submit(Op::Watch { conn, deadline: backend.now() + Duration::from_secs(30) });
//! backend.wait(None, &mut |now, completion| {
//!     assert!(matches!(completion, Completion::WatchEnded { end: WatchEnd::Expired, .. }));
//!     assert_eq!(now, Instant::ZERO + Duration::from_secs(40));
//! }).unwrap();
//! ```
//!
//! # Faults
//!
//! [`World::inject`] has things go wrong by chance, each kind of [`Fault`] with its own odds ([`FaultOdds`]), all from one
//! seed: what is drawn, and when, follows from the order of events, so that a seed repeats a run exactly. Every fault is
//! something that the contract allows a backend; what happened is counted ([`World::fault_counts`]). What a checker must
//! know to judge a verdict can be asked: what a fault of this machine has done to a connection ([`SimPeer::harm`]), when the
//! thread was away ([`World::absences`]), what had arrived ([`SimPeer::arrived_bytes`]).
//!
//! # A tour
//!
//! - [`SimBackend`]: ops in, completions out; checks the caller with `Slots`.
//! - [`World`]: the handle to everything outside; schedules what happens ([`World::at`]) and what goes wrong
//!   ([`World::fail_accepts`], [`World::limit_sends`], [`World::return_early`], [`World::stall`]). Who drives several worlds
//!   in one time asks [`World::next_at`] and uses [`World::advance_to`].
//! - [`SimPeer`]: the other end of one connection, on a `Wire` that can be cut.
//! - `Kernel`, with a `Socket` per connection, the ops `InFlight` on it and an `Inbox` per listener: what a kernel would
//!   do, one event at a time.
//! - `Agenda`: the clock and the events, ordered by instant and then by when they were scheduled.
//! - [`Dice`]: chance, for whoever needs more of it from the same seed.

#![forbid(unsafe_code)]

mod absences;
mod agenda;
mod backend;
mod dice;
mod fault;
mod faults;
mod in_flight;
mod inbox;
mod kernel;
mod odds;
mod peer;
mod slots;
mod socket;
mod waker;
mod wire;
mod world;

pub use backend::SimBackend;
pub use dice::Dice;
pub use fault::{Fault, FaultCounts};
pub use odds::FaultOdds;
pub use peer::{Harm, Saw, SimPeer};
pub use world::World;
