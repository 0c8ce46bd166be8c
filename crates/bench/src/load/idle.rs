//! Devices that connect, say one thing, and nothing more: first a few, then many.

use socket2::Socket;

use super::{Link, LoadPlan, fleet};
use crate::control::{LoadReport, LoadResult};

pub(super) fn drive(plan: &LoadPlan, few: u32, link: &mut Link<'_>) -> Result<(), String> {
    let total = plan.workload.connections();
    let message = plan.workload.message();
    // The list of connections is not to grow while memory is measured.
    let mut conns: Vec<Socket> = Vec::with_capacity(total as usize);
    let connect = |index| {
        fleet::connect(plan, index, &message).map_err(|e| format!("connection {} of {total}: {e}", index + 1))
    };
    for index in 0..few {
        conns.push(connect(index)?);
    }
    (link.report)(LoadReport::Steady);
    if link.begin.recv().is_err() {
        return Ok(());
    }
    (link.report)(LoadReport::Begun);
    for index in few..total {
        conns.push(connect(index)?);
    }
    (link.report)(LoadReport::Ended(LoadResult { units: u64::from(total), ..LoadResult::default() }));
    // They stay until the suite has looked.
    while link.begin.recv().is_ok() {}
    Ok(())
}
