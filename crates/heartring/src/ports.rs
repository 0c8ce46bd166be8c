//! Ports that are taken, and for how long.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use crate::Error;

/// A port may be held for a moment by a ring of a process that has just ended: rings are torn down asynchronously.
const RETRIES: u32 = 10;
const RETRY_AFTER: Duration = Duration::from_millis(50);

/// Opens something on `addr`, several times if the port is in use.
pub(crate) fn patiently<T>(addr: SocketAddr, mut open: impl FnMut() -> io::Result<T>) -> Result<T, Error> {
    for _ in 0..RETRIES {
        match open() {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => std::thread::sleep(RETRY_AFTER),
            result => return result.map_err(|error| Error::listen(addr, &error)),
        }
    }
    open().map_err(|error| Error::listen(addr, &error))
}

/// With SO_REUSEPORT the kernel lets two gateways of one user share a port, each with half of the clients. That is never
/// meant: whoever holds the port already is found by binding without the option first.
pub(crate) fn check_free(addrs: &[SocketAddr]) -> Result<(), Error> {
    addrs.iter().try_for_each(|&addr| patiently(addr, || TcpListener::bind(addr)).map(drop))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_given_back_in_time_is_taken() {
        let holder = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = holder.local_addr().unwrap();
        let error = check_free(&[addr]).unwrap_err().to_string();
        assert!(error.contains("EADDRINUSE") && error.contains("choose another port"), "{error}");
        let release = std::thread::spawn(move || {
            std::thread::sleep(RETRY_AFTER);
            drop(holder);
        });
        check_free(&[addr]).unwrap();
        release.join().unwrap();
    }
}
