//! Waking: from any thread by the eventfd, from another ring by a message.
//!
//! Owns the handle by which a ring is woken, and who was sent a message. A message (`IORING_OP_MSG_RING`) is handed over
//! with the other requests of a turn, so it costs its sender no system call, and arrives as a completion of the target.
//! Invariant: while a message is in a queue, its descriptor number is the target ring's, or the eventfd's that has taken
//! its place.

use std::any::Any;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, PoisonError};

use heartring_core::Wake;
use heartring_socket::WakeFd;
use rustix::io::DupFlags;

/// Messages under way at a time; who is rung beyond that hears the eventfd. There are fewer shards.
const MESSAGES_MAX: usize = 1024;

/// The handle by which a ring is woken.
pub(crate) struct RingWaker {
    bell: Arc<WakeFd>,
    mouth: Option<Mouth>,
}

/// Where messages go in: a second descriptor of the ring. Its number does not change, and is closed with the last handle:
/// who holds the handle can use the number without asking whether the ring is still there.
struct Mouth {
    number: RawFd,
    fd: Mutex<OwnedFd>,
}

impl RingWaker {
    /// Without a `ring`, or if no descriptor is left for it, it takes no messages.
    pub(crate) fn new(ring: Option<BorrowedFd<'_>>) -> io::Result<Arc<Self>> {
        let mouth = ring.and_then(|ring| rustix::io::fcntl_dupfd_cloexec(ring, 0).ok());
        let mouth = mouth.map(|fd| Mouth { number: fd.as_raw_fd(), fd: Mutex::new(fd) });
        Ok(Arc::new(Self { bell: WakeFd::new()?, mouth }))
    }

    /// The eventfd, which the ring watches.
    pub(crate) fn bell(&self) -> &WakeFd {
        &self.bell
    }

    /// The ring ends. So that it is not kept by its handles, the eventfd takes the place of its second descriptor: a
    /// message that is under way fails with EBADFD, and meets nothing that a closed number could have become.
    pub(crate) fn retire(&self) {
        let Some(mouth) = &self.mouth else { return };
        let mut fd = mouth.fd.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = rustix::io::dup3(&*self.bell, &mut fd, DupFlags::CLOEXEC) {
            // RLIMIT_NOFILE was lowered below the number.
            tracing::debug!(%error, "io_uring: the ring is kept until its last waker is dropped");
        }
    }
}

impl Wake for RingWaker {
    fn wake(&self) {
        self.bell.wake();
    }
}

/// Who was sent a message, and may yet turn out not to have got it. A message that arrives completes on the target only.
#[derive(Default)]
pub(crate) struct Messages(Vec<Arc<dyn Wake>>);

impl Messages {
    /// Where to send a message to `other`, and its number, if `other` is a ring that takes messages.
    pub(crate) fn address(&mut self, other: &Arc<dyn Wake>) -> Option<(u32, RawFd)> {
        let any: &dyn Any = &**other;
        let mouth = any.downcast_ref::<RingWaker>()?.mouth.as_ref()?;
        if self.0.len() >= MESSAGES_MAX {
            return None;
        }
        self.0.push(Arc::clone(other));
        Some((self.0.len() as u32 - 1, mouth.number))
    }

    /// The message did not arrive.
    pub(crate) fn failed(&self, number: u32) {
        self.0[number as usize].wake();
    }

    /// Every message was handed over, and each that failed has said so.
    pub(crate) fn settle(&mut self) {
        self.0.clear();
    }

    /// The sender ends: what was not handed over never will be.
    pub(crate) fn ring_instead(&mut self) {
        self.0.drain(..).for_each(|other| other.wake());
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::fd::AsFd;

    use heartring_core::{Backend, BackendConfig};

    use super::*;
    use crate::UringBackend;

    fn what_is(number: RawFd) -> String {
        fs::read_link(format!("/proc/self/fd/{number}")).unwrap().to_string_lossy().into_owned()
    }

    #[test]
    fn a_retired_waker_keeps_its_number_and_not_its_ring() {
        // To a descriptor, a pipe is as good as a ring.
        let (reader, writer) = std::io::pipe().unwrap();
        let waker = RingWaker::new(Some(writer.as_fd())).unwrap();
        drop(writer);
        let other: Arc<dyn Wake> = waker.clone();
        let (_, number) = Messages::default().address(&other).unwrap();
        assert!(what_is(number).contains("pipe"));
        waker.retire();
        assert!(what_is(number).contains("eventfd"));
        assert_eq!(std::io::read_to_string(reader).unwrap(), "", "nobody holds the other end");
    }

    #[test]
    fn a_message_that_fails_rings_the_bell_of_its_own_target() {
        let (_reader, ring) = std::io::pipe().unwrap();
        let wakers = [(); 2].map(|()| RingWaker::new(Some(ring.as_fd())).unwrap());
        let mut messages = Messages::default();
        let numbers = wakers.clone().map(|waker| messages.address(&(waker as Arc<dyn Wake>)).unwrap().0);
        messages.failed(numbers[1]);
        assert!(!wakers[0].bell.drain() && wakers[1].bell.drain());
        messages.settle();
        messages.ring_instead();
        assert!(!wakers[0].bell.drain());
    }

    fn backend() -> Option<UringBackend> {
        let backend = UringBackend::new(&BackendConfig { slots: 1, ..BackendConfig::default() });
        if let Err(refusal) = &backend {
            assert_ne!(std::env::var("HEARTRING_REQUIRE_ALL").as_deref(), Ok("1"), "{refusal}");
            println!("SKIPPED: {refusal}");
        }
        backend.ok()
    }

    #[test]
    fn a_backend_that_ends_retires_its_waker() {
        let Some(backend) = backend() else { return };
        let Some(mouth) = &backend.waker.mouth else { return };
        let (number, waker) = (mouth.number, backend.waker());
        assert!(what_is(number).contains("io_uring"));
        drop(backend);
        assert!(what_is(number).contains("eventfd"));
        drop(waker);
    }

    #[test]
    fn a_message_that_does_not_arrive_becomes_a_ring_of_the_bell() {
        let Some(mut backend) = backend() else { return };
        let (_reader, no_ring) = std::io::pipe().unwrap();
        let wakers = [(); 3].map(|()| RingWaker::new(Some(no_ring.as_fd())).unwrap());
        for waker in wakers.clone() {
            backend.ring(&(waker as Arc<dyn Wake>));
        }
        assert!(!wakers[0].bell.drain(), "it waits to be handed over");
        backend.wait(Some(backend.now()), &mut |_, completion| panic!("{completion:?}")).unwrap();
        assert!(wakers.iter().all(|waker| waker.bell.drain()));
        assert_eq!(Arc::strong_count(&wakers[0]), 1, "it is forgotten");
    }

    #[test]
    fn strangers_and_too_many_get_no_messages() {
        let (_reader, ring) = std::io::pipe().unwrap();
        let mut messages = Messages::default();
        let stranger: Arc<dyn Wake> = WakeFd::new().unwrap();
        let mute: Arc<dyn Wake> = RingWaker::new(None).unwrap();
        assert!(messages.address(&stranger).is_none() && messages.address(&mute).is_none());
        let waker: Arc<dyn Wake> = RingWaker::new(Some(ring.as_fd())).unwrap();
        let taken = (0..=MESSAGES_MAX).filter(|_| messages.address(&waker).is_some()).count();
        assert_eq!(taken, MESSAGES_MAX);
    }
}
