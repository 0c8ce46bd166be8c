//! A hole into which connections of the present network namespace fall: their packets are dropped in both directions. It needs
//! `nft`, and disappears with the namespace.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use heartring_tests::FAR;
use socket2::{Domain, SockRef, Socket, Type};

/// Devices connect from here on upwards. The kernel chooses ports far above, and never one of the dead.
const PORT_FIRST: u16 = 10_000;

const RULES: &str = "
    add table inet hole
    add set inet hole dead { type inet_service; }
    add chain inet hole in { type filter hook input priority 0; }
    add chain inet hole out { type filter hook output priority 0; }
    add rule inet hole in tcp dport @dead drop
    add rule inet hole out tcp sport @dead drop";

/// Digs it in the calling thread's namespace.
pub(crate) fn dig() -> Result<(), String> {
    nft(RULES)
}

/// Connects from a port that nobody has used.
pub(crate) fn connect_from_next_port() -> impl FnMut(SocketAddr) -> io::Result<TcpStream> + Send {
    let mut ports = PORT_FIRST..;
    move |gateway| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        let port = ports.next().ok_or_else(|| io::Error::other("no port is left"))?;
        socket.bind(&SocketAddr::new(FAR, port).into())?;
        socket.connect(&gateway.into())?;
        Ok(socket.into())
    }
}

/// Lets a connection fall, and then ends it: its reset does not get out.
pub(crate) fn swallow(stream: TcpStream) {
    let port = stream.local_addr().expect("it is connected").port();
    nft(&format!("add element inet hole dead {{ {port} }}")).expect("the hole is there");
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("SO_LINGER can be set");
    drop(stream);
}

fn nft(commands: &str) -> Result<(), String> {
    let failed = |error: io::Error| format!("nft: {error}");
    let mut child = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(commands.as_bytes()).map_err(failed)?;
    drop(stdin);
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("nft: {}", String::from_utf8_lossy(&output.stderr).trim()))
}
