//! Thousands of devices that beat, from one thread.
//!
//! Each has a rhythm of its own, which begins when it connects: a fleet's beats are spread over time, and those of the first go on
//! while the last still connect. How late the crowd itself was is measured, so that a gateway is not blamed for it.

use std::collections::VecDeque;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use heartring::Instant;
use heartring_socket::now;

use crate::device::Device;

/// Devices that connect between two looks at whose beat is due.
const CONNECTS_AT_ONCE: usize = 32;

/// How long the thread sleeps at most, so that it sees that it is to stop.
const NAP: Duration = Duration::from_millis(5);

/// How long a crowd may take to connect: thousands, on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// A crowd at work.
pub struct Crowd {
    stop: Arc<AtomicBool>,
    complete: Receiver<()>,
    thread: JoinHandle<Dispersed>,
}

/// A crowd that has stopped. Its devices are still connected.
pub struct Dispersed {
    /// Its devices.
    pub devices: Vec<Device>,
    /// The longest time between two beats of one device.
    pub longest_silence: Duration,
    /// Beats that the gateway did not take any more.
    pub beats_refused: u64,
}

impl Crowd {
    /// Begins to connect `count` devices, each of which beats at once and then every `every`.
    pub fn gather(count: usize, every: Duration, connect: impl Fn() -> TcpStream + Send + 'static) -> Self {
        Self::begin(every, move |marchers: &mut Marchers| {
            let missing = count - marchers.line.len();
            for _ in 0..missing.min(CONNECTS_AT_ONCE) {
                marchers.enter(Device::from_stream(connect()));
            }
            missing > CONNECTS_AT_ONCE
        })
    }

    /// Has devices that are connected go on.
    pub fn of(devices: Vec<Device>, every: Duration) -> Self {
        let mut devices = Some(devices);
        Self::begin(every, move |marchers: &mut Marchers| {
            devices.take().into_iter().flatten().for_each(|device| marchers.enter(device));
            false
        })
    }

    /// Waits until all have connected.
    ///
    /// # Panics
    ///
    /// If the gateway does not take them.
    pub fn wait_until_complete(&self) {
        self.complete.recv_timeout(PATIENCE).expect("the gateway takes a crowd");
    }

    /// Ends the beating.
    ///
    /// # Panics
    ///
    /// If its thread has panicked.
    pub fn stop(self) -> Dispersed {
        self.stop.store(true, Ordering::Release);
        self.thread.join().expect("a crowd does not panic")
    }

    /// `gather` brings some devices and says whether there are more to come.
    fn begin(every: Duration, gather: impl FnMut(&mut Marchers) -> bool + Send + 'static) -> Self {
        let (stop, (say_complete, complete)) = (Arc::new(AtomicBool::new(false)), mpsc::channel());
        let stopped = Arc::clone(&stop);
        let marchers = Marchers { line: VecDeque::new(), every, longest_silence: Duration::ZERO, refused: 0 };
        let thread = thread::spawn(move || marchers.march(gather, &say_complete, &stopped));
        Self { stop, complete, thread }
    }
}

/// The devices of a crowd, on its thread.
struct Marchers {
    /// By when they are due. All have the same interval, so that who has beaten goes to the end.
    line: VecDeque<(Instant, Device)>,
    every: Duration,
    longest_silence: Duration,
    refused: u64,
}

impl Marchers {
    fn march(
        mut self,
        mut gather: impl FnMut(&mut Self) -> bool,
        say_complete: &Sender<()>,
        stopped: &AtomicBool,
    ) -> Dispersed {
        let mut gathering = true;
        while !stopped.load(Ordering::Acquire) {
            let next = self.beat();
            if gathering {
                gathering = gather(&mut self);
                if !gathering {
                    let _ = say_complete.send(()); // Nobody need wait for it.
                }
            } else {
                thread::sleep(next.saturating_since(now()).min(NAP));
            }
        }
        let Self { line, longest_silence, refused, .. } = self;
        let devices = line.into_iter().map(|(_, device)| device).collect();
        Dispersed { devices, longest_silence, beats_refused: refused }
    }

    fn enter(&mut self, mut device: Device) {
        self.refused += u64::from(device.try_send(b"\n").is_err());
        self.line.push_back((device.spoke_at + self.every, device));
    }

    /// Has everybody beat who is due; returns when the next one is.
    fn beat(&mut self) -> Instant {
        let at = now();
        while let Some((due, mut device)) = self.line.pop_front_if(|(due, _)| *due <= at) {
            let spoke_at = device.spoke_at;
            self.refused += u64::from(device.try_send(b"\n").is_err());
            let silence = device.spoke_at.saturating_since(spoke_at);
            self.longest_silence = self.longest_silence.max(silence);
            self.line.push_back((due + self.every, device));
        }
        self.line.front().map_or(at + NAP, |(due, _)| *due)
    }
}
