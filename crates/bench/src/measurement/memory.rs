//! What one more idle connection costs: the slope between two counts of connections, of the server's resident memory and of
//! what the kernel holds.
//!
//! The kernel's share is read system-wide, because that is where it is: it counts both ends of every connection, and what
//! clients' ends cost is taken off in `tally`.

use std::time::Duration;
use std::{fs, thread};

use super::{CONNECT, blame, ended, expect_steady, start_server};
use crate::child::{Child, ChildError, Interrupt};
use crate::contender::Contender;
use crate::control::{Command, LoadReport};
use crate::metric::Metric;
use crate::sample::Sample;
use crate::suite::Setup;

/// What the kernel frees, it frees a little later, and what it takes it first takes in advance. So a value counts when it is
/// found a second time.
const SETTLE_EVERY: Duration = Duration::from_millis(100);
const SETTLE_LOOKS: u32 = 20;
/// Two looks that differ by less than this are the same: four pages per thousand connections.
const SETTLED_BYTES: u64 = 64 * 1024;

/// Fields of `/proc/meminfo` that are the kernel's own, beside `Slab`, where sockets, files and requests are: `VmallocUsed` and
/// `PageTables` for tables, `KernelStack` for threads.
const KERNEL_FIELDS: [&str; 3] = ["VmallocUsed", "PageTables", "KernelStack"];

#[derive(Debug, Clone, Copy)]
pub(super) struct Footprint {
    pub(super) user: u64,
    pub(super) kernel: u64,
}

/// `more` connections come between two looks.
pub(super) fn measure(
    setup: &Setup,
    more: u32,
    contender: Contender,
    interrupt: &Interrupt,
) -> Result<Sample, ChildError> {
    let (mut server, plan) = start_server(setup, contender, interrupt)?;
    let mut load = Child::start("load", &plan, interrupt)?;
    expect_steady(&mut server, &mut load, &plan)?;
    let before = Footprint::settled(server.id())?;
    load.command(Command::Begin)?;
    let report = load.report(CONNECT)?;
    let LoadReport::Begun = report else { return Err(blame(&mut server, &report)) };
    ended(&mut server, &mut load, CONNECT)?;
    let after = Footprint::settled(server.id())?;
    let per_connection = |before: u64, after: u64| (after as f64 - before as f64) / f64::from(more);
    let mut sample = Sample::default();
    sample.extend([
        (Metric::UserBytes, per_connection(before.user, after.user)),
        (Metric::KernelBytesBothEnds, per_connection(before.kernel, after.kernel)),
    ]);
    Ok(sample)
}

impl Footprint {
    /// When it has stopped to change, or after two seconds.
    pub(super) fn settled(server: u32) -> Result<Footprint, ChildError> {
        let mut last = Footprint::now(server)?;
        for _ in 0..SETTLE_LOOKS {
            thread::sleep(SETTLE_EVERY);
            let next = Footprint::now(server)?;
            let moved = next.kernel.abs_diff(last.kernel).max(next.user.abs_diff(last.user));
            last = next;
            if moved < SETTLED_BYTES {
                break;
            }
        }
        Ok(last)
    }

    fn now(server: u32) -> Result<Footprint, ChildError> {
        let path = format!("/proc/{server}/smaps_rollup");
        let failed = |path: &str| ChildError::Failed(format!("{path} says nothing about memory"));
        let user = fs::read_to_string(&path).ok().and_then(|text| bytes_in(&text, "Rss"));
        let kernel = kernel_bytes().ok_or_else(|| failed("/proc/meminfo"));
        Ok(Footprint { user: user.ok_or_else(|| failed(&path))?, kernel: kernel? })
    }
}

fn kernel_bytes() -> Option<u64> {
    let meminfo = fs::read_to_string("/proc/meminfo").ok()?;
    let rest: Option<u64> = KERNEL_FIELDS.iter().map(|name| bytes_in(&meminfo, name)).sum();
    let slabs = fs::read_to_string("/proc/slabinfo").ok().and_then(|text| bytes_of_objects(&text));
    // Only root reads slabinfo. `Slab` counts what the last measurement has left behind in half-empty slabs as well, so that a
    // slope is too flat.
    Some(rest? + slabs.or_else(|| bytes_in(&meminfo, "Slab"))?)
}

/// What the objects in use take, each with its share of its slab. A line is `name active_objs num_objs objsize objperslab
/// pagesperslab : …` (slabinfo(5), version 2.1).
///
/// Without the inodes of `/proc` and what comes with each: whoever looks at the descriptors of all processes, as monitors do,
/// makes one per connection.
fn bytes_of_objects(slabinfo: &str) -> Option<u64> {
    let lines = slabinfo.lines().filter(|line| !line.starts_with('#') && !line.starts_with("slabinfo"));
    let caches: Vec<Cache<'_>> = lines.map(Cache::read).collect::<Option<_>>()?;
    let of = |name: &str| caches.iter().find(|cache| cache.name == name);
    let proc_inodes = of("proc_inode_cache").map_or(0, |cache| cache.active);
    let with_inode = ["proc_inode_cache", "dentry", "lsm_inode_cache"].into_iter().filter_map(of);
    let looked_at: u64 = with_inode.map(|cache| cache.bytes(proc_inodes)).sum();
    let all: u64 = caches.iter().map(|cache| cache.bytes(cache.active)).sum();
    Some(all.saturating_sub(looked_at))
}

struct Cache<'a> {
    name: &'a str,
    active: u64,
    per_slab: u64,
    pages: u64,
}

impl Cache<'_> {
    fn read(line: &str) -> Option<Cache<'_>> {
        let mut words = line.split_whitespace();
        let name = words.next()?;
        let numbers: Vec<u64> = words.map_while(|word| word.parse().ok()).collect();
        let [active, _, _, per_slab, pages] = numbers[..] else { return None };
        Some(Cache { name, active, per_slab: per_slab.max(1), pages })
    }

    fn bytes(&self, objects: u64) -> u64 {
        objects * self.pages * rustix::param::page_size() as u64 / self.per_slab
    }
}

/// The field `name` of a text with lines of `name: N kB`.
fn bytes_in(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "SReclaimable:  7 kB\nSlab:     123 kB\nRss: 4 kB\n";
        assert_eq!(bytes_in(text, "Slab"), Some(123 * 1024));
        assert_eq!(bytes_in(text, "Rss"), Some(4096));
        assert_eq!(bytes_in(text, "Sla"), None);
    }

    #[test]
    fn objects_in_use_count_with_their_share_of_a_slab() {
        let text = "slabinfo - version: 2.1\n# name <active_objs> ...\n\
                    TCP 10 40 2560 12 8 : tunables 0 0 0 : slabdata 1 1 0\n\
                    filp 5 16 192 21 1 : tunables 0 0 0 : slabdata 1 1 0\n";
        let page = rustix::param::page_size() as u64;
        assert_eq!(bytes_of_objects(text), Some(10 * 8 * page / 12 + 5 * page / 21));
        assert_eq!(bytes_of_objects("gibberish\n"), None);
    }

    #[test]
    fn who_looks_at_descriptors_is_not_counted() {
        let text = |inodes: u64| {
            let dentries = 100 + inodes;
            format!("dentry {dentries} 900 192 21 1 : x\nproc_inode_cache {inodes} 900 680 24 4 : x\n")
        };
        assert_eq!(bytes_of_objects(&text(0)), bytes_of_objects(&text(21 * 24)));
    }

    #[test]
    fn this_machine_has_every_field() {
        let footprint = Footprint::now(std::process::id()).unwrap();
        assert!(footprint.user > 0 && footprint.kernel > 0, "{footprint:?}");
    }
}
