//! Whether io_uring can be used, and if not, because of what.

use heartring::preflight::{Descriptors, Features, Refusal};
use heartring::{Backend, BackendChoice};

use super::finding::{Finding, Judgement, Section, Verdict};
use super::machine::{Machine, STATUS, Unread};
use super::settings::Settings;

const ALLOW_IN_SECCOMP: &str = "allow io_uring_setup, io_uring_enter and io_uring_register in the seccomp profile (Docker: --security-opt seccomp=PROFILE)";
/// What a shard's ring is charged with: 64 KiB of submissions, 132 of completions, 16 of descriptions of buffers.
const LOCKED_KIB_PER_RING: u64 = 212;

const ENABLE: &str = "sysctl -w kernel.io_uring_disabled=0";

pub(crate) fn section(machine: &Machine, settings: &Settings) -> Section {
    Section {
        subject: "io_uring",
        findings: vec![
            kernel(machine),
            io_uring(machine, settings),
            disabled(machine),
            seccomp(machine),
            memlock(machine, settings),
        ],
    }
}

/// Distributions move features about, so the features count, and the release is what one would change.
fn kernel(machine: &Machine) -> Finding {
    let release = machine.text("kernel.osrelease").map(|text| (text.clone(), text));
    Finding::judge("kernel", release, |_| match machine.uring.as_ref().map(missing) {
        Ok(missing) if missing.is_empty() => Judgement::ok("it has all that heartring uses"),
        Ok(missing) => Judgement::note(format!("it lacks {}", missing.join("; ")))
            .set("a later kernel, if what is missing matters"),
        Err(Refusal::Lacks { feature, since, .. }) => {
            Judgement::note(format!("io_uring here lacks {feature}")).set(format!("Linux {since} or later"))
        }
        Err(_) => Judgement::ok("epoll works on any; io_uring from 6.1 on, where it is allowed"),
    })
}

/// What the gateway would use if it were there.
fn missing(features: &Features) -> Vec<&'static str> {
    let direct = features.descriptors == Descriptors::Direct;
    [
        (features.gather, "min-wait (6.12): batch_within does nothing"),
        (
            direct,
            "direct descriptors that close at once (6.13): the sockets of all shards share RLIMIT_NOFILE",
        ),
        (features.messages, "messages between rings (5.18): a shard wakes another with a system call"),
        (features.no_iowait, "no_iowait (6.15): sleeping shards are shown as waiting for a disk"),
    ]
    .into_iter()
    .filter_map(|(present, what)| (!present).then_some(what))
    .collect()
}

/// The finding that counts; those after it explain a refusal.
fn io_uring(machine: &Machine, settings: &Settings) -> Finding {
    let name = "io_uring";
    let refusal = match &machine.uring {
        Ok(features) => {
            let meaning = match settings.backend {
                Some(Backend::Epoll) => "it could be used, and the gateway was told to take epoll",
                Some(Backend::Uring) | None => "the gateway takes it: one ring per shard",
            };
            return Finding::new(name, usable(features), Judgement::ok(meaning));
        }
        Err(refusal) => refusal,
    };
    let (verdict, consequence) = match settings.config.backend {
        BackendChoice::Epoll => (Verdict::Ok, "the gateway was told to take epoll"),
        BackendChoice::Auto => (Verdict::Warn, "the gateway takes epoll"),
        BackendChoice::Uring => (Verdict::Fail, "the gateway was told to take io_uring and does not start"),
    };
    let judgement = Judgement::new(verdict, format!("{consequence}: {refusal}"));
    let judgement = if verdict == Verdict::Ok { judgement } else { judgement.set(remedy(refusal)) };
    Finding::new(name, "refused", judgement)
}

fn usable(features: &Features) -> &'static str {
    match features.descriptors {
        Descriptors::Direct => "usable, direct descriptors",
        Descriptors::Plain => "usable, plain descriptors",
    }
}

fn remedy(refusal: &Refusal) -> String {
    match refusal {
        Refusal::DisabledForAll | Refusal::DisabledForUnprivileged => ENABLE.into(),
        Refusal::Forbidden => ALLOW_IN_SECCOMP.into(),
        Refusal::Missing => "a kernel with CONFIG_IO_URING=y, outside of any sandbox that hides it".into(),
        Refusal::Memory { .. } => "ulimit -l unlimited, or a higher memory limit of the cgroup".into(),
        Refusal::Lacks { since, .. } => format!("Linux {since} or later"),
        Refusal::Descriptors { .. } | Refusal::Slots { .. } => "ulimit -n $(ulimit -Hn)".into(),
        Refusal::Config(_) => "other options".into(),
        Refusal::Other { .. } => "--backend epoll".into(),
    }
}

fn disabled(machine: &Machine) -> Finding {
    let name = "kernel.io_uring_disabled";
    let usable = machine.uring.is_ok();
    if machine.lacks(name) {
        let meaning = "kernels before 6.6 have no such switch: it forbids nothing";
        return Finding::new(name, Unread::Missing, Judgement::ok(meaning));
    }
    Finding::judge(name, machine.number::<u64>(name), |value| match (value, usable) {
        (0, _) => Judgement::ok("everyone may use io_uring"),
        (1, true) => Judgement::ok("this process may use io_uring; look again as the gateway's own user"),
        (1, false) => Judgement::note(unprivileged(machine)).set(ENABLE),
        (_, _) => Judgement::note("nobody may use io_uring").set(ENABLE),
    })
}

fn unprivileged(machine: &Machine) -> String {
    let group = match machine.number::<i64>("kernel.io_uring_group") {
        Ok((group, _)) if group >= 0 => format!("group {group}"),
        Ok(_) | Err(_) => "the group in kernel.io_uring_group, which is none,".into(),
    };
    format!("only {group} and CAP_SYS_ADMIN may use io_uring, and this process has neither")
}

fn seccomp(machine: &Machine) -> Finding {
    let name = "seccomp";
    let hidden = "whether a filter is in force is not to be seen";
    if let Err(unread) = machine.text(STATUS) {
        return Finding::unread(name, &unread, hidden);
    }
    match machine.field(STATUS, "Seccomp").as_deref() {
        Err(_) => Finding::new(name, "none", Judgement::ok("this kernel has no seccomp: it forbids nothing")),
        Ok("0") => Finding::new(name, "none", Judgement::ok("no filter: it forbids nothing")),
        Ok("1" | "2") => {
            let filters = machine.field(STATUS, "Seccomp_filters").unwrap_or_else(|_| "some".into());
            Finding::new(name, format!("filters: {filters}"), filtered(&machine.uring))
        }
        Ok(garbage) => Finding::unread(name, &Unread::Garbage(garbage.to_owned()), hidden),
    }
}

fn filtered(uring: &Result<Features, Refusal>) -> Judgement {
    match uring {
        Ok(_) => Judgement::ok("a filter is in force, and it lets io_uring through"),
        // Another filter, a security module or a sandbox can say the same; the usual one is the container's.
        Err(Refusal::Forbidden | Refusal::Missing) => {
            Judgement::note("a filter is in force, and is probably what forbids io_uring")
                .set(ALLOW_IN_SECCOMP)
        }
        Err(_) => Judgement::ok("a filter is in force, and is not what forbids io_uring"),
    }
}

/// Kernels before 5.12 and from 6.14 on charge the memory of a ring to its user, unless he may lock what he likes; those
/// between charge the cgroup. All processes of the user share the limit, and a ring that was closed is given back late.
fn memlock(machine: &Machine, settings: &Settings) -> Finding {
    let limit_kib = machine.memlock.current.map(|bytes| bytes / 1024);
    let value = limit_kib.map_or("unlimited".into(), |kib| format!("{kib} KiB"));
    let shards = settings.shards_in_words();
    let needed = LOCKED_KIB_PER_RING * u64::from(settings.shards);
    let raise = format!("ulimit -l {0} (systemd: LimitMEMLOCK={0}K)", 2 * needed);
    let exempt = machine.kernel().is_some_and(|release| ((5, 12)..(6, 14)).contains(&release));
    let judgement = match &machine.uring {
        Err(Refusal::Memory { .. }) => {
            Judgement::note(format!("no ring fits, and {shards} lock {needed} KiB")).set(raise)
        }
        Err(_) => Judgement::ok("does not matter while io_uring is refused"),
        Ok(_) if settings.backend == Some(Backend::Epoll) => {
            Judgement::ok("does not matter: epoll locks nothing")
        }
        Ok(_) if exempt => Judgement::ok("does not matter: kernels 5.12 to 6.13 charge rings to the cgroup"),
        Ok(_) if machine.may_lock_memory() => Judgement::ok(
            "does not matter: this process has CAP_IPC_LOCK; look again as the gateway's own user",
        ),
        Ok(_) if limit_kib.is_some_and(|kib| kib < needed) => {
            let what = format!("a small ring fits, but {shards} lock {needed} KiB");
            match settings.config.backend {
                BackendChoice::Uring => Judgement::fail(format!("{what}: the gateway does not start")),
                BackendChoice::Auto | BackendChoice::Epoll => {
                    Judgement::warn(format!("{what}: the gateway takes epoll"))
                }
            }
            .set(format!("{raise}, or --backend epoll"))
        }
        Ok(_) => Judgement::ok(format!("{shards} lock {needed} KiB of it; all processes of a user share it")),
    };
    Finding::new("RLIMIT_MEMLOCK", value, judgement)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(refusal: Refusal, sysctl: &str) -> Machine {
        Machine::healthy().with("kernel.io_uring_disabled", sysctl).refusing(refusal)
    }

    fn io_uring_for(machine: &Machine, backend: BackendChoice) -> Judgement {
        io_uring(machine, &Settings::with(machine, |config| config.backend = backend)).judgement
    }

    #[test]
    fn a_refusal_fails_warns_or_does_not_matter_by_what_was_asked_for() {
        let machine = refused(Refusal::DisabledForAll, "2");
        let demanded = io_uring_for(&machine, BackendChoice::Uring);
        assert_eq!((demanded.verdict, demanded.set.as_deref()), (Verdict::Fail, Some(ENABLE)));
        let auto = io_uring_for(&machine, BackendChoice::Auto);
        assert_eq!(auto.verdict, Verdict::Warn);
        assert!(auto.meaning.contains("takes epoll"), "{}", auto.meaning);
        let epoll = io_uring_for(&machine, BackendChoice::Epoll);
        assert_eq!((epoll.verdict, epoll.set), (Verdict::Ok, None));
    }

    #[test]
    fn the_switch_is_explained_by_value_and_by_who_we_are() {
        let two = disabled(&refused(Refusal::DisabledForAll, "2")).judgement;
        assert_eq!((two.verdict, two.set.as_deref()), (Verdict::Note, Some(ENABLE)));
        let one = disabled(&refused(Refusal::DisabledForUnprivileged, "1")).judgement;
        assert!(one.meaning.contains("none") && one.set.is_some(), "{}", one.meaning);
        let grouped = refused(Refusal::DisabledForUnprivileged, "1").with("kernel.io_uring_group", "107");
        assert!(disabled(&grouped).judgement.meaning.contains("group 107"));
        let allowed = disabled(&Machine::healthy().with("kernel.io_uring_disabled", "1")).judgement;
        assert_eq!((allowed.verdict, allowed.set), (Verdict::Ok, None));
        let old = Machine::healthy().without("kernel.io_uring_disabled", Unread::Missing);
        assert_eq!(disabled(&old).judgement.verdict, Verdict::Ok);
        let garbage = Machine::healthy().with("kernel.io_uring_disabled", "maybe");
        assert_eq!(disabled(&garbage).judgement.verdict, Verdict::Note);
    }

    #[test]
    fn a_filter_is_suspected_only_of_what_filters_do() {
        let filter = |machine: Machine| seccomp(&machine.with(STATUS, "Seccomp:\t2\nSeccomp_filters:\t3\n"));
        let guilty = filter(refused(Refusal::Forbidden, "0"));
        assert_eq!((guilty.value.as_str(), guilty.judgement.verdict), ("filters: 3", Verdict::Note));
        assert!(guilty.judgement.set.is_some());
        for innocent in [filter(Machine::healthy()), filter(refused(Refusal::DisabledForAll, "2"))] {
            assert_eq!((innocent.judgement.verdict, innocent.judgement.set), (Verdict::Ok, None));
        }
        assert_eq!(seccomp(&Machine::healthy()).value, "none");
        for unclear in ["Seccomp:\tyes\n", "Name:\tx\n", ""] {
            let finding = seccomp(&Machine::healthy().with(STATUS, unclear));
            assert!(finding.judgement.verdict <= Verdict::Note, "{unclear:?}: {finding:?}");
        }
    }

    #[test]
    fn an_older_kernel_is_told_what_it_lacks() {
        let mut machine = Machine::healthy();
        assert_eq!(kernel(&machine).judgement.verdict, Verdict::Ok);
        machine.uring.as_mut().unwrap().descriptors = Descriptors::Plain;
        machine.uring.as_mut().unwrap().gather = false;
        let older = kernel(&machine).judgement;
        assert_eq!(older.verdict, Verdict::Note);
        assert!(older.meaning.contains("6.12") && older.meaning.contains("6.13"), "{}", older.meaning);
        let lacks = Refusal::Lacks { kernel: "5.15".into(), feature: "DEFER_TASKRUN", since: "6.1" };
        assert_eq!(kernel(&refused(lacks, "0")).judgement.set.as_deref(), Some("Linux 6.1 or later"));
    }

    #[test]
    fn locked_memory_matters_to_the_unprivileged_on_kernels_that_charge_it() {
        let locked = |kib: u64, change: fn(Machine) -> Machine| {
            let mut machine = Machine::healthy();
            machine.memlock.current = Some(kib * 1024);
            let machine = change(machine);
            memlock(&machine, &Settings::usual(&machine)).judgement
        };
        let short = locked(423, |machine| machine);
        assert_eq!(short.verdict, Verdict::Warn);
        let mut machine = Machine::healthy();
        machine.memlock.current = Some(423 * 1024);
        let demanded = Settings::with(&machine, |config| config.backend = BackendChoice::Uring);
        assert_eq!(memlock(&machine, &demanded).judgement.verdict, Verdict::Fail);
        assert!(
            short.set.as_ref().unwrap().starts_with("ulimit -l 848 "),
            "twice what two rings lock: {short:?}"
        );
        assert_eq!(locked(424, |machine| machine).verdict, Verdict::Ok);
        for harmless in [
            |machine: Machine| machine.with("kernel.osrelease", "6.13.1"),
            |machine: Machine| machine.with(STATUS, "CapEff:\tffffffffffffffff\n"),
            |machine: Machine| machine.refusing(Refusal::Forbidden),
        ] {
            assert_eq!(locked(64, harmless).verdict, Verdict::Ok);
        }
        let none = locked(0, |machine| machine.refusing(Refusal::Memory { memlock: "0 bytes".into() }));
        assert_eq!(none.verdict, Verdict::Note, "the refusal itself is the warning");
    }
}
