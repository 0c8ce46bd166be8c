//! Devices, seen from the parent: the processes that play them, and which of them plays whom.

use std::ops::Range;
use std::time::Duration;

use rustix::process::Signal;

use super::network::Namespace;
use super::process::Process;
use super::words::{Act, Counts, FleetOrder, FleetPart, FleetWord, Part, Truth};
use crate::failure::Failure;

/// Descriptors that a fleet process keeps for itself: standard streams, epoll, and room for the unforeseen.
const DESCRIPTORS_RESERVED: u32 = 32;
/// An order to thousands of devices takes a second on a busy machine.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// All processes that play devices of one network.
pub(super) struct Fleet {
    part: FleetPart,
    processes: Vec<Process<FleetWord>>,
    /// Devices that are not forgotten, and the process of each.
    played: Vec<(Range<u32>, usize)>,
}

impl Fleet {
    /// Starts as many processes as `devices` need. `descriptors` is what one process may hold.
    pub(super) fn start(
        home: &Namespace,
        part: FleetPart,
        devices: u32,
        descriptors: u32,
    ) -> Result<Self, Failure> {
        let per_process = descriptors.saturating_sub(DESCRIPTORS_RESERVED).max(1);
        let processes = (0..devices.div_ceil(per_process).max(1))
            .map(|_| Process::start(home, &Part::Fleet(part.clone())))
            .collect::<Result<_, _>>()?;
        Ok(Self { part, processes, played: Vec::new() })
    }

    /// Has devices connect, divided over the processes.
    pub(super) fn connect(&mut self, devices: Range<u32>, small: bool) -> Result<(), Failure> {
        let share = (devices.len() as u32).div_ceil(self.processes.len() as u32).max(1);
        for (process, first) in (0..).zip(devices.clone().step_by(share as usize)) {
            self.played.push((first..(first + share).min(devices.end), process));
        }
        self.act(devices, Act::Connect { small })
    }

    pub(super) fn act(&mut self, devices: Range<u32>, act: Act) -> Result<(), Failure> {
        self.ask(&devices, act).map(drop)
    }

    pub(super) fn count(&mut self, devices: Range<u32>) -> Result<Counts, Failure> {
        let counts = self.ask(&devices, Act::Count)?.into_iter().map(|word| match word {
            FleetWord::Counted(counts) => counts,
            FleetWord::Done | FleetWord::Told(_) => Counts::default(),
        });
        Ok(counts.fold(Counts::default(), Counts::plus))
    }

    pub(super) fn tell(&mut self, devices: Range<u32>) -> Result<Vec<Truth>, Failure> {
        let words = self.ask(&devices, Act::Tell)?.into_iter().flat_map(|word| match word {
            FleetWord::Told(truths) => truths,
            FleetWord::Done | FleetWord::Counted(_) => Vec::new(),
        });
        Ok(words.collect())
    }

    /// All that are not forgotten.
    pub(super) fn devices(&self) -> Range<u32> {
        let bounds = |devices: &Range<u32>| (devices.start, devices.end);
        let played = self.played.iter().map(|(devices, _)| bounds(devices));
        played
            .reduce(|all, some| (all.0.min(some.0), all.1.max(some.1)))
            .map_or(0..0, |(first, end)| first..end)
    }

    /// Forgets all devices.
    pub(super) fn forget(&mut self) -> Result<(), Failure> {
        for (devices, _) in self.played.clone() {
            self.act(devices, Act::Forget)?;
        }
        self.played.clear();
        Ok(())
    }

    /// The answers of all processes that play some of the devices. All are told before any is waited for.
    fn ask(&mut self, devices: &Range<u32>, act: Act) -> Result<Vec<FleetWord>, Failure> {
        let mut asked = Vec::new();
        for (played, process) in &self.played {
            let (first, end) = (played.start.max(devices.start), played.end.min(devices.end));
            if first < end {
                self.processes[*process].order(&FleetOrder { first, count: end - first, act })?;
                asked.push(*process);
            }
        }
        let answers = asked.into_iter().map(|process| {
            let answer = self.processes[process].hear(ANSWER_WITHIN)?;
            answer.ok_or_else(|| Failure::new("a fleet does not answer", "the machine may be too busy"))
        });
        answers.collect()
    }

    pub(super) fn signal(&self, signal: Signal) -> Result<(), Failure> {
        self.processes.iter().try_for_each(|process| process.signal(signal))
    }

    /// Kills all processes and starts others, which play nobody yet.
    pub(super) fn kill(&mut self, home: &Namespace) -> Result<(), Failure> {
        // All are killed before any is waited for: they die in the same instant.
        let killed = self.signal(Signal::KILL);
        self.played.clear();
        for process in &mut self.processes {
            process.kill();
            *process = Process::start(home, &Part::Fleet(self.part.clone()))?;
        }
        killed
    }
}
