//! What the machine says of itself, as text, and why it does not say the rest.
//!
//! Everything is read here, once, and nothing is judged. /proc is read as this process sees it: sysctls of the network
//! belong to a namespace, and the gateway's is the one that counts.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::str::FromStr;

use heartring::preflight::{Features, Refusal, probe_uring};
use heartring::{Config, Errno};
use rustix::process::{Resource, Rlimit, getrlimit};

use super::cgroup::{self, Bound};

/// By the names that `sysctl` knows.
const SYSCTLS: [&str; 28] = [
    "fs.file-max",
    "fs.file-nr",
    "fs.nr_open",
    "kernel.io_uring_disabled",
    "kernel.io_uring_group",
    "kernel.osrelease",
    "net.core.somaxconn",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_abort_on_overflow",
    "net.ipv4.tcp_available_congestion_control",
    "net.ipv4.tcp_congestion_control",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_max_orphans",
    "net.ipv4.tcp_max_syn_backlog",
    "net.ipv4.tcp_mem",
    "net.ipv4.tcp_migrate_req",
    "net.ipv4.tcp_retries2",
    "net.ipv4.tcp_rto_max_ms",
    "net.ipv4.tcp_synack_retries",
    "net.ipv4.tcp_syncookies",
    "net.netfilter.nf_conntrack_count",
    "net.netfilter.nf_conntrack_max",
    "net.netfilter.nf_conntrack_tcp_timeout_established",
    "vm.overcommit_memory",
    "vm.overcommit_ratio",
];

/// Other files, by their paths.
pub(super) const STATUS: &str = "/proc/self/status";
pub(super) const NETSTAT: &str = "/proc/net/netstat";
const UID_MAP: &str = "/proc/self/uid_map";
const MEMINFO: &str = "/proc/meminfo";

/// Longer values are cut in messages.
const SHOWN_CHARS_MAX: usize = 40;

/// Why a value is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    /// There is no such file: an older kernel, a module that is not loaded, or a container that hides it.
    Missing,
    /// It cannot be opened or read.
    Unreadable(String),
    /// It holds something else than it should.
    Garbage(String),
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("not there"),
            Self::Unreadable(why) => write!(f, "not readable: {why}"),
            Self::Garbage(text) => {
                let shown: String = text.chars().take(SHOWN_CHARS_MAX).collect();
                write!(f, "not understood: {shown:?}")
            }
        }
    }
}

impl From<io::Error> for Unread {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::NotFound {
            Self::Missing
        } else {
            Self::Unreadable(Errno::from(error).name().to_owned())
        }
    }
}

/// A value with the text that it was read from.
pub(crate) type Read<T> = Result<(T, String), Unread>;

/// Everything that was read.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    texts: BTreeMap<&'static str, Result<String, Unread>>,
    pub(crate) nofile: Rlimit,
    pub(crate) memlock: Rlimit,
    /// Bytes: of the cgroup and those above it.
    pub(crate) memory: Result<Bound, Unread>,
    /// Threads: the same.
    pub(crate) pids: Result<Bound, Unread>,
    pub(crate) uring: Result<Features, Refusal>,
}

impl Machine {
    /// Reads this machine, for a gateway with this configuration.
    pub(crate) fn read(config: &Config) -> Self {
        let read =
            |path: &str| fs::read(path).map_err(Unread::from).map(|b| String::from_utf8_lossy(&b).into());
        let sysctls = SYSCTLS.map(|name| (name, read(&format!("/proc/sys/{}", name.replace('.', "/")))));
        let files = [STATUS, NETSTAT, UID_MAP, MEMINFO].map(|path| (path, read(path)));
        Self {
            texts: sysctls.into_iter().chain(files).collect(),
            nofile: getrlimit(Resource::Nofile),
            memlock: getrlimit(Resource::Memlock),
            memory: cgroup::tightest(&cgroup::MEMORY),
            pids: cgroup::tightest(&cgroup::PIDS),
            uring: probe_uring(config),
        }
    }

    /// A file's text, its blanks made single.
    pub(crate) fn text(&self, name: &str) -> Result<String, Unread> {
        let text = self.texts.get(name).expect("it is listed in this file").as_ref().map_err(Clone::clone)?;
        Ok(text.split_whitespace().collect::<Vec<_>>().join(" "))
    }

    /// A value of `N` numbers, and as text.
    pub(crate) fn numbers<T: FromStr + Copy, const N: usize>(&self, name: &str) -> Read<[T; N]> {
        let text = self.text(name)?;
        let numbers: Option<Vec<T>> = text.split(' ').map(|word| word.parse().ok()).collect();
        match numbers.and_then(|numbers| numbers.try_into().ok()) {
            Some(numbers) => Ok((numbers, text)),
            None => Err(Unread::Garbage(text)),
        }
    }

    /// A value of one number.
    pub(crate) fn number<T: FromStr + Copy>(&self, name: &str) -> Read<T> {
        self.numbers(name).map(|([number], text)| (number, text))
    }

    /// Whether the kernel has no such setting. One that is hidden together with all others may be there.
    pub(crate) fn lacks(&self, name: &str) -> bool {
        let shown = |name| self.text(name).is_ok();
        self.text(name) == Err(Unread::Missing) && shown("kernel.osrelease") && shown("net.core.somaxconn")
    }

    /// Major and minor number of the kernel's release.
    pub(crate) fn kernel(&self) -> Option<(u32, u32)> {
        let release = self.text("kernel.osrelease").ok()?;
        let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|digits| digits.parse().ok());
        Some((numbers.next()??, numbers.next()??))
    }

    /// Whether this process may lock as much memory as it likes. In a user namespace of its own the capability is there
    /// and does not count.
    pub(crate) fn may_lock_memory(&self) -> bool {
        const CAP_IPC_LOCK: u32 = 14;
        let capabilities = self.field(STATUS, "CapEff").ok();
        let capabilities = capabilities.and_then(|hex| u64::from_str_radix(&hex, 16).ok()).unwrap_or(0);
        let first_namespace = self.text(UID_MAP).is_ok_and(|map| map == "0 0 4294967295");
        capabilities & (1 << CAP_IPC_LOCK) != 0 && first_namespace
    }

    /// The value behind `key:` at the start of a line of a file.
    pub(crate) fn field(&self, file: &str, key: &str) -> Result<String, Unread> {
        let text = self.texts.get(file).expect("it is listed in this file").as_ref().map_err(Clone::clone)?;
        let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        value.map(|value| value.trim().to_owned()).ok_or(Unread::Missing)
    }

    /// A counter of `TcpExt` in /proc/net/netstat, which has a line of names over a line of values.
    pub(crate) fn tcp_counter(&self, name: &str) -> Read<u64> {
        let text =
            self.texts.get(NETSTAT).expect("it is listed in this file").as_ref().map_err(Clone::clone)?;
        let mut rows =
            text.lines().filter_map(|line| line.strip_prefix("TcpExt:")).map(str::split_whitespace);
        let (Some(names), Some(values)) = (rows.next(), rows.next()) else { return Err(Unread::Missing) };
        let value = names.zip(values).find_map(|(n, value)| (n == name).then_some(value));
        let value = value.ok_or(Unread::Missing)?;
        let number = value.parse().map_err(|_| Unread::Garbage(value.to_owned()))?;
        Ok((number, value.to_owned()))
    }

    /// The memory of the machine, in bytes.
    pub(crate) fn memory_total(&self) -> Result<u64, Unread> {
        let text = self.field(MEMINFO, "MemTotal")?;
        let kib = text.strip_suffix("kB").and_then(|number| number.trim().parse::<u64>().ok());
        kib.map(|kib| kib * 1024).ok_or(Unread::Garbage(text))
    }
}

#[cfg(test)]
pub(crate) mod made_up {
    //! Machines for tests.

    use heartring::preflight::Descriptors;

    use super::*;

    const HEALTHY: [(&str, &str); 32] = [
        ("fs.file-max", "2466183\n"),
        ("fs.file-nr", "594\t0\t2466183\n"),
        ("fs.nr_open", "1048576\n"),
        ("kernel.io_uring_disabled", "0\n"),
        ("kernel.io_uring_group", "-1\n"),
        ("kernel.osrelease", "6.99.0-made-up\n"),
        ("net.core.somaxconn", "4096\n"),
        ("net.ipv4.ip_local_port_range", "32768\t60999\n"),
        ("net.ipv4.tcp_abort_on_overflow", "0\n"),
        ("net.ipv4.tcp_available_congestion_control", "reno bbr cubic\n"),
        ("net.ipv4.tcp_congestion_control", "cubic\n"),
        ("net.ipv4.tcp_fin_timeout", "60\n"),
        ("net.ipv4.tcp_keepalive_intvl", "75\n"),
        ("net.ipv4.tcp_keepalive_probes", "9\n"),
        ("net.ipv4.tcp_keepalive_time", "7200\n"),
        ("net.ipv4.tcp_max_orphans", "131072\n"),
        ("net.ipv4.tcp_max_syn_backlog", "2048\n"),
        ("net.ipv4.tcp_mem", "287901\t383869\t575802\n"),
        ("net.ipv4.tcp_migrate_req", "1\n"),
        ("net.ipv4.tcp_retries2", "15\n"),
        ("net.ipv4.tcp_rto_max_ms", "120000\n"),
        ("net.ipv4.tcp_synack_retries", "5\n"),
        ("net.ipv4.tcp_syncookies", "1\n"),
        ("net.netfilter.nf_conntrack_count", "12\n"),
        ("net.netfilter.nf_conntrack_max", "262144\n"),
        ("net.netfilter.nf_conntrack_tcp_timeout_established", "432000\n"),
        ("vm.overcommit_memory", "0\n"),
        ("vm.overcommit_ratio", "50\n"),
        (UID_MAP, "         0          0 4294967295\n"),
        (STATUS, "Name:\tdoctor\nCapEff:\t0000000000000000\nSeccomp:\t0\nSeccomp_filters:\t0\n"),
        (NETSTAT, "TcpExt: SyncookiesSent ListenOverflows\nTcpExt: 0 0\nIpExt: InPkts\nIpExt: 5\n"),
        (MEMINFO, "MemTotal:       16000000 kB\nMemFree:         1000 kB\n"),
    ];

    impl Machine {
        /// Nothing to warn of, for a gateway of some thousands of connections.
        pub(crate) fn healthy() -> Self {
            let limit = Rlimit { current: Some(20_000), maximum: Some(20_000) };
            Self {
                texts: HEALTHY.iter().map(|&(name, text)| (name, Ok(text.to_owned()))).collect(),
                nofile: limit,
                memlock: Rlimit { current: Some(8 << 20), maximum: Some(8 << 20) },
                memory: Ok(Bound::none()),
                pids: Ok(Bound::none()),
                uring: Ok(Features {
                    kernel: "6.99.0-made-up".into(),
                    descriptors: Descriptors::Direct,
                    gather: true,
                    no_sqarray: true,
                    no_iowait: true,
                    messages: true,
                }),
            }
        }

        /// The same with another text in one file.
        pub(crate) fn with(mut self, name: &'static str, text: &str) -> Self {
            assert!(self.texts.insert(name, Ok(text.to_owned())).is_some(), "{name} is no file that is read");
            self
        }

        /// The same without that file.
        pub(crate) fn without(mut self, name: &'static str, unread: Unread) -> Self {
            assert!(self.texts.insert(name, Err(unread)).is_some(), "{name} is no file that is read");
            self
        }

        /// The same without io_uring.
        pub(crate) fn refusing(mut self, refusal: Refusal) -> Self {
            self.uring = Err(refusal);
            self
        }

        /// The same with every file replaced.
        pub(crate) fn with_all(mut self, text: &Result<String, Unread>) -> Self {
            self.texts.values_mut().for_each(|value| value.clone_from(text));
            self
        }
    }

    #[test]
    fn the_made_up_machine_has_the_files_of_a_real_one() {
        let real = Machine::read(&Config::default());
        assert!(real.texts.keys().eq(Machine::healthy().texts.keys()));
    }

    #[test]
    fn numbers_are_read_with_any_blanks_and_nothing_else_is_a_number() {
        let machine = Machine::healthy();
        let ([low, high], text) = machine.numbers::<u32, 2>("net.ipv4.ip_local_port_range").unwrap();
        assert_eq!((low, high, text.as_str()), (32_768, 60_999, "32768 60999"));
        for garbage in ["", "many", "-1", "1 2", "99999999999999999999", "0x10"] {
            let read =
                machine.clone().with("net.core.somaxconn", garbage).number::<u64>("net.core.somaxconn");
            assert_eq!(read, Err(Unread::Garbage(garbage.to_owned())));
        }
    }

    #[test]
    fn a_counter_is_found_by_its_name() {
        let text = "TcpExt: A ListenOverflows B\nTcpExt: 1 22 3\n";
        let machine = Machine::healthy().with(NETSTAT, text);
        assert_eq!(machine.tcp_counter("ListenOverflows"), Ok((22, "22".into())));
        for broken in ["", "TcpExt: ListenOverflows\n", "TcpExt: A\nTcpExt: 1\n"] {
            let machine = machine.clone().with(NETSTAT, broken);
            assert_eq!(machine.tcp_counter("ListenOverflows"), Err(Unread::Missing));
        }
    }

    #[test]
    fn a_capability_counts_in_the_first_user_namespace_only() {
        let root = Machine::healthy().with(STATUS, "CapEff:\t000001fffeffffff\n");
        assert!(root.may_lock_memory());
        assert!(!root.clone().with(UID_MAP, "0 1000 1\n").may_lock_memory(), "root of a container of a user");
        assert!(!Machine::healthy().may_lock_memory());
        assert!(!root.with(STATUS, "CapEff:\tall\n").may_lock_memory());
    }

    #[test]
    fn a_setting_is_lacking_only_where_others_are_shown() {
        let name = "net.ipv4.tcp_migrate_req";
        assert!(Machine::healthy().without(name, Unread::Missing).lacks(name));
        assert!(!Machine::healthy().with_all(&Err(Unread::Missing)).lacks(name));
        assert!(!Machine::healthy().without(name, Unread::Unreadable("EACCES".into())).lacks(name));
    }

    #[test]
    fn releases_are_numbers_followed_by_anything() {
        let kernel = |text| Machine::healthy().with("kernel.osrelease", text).kernel();
        assert_eq!(kernel("6.8.0-31-generic"), Some((6, 8)));
        assert_eq!(kernel("7.0-rc1"), Some((7, 0)));
        assert_eq!([kernel("six"), kernel("6"), kernel("")], [None; 3]);
    }

    #[test]
    fn what_cannot_be_read_is_told_in_words_without_control_characters() {
        let denied = io::Error::from(Errno::EACCES);
        assert_eq!(Unread::from(denied).to_string(), "not readable: EACCES");
        let garbage = Unread::Garbage(format!("\x1b[31m{}", "x".repeat(1000))).to_string();
        assert!(garbage.len() < 80 && !garbage.contains('\x1b'), "{garbage}");
    }
}
