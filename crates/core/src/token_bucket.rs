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

    /// The same with room for `tokens` at the least.
    pub(crate) fn holding(self, tokens: u64) -> Self {
        Self { tokens_max: self.tokens_max.max(tokens), ..self }
    }

    /// Tokens at present.
    pub(crate) fn tokens(&self, now: Instant) -> u64 {
        (now.as_nanos().saturating_sub(self.empty_at) / self.nanos_per_token).min(self.tokens_max)
    }

    /// Takes a token that is there.
    pub(crate) fn take(&mut self, now: Instant) {
        self.empty_at = self.began_at(now) + self.nanos_per_token;
    }

    /// When there would be one token more than `spoken_for`: later than now if all that are there are spoken for.
    pub(crate) fn next_at(&self, now: Instant, spoken_for: u64) -> Instant {
        Instant::from_nanos(self.began_at(now) + self.nanos_per_token * (spoken_for + 1))
    }

    /// Since when the tokens that are there came in: a full bucket takes no more.
    fn began_at(&self, now: Instant) -> u64 {
        self.empty_at.max(now.as_nanos().saturating_sub(self.nanos_per_token * self.tokens_max))
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
        assert_eq!(bucket.next_at(now, 0), now + Duration::from_millis(100));
        for _ in 0..10 {
            now = bucket.next_at(now, 0);
            assert_eq!(bucket.tokens(now), 1);
            bucket.take(now);
        }
        now = now + Duration::from_hours(1);
        assert_eq!(bucket.tokens(now), 4, "no more than the burst");
        assert_eq!(
            bucket.next_at(now, 4),
            now + Duration::from_millis(100),
            "never an instant that has passed"
        );
    }

    #[test]
    fn the_slowest_rate_and_the_largest_burst_do_not_overflow() {
        let now = Instant::from_nanos(u64::MAX >> 2);
        for (rate, burst, shares) in
            [(1, u32::MAX, 1), (1, u32::MAX, u16::MAX), (1, 1, u16::MAX), (u32::MAX, u32::MAX, 1)]
        {
            let mut bucket = TokenBucket::share_of(rate, burst, shares).holding(256);
            let tokens = bucket.tokens(now);
            assert!((1..=u64::from(burst).max(256)).contains(&tokens), "{rate} {burst} {shares}: {tokens}");
            bucket.take(now);
            assert!(bucket.next_at(now, tokens) > now);
        }
    }
}
