//! The system call: io_uring_enter on the ring's descriptor.
//!
//! Owns the ring's number in the table of this thread's rings, by which entering saves the look-up of a descriptor. It
//! does not own the descriptor. The crate can do both, but only with a `Submitter` that borrows the ring and is kept.
//! Invariant: the number is given back, else the kernel would keep the ring open until the thread ends.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use heartring_core::Instant;
use heartring_socket::now;
use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring};

use crate::setup::Features;

/// How an enter waits.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sleep {
    /// Not at all: hand over, collect, return.
    No,
    /// Until a completion, of which the alarm is one.
    UntilAlarm,
    /// Until a completion or that instant.
    Until {
        until: Option<Instant>,
        /// Within this time, return only when there are [`Sleep::COMPANY`] completions.
        gather: Duration,
    },
}

impl Sleep {
    /// How many completions are company enough to wake the thread for.
    pub(crate) const COMPANY: u32 = 128;
}

/// The ring's descriptor, and how to enter it.
pub(crate) struct RingFd {
    raw: RawFd,
    registered: Option<u32>,
}

impl RingFd {
    /// To be used and dropped before `uring` is, on its thread.
    pub(crate) fn new(uring: &IoUring) -> Self {
        let raw = uring.as_raw_fd();
        Self { raw, registered: register(raw) }
    }

    /// Hands over `submit` entries and sleeps. Absolute times need Linux 6.12, as does gathering.
    pub(crate) fn sleep(
        &self,
        submit: u32,
        until: Option<Instant>,
        gather: Duration,
        features: &Features,
    ) -> io::Result<u32> {
        let mut flags = EnterFlags::GETEVENTS;
        flags.set(EnterFlags::NO_IOWAIT, features.no_iowait);
        if !features.gather {
            let relative = until.map(|until| Instant::ZERO + until.saturating_since(now()));
            return self.wait(submit, 1, flags, relative.map(timespec), 0);
        }
        flags |= EnterFlags::ABS_TIMER;
        if gather.is_zero() {
            return self.wait(submit, 1, flags, until.map(timespec), 0);
        }
        // After the shorter wait the kernel returns even with nothing if there is no longer one; so there is always one.
        let end = until.unwrap_or_else(|| now() + Duration::from_hours(24));
        self.wait(submit, Sleep::COMPANY, flags, Some(timespec(end)), gather.as_micros() as u32)
    }

    /// Hands over `submit` entries and sleeps until there is a completion.
    pub(crate) fn sleep_until_completion(&self, submit: u32, features: &Features) -> io::Result<u32> {
        let mut flags = EnterFlags::GETEVENTS;
        flags.set(EnterFlags::NO_IOWAIT, features.no_iowait);
        self.call(submit, 1, flags, None)
    }

    /// Waits up to `within` for `want` completions; hands over nothing.
    pub(crate) fn collect(&self, want: u32, within: Duration) -> io::Result<u32> {
        self.wait(0, want, EnterFlags::GETEVENTS, Some(Timespec::from(within)), 0)
    }

    /// Hands over `submit` entries and returns; with [`EnterFlags::GETEVENTS`] it collects what is ready.
    pub(crate) fn enter(&self, submit: u32, flags: EnterFlags) -> io::Result<u32> {
        self.call(submit, 0, flags, None)
    }

    fn wait(
        &self,
        submit: u32,
        want: u32,
        flags: EnterFlags,
        timeout: Option<Timespec>,
        gather_us: u32,
    ) -> io::Result<u32> {
        let args = SubmitArgs::new().min_wait_usec(gather_us);
        let args = timeout.as_ref().map_or(args, |timeout| args.timespec(timeout));
        self.call(submit, want, flags | EnterFlags::EXT_ARG, Some(&args))
    }

    fn call(
        &self,
        submit: u32,
        want: u32,
        flags: EnterFlags,
        args: Option<&SubmitArgs<'_, '_>>,
    ) -> io::Result<u32> {
        let (fd, flags) = match self.registered {
            Some(number) => (number.cast_signed(), flags | EnterFlags::REGISTERED_RING),
            None => (self.raw, flags),
        };
        let (args, size) = match args {
            Some(args) => (std::ptr::from_ref(args), size_of_val(args)),
            None => (std::ptr::null(), 0),
        };
        // SAFETY: `args` is null or the kernel's `io_uring_getevents_arg`, of which `SubmitArgs` is a transparent wrapper,
        // and the timespec in it outlives this call by its lifetime. The entries in the queue are valid: whoever pushed
        // them answers for that (`Ring::try_push`).
        let result =
            unsafe { libc::syscall(libc::SYS_io_uring_enter, fd, submit, want, flags.bits(), args, size) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as u32) }
    }
}

impl Drop for RingFd {
    fn drop(&mut self) {
        let Some(number) = self.registered else { return };
        let update = Update { offset: number, resv: 0, data: 0 };
        let pointer = &raw const update;
        // SAFETY: the kernel reads one such struct, which lives until the call returns.
        let done = unsafe { libc::syscall(libc::SYS_io_uring_register, self.raw, UNREGISTER, pointer, 1) };
        debug_assert_eq!(done, 1, "it was registered");
    }
}

pub(crate) fn timespec(at: Instant) -> Timespec {
    let nanos = at.as_nanos();
    Timespec::new().sec(nanos / 1_000_000_000).nsec((nanos % 1_000_000_000) as u32)
}

/// `struct io_uring_rsrc_update` of the kernel.
#[repr(C)]
struct Update {
    offset: u32,
    resv: u32,
    data: u64,
}

/// `IORING_REGISTER_RING_FDS` and `IORING_UNREGISTER_RING_FDS`.
const REGISTER: u32 = 20;
const UNREGISTER: u32 = 21;

/// Enters the ring into this thread's table, at any place. Without it (there are 16) everything works, a little slower.
fn register(ring: RawFd) -> Option<u32> {
    let mut update = Update { offset: u32::MAX, resv: 0, data: u64::from(ring.cast_unsigned()) };
    let pointer = &raw mut update;
    // SAFETY: the kernel reads and writes one such struct, which lives until the call returns.
    let done = unsafe { libc::syscall(libc::SYS_io_uring_register, ring, REGISTER, pointer, 1) };
    (done == 1).then_some(update.offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_given_back() {
        let Ok(uring) = IoUring::new(2) else {
            assert_ne!(std::env::var("HEARTRING_REQUIRE_ALL").as_deref(), Ok("1"), "no io_uring");
            return println!("SKIPPED: no io_uring here");
        };
        // More often than the table has places.
        for _ in 0..40 {
            let fd = RingFd::new(&uring);
            assert!(fd.registered.is_some());
            fd.enter(0, EnterFlags::empty()).unwrap();
        }
    }

    #[test]
    fn a_timespec_is_normalised() {
        let spec = timespec(Instant::from_nanos(3_999_999_999));
        let expected = Timespec::new().sec(3).nsec(999_999_999);
        assert_eq!(format!("{spec:?}"), format!("{expected:?}"));
    }
}
