//! The episodes: what is done to whom, and what must become of them.

use std::ops::Range;

use clap::ValueEnum;

use super::judge::Fate;
use super::stage::{Stage, Stop};
use super::words::Truth;
use super::{device_faults, gateway_faults, network_faults};
use crate::random::Random;

/// One kind of episode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(super) enum Episode {
    /// Devices vanish one by one, without FIN or RST
    SilentDeaths,
    /// All vanish in the same instant, after a common last beat
    MassDeath,
    /// The wire loses everything, for less than what healthy devices survive
    OutageHealed,
    /// The wire loses everything until all are given up
    OutageFatal,
    /// The interface goes down and up
    LinkFlaps,
    /// Some packets get lost
    PacketLoss,
    /// Waves of devices connect and reset at once
    RstStorm,
    /// The process that plays the victims is killed
    FleetKilled,
    /// The process that plays the victims is stopped, and with it all their programs
    FleetFrozen,
    /// The gateway is stopped for three deadlines
    GatewayFrozen,
    /// The gateway drains and starts again on the same port, and all come back at once
    GatewayRestart,
    /// The gateway runs out of descriptors while devices come
    NoDescriptors,
    /// The gateway runs out of memory
    NoMemory,
    /// All send at once what no receive buffers are left for
    BuffersExhausted,
    /// All send and reset while the gateway is stopped, which finds it all completed at once
    CompletionBurst,
    /// Devices ask for much and do not read it
    SlowConsumers,
    /// Devices send a frame byte by byte
    DripFeeders,
    /// Devices send what is no frame
    Garbage,
}

/// Victims with a common fate.
pub(super) struct Group {
    pub(super) devices: Range<u32>,
    pub(super) fate: Fate,
    /// Their accounts, if they had to be asked for before the end.
    pub(super) truths: Option<Vec<Truth>>,
}

impl Group {
    pub(super) fn new(devices: Range<u32>, fate: Fate) -> Self {
        Self { devices, fate, truths: None }
    }
}

/// What was done.
#[derive(Default)]
pub(super) struct Deeds {
    pub(super) groups: Vec<Group>,
    /// Everybody was sent away, the healthy ones too, and these have come instead.
    pub(super) restarted: bool,
    /// Something worth a line.
    pub(super) note: Option<String>,
}

impl Deeds {
    pub(super) fn of(devices: Range<u32>, fate: Fate) -> Self {
        Self { groups: vec![Group::new(devices, fate)], ..Self::default() }
    }
}

impl Episode {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::SilentDeaths => "silent-deaths",
            Self::MassDeath => "mass-death",
            Self::OutageHealed => "outage-healed",
            Self::OutageFatal => "outage-fatal",
            Self::LinkFlaps => "link-flaps",
            Self::PacketLoss => "packet-loss",
            Self::RstStorm => "rst-storm",
            Self::FleetKilled => "fleet-killed",
            Self::FleetFrozen => "fleet-frozen",
            Self::GatewayFrozen => "gateway-frozen",
            Self::GatewayRestart => "gateway-restart",
            Self::NoDescriptors => "no-descriptors",
            Self::NoMemory => "no-memory",
            Self::BuffersExhausted => "buffers-exhausted",
            Self::CompletionBurst => "completion-burst",
            Self::SlowConsumers => "slow-consumers",
            Self::DripFeeders => "drip-feeders",
            Self::Garbage => "garbage",
        }
    }

    /// Does it. What becomes of the victims is not awaited here, unless the fault lasts as long.
    pub(super) fn play(self, stage: &mut Stage<'_>, random: &mut Random) -> Result<Deeds, Stop> {
        match self {
            Self::SilentDeaths => network_faults::silent_deaths(stage),
            Self::MassDeath => network_faults::mass_death(stage),
            Self::OutageHealed => network_faults::outage_healed(stage, random),
            Self::OutageFatal => network_faults::outage_fatal(stage),
            Self::LinkFlaps => network_faults::link_flaps(stage, random),
            Self::PacketLoss => network_faults::packet_loss(stage, random),
            Self::RstStorm => device_faults::rst_storm(stage),
            Self::FleetKilled => device_faults::fleet_killed(stage),
            Self::FleetFrozen => device_faults::fleet_frozen(stage),
            Self::SlowConsumers => device_faults::slow_consumers(stage),
            Self::DripFeeders => device_faults::drip_feeders(stage),
            Self::Garbage => device_faults::garbage(stage),
            Self::GatewayFrozen => gateway_faults::gateway_frozen(stage),
            Self::GatewayRestart => gateway_faults::gateway_restart(stage),
            Self::NoDescriptors => gateway_faults::no_descriptors(stage),
            Self::NoMemory => gateway_faults::no_memory(stage),
            Self::BuffersExhausted => gateway_faults::buffers_exhausted(stage),
            Self::CompletionBurst => gateway_faults::completion_burst(stage),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_episode_is_known_by_the_name_that_it_prints() {
        for episode in Episode::value_variants() {
            assert_eq!(Episode::from_str(episode.name(), false), Ok(*episode));
        }
    }
}
