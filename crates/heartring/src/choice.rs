//! Which backend, and why.

use heartring_core::{BackendChoice, Config, DeadlineStrategy};

use crate::Error;
use crate::descriptors::Home;

/// The backends that a gateway can run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// io_uring: one ring per shard.
    Uring,
    /// epoll: one instance per shard.
    Epoll,
}

impl Backend {
    /// The name in flags and reports: `uring` or `epoll`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Uring => "uring",
            Self::Epoll => "epoll",
        }
    }
}

/// A backend that can be used here.
#[derive(Clone, Debug)]
pub(crate) struct Choice {
    pub(crate) backend: Backend,
    /// In one line: what it is, or why the other could not be had.
    pub(crate) reason: String,
    pub(crate) home: Home,
}

impl Choice {
    /// Looks what this process may use and takes what the configuration asks for.
    pub(crate) fn make(config: &Config) -> Result<Self, Error> {
        let choice = match config.backend {
            BackendChoice::Epoll => epoll("it was asked for".into()),
            BackendChoice::Uring => uring(config).map_err(Error::UringRefused),
            BackendChoice::Auto => uring(config).or_else(|why| epoll(format!("io_uring refused: {why}"))),
        };
        // Without the feature, asking for it is the same mistake in both words.
        let choice = match choice {
            Err(Error::UringRefused(_)) if cfg!(not(feature = "uring")) => Err(Error::NotBuilt("uring")),
            other => other,
        }?;
        tracing::info!(backend = choice.backend.name(), reason = choice.reason, "backend chosen");
        Ok(choice)
    }

    /// When io_uring could be probed and could not be used.
    pub(crate) fn instead_of_uring(why: &str) -> Result<Self, Error> {
        let choice =
            epoll(format!("io_uring refused: {why}")).map_err(|_| Error::UringRefused(why.to_owned()))?;
        tracing::info!(backend = choice.backend.name(), reason = choice.reason, "backend chosen after all");
        Ok(choice)
    }

    /// Who keeps the deadlines if the configuration leaves it open.
    pub(crate) fn deadlines(&self, config: &Config) -> DeadlineStrategy {
        config.deadlines.unwrap_or(match self.backend {
            Backend::Uring => DeadlineStrategy::Linked,
            Backend::Epoll => DeadlineStrategy::Sweep,
        })
    }
}

#[cfg(feature = "uring")]
fn uring(config: &Config) -> Result<Choice, String> {
    let features = probe_uring(config).map_err(|refusal| refusal.to_string())?;
    let home = features.descriptors.into();
    Ok(Choice { backend: Backend::Uring, reason: features.to_string(), home })
}

/// What io_uring offers a gateway with this configuration here. It opens a small ring and closes it again.
///
/// # Errors
///
/// Why it cannot be used, with a remedy.
#[cfg(feature = "uring")]
pub fn probe_uring(config: &Config) -> Result<heartring_uring::Features, heartring_uring::Refusal> {
    use heartring_core::BackendConfig;

    // One slot: how many there can be is reckoned later, from what the probe finds.
    let probed = BackendConfig { slots: 1, batch_within: config.batch_within, ..BackendConfig::default() };
    heartring_uring::probe(&probed)
}

#[cfg(feature = "uring")]
impl From<heartring_uring::Descriptors> for Home {
    fn from(descriptors: heartring_uring::Descriptors) -> Self {
        match descriptors {
            heartring_uring::Descriptors::Direct => Self::Ring,
            heartring_uring::Descriptors::Plain => Self::Process,
        }
    }
}

#[cfg(not(feature = "uring"))]
fn uring(_config: &Config) -> Result<Choice, String> {
    Err("it was left out of this build".into())
}

fn epoll(reason: String) -> Result<Choice, Error> {
    if cfg!(feature = "epoll") {
        Ok(Choice { backend: Backend::Epoll, reason, home: Home::Process })
    } else {
        Err(Error::NotBuilt("epoll"))
    }
}
