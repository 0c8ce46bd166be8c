//! System calls that change what a thread may do or see, and that no safe wrapper offers.

use std::io;

/// Gives the calling thread, and the threads that it starts, a network of its own.
///
/// # Errors
///
/// `EPERM` without CAP_SYS_ADMIN.
pub(crate) fn unshare_network() -> io::Result<()> {
    // SAFETY: `unshare` takes a number and reads no memory. A thread's network namespace decides only what sockets it makes;
    // nothing in Rust relies on it.
    let status = unsafe { libc::unshare(libc::CLONE_NEWNET) };
    checked(status)
}

/// Forbids `io_uring_setup` to the calling thread and the threads that it starts, as container runtimes do: EPERM.
///
/// # Errors
///
/// What the kernel says; `EINVAL` if it was built without seccomp.
pub fn forbid_io_uring() -> io::Result<()> {
    // SAFETY: PR_SET_NO_NEW_PRIVS takes numbers and reads no memory.
    let status = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    checked(status)?;
    let statement = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let mut filter = [
        // The number of the system call is the first field of seccomp_data.
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0),
        libc::sock_filter {
            code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
            jt: 0,
            jf: 1,
            k: libc::SYS_io_uring_setup as u32,
        },
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the kernel reads `program` and the `len` instructions that it points to, both of which live until the call
    // returns, and keeps a copy.
    let status =
        unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, std::ptr::from_ref(&program)) };
    checked(status)
}

fn checked(status: libc::c_int) -> io::Result<()> {
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
