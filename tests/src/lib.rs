//! Helpers of the integration tests.
//!
//! The conformance tests drive a backend through a [`Rig`], which knows how to be its client, and a [`Run`], which
//! submits, waits and lets a [`Model`] of the contract judge every completion of every test.

mod rig;
mod rig_alone;
mod rig_model;
mod rig_patience;
mod rig_run;
mod rig_sim;
mod rig_tcp;

pub use rig::{End, Peer, Rig};
pub use rig_alone::{alone, descriptors_open};
pub use rig_model::{Conn, Model};
pub use rig_patience::Patience;
pub use rig_run::{Run, on, pattern};
pub use rig_sim::{SimRig, SimRigPeer};
pub use rig_tcp::{EpollRig, TcpPeer, UringRig};
