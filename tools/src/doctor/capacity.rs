//! Whether there is room for the connections: descriptors, memory, threads.

use heartring::preflight::Home;

use super::finding::{Finding, Judgement, Section, Verdict, bytes};
use super::machine::{Machine, Read};
use super::settings::{SHARDS_MAX, Settings};

/// Of an idle connection on the dearer backend, io_uring: the kernel's socket and parked requests, and our own record.
const IDLE_CONN_BYTES: u64 = 5000;

/// Threads per shard: its own, and the kernel's workers of its ring, of which there are three at the most.
const THREADS_PER_SHARD: u64 = 4;
/// The program's own: main, signals, watchdog.
const THREADS_BESIDES: u64 = 3;

/// `ulimit -n` is advised in steps of this.
const DESCRIPTORS_STEP: u64 = 1024;

pub(crate) fn section(machine: &Machine, settings: &Settings) -> Section {
    let always = [
        conns_max(settings),
        nofile(machine, settings),
        nr_open(machine, settings),
        file_max(machine, settings),
        tcp_mem(machine, settings),
        memory(machine, settings),
    ];
    let where_they_bind = [pids(machine, settings), overcommit(machine, settings)];
    Section {
        subject: "room for the connections",
        findings: always.into_iter().chain(where_they_bind.into_iter().flatten()).collect(),
    }
}

fn conns_max(settings: &Settings) -> Finding {
    let conns = settings.conns;
    let each = settings.conns_per_shard();
    let most = settings.config.limits.conns_per_shard_max;
    let judgement = if each > most {
        let enough = conns.div_ceil(most);
        Judgement::fail(format!(
            "{each} a shard, and a shard takes {most}: cancelling one op walks a chain that grows with them"
        ))
        .set(format!("--shards {enough}, or fewer connections"))
    } else {
        Judgement::ok(format!("{each} a shard, which takes up to {most}"))
    };
    Finding::new("conns_max", format!("{conns} on {}", settings.shards_in_words()), judgement)
}

fn nofile(machine: &Machine, settings: &Settings) -> Finding {
    let show = |limit: Option<u64>| limit.map_or("unlimited".into(), |n: u64| n.to_string());
    let (soft, hard) = (machine.nofile.current, machine.nofile.maximum);
    let value = format!("{} soft, {} hard", show(soft), show(hard));
    let limit = hard.unwrap_or(u64::MAX);
    let judgement = match without_shard_limit(settings).room_within(limit) {
        Ok(_) => Judgement::ok(format!(
            "{}: {} fit{}",
            match settings.home {
                Home::Ring => "each ring has a table of its own of this size",
                Home::Process => "all shards share one table of this size",
            },
            settings.conns,
            if soft == hard { "" } else { "; the gateway raises the soft limit to the hard one itself" },
        )),
        Err(refusal) => Judgement::fail(refusal.to_string()).set(more_descriptors(settings, limit)),
    };
    Finding::new("RLIMIT_NOFILE", value, judgement)
}

/// The limit of a shard is another finding. A gateway that was given no number takes what fits, and would not say what
/// it needs.
fn without_shard_limit(settings: &Settings) -> Settings {
    let mut settings = settings.clone();
    settings.config.limits.conns_max = Some(settings.conns.max(1));
    settings.config.limits.conns_per_shard_max = u32::MAX;
    settings
}

fn more_descriptors(settings: &Settings, limit: u64) -> String {
    let enough = descriptors_needed(settings).next_multiple_of(DESCRIPTORS_STEP);
    let raise = format!("ulimit -n {enough} (systemd: LimitNOFILE={enough})");
    match more_shards(settings, limit) {
        Some(shards) => format!("{raise}, or --shards {shards}"),
        None => raise,
    }
}

/// More rings have more tables; only that helps without more descriptors.
fn more_shards(settings: &Settings, limit: u64) -> Option<u16> {
    let mut more = without_shard_limit(settings);
    (settings.shards + 1..=SHARDS_MAX).find(|&shards| {
        more.shards = shards;
        more.room_within(limit).is_ok()
    })
}

/// The least RLIMIT_NOFILE with which the gateway starts: found by asking it, so that one place knows how it counts.
fn descriptors_needed(settings: &Settings) -> u64 {
    let settings = without_shard_limit(settings);
    let (mut refused, mut enough) = (0, 1 << 33);
    while enough - refused > 1 {
        let middle = u64::midpoint(refused, enough);
        match settings.room_within(middle) {
            Ok(_) => enough = middle,
            Err(_) => refused = middle,
        }
    }
    enough
}

fn nr_open(machine: &Machine, settings: &Settings) -> Finding {
    let name = "fs.nr_open";
    let needed = descriptors_needed(settings);
    Finding::judge(name, machine.number::<u64>(name), |most| {
        if most < needed {
            Judgement::warn(format!(
                "RLIMIT_NOFILE cannot be raised above this, and the gateway needs {needed}"
            ))
            .set(format!("sysctl -w fs.nr_open={}", needed.next_multiple_of(DESCRIPTORS_STEP)))
        } else {
            Judgement::ok(format!("RLIMIT_NOFILE can be raised up to this; the gateway needs {needed}"))
        }
    })
}

/// Direct descriptors have no number in the process, and are open files all the same.
fn file_max(machine: &Machine, settings: &Settings) -> Finding {
    let name = "fs.file-max";
    let open = machine.numbers::<u64, 3>("fs.file-nr").map_or(0, |([open, ..], _)| open);
    let conns = u64::from(settings.conns);
    Finding::judge(name, machine.number::<u64>(name), |most| {
        let expected = open.saturating_add(conns);
        if most < expected {
            Judgement::warn(format!("{open} files are open on this machine and {conns} connections come to it: accept would fail with ENFILE"))
                .set(format!("sysctl -w fs.file-max={}", expected.saturating_mul(2)))
        } else {
            Judgement::ok(format!("{open} are open on this machine, {conns} connections come to it"))
        }
    })
}

/// Pages of queued data of all sockets of the machine. One queued byte in each direction costs a connection two.
fn tcp_mem(machine: &Machine, settings: &Settings) -> Finding {
    let name = "net.ipv4.tcp_mem";
    let read: Read<[u64; 3]> = machine.numbers(name);
    if let Err(unread) = &read {
        let why = "only the machine's first network namespace shows it, and it holds for all: look there";
        return Finding::unread(name, unread, why);
    }
    let conns = u64::from(settings.conns.max(1));
    Finding::judge(name, read, |[_, pressure, high]| {
        let raise = format!("sysctl -w net.ipv4.tcp_mem='{} {} {}'", 2 * conns, 3 * conns, 4 * conns);
        let each = high / conns;
        if high < 2 * conns {
            Judgement::warn(format!("{high} pages of queued data for {conns} connections: above it the kernel drops what arrives, and a message in each direction takes {}", 2 * conns)).set(raise)
        } else if pressure < 2 * conns {
            Judgement::note(format!("from {pressure} pages on the kernel shrinks the buffers of {conns} connections, which with a message in each direction hold {}", 2 * conns)).set(raise)
        } else {
            Judgement::ok(format!("{each} pages of queued data for each of {conns} connections"))
        }
    })
}

fn memory(machine: &Machine, settings: &Settings) -> Finding {
    let bound = machine.memory.clone().map(|bound| bound.limit);
    let total = machine.memory_total();
    // The machine is the outermost group.
    let tightest = match (bound, total) {
        (Ok(Some((limit, file))), total) if total.as_ref().map_or(true, |&total| limit < total) => {
            Ok((limit, format!("{} ({})", bytes(limit), file.display())))
        }
        (_, Ok(total)) => Ok((total, format!("{} (no tighter cgroup)", bytes(total)))),
        (_, Err(unread)) => Err(unread),
    };
    Finding::judge("memory", tightest, |limit| memory_of(limit, settings))
}

fn memory_of(limit: u64, settings: &Settings) -> Judgement {
    let conns = u64::from(settings.conns);
    let idle = conns * IDLE_CONN_BYTES;
    let queues = conns * u64::from(settings.config.limits.send_queue_bytes_max);
    let needs = format!("{conns} idle connections take about {}", bytes(idle));
    if idle > limit {
        Judgement::fail(format!("{needs}: the kernel would kill the gateway before it has them"))
            .set("a higher memory limit, or a lower --conns-max")
    } else if idle > limit / 2 {
        Judgement::warn(format!("{needs}, more than half, and none has sent anything yet"))
            .set("a higher memory limit, or a lower --conns-max")
    } else if idle + queues > limit {
        Judgement::note(format!(
            "{needs}; if all of them stopped reading at once, their send queues would take {}",
            bytes(queues)
        ))
        .set(format!(
            "Limits::send_queue_bytes_max up to {}, if that can happen",
            (limit - idle) / conns.max(1)
        ))
    } else {
        Judgement::ok(format!("{needs}, full send queues {} more", bytes(queues)))
    }
}

fn pids(machine: &Machine, settings: &Settings) -> Option<Finding> {
    let (most, file) = machine.pids.as_ref().ok()?.limit.clone()?;
    let needed = u64::from(settings.shards) * THREADS_PER_SHARD + THREADS_BESIDES;
    let judgement = if most < needed {
        Judgement::warn(format!("{} may take {needed} threads", settings.shards_in_words())).set(format!(
            "echo {} > {}",
            2 * needed,
            file.display()
        ))
    } else {
        Judgement::ok(format!("{} may take {needed} threads", settings.shards_in_words()))
    };
    Some(Finding::new("threads (pids.max)", most, judgement))
}

/// Strict accounting charges what is reserved, not what is used, and says ENOMEM early.
fn overcommit(machine: &Machine, settings: &Settings) -> Option<Finding> {
    let name = "vm.overcommit_memory";
    let (2, text) = machine.number::<u64>(name).ok()? else { return None };
    let ratio = machine.text("vm.overcommit_ratio").unwrap_or_else(|unread| unread.to_string());
    let tables = bytes(u64::from(settings.conns) * IDLE_CONN_BYTES);
    let meaning = format!(
        "strict accounting, vm.overcommit_ratio {ratio}: memory that is only reserved counts, and the gateway may hear ENOMEM before its {tables} are used"
    );
    Some(Finding::new(
        name,
        text,
        Judgement::new(Verdict::Note, meaning).set("sysctl -w vm.overcommit_memory=0"),
    ))
}

#[cfg(test)]
mod tests {
    use heartring::BackendChoice;
    use rustix::process::Rlimit;

    use super::super::cgroup::Bound;
    use super::super::machine::Unread;
    use super::*;

    fn with_nofile(limit: u64) -> Machine {
        let mut machine = Machine::healthy();
        machine.nofile = Rlimit { current: Some(limit.min(1024)), maximum: Some(limit) };
        machine
    }

    #[test]
    fn too_few_descriptors_are_a_failure_and_the_advised_number_is_enough() {
        for backend in [BackendChoice::Uring, BackendChoice::Epoll] {
            let machine = with_nofile(256);
            let settings = Settings::with(&machine, |config| config.backend = backend);
            let finding = nofile(&machine, &settings);
            assert_eq!(finding.judgement.verdict, Verdict::Fail, "{finding:?}");
            assert_eq!(finding.value, "256 soft, 256 hard");
            assert!(finding.judgement.meaning.contains("10000"), "{finding:?}");
            let advice = finding.judgement.set.unwrap();
            let advised: u64 = advice.split_whitespace().nth(2).unwrap().parse().unwrap();
            let machine = with_nofile(advised);
            let finding = nofile(&machine, &settings);
            assert_eq!(finding.judgement.verdict, Verdict::Ok, "{advice}: {finding:?}");
            assert!(finding.judgement.meaning.contains("itself"), "the soft limit is lower: {finding:?}");
        }
    }

    #[test]
    fn rings_have_tables_of_their_own_and_epoll_has_one() {
        let machine = with_nofile(6000);
        let ring = nofile(&machine, &Settings::usual(&machine));
        assert_eq!(ring.judgement.verdict, Verdict::Ok, "two rings of 5000 each: {ring:?}");
        let epoll = Settings::with(&machine, |config| config.backend = BackendChoice::Epoll);
        let refused = nofile(&machine, &epoll).judgement;
        assert_eq!(refused.verdict, Verdict::Fail);
        assert!(!refused.set.unwrap().contains("--shards"), "more shards share the same table");
        let machine = with_nofile(4000);
        let advice = nofile(&machine, &Settings::usual(&machine)).judgement.set.unwrap();
        assert!(advice.ends_with(", or --shards 3"), "three tables of 3968: {advice}");
    }

    #[test]
    fn more_than_a_shard_takes_asks_for_more_shards() {
        let mut machine = Machine::healthy();
        machine.nofile = Rlimit { current: None, maximum: None };
        let settings = Settings::with(&machine, |config| config.limits.conns_max = Some(100_000));
        let finding = conns_max(&settings);
        assert_eq!(finding.judgement.verdict, Verdict::Fail);
        assert!(finding.judgement.set.unwrap().starts_with("--shards 4"));
        assert_eq!(nofile(&machine, &settings).judgement.verdict, Verdict::Ok, "the descriptors are there");
    }

    #[test]
    fn the_machines_own_tables_are_compared_with_what_comes_to_them() {
        let machine = Machine::healthy().with("fs.nr_open", "1024").with("fs.file-max", "5000");
        let settings = Settings::usual(&machine);
        for finding in [nr_open(&machine, &settings), file_max(&machine, &settings)] {
            assert_eq!(finding.judgement.verdict, Verdict::Warn, "{finding:?}");
            assert!(finding.judgement.set.as_ref().unwrap().starts_with("sysctl -w fs."), "{finding:?}");
        }
    }

    #[test]
    fn queued_data_is_compared_with_the_connections() {
        let verdict = |text| {
            let machine = Machine::healthy().with("net.ipv4.tcp_mem", text);
            tcp_mem(&machine, &Settings::usual(&machine)).judgement.verdict
        };
        assert_eq!(verdict("100\t15000\t19999"), Verdict::Warn);
        assert_eq!(verdict("100\t19999\t40000"), Verdict::Note);
        assert_eq!(verdict("20000\t30000\t40000"), Verdict::Ok);
        assert_eq!(verdict("20000\t30000"), Verdict::Note, "garbage is no reason to warn");
        let container = Machine::healthy().without("net.ipv4.tcp_mem", Unread::Missing);
        let finding = tcp_mem(&container, &Settings::usual(&container));
        assert!(finding.judgement.meaning.contains("first network namespace"), "{finding:?}");
    }

    #[test]
    fn a_cgroup_that_holds_the_fleet_barely_or_not_is_told_before_the_kernel_kills() {
        let verdict = |limit: u64| {
            let mut machine = Machine::healthy();
            machine.memory = Ok(Bound { limit: Some((limit, "/sys/fs/cgroup/memory.max".into())) });
            memory(&machine, &Settings::usual(&machine)).judgement.verdict
        };
        assert_eq!(verdict(49_000_000), Verdict::Fail);
        assert_eq!(verdict(90_000_000), Verdict::Warn);
        assert_eq!(verdict(2_000_000_000), Verdict::Note, "send queues may grow");
        assert_eq!(verdict(8_000_000_000), Verdict::Ok);
    }

    #[test]
    fn threads_and_strict_accounting_are_shown_only_where_they_bind() {
        let mut machine = Machine::healthy();
        let settings = Settings::usual(&machine);
        assert_eq!((pids(&machine, &settings), overcommit(&machine, &settings)), (None, None));
        machine.pids = Ok(Bound { limit: Some((8, "/sys/fs/cgroup/pids.max".into())) });
        assert_eq!(pids(&machine, &settings).unwrap().judgement.verdict, Verdict::Warn);
        let strict = machine.with("vm.overcommit_memory", "2");
        assert_eq!(overcommit(&strict, &settings).unwrap().judgement.verdict, Verdict::Note);
    }
}
