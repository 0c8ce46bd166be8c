//! What a test needs and this machine may lack.

use std::env;

/// Says aloud that a test cannot run here.
///
/// # Panics
///
/// If `HEARTRING_REQUIRE_ALL=1`.
pub fn skip(what: &str, why: &str) {
    println!("SKIPPED: {what}: {why}");
    let required = env::var("HEARTRING_REQUIRE_ALL").is_ok_and(|value| value == "1");
    assert!(!required, "HEARTRING_REQUIRE_ALL=1, but {what}: {why}");
}
