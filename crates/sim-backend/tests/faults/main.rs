//! The faults, each alone: it happens, and it stays within what the contract allows. Then all together, from seeds.

mod accepting;
mod closing;
mod receiving;
mod replaying;
mod sending;
mod stage;
mod time;
mod waiting;
mod watching;
mod wire;
