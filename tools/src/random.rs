//! Randomness that a seed repeats.

use std::time::Duration;

/// SplitMix64 (Steele, Lea, Flood 2014): seeds may be any number, neighbours included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Random(u64);

impl Random {
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

    pub(crate) fn new(seed: u64, sequence: u64) -> Self {
        let mut random = Self(seed ^ sequence.wrapping_mul(Self::GOLDEN));
        // Neighbouring sequences start one step apart on the same sequence; a draw of it tears them apart.
        Self(random.next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(Self::GOLDEN);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `limit`, by multiplication: the bias is under 2⁻³² for the limits used here.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(limit)) >> 64) as u64
    }

    /// From `from` on, and before `until` unless they are equal.
    pub(crate) fn between(&mut self, from: Duration, until: Duration) -> Duration {
        let span = until.saturating_sub(from).as_nanos() as u64;
        from + Duration::from_nanos(self.below(span.max(1)))
    }
}
