//! Other people's clients, as processes that tell in lines what happens to them.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::iter;
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::common::client;
use crate::common::server::{Server, backends};

/// How long a client is waited for. What must not take that long is asserted where it is promised.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What paho has to say of a client that was taken over, and of one that is refused because the gateway is busy.
pub(crate) const TAKEN_OVER: u8 = 0x8E;
pub(crate) const BUSY: u8 = 0x89;

/// A test measures what a gateway promises.
#[allow(clippy::disallowed_methods)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Runs `body` with a gateway of two shards on each backend, side by side, if all clients are here.
pub(crate) fn on_each_backend(test: &str, args: &[&str], body: impl Fn(&Server) + Sync) {
    if !are_here(test) {
        return;
    }
    thread::scope(|scope| {
        for backend in backends() {
            let body = &body;
            scope.spawn(move || {
                let server = Server::start("mqtt", backend, &[&["--shards", "2"], args].concat());
                body(&server);
                server.stop();
            });
        }
    });
}

/// Whether the clients are installed; if not, says that `test` is skipped.
pub(crate) fn are_here(test: &str) -> bool {
    client::has(test, "mosquitto_sub")
        && client::has(test, "mosquitto_pub")
        && client::python(test, &["paho.mqtt.client"]).is_some()
}

/// A client that runs until it is dropped.
pub(crate) struct Client {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
    /// Messages that came before it knew that it was subscribed, as those that are retained do.
    early: VecDeque<String>,
}

impl Client {
    fn start(command: &mut Command) -> Self {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the client starts");
        let stdin = child.stdin.take().expect("it is piped");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let (sender, lines) = mpsc::channel();
        // Ends with the client's output, or when nobody listens any more.
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, stdin, lines, early: VecDeque::new() }
    }

    /// A subscriber that is subscribed. It tells `topic qos retained payload`.
    pub(crate) fn mosquitto_sub(server: &Server, args: &[&str]) -> Self {
        let mut command = Command::new("stdbuf");
        command.args(["-oL", "mosquitto_sub", "-d", "-F", "%t %q %r %p", "-p", &server.port()]).args(args);
        let mut subscriber = Self::start(&mut command);
        loop {
            match subscriber.line() {
                line if line.starts_with("Subscribed") => return subscriber,
                line if line.starts_with("Client ") => {}
                message => subscriber.early.push_back(message),
            }
        }
    }

    /// A paho client with the wishes of `client.py`, and what CONNACK has told it: the reason and the properties.
    pub(crate) fn paho(addr: SocketAddr, wishes: Value) -> (Self, u8, Value) {
        let client = Self::paho_connecting(addr, wishes);
        let answer = client.hears("connected");
        let reason = number(&answer[1]);
        (client, reason, answer[2].clone())
    }

    /// The same, and nothing is known of it.
    pub(crate) fn paho_connecting(addr: SocketAddr, mut wishes: Value) -> Self {
        wishes["host"] = json!(addr.ip());
        wishes["port"] = json!(addr.port());
        let python = client::python("paho", &["paho.mqtt.client"]).expect("it was here when the test began");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mqtt/client.py");
        Self::start(Command::new(python).args([script, &wishes.to_string()]))
    }

    /// Has a paho client do something.
    pub(crate) fn order(&mut self, order: &Value) {
        writeln!(self.stdin, "{order}").expect("the client reads");
    }

    /// What a paho client tells next, which must be of this kind.
    pub(crate) fn hears(&self, kind: &str) -> Value {
        let told = self.hears_within(PATIENCE).expect("the client tells something");
        assert_eq!(told[0], kind, "{told}");
        told
    }

    /// What a paho client tells next, if it is soon.
    pub(crate) fn hears_within(&self, patience: Duration) -> Option<Value> {
        let line = self.lines.recv_timeout(patience).ok()?;
        Some(serde_json::from_str(&line).expect("it tells JSON"))
    }

    /// The next message of `mosquitto_sub`.
    pub(crate) fn message(&mut self) -> String {
        let mut lines = self.early.pop_front().into_iter().chain(iter::repeat_with(|| {
            self.lines.recv_timeout(PATIENCE).expect("the client tells something")
        }));
        lines.find(|line| !line.starts_with("Client ")).expect("an endless iterator")
    }

    /// The next `count` messages of `mosquitto_sub`.
    pub(crate) fn messages(&mut self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.message()).collect()
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("the client tells something")
    }

    /// Stops its process where it is: it does not read, write or ping any more, and its kernel still answers for it.
    pub(crate) fn freeze(&self) {
        kill_process(Pid::from_child(&self.child), Signal::STOP).expect("it runs");
    }

    /// Ends it without a word of MQTT.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it runs");
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A number of a paho client: a reason, a property.
pub(crate) fn number(told: &Value) -> u8 {
    told.as_u64().and_then(|number| number.try_into().ok()).unwrap_or_else(|| panic!("no reason: {told}"))
}

/// Publishes and ends.
pub(crate) fn mosquitto_pub(server: &Server, args: &[&str]) {
    let output = try_mosquitto_pub(server, args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Publishes, or does not.
pub(crate) fn try_mosquitto_pub(server: &Server, args: &[&str]) -> Output {
    let mut command = Command::new("mosquitto_pub");
    command.args(["-p", &server.port()]).args(args).output().expect("mosquitto_pub starts")
}

/// Publishes each of `lines`.
pub(crate) fn mosquitto_pub_lines(server: &Server, args: &[&str], lines: &[String]) {
    let mut command = Command::new("mosquitto_pub");
    command.args(["-l", "-p", &server.port()]).args(args);
    let mut publisher = command.stdin(Stdio::piped()).spawn().expect("mosquitto_pub starts");
    let mut stdin = publisher.stdin.take().expect("it is piped");
    lines.iter().try_for_each(|line| writeln!(stdin, "{line}")).expect("it reads");
    drop(stdin);
    assert!(publisher.wait().expect("it is our child").success());
}
