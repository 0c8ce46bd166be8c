//! What a conformance test needs beside the backend under test: clients, a second clock, and a way to starve it.

use std::net::SocketAddr;
use std::time::Duration;

use heartring_core::{Backend, BackendConfig, Instant};

/// A backend under test and the world around it.
pub trait Rig: Sized {
    /// The backend under test.
    type Backend: Backend;
    /// A client of it.
    type Peer: Peer;

    /// The name of the backend, and of the module that its tests are in.
    const NAME: &'static str;

    /// Whether [`starve`](Self::starve) makes accepts fail; a backend that needs no descriptor goes on.
    const STARVES: bool;

    /// Makes the backend.
    ///
    /// # Errors
    ///
    /// Why this machine does not have it.
    fn open(config: &BackendConfig) -> Result<Self, String>;

    /// The backend.
    fn backend(&mut self) -> &mut Self::Backend;

    /// The backend's clock, read without the backend.
    fn clock(&self) -> Instant;

    /// Connects a client. It reads nothing until [`Peer::read`].
    fn connect(&mut self, listener: SocketAddr) -> Self::Peer;

    /// Keeps the backend's thread away for `duration`; what was handed to the kernel before goes on.
    fn stall(&mut self, duration: Duration);

    /// Takes from this process what an accept needs, for the next `accepts` of them. Run it [`alone`](crate::alone).
    fn starve(&mut self, accepts: usize);

    /// Gives it back.
    fn feed(&mut self);

    /// Whether this kernel still has a socket that serves `peer`.
    fn kernel_keeps(&self, listener: SocketAddr, peer: SocketAddr) -> bool;
}

/// How the stream from the backend looks to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It goes on.
    Open,
    /// End of stream.
    Eof,
    /// ECONNRESET.
    Reset,
}

/// A client of the backend under test. Nothing here blocks.
pub trait Peer {
    /// Its own address.
    fn addr(&self) -> SocketAddr;

    /// Sends from the front of `bytes` what the socket takes.
    fn write(&mut self, bytes: &[u8]) -> usize;

    /// Sends `bytes` after `delay`, on the backend's clock, also while the caller is in `wait`.
    fn write_after(&mut self, delay: Duration, bytes: &[u8]);

    /// Shuts its sending side.
    fn fin(&mut self);

    /// Closes in order. What was read before is still there.
    fn close(&mut self);

    /// Closes with RST.
    fn reset(&mut self);

    /// Reads what is there and returns everything read so far.
    fn read(&mut self) -> &[u8];

    /// Reads what is there and says how the stream looks.
    fn end(&mut self) -> End;
}
