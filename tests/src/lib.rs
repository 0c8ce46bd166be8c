//! Helpers of the integration tests.
//!
//! The conformance tests drive a backend through a [`Rig`], which knows how to be its client, and a [`Run`], which
//! submits, waits and lets a [`Model`] of the contract judge every completion of every test.
//!
//! The scenario tests start a whole gateway as a [`GatewayProbe`], play its [`Device`]s, and, where the network itself has to
//! fail, put a [`Wire`] between the two.

mod cpu_time;
mod crowd;
mod device;
mod dice;
mod gate;
mod gateway_child;
mod gateway_log;
mod gateway_probe;
mod gateway_script;
mod kernel_table;
mod namespace;
mod own_network;
#[allow(unsafe_code)] // namespaces and seccomp
mod privileged_unsafe;
mod requirement;
mod rig;
mod rig_alone;
mod rig_model;
mod rig_patience;
mod rig_run;
mod rig_sim;
mod rig_tcp;
mod vanish;

pub use cpu_time::cpu_time;
pub use crowd::{Crowd, Dispersed};
pub use device::{Device, Fleet, kernel_forgets, kernel_states};
pub use dice::Dice;
pub use gate::Gate;
pub use gateway_child::{ChildEnd, ChildStats, GatewayChild};
pub use gateway_log::{Absence, Entry, Event, Log};
pub use gateway_probe::{GatewayProbe, On};
pub use gateway_script::{Framing, PingLines};
pub use kernel_table::{
    TcpState, accept_queues, client_sockets, eventually, gateway_sockets, gateway_states, network_counter,
};
pub use namespace::{FAR, NEAR, Wire};
pub use own_network::{add_address, in_own_network, run_rootless};
pub use privileged_unsafe::forbid_io_uring;
pub use requirement::skip;
pub use rig::{End, Peer, Rig};
pub use rig_alone::{alone, descriptors_open};
pub use rig_model::{Conn, Model};
pub use rig_patience::Patience;
pub use rig_run::{Run, on, pattern};
pub use rig_sim::{SimFaulty, SimRig, SimRigPeer, on_seeds};
pub use rig_tcp::{Epoll, Kind, TcpPeer, TcpRig, Uring, UringPlain};
pub use vanish::vanish;
