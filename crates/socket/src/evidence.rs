//! Asks the kernel what it knows about a connection.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use heartring_core::{SocketEvidence, TcpEvidence};

use crate::kernel_unsafe;

/// What the kernel knows about the connection `fd`, in three system calls. A question that fails is answered `None`:
/// evidence is gathered at a connection's end, and half of it is better than an error.
pub fn examine(fd: BorrowedFd<'_>) -> SocketEvidence {
    SocketEvidence {
        // On a TCP socket FIONREAD is SIOCINQ (tcp(7)). A FIN does not count.
        unread: rustix::io::ioctl_fionread(fd).ok().map(|bytes| bytes as u32),
        unsent: kernel_unsafe::unsent_bytes(fd).ok(),
        tcp: kernel_unsafe::tcp_info(fd).ok().as_ref().map(tcp_evidence),
    }
}

fn tcp_evidence(info: &libc::tcp_info) -> TcpEvidence {
    // Units as `tcp_get_info` in net/ipv4/tcp.c fills them in: the ages in milliseconds, the round trip in microseconds.
    TcpEvidence {
        state: info.tcpi_state,
        unacked: info.tcpi_unacked,
        retransmits: info.tcpi_retransmits,
        probes: info.tcpi_probes,
        last_data_received: Duration::from_millis(info.tcpi_last_data_recv.into()),
        last_ack_received: Duration::from_millis(info.tcpi_last_ack_recv.into()),
        last_data_sent: Duration::from_millis(info.tcpi_last_data_sent.into()),
        round_trip: Duration::from_micros(info.tcpi_rtt.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::os::fd::AsFd;

    use super::*;

    /// `tcp_states.h`
    const ESTABLISHED: u8 = 1;
    const CLOSE_WAIT: u8 = 8;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client, listener.accept().unwrap().0)
    }

    #[test]
    fn unread_bytes_are_counted() {
        let (mut client, mut served) = pair();
        client.write_all(b"heartbeat").unwrap();
        served.peek(&mut [0]).unwrap(); // blocks until the bytes are there
        assert_eq!(examine(served.as_fd()).unread, Some(9));
        served.read_exact(&mut [0; 9]).unwrap();
        assert_eq!(examine(served.as_fd()).unread, Some(0));
    }

    #[test]
    fn unsent_bytes_are_counted_when_the_peer_does_not_read() {
        let (_client, mut served) = pair();
        served.set_nonblocking(true).unwrap();
        while served.write(&[0; 8192]).is_ok() {}
        let evidence = examine(served.as_fd());
        assert!(evidence.unsent.unwrap() > 65_536, "{evidence:?}");
    }

    #[test]
    fn tcp_tells_its_state_and_the_ages() {
        let (mut client, mut served) = pair();
        client.write_all(b"beat").unwrap();
        served.read_exact(&mut [0; 4]).unwrap();
        std::thread::sleep(Duration::from_millis(60));
        let tcp = examine(served.as_fd()).tcp.unwrap();
        assert_eq!((tcp.state, tcp.unacked, tcp.retransmits), (ESTABLISHED, 0, 0));
        assert!(tcp.last_data_received >= Duration::from_millis(50), "{tcp:?}");
        assert!(tcp.last_data_received < Duration::from_secs(10), "{tcp:?}");
        assert!(tcp.round_trip < Duration::from_secs(1), "{tcp:?}");
        client.shutdown(Shutdown::Write).unwrap();
        served.read_exact(&mut [0]).unwrap_err(); // blocks until the FIN is there
        assert_eq!(examine(served.as_fd()).tcp.unwrap().state, CLOSE_WAIT);
    }

    #[test]
    fn what_is_no_tcp_socket_gives_no_evidence() {
        let null = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(examine(null.as_fd()), SocketEvidence::default());
    }
}
