//! A gateway in a process of its own, whose descriptors the test can take away, whose CPU time it can read and which it can stop
//! in the middle of whatever it does.
//!
//! The child is the test program again, with the same one test: there it calls [`GatewayChild::serve`] and returns. The two
//! talk in lines over the child's standard input and output.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;
use std::{env, fs};

use heartring::{Config, Instant, Lines};
use rustix::process::{
    Pid, Resource, Signal, WaitOptions, getrlimit, kill_process, set_parent_process_death_signal, waitpid,
};

use crate::cpu_time::cpu_time;
use crate::gateway_log::{Absence, Entry, Event};
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
    /// Times its thread was away for too long.
    pub stalls: u64,
    /// Verdicts that were put off because of that.
    pub postponed: u64,
    /// Deadlines that had passed while bytes lay unread.
    pub acquitted: u64,
}

/// What a gateway in a child has told its handler of the end of one connection.
#[derive(Clone, Debug)]
pub struct ChildEnd {
    /// Whose.
    pub peer: SocketAddr,
    /// The name of the cause.
    pub cause: String,
    /// When the handler was told the cause.
    pub condemned_at: Instant,
    /// When it was told that the connection is closed, if it was.
    pub closed_at: Option<Instant>,
    /// By how much the verdict came after its deadline, if the cause is one. Known when it is closed.
    pub lateness: Option<Duration>,
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
        Self::serve_at(config, "127.0.0.1:0");
    }

    /// The same on `addr`.
    ///
    /// # Panics
    ///
    /// If the parent is gone, or if the gateway does not end in order.
    pub fn serve_at(config: Config, addr: &str) {
        // A process that is stopped would not see that its parent has gone.
        set_parent_process_death_signal(Some(Signal::KILL)).expect("any signal can be asked for");
        let probe = GatewayProbe::start_at::<Lines>(config, addr);
        say(&probe.addr().to_string());
        for order in io::stdin().lines() {
            match order.expect("the parent lives").as_str() {
                "starve" => forbid_descriptors(),
                "feed" => limit_descriptors(getrlimit(Resource::Nofile).maximum),
                "count" => {}
                "ends" => {
                    say_ends(&probe.log().entries());
                    continue;
                }
                "absence" => {
                    let Absence { lasted, until } = probe.log().take_longest_absence();
                    say(&format!("{} {}", lasted.as_nanos(), until.as_nanos()));
                    continue;
                }
                "end" => break,
                other => panic!("{other} is no order"),
            }
            // While it starves, they cannot be counted: that takes one.
            let open = fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count());
            say(&open.to_string());
        }
        let stats = probe.finish().stats;
        let counts = [
            stats.accepted,
            stats.refused("conns_max"),
            stats.accept_failures,
            stats.accept_back_offs,
            stats.stalls,
            stats.postponed,
            stats.acquitted,
        ];
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

    /// Stops its process with SIGSTOP, and waits until all its threads stand still.
    ///
    /// # Panics
    ///
    /// If it has gone.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
        let stopped = waitpid(Some(Pid::from_child(&self.child)), WaitOptions::UNTRACED);
        let (_, status) = stopped.expect("it is our child").expect("the call waits");
        assert!(status.stopped(), "the gateway's process has ended: {status:?}");
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// The ends that its handler was told of so far, in the order of their verdicts.
    ///
    /// # Panics
    ///
    /// If it has gone.
    pub fn ends(&mut self) -> Vec<ChildEnd> {
        let count: usize = self.order("ends").parse().expect("a number of ends");
        (0..count).map(|_| ChildEnd::from_words(&hear(&mut self.words))).collect()
    }

    /// The longest time between two ticks of its shard since this was asked before.
    ///
    /// # Panics
    ///
    /// If it has gone.
    pub fn take_longest_absence(&mut self) -> Absence {
        let words = self.order("absence");
        let mut nanos = words.split(' ').map(|word| word.parse().expect("nanoseconds"));
        let mut next = || nanos.next().expect("two numbers");
        Absence { lasted: Duration::from_nanos(next()), until: Instant::from_nanos(next()) }
    }

    /// Has it begin to stop in order.
    ///
    /// # Panics
    ///
    /// If it has gone.
    pub fn begin_end(&mut self) {
        writeln!(self.orders, "end").expect("the child is there");
    }

    /// Has it stop in order.
    ///
    /// # Panics
    ///
    /// If something was wrong there, which it has then printed.
    pub fn end(mut self) -> ChildStats {
        self.begin_end();
        self.ended()
    }

    /// Waits until it has stopped, which it was asked to.
    ///
    /// # Panics
    ///
    /// As [`end`](Self::end).
    pub fn ended(mut self) -> ChildStats {
        let counts = hear(&mut self.words);
        let status = self.child.wait().expect("it is our child");
        assert!(status.success(), "the gateway's process failed: {status}");
        let mut counts = counts.split(' ').map(|count| count.parse().expect("a count"));
        let mut next = || counts.next().expect("seven counts");
        ChildStats {
            accepted: next(),
            refused: next(),
            accept_failures: next(),
            accept_back_offs: next(),
            stalls: next(),
            postponed: next(),
            acquitted: next(),
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it is our child");
    }

    fn order(&mut self, order: &str) -> String {
        writeln!(self.orders, "{order}").expect("the child is there");
        hear(&mut self.words)
    }
}

impl ChildEnd {
    /// From what [`say_ends`] has said.
    fn from_words(words: &str) -> Self {
        let words: Vec<&str> = words.split(' ').collect();
        let &[peer, cause, condemned_at, closed_at, lateness] = words.as_slice() else {
            panic!("{words:?} is no end")
        };
        let nanos = |word: &str| word.parse().ok();
        Self {
            peer: peer.parse().expect("an address"),
            cause: cause.to_owned(),
            condemned_at: nanos(condemned_at).map(Instant::from_nanos).expect("an instant"),
            closed_at: nanos(closed_at).map(Instant::from_nanos),
            lateness: nanos(lateness).map(Duration::from_nanos),
        }
    }
}

impl Drop for GatewayChild {
    fn drop(&mut self) {
        // After a failure; a child that has ended is not there any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How many ends the log tells of, then each in a line. What is not known yet, or does not exist, is `-`.
fn say_ends(entries: &[Entry]) {
    let closed = |entry: &Entry| {
        let Event::Closed(closed) = entry.event else { return None };
        Some(((entry.peer, entry.conn), (entry.at, closed.lateness)))
    };
    let closed: HashMap<_, _> = entries.iter().filter_map(closed).collect();
    let line = |entry: &Entry| {
        let Event::Closing(cause) = entry.event else { return None };
        let end = closed.get(&(entry.peer, entry.conn));
        let closed_at = end.map_or("-".into(), |(at, _)| at.as_nanos().to_string());
        let lateness =
            end.and_then(|end| end.1).map_or("-".into(), |lateness| lateness.as_nanos().to_string());
        Some(format!("{} {} {} {closed_at} {lateness}", entry.peer, cause.name(), entry.at.as_nanos()))
    };
    let lines: Vec<String> = entries.iter().filter_map(line).collect();
    say(&lines.len().to_string());
    for line in lines {
        say(&line);
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
