//! Order statistics: medians, spreads, paired ratios and the interval that the median of a population lies in.

use serde::{Deserialize, Serialize};

/// A median with what it was found among.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

/// The spread of `values`, if there are any.
pub(crate) fn spread(values: &[f64]) -> Option<Spread> {
    let sorted = sorted(values);
    Some(Spread { median: median(&sorted)?, min: *sorted.first()?, max: *sorted.last()? })
}

/// `of[i] / to[i]` for all rounds that have both, and a divisor other than zero.
pub(crate) fn paired_ratios(of: &[Option<f64>], to: &[Option<f64>]) -> Vec<f64> {
    let pairs = of.iter().zip(to).filter_map(|(of, to)| Some(((*of)?, (*to)?)));
    pairs.filter(|(_, to)| *to != 0.0).map(|(of, to)| of / to).collect()
}

/// The interval that holds the population's median with a probability of at least `confidence`, whatever the
/// distribution: the narrowest pair of order statistics `[k]`, `[n-1-k]` that does. The median lies outside
/// only if at most `k` of `n` values fell on one side of it, as of fair coins (Conover, *Practical
/// Nonparametric Statistics*, section 3.2). None if even the whole range is not enough: below six values at
/// 95 %.
pub(crate) fn median_interval(values: &[f64], confidence: f64) -> Option<(f64, f64)> {
    let sorted = sorted(values);
    let n = sorted.len();
    let inside = |k: &usize| 1.0 - 2.0 * at_most_heads(*k, n) >= confidence;
    let k = (0..n.div_ceil(2)).take_while(inside).last()?;
    Some((sorted[k], sorted[n - 1 - k]))
}

/// Probability of at most `k` heads in `n` tosses.
fn at_most_heads(k: usize, n: usize) -> f64 {
    let mut ways = 1.0;
    let mut sum = 0.0;
    for heads in 0..=k {
        sum += ways;
        ways *= (n - heads) as f64 / (heads + 1) as f64;
    }
    sum / (n as f64).exp2()
}

fn median(sorted: &[f64]) -> Option<f64> {
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    Some(if sorted.len().is_multiple_of(2) { f64::midpoint(sorted[middle - 1], upper) } else { upper })
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_of_odd_and_even_counts() {
        assert_eq!(spread(&[3.0, 1.0, 2.0]), Some(Spread { median: 2.0, min: 1.0, max: 3.0 }));
        assert_eq!(spread(&[4.0, 1.0, 2.0, 3.0]), Some(Spread { median: 2.5, min: 1.0, max: 4.0 }));
        assert_eq!(spread(&[]), None);
    }

    #[test]
    fn ratios_pair_rounds_not_sorted_values() {
        let of = [Some(2.0), None, Some(30.0), Some(1.0)];
        let to = [Some(1.0), Some(5.0), Some(10.0), Some(0.0)];
        assert_eq!(paired_ratios(&of, &to), [2.0, 3.0]);
    }

    #[test]
    fn interval_needs_six_values_and_drops_extremes_of_ten() {
        let values: Vec<f64> = (0..10).map(f64::from).collect();
        assert_eq!(median_interval(&values[..5], 0.95), None);
        assert_eq!(median_interval(&values[..6], 0.95), Some((0.0, 5.0)));
        // 1 - 2 * (1 + 10) / 1024 = 97.9 %; one further in would be 89.1 %.
        assert_eq!(median_interval(&values, 0.95), Some((1.0, 8.0)));
    }
}
