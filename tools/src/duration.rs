//! Durations as people write and read them.

use std::time::Duration;

/// Longer than any deadline of a real device, and far from the end of every counter.
const DURATION_MAX: Duration = Duration::from_hours(30 * 24);

/// Units, the longer suffix before the one that it ends with.
const UNITS: [(&str, f64); 5] = [("ms", 0.001), ("us", 0.000_001), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];

/// `500ms`, `3s`, `1.5m`, `2h`, or a plain number of seconds.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let (number, unit_s) = UNITS
        .iter()
        .find_map(|&(suffix, unit_s)| Some((text.strip_suffix(suffix)?.trim_end(), unit_s)))
        .unwrap_or((text, 1.0));
    let value: f64 = number
        .parse()
        .map_err(|_| "a duration is a number with ms, s, m or h after it, such as 500ms or 3s".to_owned())?;
    match Duration::try_from_secs_f64(value * unit_s) {
        Ok(duration) if duration <= DURATION_MAX => Ok(duration),
        _ => Err("a duration lies between 0 and 30 days".to_owned()),
    }
}

/// Three figures and a unit: `84 µs`, `1.25 ms`, `3 s`, `1 min 30 s`.
pub(crate) fn show(duration: Duration) -> String {
    let nanos = duration.as_nanos() as f64;
    match nanos {
        n if n < 999.5e3 => figures(n / 1e3, "µs"),
        n if n < 999.5e6 => figures(n / 1e6, "ms"),
        n if n < 60e9 => figures(n / 1e9, "s"),
        n => minutes((n / 1e9).round() as u64),
    }
}

fn figures(value: f64, unit: &str) -> String {
    let decimals = match value {
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    };
    let number = format!("{value:.decimals$}");
    let number = if decimals > 0 { number.trim_end_matches('0').trim_end_matches('.') } else { &number };
    format!("{number} {unit}")
}

fn minutes(seconds: u64) -> String {
    let parts = [(seconds / 3600, "h"), (seconds % 3600 / 60, "min"), (seconds % 60, "s")];
    let shown: Vec<_> = parts.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n} {unit}")).collect();
    shown.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_understood_and_a_bare_number_is_seconds() {
        for (text, millis) in
            [("3s", 3000), ("500ms", 500), ("1m", 60_000), ("0.5", 500), ("12", 12_000), ("1.5 h", 5_400_000)]
        {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(parse("0"), Ok(Duration::ZERO));
    }

    #[test]
    fn nonsense_is_refused_with_an_example() {
        for text in ["", "s", "three", "3x", "-1s", "NaN", "1e300", "infs", "31000h"] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse("soon").unwrap_err().contains("500ms"));
    }

    #[test]
    fn durations_are_shown_with_three_figures() {
        for (nanos, text) in [
            (0, "0 µs"),
            (84_000, "84 µs"),
            (1_250_000, "1.25 ms"),
            (750_000_000, "750 ms"),
            (3_000_000_000, "3 s"),
            (12_345_678_901, "12.3 s"),
            (90_000_000_000, "1 min 30 s"),
            (7_200_000_000_000, "2 h"),
        ] {
            assert_eq!(show(Duration::from_nanos(nanos)), text);
        }
    }
}
