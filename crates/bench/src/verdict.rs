//! What may be concluded from paired ratios. The only place that decides it.

use crate::report::Ratio;
use crate::statistics::median_interval;

/// How sure a verdict is. Of twenty verdicts between equals, one is wrong.
const CONFIDENCE: f64 = 0.95;

/// The rule, for the foot of the report.
pub(crate) const RULE: &str = "Two contenders are told apart only if the interval that holds the median of \
                               their paired ratios with 95 % confidence (order statistics, at least six \
                               rounds) does not contain 1.";

/// How the first contender's metric stands to the second's. Intervals of the median ratio.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Verdict {
    Less {
        low: f64,
        high: f64,
    },
    More {
        low: f64,
        high: f64,
    },
    /// The interval contains 1.
    Alike {
        low: f64,
        high: f64,
    },
    TooFewRounds,
}

/// The interval that holds the median of paired ratios; none if they are too few to tell.
pub(crate) fn interval(ratios: &[f64]) -> Option<(f64, f64)> {
    median_interval(ratios, CONFIDENCE)
}

impl Verdict {
    pub(crate) fn of(interval: Option<(f64, f64)>) -> Verdict {
        match interval {
            None => Verdict::TooFewRounds,
            Some((low, high)) if high < 1.0 => Verdict::Less { low, high },
            Some((low, high)) if low > 1.0 => Verdict::More { low, high },
            Some((low, high)) => Verdict::Alike { low, high },
        }
    }
}

/// What a ratio says, in plain words: `of` against `to`, in `what` ("CPU per message").
pub(crate) fn sentence(ratio: &Ratio, of: &str, to: &str, what: &str) -> String {
    let median = ratio.spread.median;
    match Verdict::of(ratio.interval) {
        Verdict::Less { low, high } => {
            let gain = percent(1.0 - median);
            format!("{of} needs {gain} % less {what} than {to} (×{median:.3}, {low:.3}–{high:.3}).")
        }
        Verdict::More { low, high } if median < 2.0 => {
            let loss = percent(median - 1.0);
            format!("{of} needs {loss} % more {what} than {to} (×{median:.3}, {low:.3}–{high:.3}).")
        }
        Verdict::More { low, high } => {
            format!("{of} needs {median:.1} times the {what} of {to} ({low:.3}–{high:.3}).")
        }
        Verdict::Alike { low, high } => {
            format!(
                "{of} and {to} cannot be told apart in {what} (×{median:.3}, {low:.3}–{high:.3} contains 1)."
            )
        }
        Verdict::TooFewRounds => {
            format!("{of} and {to} cannot be told apart in {what} by so few rounds (×{median:.3}).")
        }
    }
}

/// A share in per cent, with a digit behind the point where it matters.
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    format!("{percent:.*}", usize::from(percent < 2.95))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contender::Server;
    use crate::metric::Metric;
    use crate::statistics::spread;

    fn verdict(ratios: &[f64]) -> Verdict {
        Verdict::of(interval(ratios))
    }

    fn said(ratios: &[f64]) -> String {
        let ratio = Ratio {
            part: None,
            metric: Metric::CpuNsPerMessage,
            of: Server::Tokio.usual(),
            to: Server::Mio.usual(),
            spread: spread(ratios).unwrap(),
            interval: interval(ratios),
        };
        sentence(&ratio, "a", "b", "CPU per message")
    }

    #[test]
    fn ratios_on_one_side_of_one_tell_apart() {
        assert_eq!(verdict(&[0.9; 6]), Verdict::Less { low: 0.9, high: 0.9 });
        assert_eq!(verdict(&[1.2; 6]), Verdict::More { low: 1.2, high: 1.2 });
        assert!(said(&[3.0; 6]).contains("3.0 times the CPU per message"));
    }

    #[test]
    fn ratios_that_straddle_one_do_not() {
        let ratios = [0.95, 0.97, 0.99, 1.0, 1.01, 1.02];
        assert_eq!(verdict(&ratios), Verdict::Alike { low: 0.95, high: 1.02 });
        assert!(said(&ratios).contains("cannot be told apart"));
    }

    #[test]
    fn one_outlier_of_ten_does_not_hide_a_difference() {
        let mut ratios = [0.9; 10];
        ratios[3] = 1.4;
        assert_eq!(verdict(&ratios), Verdict::Less { low: 0.9, high: 0.9 });
    }

    #[test]
    fn few_rounds_prove_nothing() {
        assert_eq!(verdict(&[0.5; 5]), Verdict::TooFewRounds);
        assert!(said(&[0.5; 5]).contains("so few rounds"));
    }
}
