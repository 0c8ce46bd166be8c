//! A rate with a burst.

use crate::time::Instant;

/// Tokens that come in at a steady rate and pile up to a bound. Kept as one instant: the one at which it would have been
/// empty.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TokenBucket {
    nanos_per_token: u64,
    tokens_max: u64,
    empty_at: u64,
}

impl TokenBucket {
    /// A full bucket. A share is `per_second` divided by `shares`, and so is the burst; at least one token fits.
    pub(crate) fn share_of(per_second: u32, burst: u32, shares: u16) -> Self {
        let (per_second, shares) = (u64::from(per_second.max(1)), u64::from(shares.max(1)));
        let nanos_per_token = (1_000_000_000 * shares / per_second).max(1);
        let tokens_max = (u64::from(burst) / shares).max(1);
        Self { nanos_per_token, tokens_max, empty_at: 0 }
    }

    /// Tokens at present.
    pub(crate) fn tokens(&self, now: Instant) -> u64 {
        (now.as_nanos().saturating_sub(self.empty_at) / self.nanos_per_token).min(self.tokens_max)
    }

    /// Takes a token that is there.
    pub(crate) fn take(&mut self, now: Instant) {
        let full_since = now.as_nanos().saturating_sub(self.nanos_per_token * self.tokens_max);
        self.empty_at = self.empty_at.max(full_since) + self.nanos_per_token;
    }

    /// When there will be one token more than `spoken_for`.
    pub(crate) fn next_at(&self, spoken_for: u64) -> Instant {
        Instant::from_nanos(self.empty_at + self.nanos_per_token * (spoken_for + 1))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        let mut now = Instant::from_nanos(3_600_000_000_000);
        let mut bucket = TokenBucket::share_of(20, 8, 2);
        assert_eq!(bucket.tokens(now), 4);
        for _ in 0..4 {
            bucket.take(now);
        }
        assert_eq!(bucket.tokens(now), 0);
        assert_eq!(bucket.next_at(0), now + Duration::from_millis(100));
        for _ in 0..10 {
            now = bucket.next_at(0);
            assert_eq!(bucket.tokens(now), 1);
            bucket.take(now);
        }
        assert_eq!(bucket.tokens(now + Duration::from_hours(1)), 4, "no more than the burst");
    }
}
