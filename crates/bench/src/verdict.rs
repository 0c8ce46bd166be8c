//! What may be concluded from paired ratios. The only place that decides it.

use crate::statistics::{median_interval, spread};

/// How sure a verdict is. Of twenty verdicts between equals, one is wrong.
const CONFIDENCE: f64 = 0.95;

/// The rule, for the foot of the report.
pub(crate) const RULE: &str = "Two contenders are told apart only if the interval that holds the median of \
                               their paired ratios with 95 % confidence (order statistics, at least six \
                               rounds) does not contain 1.";

/// How the first contender's cost stands to the second's. Intervals of the median ratio.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Verdict {
    Cheaper {
        low: f64,
        high: f64,
    },
    Dearer {
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

impl Verdict {
    pub(crate) fn of(ratios: &[f64]) -> Verdict {
        match median_interval(ratios, CONFIDENCE) {
            None => Verdict::TooFewRounds,
            Some((low, high)) if high < 1.0 => Verdict::Cheaper { low, high },
            Some((low, high)) if low > 1.0 => Verdict::Dearer { low, high },
            Some((low, high)) => Verdict::Alike { low, high },
        }
    }
}

/// One line in plain words: `of` against `to`, in CPU per `unit`.
pub(crate) fn sentence(of: &str, to: &str, unit: &str, ratios: &[f64]) -> Option<String> {
    let ratio = spread(ratios)?.median;
    Some(match Verdict::of(ratios) {
        Verdict::Cheaper { low, high } => {
            let gain = (1.0 - ratio) * 100.0;
            format!("{of} needs {gain:.0} % less CPU per {unit} than {to} (×{ratio:.3}, {low:.3}–{high:.3}).")
        }
        Verdict::Dearer { low, high } => {
            let loss = (ratio - 1.0) * 100.0;
            format!("{of} needs {loss:.0} % more CPU per {unit} than {to} (×{ratio:.3}, {low:.3}–{high:.3}).")
        }
        Verdict::Alike { low, high } => {
            format!("{of} and {to} cannot be told apart (×{ratio:.3}, {low:.3}–{high:.3} contains 1).")
        }
        Verdict::TooFewRounds => {
            format!("{of} and {to} cannot be told apart by so few rounds (×{ratio:.3}).")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_on_one_side_of_one_tell_apart() {
        assert_eq!(Verdict::of(&[0.9; 6]), Verdict::Cheaper { low: 0.9, high: 0.9 });
        assert_eq!(Verdict::of(&[1.2; 6]), Verdict::Dearer { low: 1.2, high: 1.2 });
    }

    #[test]
    fn ratios_that_straddle_one_do_not() {
        let ratios = [0.95, 0.97, 0.99, 1.0, 1.01, 1.02];
        assert_eq!(Verdict::of(&ratios), Verdict::Alike { low: 0.95, high: 1.02 });
        let said = sentence("a", "b", "message", &ratios).unwrap();
        assert!(said.contains("cannot be told apart"), "{said}");
    }

    #[test]
    fn one_outlier_of_ten_does_not_hide_a_difference() {
        let mut ratios = [0.9; 10];
        ratios[3] = 1.4;
        assert_eq!(Verdict::of(&ratios), Verdict::Cheaper { low: 0.9, high: 0.9 });
    }

    #[test]
    fn few_rounds_prove_nothing() {
        assert_eq!(Verdict::of(&[0.5; 5]), Verdict::TooFewRounds);
        assert_eq!(sentence("a", "b", "beat", &[]), None);
    }
}
