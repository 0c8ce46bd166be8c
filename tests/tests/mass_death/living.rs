//! The control group: devices that stay, and how long they wait for their answers.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use heartring::Instant;
use heartring_socket::now;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Between two questions of the group. Each device asks in its turn, whether the others have their answers or not; to ask is its
/// beat as well.
const ASK_EVERY: Duration = Duration::from_millis(1);

/// How long the last answer is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// The group at work.
pub(crate) struct Living {
    pub(crate) addrs: HashSet<SocketAddr>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Answer>>,
}

/// One answer.
#[derive(Clone, Copy)]
pub(crate) struct Answer {
    asked_at: Instant,
    waited: Duration,
}

impl Living {
    pub(crate) fn begin(gateway: SocketAddr, count: usize) -> Self {
        let connect = |_| TcpStream::connect(gateway).expect("it listens");
        let streams: Vec<TcpStream> = (0..count).map(connect).collect();
        let addr = |stream: &TcpStream| stream.local_addr().expect("a connected socket has an address");
        let addrs = streams.iter().map(addr).collect();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        Self { addrs, stop, thread: thread::spawn(move || ask(&streams, &stopped)) }
    }

    /// The answers to all questions.
    pub(crate) fn end(self) -> Vec<Answer> {
        self.stop.store(true, Ordering::Release);
        self.thread.join().expect("every living device has its answers")
    }
}

/// Asks until it is to stop, and then waits for the answers that are missing.
fn ask(streams: &[TcpStream], stopped: &AtomicBool) -> Vec<Answer> {
    let (mut answers, mut asked, mut ask_at) = (Vec::new(), 0, now());
    while !stopped.load(Ordering::Acquire) {
        if now() < ask_at {
            hear(streams, ask_at, &mut answers);
            continue;
        }
        let question = format!("echo {}\n", ask_at.as_nanos());
        (&streams[asked % streams.len()])
            .write_all(question.as_bytes())
            .expect("a living device is not cut off");
        asked += 1;
        ask_at = ask_at + ASK_EVERY;
    }
    while answers.len() < asked {
        hear(streams, now() + PATIENCE, &mut answers);
        assert!(now() < ask_at + PATIENCE, "{} questions have no answer", asked - answers.len());
    }
    answers
}

/// Takes the answers that are there, or the first that comes before `until`. Each says when it was to be asked for.
fn hear(streams: &[TcpStream], until: Instant, answers: &mut Vec<Answer>) {
    let mut fds: Vec<PollFd<'_>> = streams.iter().map(|stream| PollFd::new(stream, PollFlags::IN)).collect();
    let left = Timespec::try_from(until.saturating_since(now())).expect("it is short");
    poll(&mut fds, Some(&left)).expect("poll takes these descriptors");
    for (mut stream, _) in streams.iter().zip(&fds).filter(|(_, fd)| !fd.revents().is_empty()) {
        let mut text = [0; 1024];
        let count = stream.read(&mut text).expect("a living device is not cut off");
        let text = str::from_utf8(&text[..count]).expect("an answer is text");
        assert!(text.ends_with('\n'), "an answer comes whole, and is no end of stream: {text:?}");
        answers.extend(text.lines().map(|line| {
            let asked_at = Instant::from_nanos(line.parse().expect("an answer says what was asked"));
            Answer { asked_at, waited: now().saturating_since(asked_at) }
        }));
    }
}

/// How long those waited who asked between two instants, in order.
pub(crate) fn waits(answers: &[Answer], from: Instant, to: Instant) -> Vec<Duration> {
    let asked = answers.iter().filter(|answer| (from..=to).contains(&answer.asked_at));
    let mut waits: Vec<Duration> = asked.map(|answer| answer.waited).collect();
    waits.sort_unstable();
    waits
}
