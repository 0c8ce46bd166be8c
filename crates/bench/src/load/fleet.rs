//! The devices' connections: made one after the other, so that a listen queue never overflows, and reset when
//! they are dropped, so that no round leaves ports in TIME-WAIT for the next. Each sends its first message at
//! once: a gateway waits for it no longer than its hello deadline.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::plan::LoadPlan;
use crate::port_unsafe::bind_without_port;

/// The default range of local ports has 28 232. `connect` looks for a free one in one half of them first, and finds it soon as
/// long as that half is not full.
const CONNS_PER_SOURCE: u32 = 14_000;

pub(super) struct Fleet {
    conns: Vec<Socket>,
}

impl Fleet {
    pub(super) fn connect(plan: &LoadPlan) -> Result<Fleet, String> {
        let total = plan.workload.connections();
        let message = plan.workload.message();
        let connect = |index| {
            connect(plan, index, &message).map_err(|e| format!("connection {} of {total}: {e}", index + 1))
        };
        Ok(Fleet { conns: (0..total).map(connect).collect::<Result<_, _>>()? })
    }

    pub(super) fn len(&self) -> usize {
        self.conns.len()
    }

    pub(super) fn conn(&self, index: usize) -> BorrowedFd<'_> {
        self.conns[index].as_fd()
    }
}

/// Connects device `index` and says `message`.
pub(super) fn connect(plan: &LoadPlan, index: u32, message: &[u8]) -> io::Result<Socket> {
    let mut socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    socket.set_linger(Some(Duration::ZERO))?;
    if let Some(congestion) = &plan.congestion {
        socket.set_tcp_congestion(congestion.as_bytes())?;
    }
    if let Some(source) = source(index) {
        bind_without_port(&socket)?;
        socket.bind(&SocketAddr::from((source, 0)).into())?;
    }
    socket.connect(&plan.server.into())?;
    socket.write_all(message)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// The address to connect from, where the kernel's own choice would run out of ports.
fn source(index: u32) -> Option<Ipv4Addr> {
    let block = index / CONNS_PER_SOURCE;
    (block > 0).then(|| Ipv4Addr::from(u32::from(Ipv4Addr::LOCALHOST) + block))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_addresses_change_before_ports_run_out() {
        assert_eq!(source(0), None);
        assert_eq!(source(13_999), None);
        assert_eq!(source(14_000), Some(Ipv4Addr::new(127, 0, 0, 2)));
        assert_eq!(source(1_000_000), Some(Ipv4Addr::new(127, 0, 0, 72)));
    }
}
