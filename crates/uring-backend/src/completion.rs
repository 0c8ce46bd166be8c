//! One completion of the kernel.
//!
//! Owns the reading of its flags. It is neither `Clone` nor `Copy`: a final completion proves once that the kernel is done
//! with what was lent to it, and one that names a buffer hands it over once.

use heartring_core::Errno;
use io_uring::cqueue;

use crate::user_data::UserData;

/// What the kernel says of a request.
#[derive(Debug)]
pub(crate) struct Cqe {
    name: UserData,
    result: i32,
    flags: u32,
}

impl Cqe {
    /// Only [`Ring`](crate::ring_unsafe::Ring) makes them, and tests.
    pub(crate) const fn new(name: UserData, result: i32, flags: u32) -> Self {
        Self { name, result, flags }
    }

    pub(crate) const fn name(&self) -> UserData {
        self.name
    }

    /// The value of a success, or why it failed.
    pub(crate) const fn result(&self) -> Result<u32, Errno> {
        if self.result < 0 { Err(Errno(-self.result)) } else { Ok(self.result as u32) }
    }

    /// The same, and uses it up.
    pub(crate) const fn into_result(self) -> Result<u32, Errno> {
        self.result()
    }

    /// Whether it ends the request `name`. Uses it up.
    pub(crate) fn proves_end_of(self, name: UserData) -> bool {
        self.is_final() && self.name == name
    }

    /// Whether the request has ended with it (no `F_MORE`).
    pub(crate) fn is_final(&self) -> bool {
        !cqueue::more(self.flags)
    }

    /// The buffer that the kernel hands over with it, once.
    pub(crate) fn take_buffer(&mut self) -> Option<u16> {
        let buffer = cqueue::buffer_select(self.flags);
        // The bit that says "a buffer is named", IORING_CQE_F_BUFFER of the kernel's interface.
        self.flags &= !1;
        buffer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_handed_over_once() {
        let mut cqe = Cqe::new(UserData::wake(), 9, 7 << 16 | 0b11);
        assert!(!cqe.is_final(), "bit 1 is F_MORE");
        assert_eq!(cqe.take_buffer(), Some(7));
        assert_eq!(cqe.take_buffer(), None);
        assert!(!cqe.is_final());
    }

    #[test]
    fn a_negative_result_is_an_errno() {
        assert_eq!(Cqe::new(UserData::wake(), -104, 0).result(), Err(Errno::ECONNRESET));
        assert_eq!(Cqe::new(UserData::wake(), 0, 0).result(), Ok(0));
    }
}
