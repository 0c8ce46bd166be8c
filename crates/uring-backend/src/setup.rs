//! Opening a ring, and what the kernel at hand can do.
//!
//! Owns the flags, the sizes, the checks and the retries of a start. It maps no buffers and queues nothing. Invariant: a
//! ring that [`open`] returns can do everything that the backend needs; what is optional is in [`Features`].
//!
//! The oldest kernel is **6.1**, for `IORING_SETUP_DEFER_TASKRUN`. Everything else that is needed came before: multishot
//! receive, SINGLE_ISSUER and synchronous cancellation with 6.0, the buffer ring and cancellation of everything with 5.19,
//! SUBMIT_ALL with 5.18, skipped completions with 5.17.

use std::fmt;
use std::io;
use std::thread;
use std::time::Duration;

use heartring_core::{BackendConfig, ConnId, Errno};
use io_uring::{IoUring, Probe, opcode};

use crate::refusal::{Refusal, Step, Surroundings, classify, kernel_release, nofile_limit};

/// Entries of the submission queue, 64 bytes each: a longer turn is handed over in several parts.
const SQ_ENTRIES: u32 = 1024;

/// Entries of the completion queue. The kernel hashes requests for cancellation into as many buckets as this gives, 256
/// at the most, and it takes 8192 entries to get them. What does not fit the kernel keeps until there is room.
const CQ_ENTRIES: u32 = 8192;

/// The memory of a ring that was just closed comes back asynchronously: how long to wait for it, in steps.
const MEMORY_PAUSE: Duration = Duration::from_millis(25);
const MEMORY_ATTEMPTS: u32 = 40;

/// Worker threads of the kernel, bounded and unbounded. Only shutdown(2) runs on them, and it does not block.
const WORKERS_MAX: [u32; 2] = [1, 2];

/// Where the sockets of connections live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Descriptors {
    /// In the ring's own table, each at its connection's slot. From Linux 6.13 on: before it, any parked request delays
    /// the closing of the others.
    Direct,
    /// In the table of the process.
    Plain,
}

/// What the kernel at hand offers beyond the necessary.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent of each other: no state is hidden in them")]
pub struct Features {
    /// The kernel's release.
    pub kernel: String,
    /// Where sockets live.
    pub descriptors: Descriptors,
    /// Waits can end at an absolute time and gather company ([`BackendConfig::batch_within`]): Linux 6.12. Without it
    /// `batch_within` does nothing.
    pub gather: bool,
    /// The submission queue needs no index array: Linux 6.6.
    pub no_sqarray: bool,
    /// A sleeping ring need not count as waiting for a disk: Linux 6.15.
    pub no_iowait: bool,
    /// One ring wakes another without a system call: Linux 5.18, unless a sandbox forbids it.
    pub messages: bool,
}

impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let descriptors = match self.descriptors {
            Descriptors::Direct => "direct",
            Descriptors::Plain => "plain",
        };
        write!(f, "io_uring on Linux {}, {descriptors} descriptors", self.kernel)?;
        let optional = [
            ("min-wait", self.gather),
            ("no_sqarray", self.no_sqarray),
            ("no_iowait", self.no_iowait),
            ("messages between rings", self.messages),
        ];
        for (name, _) in optional.iter().filter(|(_, present)| !present) {
            write!(f, ", without {name}")?;
        }
        Ok(())
    }
}

/// How large a ring is opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    sq: u32,
    cq: u32,
}

impl Sizes {
    /// For a shard.
    pub(crate) const FULL: Self = Self { sq: SQ_ENTRIES, cq: CQ_ENTRIES };
    /// For a look.
    pub(crate) const PROBE: Self = Self { sq: 2, cq: 4 };
}

/// Opens a ring with its table of descriptors.
pub(crate) fn open(
    config: &BackendConfig,
    sizes: Sizes,
    wanted: Option<Descriptors>,
) -> Result<(IoUring, Features), Refusal> {
    check(config)?;
    let (uring, no_sqarray) = build(sizes)?;
    let probe = require(&uring)?;
    let params = uring.params();
    let kernel = kernel_release();
    let features = Features {
        descriptors: wanted.unwrap_or_else(|| best_descriptors(&probe, &kernel)),
        kernel,
        // Absolute waits came with the same release, and no bit of their own.
        gather: params.is_feature_min_timeout(),
        no_sqarray,
        no_iowait: params.is_feature_no_iowait(),
        messages: probe.is_supported(opcode::MsgRingData::CODE),
    };
    if features.descriptors == Descriptors::Direct {
        register_files(&uring, config.slots)?;
    }
    // It bounds threads, nothing depends on it.
    if let Err(error) = uring.submitter().register_iowq_max_workers(&mut WORKERS_MAX.clone()) {
        tracing::debug!(%error, "io_uring: the kernel's workers stay unbounded");
    }
    Ok((uring, features))
}

/// Runs a call of the start, again while the kernel has no memory for it.
pub(crate) fn attempt<T>(step: Step, mut call: impl FnMut() -> io::Result<T>) -> Result<T, Refusal> {
    for _ in 1..MEMORY_ATTEMPTS {
        match call() {
            Ok(value) => return Ok(value),
            Err(error) if error.raw_os_error() == Some(Errno::ENOMEM.0) => thread::sleep(MEMORY_PAUSE),
            Err(error) => return Err(classify(step, error, Surroundings::read())),
        }
    }
    call().map_err(|error| classify(step, error, Surroundings::read()))
}

pub(crate) fn check(config: &BackendConfig) -> Result<(), Refusal> {
    let BackendConfig { slots, batch_within, receive_buffers, receive_buffer_bytes } = *config;
    let refuse = |message: String| Err(Refusal::Config(message));
    if slots == 0 || slots > ConnId::SLOT_MAX {
        return refuse(format!("slots {slots} is outside 1..={}: a slot has 24 bits", ConnId::SLOT_MAX));
    }
    if !receive_buffers.is_power_of_two() || receive_buffers > 1 << 15 {
        return refuse(format!(
            "receive_buffers {receive_buffers} is no power of two up to 32768: the kernel's ring is one"
        ));
    }
    if receive_buffer_bytes == 0 || receive_buffer_bytes > 1 << 24 {
        return refuse(format!(
            "receive_buffer_bytes {receive_buffer_bytes} is outside 1..=16777216: take about 2048"
        ));
    }
    if batch_within > Duration::from_secs(1) {
        return refuse(format!(
            "batch_within {batch_within:?} is above 1 s: it delays every message by that"
        ));
    }
    Ok(())
}

/// The ring, and whether it does without the index array.
fn build(sizes: Sizes) -> Result<(IoUring, bool), Refusal> {
    let step = Step { name: "io_uring_setup", demands: Some(("IORING_SETUP_DEFER_TASKRUN", "6.1")) };
    let mut builder = IoUring::builder();
    builder
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_submit_all()
        .setup_clamp()
        .setup_cqsize(sizes.cq)
        .dontfork();
    let mut bare = builder.clone();
    bare.setup_no_sqarray();
    attempt(step, || match bare.build(sizes.sq) {
        Err(error) if error.raw_os_error() == Some(Errno::EINVAL.0) => {
            builder.build(sizes.sq).map(|uring| (uring, false))
        }
        result => result.map(|uring| (uring, true)),
    })
}

/// Refuses a kernel that lacks what the backend cannot do without. DEFER_TASKRUN stands for everything up to 6.1; the
/// rest is asked all the same, because distributions and sandboxes remove single operations. The answers are returned.
fn require(uring: &IoUring) -> Result<Probe, Refusal> {
    let params = uring.params();
    let mut probe = Probe::new();
    let step = Step { name: "IORING_REGISTER_PROBE", demands: Some(("IORING_REGISTER_PROBE", "5.6")) };
    attempt(step, || uring.submitter().register_probe(&mut probe))?;
    let has = |code: u8| probe.is_supported(code);
    let demands = [
        (params.is_feature_ext_arg(), "IORING_FEAT_EXT_ARG", "5.11"),
        (params.is_feature_nodrop(), "IORING_FEAT_NODROP", "5.5"),
        (params.is_feature_skip_cqe_on_success(), "IORING_FEAT_CQE_SKIP", "5.17"),
        (has(opcode::Accept::CODE), "IORING_OP_ACCEPT", "5.5"),
        (has(opcode::RecvMulti::CODE), "IORING_OP_RECV", "5.6"),
        (has(opcode::Send::CODE), "IORING_OP_SEND", "5.6"),
        (has(opcode::PollAdd::CODE), "IORING_OP_POLL_ADD", "5.1"),
        (has(opcode::LinkTimeout::CODE), "IORING_OP_LINK_TIMEOUT", "5.5"),
        (has(opcode::AsyncCancel::CODE), "IORING_OP_ASYNC_CANCEL", "5.5"),
        (has(opcode::Shutdown::CODE), "IORING_OP_SHUTDOWN", "5.11"),
        (has(opcode::Close::CODE), "IORING_OP_CLOSE", "5.6"),
    ];
    match demands.into_iter().find(|(present, ..)| !present) {
        Some((_, feature, since)) => Err(Refusal::Lacks { kernel: kernel_release(), feature, since }),
        None => Ok(probe),
    }
}

/// Direct descriptors where closing one does not wait for others (6.13), and where it can be examined (6.8).
fn best_descriptors(probe: &Probe, kernel: &str) -> Descriptors {
    let installs = probe.is_supported(opcode::FixedFdInstall::CODE);
    if installs && version(kernel) >= (6, 13) { Descriptors::Direct } else { Descriptors::Plain }
}

/// Major and minor number of a release; zero for what is not a number.
fn version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|text| text.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

fn register_files(uring: &IoUring, slots: u32) -> Result<(), Refusal> {
    let limit = nofile_limit();
    if u64::from(slots) > limit {
        return Err(Refusal::Slots { slots, limit });
    }
    let step = Step { name: "IORING_REGISTER_FILES2", demands: Some(("sparse file tables", "5.19")) };
    attempt(step, || uring.submitter().register_files_sparse(slots))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_compared_by_number() {
        assert_eq!(version("6.18.44-generic"), (6, 18));
        assert_eq!(version("6.1.0"), (6, 1));
        assert_eq!(version("5.15.0-91-generic"), (5, 15));
        assert_eq!(version("7.0-rc1"), (7, 0));
        assert_eq!(version(""), (0, 0));
        assert!(version("6.9.1") < (6, 13));
    }

    #[test]
    fn impossible_sizes_are_refused_in_words() {
        let good = BackendConfig::default();
        for (bad, word) in [
            (BackendConfig { slots: 0, ..good }, "slots 0"),
            (BackendConfig { slots: 1 << 24, ..good }, "24 bits"),
            (BackendConfig { receive_buffers: 3, ..good }, "power of two"),
            (BackendConfig { receive_buffer_bytes: 0, ..good }, "receive_buffer_bytes 0"),
            (BackendConfig { batch_within: Duration::from_secs(2), ..good }, "batch_within 2s"),
        ] {
            let refusal = check(&bad).unwrap_err();
            assert!(refusal.to_string().contains(word), "{refusal}");
        }
    }

    #[test]
    fn memory_is_waited_for_and_other_errors_are_not() {
        let step = Step { name: "step", demands: None };
        let mut calls = 0;
        let result = attempt(step, || {
            calls += 1;
            if calls < 3 { Err(io::Error::from(Errno::ENOMEM)) } else { Ok(calls) }
        });
        assert_eq!(result, Ok(3));
        let result: Result<(), _> = attempt(step, || Err(io::Error::from(Errno::EINVAL)));
        assert_eq!(result, Err(Refusal::Other { step: "step", errno: Errno::EINVAL }));
    }

    #[test]
    fn features_say_what_is_missing() {
        let features = Features {
            kernel: "6.1.0".into(),
            descriptors: Descriptors::Plain,
            gather: false,
            no_sqarray: false,
            no_iowait: true,
            messages: false,
        };
        assert_eq!(
            features.to_string(),
            "io_uring on Linux 6.1.0, plain descriptors, without min-wait, without no_sqarray, without messages between rings"
        );
    }
}
