//! A histogram of how late verdicts were.
//!
//! Log-linear, as in HdrHistogram: 16 buckets per power of two, so that a quantile is at most 6.25 % above the truth. A
//! fixed array without allocation, because core depends on nothing; reports that need more use the `hdrhistogram` crate.

use std::time::Duration;

/// log2 of the buckets per power of two.
const SUB_SHIFT: u32 = 4;
const SUB: u64 = 1 << SUB_SHIFT;
/// Enough for every `u64` of nanoseconds.
const BUCKETS: usize = ((64 - SUB_SHIFT as usize) + 1) * SUB as usize;

/// A histogram of durations.
#[derive(Clone)]
pub struct Lateness {
    buckets: Box<[u32; BUCKETS]>,
    count: u64,
    min: u64,
    max: u64,
}

impl Default for Lateness {
    fn default() -> Self {
        Self { buckets: Box::new([0; BUCKETS]), count: 0, min: u64::MAX, max: 0 }
    }
}

impl Lateness {
    /// Counts one verdict.
    pub fn record(&mut self, lateness: Duration) {
        let nanos = u64::try_from(lateness.as_nanos()).unwrap_or(u64::MAX);
        let bucket = &mut self.buckets[bucket_of(nanos)];
        *bucket = bucket.saturating_add(1);
        self.count += 1;
        self.min = self.min.min(nanos);
        self.max = self.max.max(nanos);
    }

    /// Adds what another shard has counted.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.buckets.iter_mut().zip(other.buckets.iter()) {
            *mine = mine.saturating_add(*theirs);
        }
        self.count += other.count;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    /// How many were counted.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The smallest, exactly; zero if none was counted.
    pub const fn min(&self) -> Duration {
        Duration::from_nanos(if self.count == 0 { 0 } else { self.min })
    }

    /// The largest, exactly.
    pub const fn max(&self) -> Duration {
        Duration::from_nanos(self.max)
    }

    /// The duration that `quantile` (0 to 1) of the verdicts did not exceed: at most 6.25 % above the truth, and zero if
    /// none was counted.
    pub fn quantile(&self, quantile: f64) -> Duration {
        let rank = ((quantile.clamp(0.0, 1.0) * self.count as f64).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, &count) in self.buckets.iter().enumerate() {
            seen += u64::from(count);
            if seen >= rank {
                return Duration::from_nanos(upper_edge(bucket).clamp(self.min.min(self.max), self.max));
            }
        }
        self.max()
    }
}

impl std::fmt::Debug for Lateness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lateness")
            .field("count", &self.count)
            .field("min", &self.min())
            .field("p50", &self.quantile(0.5))
            .field("p99", &self.quantile(0.99))
            .field("max", &self.max())
            .finish_non_exhaustive()
    }
}

/// Values below 16 have a bucket each; above, the top bit gives the power and the next four the bucket in it.
const fn bucket_of(nanos: u64) -> usize {
    if nanos < SUB {
        return nanos as usize;
    }
    let power = nanos.ilog2() - SUB_SHIFT;
    ((power as u64 + 1) * SUB + ((nanos >> power) - SUB)) as usize
}

/// The largest value that falls into the bucket.
const fn upper_edge(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < SUB {
        return bucket;
    }
    let power = bucket / SUB - 1;
    let first = (SUB + bucket % SUB) << power;
    first + ((1 << power) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_falls_into_a_bucket_that_holds_it() {
        for shift in 0..64 {
            for nanos in [1u64 << shift, (1 << shift) + (1 << shift) / 3, (1 << shift) - 1] {
                let edge = upper_edge(bucket_of(nanos));
                assert!(edge >= nanos && edge - nanos <= nanos / 16, "{nanos} {edge}");
            }
        }
        assert_eq!(upper_edge(bucket_of(u64::MAX)), u64::MAX);
    }

    #[test]
    fn quantiles_and_merging() {
        let (mut low, mut high) = (Lateness::default(), Lateness::default());
        for micros in 1..=500 {
            low.record(Duration::from_micros(micros));
            high.record(Duration::from_micros(500 + micros));
        }
        low.merge(&high);
        assert_eq!(
            (low.count(), low.min(), low.max()),
            (1000, Duration::from_micros(1), Duration::from_millis(1))
        );
        let median = low.quantile(0.5).as_secs_f64() * 1e6;
        assert!((500.0..=500.0 * 1.0625).contains(&median), "{median}");
        assert_eq!(low.quantile(1.0), Duration::from_millis(1));
    }

    #[test]
    fn an_empty_histogram_is_all_zero() {
        let empty = Lateness::default();
        assert_eq!((empty.min(), empty.quantile(0.99), empty.max()), Default::default());
    }
}
