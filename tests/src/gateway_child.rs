//! A gateway in a process of its own, whose descriptors the test can take away and whose CPU time it can read.
//!
//! The child is the test program again, with the same one test: there it calls [`GatewayChild::serve`] and returns. The two
//! talk in lines over the child's standard input and output.

use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;
use std::{env, fs};

use heartring::{Config, Lines};
use rustix::process::{Resource, getrlimit};

use crate::cpu_time::cpu_time;
use crate::gateway_probe::GatewayProbe;
use crate::rig_tcp::{forbid_descriptors, limit_descriptors};

const CHILD: &str = "HEARTRING_TEST_GATEWAY";

/// What the child's words begin with: the test harness writes to the same pipe.
const WORD: &str = "gateway: ";

/// The parent's view.
pub struct GatewayChild {
    child: Child,
    orders: ChildStdin,
    words: BufReader<ChildStdout>,
    addr: SocketAddr,
}

/// What a gateway in a child has counted.
#[derive(Clone, Copy, Debug)]
pub struct ChildStats {
    /// Clients taken from the queue.
    pub accepted: u64,
    /// Those of them that were refused because the shard was full.
    pub refused: u64,
    /// Accepts that failed.
    pub accept_failures: u64,
    /// Pauses because of that.
    pub accept_back_offs: u64,
}

impl GatewayChild {
    /// Whether this process is the child of `test`.
    pub fn is_child(test: &str) -> bool {
        env::var(CHILD).is_ok_and(|child| child == test)
    }

    /// The child's part: runs a gateway and does what the parent says.
    ///
    /// # Panics
    ///
    /// If the parent is gone, or if the gateway does not end in order.
    pub fn serve(config: Config) {
        let probe = GatewayProbe::start::<Lines>(config);
        say(&probe.addr().to_string());
        for order in io::stdin().lines() {
            match order.expect("the parent lives").as_str() {
                "starve" => forbid_descriptors(),
                "feed" => limit_descriptors(getrlimit(Resource::Nofile).maximum),
                "count" => {}
                "end" => break,
                other => panic!("{other} is no order"),
            }
            // While it starves, they cannot be counted: that takes one.
            let open = fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count());
            say(&open.to_string());
        }
        let stats = probe.finish().stats;
        let counts =
            [stats.accepted, stats.refused("conns_max"), stats.accept_failures, stats.accept_back_offs];
        say(&counts.map(|count| count.to_string()).join(" "));
    }

    /// Starts the child of `test`.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn spawn(test: &str) -> Self {
        let mut child = Command::new(env::current_exe().expect("the test program has a path"))
            .args(["--exact", test, "--nocapture", "--test-threads=1"])
            .env(CHILD, test)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the test program can be run again");
        let orders = child.stdin.take().expect("it is piped");
        let mut words = BufReader::new(child.stdout.take().expect("it is piped"));
        let addr = hear(&mut words).parse().expect("its first word is its address");
        Self { child, orders, words, addr }
    }

    /// Where it listens.
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Takes its descriptors away: it can open no other.
    pub fn starve(&mut self) {
        self.order("starve");
    }

    /// Gives them back.
    pub fn feed(&mut self) {
        self.order("feed");
    }

    /// How many it has open.
    ///
    /// # Panics
    ///
    /// If it has gone.
    pub fn descriptors(&mut self) -> usize {
        self.order("count").parse().expect("a number of descriptors")
    }

    /// The CPU time that it has used, in user space and in the kernel, all threads together.
    ///
    /// # Panics
    ///
    /// If it has gone.
    pub fn cpu_time(&self) -> Duration {
        cpu_time(&self.child.id().to_string(), |_| true)
    }

    /// Has it stop in order.
    ///
    /// # Panics
    ///
    /// If something was wrong there, which it has then printed.
    pub fn end(mut self) -> ChildStats {
        let counts = self.order("end");
        let status = self.child.wait().expect("it is our child");
        assert!(status.success(), "the gateway's process failed: {status}");
        let mut counts = counts.split(' ').map(|count| count.parse().expect("a count"));
        let mut next = || counts.next().expect("four counts");
        ChildStats { accepted: next(), refused: next(), accept_failures: next(), accept_back_offs: next() }
    }

    fn order(&mut self, order: &str) -> String {
        writeln!(self.orders, "{order}").expect("the child is there");
        hear(&mut self.words)
    }
}

impl Drop for GatewayChild {
    fn drop(&mut self) {
        // After a failure; a child that has ended is not there any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn say(word: &str) {
    println!("\n{WORD}{word}");
}

fn hear(words: &mut BufReader<ChildStdout>) -> String {
    loop {
        let mut line = String::new();
        let count = words.read_line(&mut line).expect("the child's words are text");
        assert!(count > 0, "the gateway's process has ended");
        if let Some(word) = line.trim_end().strip_prefix(WORD) {
            return word.to_owned();
        }
    }
}
