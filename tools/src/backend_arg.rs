//! `--backend`, as several commands have it.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use heartring::BackendChoice;

/// Reads the name of a backend; wrong ones are answered with those that there are.
pub(crate) fn parser() -> impl TypedValueParser<Value = BackendChoice> {
    PossibleValuesParser::new(["auto", "uring", "epoll"]).try_map(|name| name.parse::<BackendChoice>())
}
