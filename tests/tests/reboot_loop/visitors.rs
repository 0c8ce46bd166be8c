//! Healthy clients, of which one comes every 100 ms, is answered and leaves.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use heartring_socket::now;

use super::devices::{introduce, leave, sleep_until};

const VISIT_EVERY: Duration = Duration::from_millis(100);

/// The thread on which they come.
pub(crate) struct Visitors {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Duration>>,
}

impl Visitors {
    /// From the calling thread's network namespace.
    pub(crate) fn begin(gateway: SocketAddr) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let its_over = Arc::clone(&over);
        let thread = thread::spawn(move || visit(gateway, &its_over));
        Self { over, thread }
    }

    /// How long each of them waited, from connect to first reply, in the order in which they came.
    pub(crate) fn end(self) -> Vec<Duration> {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().expect("every healthy client is answered")
    }
}

fn visit(gateway: SocketAddr, over: &AtomicBool) -> Vec<Duration> {
    let began = now();
    let mut waits = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let connects_at = now();
        let (stream, _) = introduce(TcpStream::connect, gateway, &format!("visitor-{}", waits.len()));
        waits.push(now().saturating_since(connects_at));
        leave(stream);
        sleep_until(began + VISIT_EVERY * waits.len() as u32);
    }
    waits
}
