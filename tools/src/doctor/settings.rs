//! The gateway that the machine is judged for: its own numbers.

use std::time::Duration;

use heartring::preflight::{self, Home};
use heartring::{Backend, BackendChoice, Config, ConfigError, Error, Liveness};

use super::machine::Machine;

/// The gateway's settings, and what follows from them here.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) config: Config,
    pub(crate) liveness: Liveness,
    pub(crate) shards: u16,
    /// `None`: io_uring was demanded and is refused.
    pub(crate) backend: Option<Backend>,
    pub(crate) backend_reason: String,
    pub(crate) home: Home,
    /// Connections in all: as wanted, or as many as the descriptors allow.
    pub(crate) conns: u32,
}

/// As many as the options allow.
pub(crate) const SHARDS_MAX: u16 = 1024;

/// A gateway listens on one address, unless it says otherwise.
const LISTENERS: u32 = 1;

impl Settings {
    pub(crate) fn new(config: Config, machine: &Machine) -> Result<Self, ConfigError> {
        let shards =
            config.shards.unwrap_or_else(|| preflight::cores().len().clamp(1, SHARDS_MAX.into()) as u16);
        let (backend, backend_reason) = match (config.backend, &machine.uring) {
            (BackendChoice::Epoll, _) => (Some(Backend::Epoll), "it was asked for".into()),
            (_, Ok(features)) => (Some(Backend::Uring), features.to_string()),
            (BackendChoice::Auto, Err(why)) => (Some(Backend::Epoll), format!("io_uring refused: {why}")),
            (BackendChoice::Uring, Err(why)) => (None, format!("io_uring refused: {why}")),
        };
        let home = match (backend, &machine.uring) {
            (Some(Backend::Uring) | None, Ok(features)) => features.descriptors.into(),
            (_, _) => Home::Process,
        };
        let mut settings = Self {
            liveness: config.liveness()?,
            conns: config.limits.conns_max.unwrap_or_default(),
            config,
            shards,
            backend,
            backend_reason,
            home,
        };
        if settings.config.limits.conns_max.is_none() {
            let hard = machine.nofile.maximum.unwrap_or(u64::MAX);
            settings.conns = settings.room_within(hard).unwrap_or(0).saturating_mul(u32::from(shards));
        }
        Ok(settings)
    }

    /// Connections per shard if RLIMIT_NOFILE is `limit`, or why the gateway would not start: what it finds itself.
    pub(crate) fn room_within(&self, limit: u64) -> Result<u32, Error> {
        preflight::conns_per_shard_within(limit, &self.config, self.shards, LISTENERS, self.home)
    }

    pub(crate) fn shards_in_words(&self) -> String {
        format!("{} {}", self.shards, if self.shards == 1 { "shard" } else { "shards" })
    }

    pub(crate) fn conns_per_shard(&self) -> u32 {
        self.conns.div_ceil(u32::from(self.shards))
    }

    /// What one shard sees when the network comes back and the whole fleet reconnects within one beat.
    pub(crate) fn reconnects_per_second(&self) -> f64 {
        f64::from(self.conns_per_shard()) / self.liveness.beat_every.as_secs_f64()
    }

    /// For how long a shard may stand still then, before its queue of `clients` is full; `None`: for ever.
    pub(crate) fn queue_lasts(&self, clients: u64) -> Option<Duration> {
        let seconds = clients as f64 / self.reconnects_per_second();
        (u64::from(self.conns_per_shard()) > clients)
            .then(|| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
    }

    /// How long a shard may stand still before the watchdog calls it stuck.
    pub(crate) fn stuck_after(&self) -> Duration {
        self.config.watchdog.unwrap_or_default().stuck_after
    }
}

#[cfg(test)]
pub(crate) mod made_up {
    //! Gateways for tests.

    use heartring::Limits;

    use super::*;

    impl Settings {
        /// Ten thousand connections on two shards, with the default deadline.
        pub(crate) fn usual(machine: &Machine) -> Self {
            Self::with(machine, |_| ())
        }

        pub(crate) fn with(machine: &Machine, change: impl FnOnce(&mut Config)) -> Self {
            let limits = Limits { conns_max: Some(10_000), ..Limits::default() };
            let mut config = Config { shards: Some(2), limits, ..Config::default() };
            change(&mut config);
            Self::new(config, machine).unwrap()
        }
    }

    #[test]
    fn without_a_number_the_gateway_takes_what_the_descriptors_allow() {
        let machine = Machine::healthy();
        let settings = Settings::with(&machine, |config| config.limits.conns_max = None);
        assert_eq!(settings.home, Home::Ring);
        let each = 20_000 - settings.config.limits.accepts_in_flight;
        assert_eq!(settings.conns, 2 * each, "each ring has a table of its own");
        let settings = Settings::with(&machine, |config| {
            config.limits.conns_max = None;
            config.backend = BackendChoice::Epoll;
        });
        assert_eq!(settings.home, Home::Process);
        assert!(settings.conns < 20_000, "the shards share one table");
    }

    #[test]
    fn the_backend_is_what_the_gateway_would_take() {
        use heartring::preflight::Refusal;

        assert_eq!(Settings::usual(&Machine::healthy()).backend, Some(Backend::Uring));
        let machine = Machine::healthy().refusing(Refusal::Forbidden);
        let auto = Settings::usual(&machine);
        assert_eq!(auto.backend, Some(Backend::Epoll));
        assert!(auto.backend_reason.contains("EPERM"), "{}", auto.backend_reason);
        assert_eq!(Settings::with(&machine, |config| config.backend = BackendChoice::Uring).backend, None);
    }

    #[test]
    fn a_queue_that_holds_the_whole_fleet_lasts_for_ever() {
        let settings = Settings::usual(&Machine::healthy());
        assert!((settings.reconnects_per_second() - 500.0).abs() < 1e-6, "5000 a shard within 10 s");
        assert_eq!(settings.queue_lasts(5000), None);
        assert_eq!(settings.queue_lasts(129), Some(Duration::from_millis(258)));
    }
}
