//! Axes: where a value stands on paper, and which values are worth a tick.

/// How values are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    Linear,
    Log,
}

/// A range of values on a range of the paper. `low` and `high` differ, and on a log scale both are above zero.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Axis {
    pub(crate) scale: Scale,
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// Where `low` is, in the units of the drawing.
    pub(crate) from: f64,
    /// Where `high` is.
    pub(crate) to: f64,
}

impl Axis {
    /// The place of a value; those that lie outside are at the ends.
    pub(crate) fn at(&self, value: f64) -> f64 {
        let share = match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Log => (value.max(f64::MIN_POSITIVE) / self.low).ln() / (self.high / self.low).ln(),
        };
        self.from + share.clamp(0.0, 1.0) * (self.to - self.from)
    }

    /// Round values from end to end.
    pub(crate) fn ticks(&self) -> Vec<f64> {
        match self.scale {
            Scale::Linear => linear_ticks(self.low, self.high),
            Scale::Log => log_ticks(self.low, self.high),
        }
    }
}

/// Steps of 1, 2 or 5 that divide a span into some three to eight parts.
fn step(span: f64) -> f64 {
    let rough = span / 5.0;
    let decade = 10_f64.powf(rough.log10().floor());
    let factor = match rough / decade {
        rough if rough <= 1.4 => 1.0,
        rough if rough <= 3.2 => 2.0,
        rough if rough <= 7.0 => 5.0,
        _ => 10.0,
    };
    decade * factor
}

fn linear_ticks(low: f64, high: f64) -> Vec<f64> {
    let step = step(high - low);
    let (first, last) = ((low / step - 1e-9).ceil() as i64, (high / step + 1e-9).floor() as i64);
    (first..=last).map(|tick| tick as f64 * step).collect()
}

/// Powers of ten; where these are few, also 2 and 5.
fn log_ticks(low: f64, high: f64) -> Vec<f64> {
    let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
    let factors: &[f64] = if last - first <= 3 { &[1.0, 2.0, 5.0] } else { &[1.0] };
    let ticks =
        (first..=last).flat_map(|power| factors.iter().map(move |factor| factor * 10_f64.powi(power)));
    ticks.filter(|tick| (low * 0.999..=high * 1.001).contains(tick)).collect()
}

/// A linear range that shows `low` to `high` with some air, and begins at zero unless differences would then be
/// invisible.
pub(crate) fn linear_range(low: f64, high: f64) -> (f64, f64) {
    let high = if high > 0.0 { high } else { 1.0 };
    if low <= high * 0.6 {
        return (0.0, high * 1.04);
    }
    let air = ((high - low) * 0.15).max(high * 0.005);
    let step = step(high - low + 2.0 * air);
    (((low - air) / step).floor() * step, high + air)
}

/// A log range that shows `low` to `high`, from a round value to a round value.
pub(crate) fn log_range(low: f64, high: f64) -> (f64, f64) {
    let low = round(low, f64::floor, |candidate, value| candidate <= value);
    let top = round(high, f64::ceil, |candidate, value| candidate >= value);
    if top > low { (low, top) } else { (low, low * 10.0) }
}

/// The nearest of 1, 2, 5 times a power of ten on the side that `fits`.
fn round(value: f64, decade: fn(f64) -> f64, fits: fn(f64, f64) -> bool) -> f64 {
    let power = 10_f64.powf(decade(value.log10()));
    let candidates = [power, power * 2.0, power * 5.0, power / 2.0, power / 5.0];
    let near = candidates.into_iter().filter(|candidate| fits(*candidate, value));
    near.min_by(|one, other| (one / value).ln().abs().total_cmp(&(other / value).ln().abs())).unwrap_or(power)
}

/// Where labels of lines go: as near as possible to where they belong, and `gap` apart, between `low` and `high`.
pub(crate) fn spread_labels(wanted: &[f64], gap: f64, low: f64, high: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by(|&one, &other| wanted[one].total_cmp(&wanted[other]));
    // From the top, each below the one before; then from the bottom back up, as far as there is no room.
    let mut places = vec![0.0; wanted.len()];
    let mut next = low;
    for &label in &order {
        places[label] = wanted[label].max(next);
        next = places[label] + gap;
    }
    let mut limit = high;
    for &label in order.iter().rev() {
        places[label] = f64::min(places[label], limit);
        limit = places[label] - gap;
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(one: f64, other: f64) -> bool {
        (one - other).abs() < 1e-6 * other.abs().max(1.0)
    }

    fn axis(scale: Scale, low: f64, high: f64) -> Axis {
        Axis { scale, low, high, from: 100.0, to: 300.0 }
    }

    #[test]
    fn values_stand_where_they_belong_and_never_off_the_paper() {
        let linear = axis(Scale::Linear, 0.0, 10.0);
        assert!(near(linear.at(2.5), 150.0) && near(linear.at(-1.0), 100.0) && near(linear.at(11.0), 300.0));
        let log = axis(Scale::Log, 1.0, 100.0);
        assert!(near(log.at(10.0), 200.0) && near(log.at(0.0), 100.0));
    }

    #[test]
    fn an_axis_may_run_upwards() {
        let up = Axis { scale: Scale::Linear, low: 0.0, high: 4.0, from: 300.0, to: 100.0 };
        assert!(near(up.at(1.0), 250.0));
    }

    #[test]
    fn ticks_are_round_and_not_too_many() {
        assert_eq!(axis(Scale::Linear, 0.0, 10.0).ticks(), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(axis(Scale::Log, 1.0, 100_000.0).ticks().len(), 6);
        for (low, high) in [(0.0, 1.0), (3.7, 4.9), (0.0, 7000.0), (12.0, 13.0)] {
            let count = axis(Scale::Linear, low, high).ticks().len();
            assert!((3..=9).contains(&count), "{low} to {high}: {count}");
        }
    }

    #[test]
    fn ranges_hold_what_they_are_made_for() {
        for (low, high) in [(4000.0, 5800.0), (1.0, 9.0), (4000.0, 4010.0), (5.0, 5.0), (0.0, 0.0)] {
            let (from, to) = linear_range(low, high);
            assert!(from <= low && high <= to && from < to, "{from} {to}");
        }
        for (low, high) in [(3.0, 800.0), (1.0, 1.0), (10.0, 100.0), (0.4, 7e6)] {
            let (from, to) = log_range(low, high);
            assert!(from <= low && high <= to && from < to, "{low} {high}: {from} {to}");
        }
        assert_eq!(log_range(130.0, 900.0), (100.0, 1000.0));
    }

    #[test]
    fn labels_keep_their_order_and_their_distance() {
        let places = spread_labels(&[50.0, 10.0, 52.0, 300.0, 299.0], 14.0, 0.0, 300.0);
        let mut sorted = places.clone();
        sorted.sort_by(f64::total_cmp);
        assert!(sorted.windows(2).all(|pair| pair[1] - pair[0] >= 13.999), "{sorted:?}");
        assert!(places[0] < places[2] && places[4] < places[3] && places[3] <= 300.0);
    }
}
