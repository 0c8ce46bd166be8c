//! A process of the torment, seen from the parent: it obeys orders and says words, both JSON lines. Dropping it ends it.

use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::network::Namespace;
use super::words::Part;
use crate::failure::Failure;

pub(super) struct Process<W> {
    child: Child,
    orders: Option<ChildStdin>,
    words: Receiver<W>,
}

impl<W: DeserializeOwned + Send + 'static> Process<W> {
    /// Starts one that plays `part` in a namespace.
    pub(super) fn start(home: &Namespace, part: &Part) -> Result<Self, Failure> {
        let failed =
            |error: io::Error| Failure::new(format!("cannot start a part: {error}"), "see `ulimit -u`");
        let program = std::env::current_exe().map_err(failed)?;
        let mut command = home.command(&program);
        command.arg("torment-part");
        if std::env::var_os("RUST_LOG").is_none() {
            // It will complain of everything that is done to it.
            command.env("RUST_LOG", "off");
        }
        let mut child = command.spawn().map_err(failed)?;
        let orders = child.stdin.take();
        let (heard, words) = channel();
        let stdout = child.stdout.take();
        thread::spawn(move || stdout.map(|stdout| listen(stdout, &heard)));
        let mut process = Self { child, orders, words };
        process.order(part)?;
        Ok(process)
    }

    /// The next word; `None` if there is none within `timeout`.
    pub(super) fn hear(&mut self, timeout: Duration) -> Result<Option<W>, Failure> {
        match self.words.recv_timeout(timeout) {
            Ok(word) => Ok(Some(word)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => {
                let status =
                    self.child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
                Err(Failure::new(format!("a part ended early: {status}"), "RUST_LOG=warn may say why"))
            }
        }
    }
}

impl<W> Process<W> {
    pub(super) fn order(&mut self, order: &impl Serialize) -> Result<(), Failure> {
        let failed =
            |error: io::Error| Failure::new(format!("a part takes no orders: {error}"), "did it end?");
        let mut line = serde_json::to_vec(order).map_err(|error| failed(error.into()))?;
        line.push(b'\n');
        let orders = self.orders.as_mut().ok_or_else(|| failed(io::ErrorKind::BrokenPipe.into()))?;
        orders.write_all(&line).map_err(failed)
    }

    pub(super) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Its name in /proc.
    pub(super) fn name(&self) -> String {
        self.child.id().to_string()
    }

    pub(super) fn signal(&self, signal: Signal) -> Result<(), Failure> {
        kill_process(self.pid(), signal)
            .map_err(|error| Failure::new(format!("a part cannot be signalled: {error}"), "did it end?"))
    }

    /// Kills it, as the kernel does for want of memory. A frozen one dies, too.
    pub(super) fn kill(&mut self) {
        self.orders = None;
        // Both fail only if the process has ended and been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl<W> Drop for Process<W> {
    fn drop(&mut self) {
        self.kill();
    }
}

fn listen<W: DeserializeOwned>(stdout: ChildStdout, heard: &std::sync::mpsc::Sender<W>) {
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        let Ok(word) = serde_json::from_str(&line) else { return };
        if heard.send(word).is_err() {
            return;
        }
    }
}
