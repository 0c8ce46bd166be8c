//! The benchmark suite of heartring: what knowing who is there costs, against the bare limit and against the runtimes.
//!
//! A run is a list of *rounds*; in every round each *contender* (a server in a fresh process) is measured
//! once, in rotating order, under a *workload* that a load generator drives from another process on another
//! core. The cost is the server process's own CPU time over a window in which all connections are up and
//! warm, divided by the units of work that the generator counted in that window. Contenders are compared
//! pair by pair within a round, so that a machine that is slow for a minute is slow for both. `docs/benchmarks.md` says it
//! at length.
//!
//! Where things are:
//!
//! - [`BenchArgs`] and [`run`]: the command line (`args`), what it means (`asked`, `panels`), what is refused (`limits`), and the
//!   two roles in which the program starts itself.
//! - `workload`, `plan`: what is done, and what a child process is told about it.
//! - `contender`, `roster`, `contenders/`: who is measured, who takes part in what, and one file per server. `service`: the
//!   thread it runs on. `serve`: its process.
//! - [`server`]: for contenders that are programs of their own, so that nothing of them reaches a user of the library.
//! - `load`, `load/`: the generator. `load/window`: the one place that decides what counts.
//! - `bench`, `suite`, `measurement`, `child`, `control`: runs, rounds, one measurement, processes and what they say.
//! - `transport`: the loopback device. `machine`: the machine that a report is about.
//! - `sample`, `tally`, `statistics`, `verdict`: from what was counted to metrics, medians, ratios, and what may be concluded.
//! - `report`: the report as data, and all that `table` (terminal), `page` (web) and `compare` know; `outlet`: where it goes.
//! - `ring_unsafe`, `namespace_unsafe`, `port_unsafe`: all unsafe code.

mod args;
mod asked;
mod bench;
mod child;
mod clock;
mod compare;
mod contender;
mod contenders;
mod control;
mod error;
mod limits;
mod load;
mod machine;
mod measurement;
mod metric;
#[allow(unsafe_code)] // a network of the suite's own
mod namespace_unsafe;
mod outlet;
mod page;
mod panels;
mod picture;
mod plan;
#[allow(unsafe_code)] // a socket option
mod port_unsafe;
mod process;
mod progress;
mod report;
#[allow(unsafe_code)] // the bare contender and the generator: entries that point at their own buffers
mod ring_unsafe;
mod roster;
mod sample;
mod serve;
pub mod server;
mod service;
mod statistics;
mod suite;
mod table;
mod tally;
mod transport;
mod trial;
mod verdict;
mod wariness;
mod words;
mod workload;

pub use args::{BenchArgs, run};
pub use error::Error;
