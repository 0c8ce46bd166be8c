//! Opens listening sockets.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use heartring_core::{Errno, Keepalive, ListenOptions};
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

use crate::kernel_unsafe;

/// Opens a non-blocking, close-on-exec TCP socket with `options` and listens on `addr`.
///
/// Every option is set before `listen`, because connections inherit them when their handshake ends, not when they are
/// accepted. `SO_REUSEADDR` is always set, as every server on Linux does: it lets a restart bind while connections of the
/// process before it are in TIME-WAIT, and does not let two listeners share an address.
///
/// An IPv6 address listens for IPv6 and IPv4 where that is possible (`IPV6_V6ONLY` off, whatever
/// `net.ipv6.bindv6only` says), so that `[::]` is every address of the machine. IPv4 clients then appear as
/// `::ffff:a.b.c.d`.
///
/// # Errors
///
/// What the kernel says to socket, setsockopt, bind or listen: for example `EADDRINUSE`, `EADDRNOTAVAIL`, `EACCES`,
/// `EINVAL` for an option out of its range and `ENOENT` for a congestion control that it does not have.
pub fn listen(addr: SocketAddr, options: &ListenOptions) -> io::Result<OwnedFd> {
    // socket2 passes SOCK_CLOEXEC with the type.
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(options.reuse_port)?;
    if addr.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    set_inherited_options(&socket, options)?;
    socket.bind(&addr.into())?;
    socket.listen(i32::try_from(options.backlog).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

/// The address that `fd` is bound to, with the port that the kernel chose if it was asked to.
///
/// # Errors
///
/// What `getsockname` says, and `EAFNOSUPPORT` for a socket that is neither IPv4 nor IPv6.
pub fn local_addr(fd: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    Ok(rustix::net::getsockname(fd)?.try_into()?)
}

fn set_inherited_options(socket: &Socket, options: &ListenOptions) -> io::Result<()> {
    socket.set_tcp_nodelay(options.nodelay)?;
    if let Some(keepalive) = options.keepalive {
        socket.set_tcp_keepalive(&keepalive_params(keepalive))?; // sets SO_KEEPALIVE, too
    }
    if let Some(timeout) = options.user_timeout {
        socket.set_tcp_user_timeout(Some(whole_millis(timeout)))?;
    }
    if let Some(rto_max) = options.rto_max {
        set_rto_max(socket.as_fd(), rto_max)?;
    }
    // Buffer sizes decide the window scale, which is agreed on in the handshake: another reason to set them here.
    if let Some(bytes) = options.receive_buffer_bytes {
        socket.set_recv_buffer_size(bytes as usize)?;
    }
    if let Some(bytes) = options.send_buffer_bytes {
        socket.set_send_buffer_size(bytes as usize)?;
    }
    if let Some(name) = &options.congestion_control {
        socket.set_tcp_congestion(name.as_bytes())?;
    }
    Ok(())
}

fn keepalive_params(keepalive: Keepalive) -> TcpKeepalive {
    TcpKeepalive::new()
        .with_time(Duration::from_secs(keepalive.idle_s.into()))
        .with_interval(Duration::from_secs(keepalive.interval_s.into()))
        .with_retries(keepalive.probes.into())
}

/// A kernel without the option backs off to 120 s, as `ListenOptions` says; that is no reason not to listen.
fn set_rto_max(fd: BorrowedFd<'_>, rto_max: Duration) -> io::Result<()> {
    match kernel_unsafe::set_rto_max_ms(fd, whole_millis(rto_max).as_millis() as i32) {
        Err(error) if error.raw_os_error() == Some(Errno::ENOPROTOOPT.0) => Ok(()),
        result => result,
    }
}

/// Rounded up, so that a deadline never comes early and that a short one does not become zero, which the kernel takes for
/// its default; at most what the kernel's C int holds.
fn whole_millis(duration: Duration) -> Duration {
    let millis = duration.as_nanos().div_ceil(1_000_000);
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX).min(i32::MAX as u64))
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use socket2::SockRef;

    use super::*;

    fn every_option() -> ListenOptions {
        ListenOptions {
            backlog: 16,
            keepalive: Some(Keepalive { idle_s: 10, interval_s: 3, probes: 4 }),
            user_timeout: Some(Duration::from_micros(7_000_500)),
            rto_max: Some(Duration::from_secs(3)),
            nodelay: true,
            reuse_port: false,
            receive_buffer_bytes: Some(40_000),
            send_buffer_bytes: Some(30_000),
            congestion_control: Some("cubic".to_owned()),
        }
    }

    /// A listener, a client of it and the accepted socket.
    fn accept_one(addr: &str, options: &ListenOptions) -> (OwnedFd, TcpStream, OwnedFd) {
        let listener = listen(addr.parse().unwrap(), options).unwrap();
        let client = TcpStream::connect(local_addr(listener.as_fd()).unwrap()).unwrap();
        let accepted = rustix::net::accept(&listener).unwrap();
        (listener, client, accepted)
    }

    fn assert_every_option_is_inherited(addr: &str) {
        let (_listener, _client, accepted) = accept_one(addr, &every_option());
        let socket = SockRef::from(&accepted);
        assert!(socket.keepalive().unwrap() && socket.tcp_nodelay().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(10));
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(3));
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 4);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_millis(7001)), "rounded up");
        // socket(7): the kernel doubles both for its own bookkeeping.
        assert_eq!(socket.recv_buffer_size().unwrap(), 80_000);
        assert_eq!(socket.send_buffer_size().unwrap(), 60_000);
        assert!(socket.tcp_congestion().unwrap().starts_with(b"cubic"));
        match kernel_unsafe::rto_max_ms(accepted.as_fd()) {
            Ok(millis) => assert_eq!(millis, 3000),
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(Errno::ENOPROTOOPT.0));
                eprintln!("NOT TESTED: this kernel has no TCP_RTO_MAX_MS");
                assert!(std::env::var_os("HEARTRING_REQUIRE_ALL").is_none());
            }
        }
    }

    #[test]
    fn accepted_sockets_inherit_every_option() {
        assert_every_option_is_inherited("127.0.0.1:0");
    }

    #[test]
    fn accepted_sockets_inherit_every_option_over_ipv6() {
        assert_every_option_is_inherited("[::1]:0");
    }

    #[test]
    fn options_left_out_are_left_alone() {
        let (_listener, _client, accepted) = accept_one("127.0.0.1:0", &ListenOptions::default());
        let socket = SockRef::from(&accepted);
        assert!(!socket.keepalive().unwrap() && socket.tcp_nodelay().unwrap());
        assert_eq!(socket.tcp_user_timeout().unwrap(), None);
    }

    #[test]
    fn the_listener_does_not_block_and_is_not_handed_to_children() {
        let listener = listen("127.0.0.1:0".parse().unwrap(), &ListenOptions::default()).unwrap();
        assert_eq!(rustix::net::accept(&listener).unwrap_err(), rustix::io::Errno::AGAIN);
        let flags = rustix::io::fcntl_getfd(&listener).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    }

    #[test]
    fn every_address_of_the_machine_means_ipv4_too() {
        let listener = listen("[::]:0".parse().unwrap(), &ListenOptions::default()).unwrap();
        let port = local_addr(listener.as_fd()).unwrap().port();
        for addr in ["127.0.0.1", "::1"] {
            TcpStream::connect((addr, port)).unwrap_or_else(|error| panic!("{addr}: {error}"));
        }
    }

    #[test]
    fn an_address_is_shared_only_on_request() {
        let shared = ListenOptions { reuse_port: true, ..ListenOptions::default() };
        let first = listen("127.0.0.1:0".parse().unwrap(), &shared).unwrap();
        let addr = local_addr(first.as_fd()).unwrap();
        listen(addr, &shared).unwrap();
        let refused = listen(addr, &ListenOptions::default()).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn limits_of_the_kernels_integers_are_kept() {
        let huge = ListenOptions {
            backlog: u32::MAX,
            user_timeout: Some(Duration::MAX),
            ..ListenOptions::default()
        };
        let (_listener, _client, accepted) = accept_one("127.0.0.1:0", &huge);
        let timeout = SockRef::from(&accepted).tcp_user_timeout().unwrap();
        assert_eq!(timeout, Some(Duration::from_millis(i32::MAX as u64)));
    }

    #[test]
    fn what_the_kernel_refuses_is_an_error() {
        let unknown =
            ListenOptions { congestion_control: Some("nonesuch".into()), ..ListenOptions::default() };
        let error = listen("127.0.0.1:0".parse().unwrap(), &unknown).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::ENOENT.0));
        let foreign = listen("192.0.2.1:0".parse().unwrap(), &ListenOptions::default()).unwrap_err();
        assert_eq!(foreign.kind(), io::ErrorKind::AddrNotAvailable);
    }
}
