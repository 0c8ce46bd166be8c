//! The rounds: every contender once per round, in rotating order, each in fresh processes.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::child::{ChildError, Interrupt};
use crate::contender::Contender;
use crate::error::Error;
use crate::machine::Machine;
use crate::measurement;
use crate::metric::Metric;
use crate::progress::Progress;
use crate::sample::Sample;
use crate::transport;
use crate::workload::Workload;

/// What is to be measured.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    /// Of one of several: its title.
    pub(crate) part: Option<String>,
    pub(crate) workload: Workload,
    pub(crate) contenders: Vec<Contender>,
    pub(crate) rounds: u32,
    pub(crate) window: Duration,
    /// How long those that batch wait for company.
    pub(crate) batch_within: Duration,
    pub(crate) dead_within: Duration,
    /// TCP input is steered to the generator's core.
    pub(crate) rps: bool,
    pub(crate) machine: Machine,
}

impl Setup {
    /// Half a second of full load lets buffers, caches and the clock frequency settle; a short window needs no
    /// longer warm-up than itself.
    pub(crate) fn warmup(&self) -> Duration {
        self.window.min(Duration::from_millis(500))
    }

    pub(crate) fn measurements(&self) -> u64 {
        u64::from(self.rounds) * self.contenders.len() as u64
    }
}

/// What all rounds found.
#[derive(Debug, Default)]
pub(crate) struct Results {
    /// One sample per round.
    pub(crate) samples: BTreeMap<Contender, Vec<Sample>>,
    /// Who could not be measured in some round, and why. Such a contender has no samples.
    pub(crate) failures: Vec<(Contender, String)>,
}

impl Results {
    /// A metric's values, round by round.
    pub(crate) fn values(&self, contender: Contender, metric: Metric) -> Vec<Option<f64>> {
        let samples = self.samples.get(&contender).map_or(&[][..], Vec::as_slice);
        samples.iter().map(|sample| sample.values.get(&metric).copied()).collect()
    }

    fn fail(&mut self, contender: Contender, why: String) {
        self.samples.remove(&contender);
        self.failures.push((contender, why));
    }

    fn has_failed(&self, contender: Contender) -> bool {
        self.failures.iter().any(|(failed, _)| *failed == contender)
    }
}

/// Runs all rounds. Those who fail are in the results.
pub(crate) fn run(setup: &Setup, progress: &Progress, interrupt: &Interrupt) -> Result<Results, Error> {
    if setup.machine.rps {
        transport::steer(setup.rps.then_some(setup.machine.generator_core))?;
    }
    let mut results = Results::default();
    for round in 0..setup.rounds {
        for contender in order(&setup.contenders, round as usize) {
            if results.has_failed(contender) {
                progress.skip();
                continue;
            }
            progress.begin(setup, round, contender);
            match measurement::measure(setup, contender, interrupt) {
                Ok(sample) => {
                    progress.done(setup, round, contender, &sample);
                    results.samples.entry(contender).or_default().push(sample);
                }
                Err(ChildError::Interrupted) => return Err(Error::Interrupted),
                Err(ChildError::Failed(why)) => {
                    progress.failed(contender, &why);
                    results.fail(contender, why);
                }
            }
        }
    }
    Ok(results)
}

/// Each round begins with another contender, and every other cycle runs backwards, so that nobody always
/// follows the same neighbour.
fn order(contenders: &[Contender], round: usize) -> Vec<Contender> {
    let mut order = contenders.to_vec();
    order.rotate_left(round % contenders.len());
    if (round / contenders.len()) % 2 == 1 {
        order.reverse();
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contender::Server;

    fn all() -> Vec<Contender> {
        Server::ALL.map(Server::usual).to_vec()
    }

    #[test]
    fn everyone_is_first_equally_often() {
        let firsts: Vec<_> = (0..all().len()).map(|round| order(&all(), round)[0]).collect();
        assert_eq!(firsts, all());
    }

    #[test]
    fn nobody_always_follows_the_same_neighbour() {
        let forward = order(&all(), 0);
        let backward = order(&all(), all().len());
        assert!(forward.iter().eq(backward.iter().rev()));
    }

    #[test]
    fn a_contender_that_fails_once_is_out_of_the_report() {
        let bare = Server::BareUring.usual();
        let mut results = Results::default();
        results.samples.insert(bare, vec![Sample::default()]);
        results.fail(bare, "no ring".into());
        assert!(results.has_failed(bare));
        assert_eq!(results.values(bare, Metric::CpuNsPerMessage), []);
    }
}
