//! Why io_uring cannot be used here, and what would help.
//!
//! Owns the classification of an errno at start into a reason with a remedy. It does not decide what follows from it:
//! whoever chooses the backend does (epoll, or an error if io_uring was demanded).

use std::io;

use heartring_core::Errno;

/// Why io_uring is refused. The message names the reason and its remedy, in one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// `kernel.io_uring_disabled` is 2: nobody may.
    #[error("sysctl kernel.io_uring_disabled is 2, which forbids io_uring to everyone: set it to 0")]
    DisabledForAll,
    /// `kernel.io_uring_disabled` is 1: only a group and the privileged may.
    #[error(
        "sysctl kernel.io_uring_disabled is 1: join the group in kernel.io_uring_group, get CAP_SYS_ADMIN, or set it to 0"
    )]
    DisabledForUnprivileged,
    /// EPERM although the sysctl allows it: a seccomp filter or a security module, the default in containers.
    #[error(
        "io_uring is forbidden to this process (EPERM): allow io_uring_setup, _enter and _register in its seccomp profile or security module"
    )]
    Forbidden,
    /// ENOSYS: the kernel was built without it, or a sandbox hides it.
    #[error(
        "this kernel has no io_uring (ENOSYS): use one with CONFIG_IO_URING, or leave the sandbox that hides it"
    )]
    Missing,
    /// ENOMEM, also after waiting: the memory of former rings is given back with a delay.
    #[error(
        "no memory for the ring (ENOMEM): raise RLIMIT_MEMLOCK (now {memlock}) or the memory limit of the cgroup"
    )]
    Memory {
        /// RLIMIT_MEMLOCK, as text.
        memlock: String,
    },
    /// The kernel is too old for something that the backend cannot do without.
    #[error("kernel {kernel} lacks {feature}: use Linux {since} or later")]
    Lacks {
        /// The kernel's release.
        kernel: String,
        /// What is missing.
        feature: &'static str,
        /// The first kernel that has it.
        since: &'static str,
    },
    /// No descriptor is left for the ring itself.
    #[error("no descriptor is left for the ring ({errno}): raise RLIMIT_NOFILE (now {limit}) or open less")]
    Descriptors {
        /// EMFILE or ENFILE.
        errno: Errno,
        /// RLIMIT_NOFILE.
        limit: u64,
    },
    /// The kernel makes the table of direct descriptors no larger than RLIMIT_NOFILE.
    #[error(
        "{slots} slots exceed RLIMIT_NOFILE ({limit}): raise it, or use more shards with fewer slots each"
    )]
    Slots {
        /// What was asked for.
        slots: u32,
        /// RLIMIT_NOFILE.
        limit: u64,
    },
    /// The configuration itself is impossible.
    #[error("{0}")]
    Config(String),
    /// Anything else.
    #[error("{step} failed with {errno}: report it, or use epoll")]
    Other {
        /// Which call.
        step: &'static str,
        /// Its errno.
        errno: Errno,
    },
}

/// A call at start that the kernel can refuse, with what its EINVAL means.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) name: &'static str,
    /// What the kernel lacks if it says EINVAL, and since when kernels have it.
    pub(crate) demands: Option<(&'static str, &'static str)>,
}

/// What the machine says of itself, for the messages. Read only after a refusal.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings {
    pub(crate) kernel: String,
    /// `kernel.io_uring_disabled`; zero where it does not exist (before 6.6).
    pub(crate) disabled: u8,
    pub(crate) memlock: String,
    pub(crate) nofile: u64,
}

impl Surroundings {
    pub(crate) fn read() -> Self {
        use rustix::process::{Resource, getrlimit};
        let disabled = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled");
        Self {
            kernel: kernel_release(),
            disabled: disabled.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0),
            memlock: getrlimit(Resource::Memlock)
                .current
                .map_or("unlimited".into(), |n| format!("{n} bytes")),
            nofile: nofile_limit(),
        }
    }
}

/// The kernel's release, for example `6.18.44-generic`; empty where /proc is not mounted.
pub(crate) fn kernel_release() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
}

/// RLIMIT_NOFILE, the soft limit, which is the one that binds.
pub(crate) fn nofile_limit() -> u64 {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// The reason behind the failure of `step`.
pub(crate) fn classify(step: Step, error: io::Error, around: Surroundings) -> Refusal {
    let errno = Errno::from(error);
    match (errno, around.disabled) {
        (Errno::EPERM, 2..) => Refusal::DisabledForAll,
        (Errno::EPERM, 1) => Refusal::DisabledForUnprivileged,
        (Errno::EPERM | Errno::EACCES, _) => Refusal::Forbidden,
        (Errno::ENOSYS, _) => Refusal::Missing,
        (Errno::ENOMEM, _) => Refusal::Memory { memlock: around.memlock },
        (Errno::EMFILE | Errno::ENFILE, _) => Refusal::Descriptors { errno, limit: around.nofile },
        (Errno::EINVAL, _) if step.demands.is_some() => {
            let (feature, since) = step.demands.unwrap_or_default();
            Refusal::Lacks { kernel: around.kernel, feature, since }
        }
        (errno, _) => Refusal::Other { step: step.name, errno },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETUP: Step = Step { name: "io_uring_setup", demands: Some(("DEFER_TASKRUN", "6.1")) };

    fn refused(errno: Errno, disabled: u8) -> Refusal {
        let around =
            Surroundings { kernel: "5.15.0".into(), disabled, memlock: "65536 bytes".into(), nofile: 1024 };
        classify(SETUP, io::Error::from(errno), around)
    }

    #[test]
    fn eperm_is_told_apart_by_the_sysctl() {
        assert_eq!(refused(Errno::EPERM, 0), Refusal::Forbidden);
        assert_eq!(refused(Errno::EPERM, 1), Refusal::DisabledForUnprivileged);
        assert_eq!(refused(Errno::EPERM, 2), Refusal::DisabledForAll);
    }

    #[test]
    fn each_errno_of_a_start_has_its_reason() {
        assert_eq!(refused(Errno::ENOSYS, 0), Refusal::Missing);
        assert_eq!(refused(Errno::ENOMEM, 0), Refusal::Memory { memlock: "65536 bytes".into() });
        assert_eq!(refused(Errno::EMFILE, 0), Refusal::Descriptors { errno: Errno::EMFILE, limit: 1024 });
        assert_eq!(
            refused(Errno::EINVAL, 0),
            Refusal::Lacks { kernel: "5.15.0".into(), feature: "DEFER_TASKRUN", since: "6.1" }
        );
        assert_eq!(
            refused(Errno::EFAULT, 0),
            Refusal::Other { step: "io_uring_setup", errno: Errno::EFAULT }
        );
    }

    #[test]
    fn every_message_is_one_line_with_a_remedy() {
        let lacks = refused(Errno::EINVAL, 0).to_string();
        assert_eq!(lacks, "kernel 5.15.0 lacks DEFER_TASKRUN: use Linux 6.1 or later");
        for (errno, disabled) in [
            (Errno::EPERM, 0),
            (Errno::EPERM, 1),
            (Errno::EPERM, 2),
            (Errno::ENOSYS, 0),
            (Errno::ENOMEM, 0),
            (Errno::EMFILE, 0),
            (Errno::EFAULT, 0),
        ] {
            let message = refused(errno, disabled).to_string();
            assert!(!message.contains('\n') && message.contains(':'), "{message}");
        }
    }
}
