//! A measurement in small, for tests: the load generator in this process, unpinned, against a server that listens already. What
//! is counted must add up, not be fast.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::control::{LoadReport, LoadResult};
use crate::load::{self, Link};
use crate::plan::{Engine, LoadPlan};
use crate::ring_unsafe::Ring;
use crate::workload::Workload;

/// How long is measured.
pub(crate) const WINDOW: Duration = Duration::from_millis(300);

/// A deadline that is not reached in it.
#[cfg(test)]
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// Whether this process may have a ring.
pub fn has_io_uring() -> bool {
    Ring::open(1, 1).is_ok()
}

/// Plays the devices of `workload` for [`WINDOW`], or until all that are to die have died.
///
/// # Errors
///
/// What the server did that no measurement can go on with.
pub(crate) fn run(
    server: SocketAddr,
    workload: Workload,
    hangs_up: bool,
    engine: Engine,
    dead_within: Duration,
) -> Result<LoadResult, String> {
    let (warmup, window) = (Duration::from_millis(50), WINDOW);
    let plan = LoadPlan {
        workload,
        server,
        hangs_up,
        core: 0,
        engine,
        congestion: None,
        warmup,
        window,
        dead_within,
        devices: None,
    };
    let (begin, begun) = mpsc::channel();
    let (reports, reported) = mpsc::channel();
    let generator = thread::spawn(move || {
        load::drive(&plan, Link { begin: begun, report: &mut |report| drop(reports.send(report)) })
    });
    begin.send(()).expect("the generator listens until it ends");
    let ended = reported.iter().find_map(|report| match report {
        LoadReport::Ended(result) => Some(result),
        LoadReport::Steady | LoadReport::Begun | LoadReport::Failed { .. } => None,
    });
    drop(begin);
    generator.join().map_err(|_| String::from("the generator panicked"))??;
    ended.ok_or_else(|| "no result".into())
}
