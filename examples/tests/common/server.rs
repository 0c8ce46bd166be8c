//! An example at work: a process of its own on a port of its own, ended with SIGINT.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use heartring::{Config, preflight};
use rustix::process::{Pid, Signal, kill_process};

/// The backends that an example is tested on: io_uring, unless this machine has none, and epoll.
pub(crate) fn backends() -> impl Iterator<Item = &'static str> {
    let refused = preflight::probe_uring(&Config::default()).err();
    if let Some(why) = &refused {
        heartring_tests::skip("io_uring", &why.to_string());
    }
    refused.is_none().then_some("uring").into_iter().chain(["epoll"])
}

/// A running example. Dropped without [`Server::stop`], which happens when a test fails, it is killed.
pub(crate) struct Server {
    child: Child,
    /// Kept open, so that what it prints later does not end it.
    _output: BufReader<ChildStdout>,
    addr: SocketAddr,
}

impl Server {
    /// Starts the example `name` on `backend` and waits until it listens. Cargo builds the examples before it runs all
    /// tests of the package, but not before `cargo test --test mqtt`.
    pub(crate) fn start(name: &str, backend: &str, args: &[&str]) -> Self {
        Self::start_on("127.0.0.1:0", name, backend, args)
    }

    /// The same on another address.
    pub(crate) fn start_on(listen: &str, name: &str, backend: &str, args: &[&str]) -> Self {
        let mut child = Command::new(example(name))
            .args(["--listen", listen, "--backend", backend])
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("`cargo build --example {name}` first: {error}"));
        let mut output = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut line = String::new();
        output.read_line(&mut line).expect("its first line is text");
        // "mqtt on 127.0.0.1:40123", "game on http://127.0.0.1:40124"
        let addr = line.trim_end().rsplit([' ', '/']).next().and_then(|addr| addr.parse().ok());
        let addr = addr.unwrap_or_else(|| panic!("{name} on {backend} did not start: {line:?}"));
        Self { child, _output: output, addr }
    }

    /// Where it listens.
    pub(crate) const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The port, as an argument for a client.
    pub(crate) fn port(&self) -> String {
        self.addr.port().to_string()
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A connection to it.
    pub(crate) fn connect(&self) -> TcpStream {
        TcpStream::connect(self.addr).expect("it listens")
    }

    /// Sends it SIGINT and asserts that it ends in order, without an error.
    pub(crate) fn stop(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::INT).expect("it runs");
        let status: ExitStatus = self.child.wait().expect("it is our child");
        assert!(status.success(), "the example ended with {status}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has ended already unless a test has failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `target/debug/deps/mqtt-0123` is the test, `target/debug/examples/mqtt` the example.
fn example(name: &str) -> PathBuf {
    let mut path = std::env::current_exe().expect("a test program has a path");
    path.pop();
    path.pop();
    path.join("examples").join(name)
}
