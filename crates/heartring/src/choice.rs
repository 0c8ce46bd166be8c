//! Which backend, and why.

use heartring_core::{BackendChoice, Config, DeadlineStrategy};

use crate::descriptors::Home;
use crate::{Backend, Error};

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
    use heartring_core::BackendConfig;

    // One slot: how many there can be is reckoned later, from what the probe finds.
    let probed = BackendConfig { slots: 1, batch_within: config.batch_within, ..BackendConfig::default() };
    let features = heartring_uring::probe(&probed).map_err(|refusal| refusal.to_string())?;
    let home = match features.descriptors {
        heartring_uring::Descriptors::Direct => Home::Ring,
        heartring_uring::Descriptors::Plain => Home::Process,
    };
    Ok(Choice { backend: Backend::Uring, reason: features.to_string(), home })
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
