//! Where episodes happen: a gateway, devices that stay healthy, victims, the networks between them, and the book of what the
//! gateway has said.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use heartring::{Instant, Liveness};
use rustix::process::Signal;

use super::checks::{Allowance, Checks};
use super::fleet::Fleet;
use super::footing::Footing;
use super::network::{Network, gateway_address};
use super::noise::Metronome;
use super::process::Process;
use super::words::{Ending, FleetPart, GatewayOrder, GatewayPart, GatewayWord, Listening, Look, Part, Truth};
use crate::failure::Failure;
use crate::system;

/// Between two looks at something that is awaited.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Devices that connect at once: few enough for the listener's queue.
const CONNECT_AT_ONCE: u32 = 1000;
/// A gateway that starts, stops or answers takes far less, unless it is frozen.
const GATEWAY_WITHIN: Duration = Duration::from_secs(30);
/// How long may it take until what is connected is served, before the fault.
const SERVED_WITHIN: Duration = Duration::from_secs(20);

/// Why an episode ended before its end.
pub(super) enum Stop {
    Interrupted,
    /// It cannot be played here.
    Impossible(String),
    Failed(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// What the gateway has said since it started last.
#[derive(Default)]
pub(super) struct Life {
    /// Devices that were connected, by their own account.
    pub(super) connected: u64,
    pub(super) closed: BTreeMap<String, u64>,
}

/// What is the same in all episodes of a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) victims: u32,
    pub(super) healthy: u32,
    pub(super) shards: u16,
    pub(super) seed: u64,
}

pub(super) struct Stage<'a> {
    pub(super) liveness: Liveness,
    pub(super) sizes: Sizes,
    pub(super) network: &'a Network,
    pub(super) gateway: Process<GatewayWord>,
    pub(super) listening: Listening,
    pub(super) healthy: Fleet,
    pub(super) healthy_devices: Range<u32>,
    pub(super) victims: Fleet,
    pub(super) endings: HashMap<u32, Vec<Ending>>,
    pub(super) life: Life,
    pub(super) look: Look,
    pub(super) start: Footing,
    /// Of the present episode.
    pub(super) checks: Checks,
    metronome: Metronome,
    device_next: u32,
    interrupted: &'a AtomicBool,
    /// Called now and then, to show where the run stands.
    pub(super) show: &'a mut dyn FnMut(&str),
    pub(super) scene: &'static str,
}

impl<'a> Stage<'a> {
    pub(super) fn set(
        backend: &str,
        sizes: Sizes,
        liveness: Liveness,
        network: &'a Network,
        interrupted: &'a AtomicBool,
        show: &'a mut dyn FnMut(&str),
    ) -> Result<Self, Stop> {
        let part = GatewayPart {
            backend: backend.to_owned(),
            shards: sizes.shards,
            dead_within: liveness.dead_within,
            listen: ([0, 0, 0, 0], gateway_address(1).port()).into(),
        };
        let fleet = |subnet| FleetPart {
            gateway: gateway_address(subnet),
            beat_every: liveness.beat_every,
            seed: sizes.seed ^ u64::from(subnet),
        };
        let descriptors = system::raise_descriptors();
        let mut stage = Self {
            liveness,
            sizes,
            network,
            gateway: Process::start(&network.gateway, &Part::Gateway(part))?,
            listening: Listening::default(),
            healthy: Fleet::start(&network.healthy, fleet(1), sizes.healthy, descriptors)?,
            healthy_devices: 0..0,
            victims: Fleet::start(&network.victims, fleet(2), sizes.victims, descriptors)?,
            endings: HashMap::new(),
            life: Life::default(),
            look: Look::default(),
            start: Footing::default(),
            checks: Checks::default(),
            metronome: Metronome::start(),
            device_next: 0,
            interrupted,
            show,
            scene: "start",
        };
        stage.await_listening()?;
        let needed = u64::from(sizes.victims + sizes.healthy) + 64;
        if stage.listening.conns_max < needed {
            return Err(Stop::Failed(Failure::new(
                format!(
                    "a gateway holds {} connections here, and {needed} are to come",
                    stage.listening.conns_max
                ),
                "lower --devices, or raise `ulimit -n`",
            )));
        }
        Ok(stage)
    }

    /// Waits until the gateway listens, and takes it down as a new life.
    pub(super) fn await_listening(&mut self) -> Result<(), Stop> {
        match self.await_word(|word| matches!(word, GatewayWord::Listening(_)))? {
            GatewayWord::Listening(listening) => self.listening = listening,
            GatewayWord::Ended(_)
            | GatewayWord::Looked(_)
            | GatewayWord::Drained { .. }
            | GatewayWord::Failed(_) => {}
        }
        self.life = Life::default();
        Ok(())
    }

    /// Connects the devices that are to stay healthy.
    pub(super) fn populate(&mut self) -> Result<(), Stop> {
        self.healthy.forget()?;
        let devices = self.take_numbers(self.sizes.healthy);
        self.healthy_devices = devices.clone();
        self.healthy.connect(devices.clone(), false)?;
        let all = devices.len() as u32;
        self.until(SERVED_WITHIN, |stage| Ok(stage.healthy.count(devices.clone())?.served == all))?;
        self.life.connected += u64::from(all);
        Ok(())
    }

    fn take_numbers(&mut self, count: u32) -> Range<u32> {
        self.device_next += count;
        self.device_next - count..self.device_next
    }

    /// Connects victims and waits until they are served.
    pub(super) fn connect(&mut self, count: u32, small: bool) -> Result<Range<u32>, Stop> {
        let devices = self.take_numbers(count);
        for first in devices.clone().step_by(CONNECT_AT_ONCE as usize) {
            let some = first..(first + CONNECT_AT_ONCE).min(devices.end);
            self.victims.connect(some.clone(), small)?;
            self.await_served(&some, SERVED_WITHIN)?;
        }
        Ok(devices)
    }

    /// Has victims begin to connect.
    pub(super) fn begin_to_connect(&mut self, count: u32) -> Result<Range<u32>, Stop> {
        let devices = self.take_numbers(count);
        self.victims.connect(devices.clone(), false)?;
        Ok(devices)
    }

    /// Whether all are served in time.
    pub(super) fn await_served(&mut self, devices: &Range<u32>, within: Duration) -> Result<bool, Stop> {
        self.until(within, |stage| Ok(stage.victims.count(devices.clone())?.served == devices.len() as u32))
    }

    /// Waits for a condition, and takes down what the gateway says. Whether it came true in time.
    pub(super) fn until(
        &mut self,
        within: Duration,
        mut is_true: impl FnMut(&mut Self) -> Result<bool, Failure>,
    ) -> Result<bool, Stop> {
        let until = system::now() + within;
        loop {
            if is_true(self)? {
                return Ok(true);
            }
            if system::now() >= until {
                return Ok(false);
            }
            self.pause(LOOK_EVERY)?;
        }
    }

    /// Lets time pass, and takes down what the gateway says.
    pub(super) fn pause(&mut self, duration: Duration) -> Result<(), Stop> {
        let until = system::now() + duration;
        loop {
            let left = until.saturating_since(system::now());
            if let Some(word) = self.hear(left.min(LOOK_EVERY * 10))? {
                self.enter(word)?;
            } else if left.is_zero() {
                return Ok(());
            }
        }
    }

    /// Waits for a word of the gateway, and takes down the others.
    pub(super) fn await_word(&mut self, is_it: impl Fn(&GatewayWord) -> bool) -> Result<GatewayWord, Stop> {
        let until = system::now() + GATEWAY_WITHIN;
        while system::now() < until {
            match self.hear(LOOK_EVERY * 10)? {
                Some(word) if is_it(&word) => return Ok(word),
                Some(word) => self.enter(word)?,
                None => {}
            }
        }
        Err(Stop::Failed(Failure::new("the gateway does not answer", "RUST_LOG=warn may say why")))
    }

    fn hear(&mut self, timeout: Duration) -> Result<Option<GatewayWord>, Stop> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(Stop::Interrupted);
        }
        (self.show)(self.scene);
        Ok(self.gateway.hear(timeout)?)
    }

    fn enter(&mut self, word: GatewayWord) -> Result<(), Stop> {
        match word {
            GatewayWord::Ended(ending) => {
                *self.life.closed.entry(ending.cause.clone()).or_default() += 1;
                if let Some(device) = ending.device {
                    self.endings.entry(device).or_default().push(ending);
                }
                Ok(())
            }
            GatewayWord::Failed(why) => Err(Stop::Failed(Failure::new(why, "the gateway's own word"))),
            // Too late to be of use to who asked.
            GatewayWord::Listening(_) | GatewayWord::Looked(_) | GatewayWord::Drained { .. } => Ok(()),
        }
    }

    /// Asks the gateway what it knows.
    pub(super) fn look(&mut self) -> Result<Look, Stop> {
        self.gateway.order(&GatewayOrder::Look)?;
        match self.await_word(|word| matches!(word, GatewayWord::Looked(_)))? {
            GatewayWord::Looked(look) => Ok(look),
            GatewayWord::Ended(_)
            | GatewayWord::Listening(_)
            | GatewayWord::Drained { .. }
            | GatewayWord::Failed(_) => Ok(Look::default()),
        }
    }

    /// Has it drain, by a restart or for good. The last look at that life, and what was open then.
    pub(super) fn drain(&mut self, order: &GatewayOrder) -> Result<(Look, u64), Stop> {
        self.gateway.order(order)?;
        match self.await_word(|word| matches!(word, GatewayWord::Drained { .. }))? {
            GatewayWord::Drained { look, ledger_open } => Ok((look, ledger_open)),
            GatewayWord::Ended(_)
            | GatewayWord::Listening(_)
            | GatewayWord::Looked(_)
            | GatewayWord::Failed(_) => Ok((Look::default(), u64::MAX)),
        }
    }

    /// How many of the devices have been reported.
    pub(super) fn reported(&self, devices: &Range<u32>) -> usize {
        devices.clone().filter(|device| self.endings.contains_key(device)).count()
    }

    pub(super) fn freeze_gateway(&mut self) -> Result<(), Stop> {
        Ok(self.gateway.signal(Signal::STOP)?)
    }

    pub(super) fn thaw_gateway(&mut self) -> Result<(), Stop> {
        Ok(self.gateway.signal(Signal::CONT)?)
    }

    /// The accounts of victims, which count as connected from now on: each must be asked for once.
    pub(super) fn tell(&mut self, devices: Range<u32>) -> Result<Vec<Truth>, Stop> {
        let truths = self.victims.tell(devices)?;
        self.life.connected += truths.iter().filter(|truth| truth.connected_at.is_some()).count() as u64;
        Ok(truths)
    }

    pub(super) fn footing(&self) -> Footing {
        Footing::of(&self.gateway.name())
    }

    /// By how much verdicts may be late, given the noise since this was asked last.
    pub(super) fn allowance(&self, victims: u32, stalls: u64) -> Allowance {
        let beat_every = self.liveness.beat_every;
        Allowance { victims, noise: self.metronome.take_worst(), stalls, beat_every }
    }

    /// The present, as all processes count it.
    pub(super) fn now() -> Instant {
        system::now()
    }
}
