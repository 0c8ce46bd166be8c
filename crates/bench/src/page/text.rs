//! Text of the page: what comes from outside is escaped, and figures are written as people read them.

use crate::metric::Metric;

/// Narrow and unbreakable, between the thousands of a figure.
const THOUSANDS: char = '\u{202f}';

/// Text that means itself, in elements and in attributes.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // HTML allows no other control characters, not even as references.
            control if control.is_control() && !matches!(control, '\n' | '\t') => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

/// A name for links within the page.
pub(crate) fn anchor(title: &str) -> String {
    let letters = title.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' });
    let mut anchor = String::from("at-");
    for letter in letters {
        if letter != '-' || !anchor.ends_with('-') {
            anchor.push(letter.to_ascii_lowercase());
        }
    }
    anchor.trim_end_matches('-').into()
}

/// With digits in groups of three.
pub(crate) fn grouped(value: f64, decimals: usize) -> String {
    let text = format!("{:.decimals$}", value.abs());
    let (whole, rest) =
        text.split_once('.').map_or((text.as_str(), None), |(whole, rest)| (whole, Some(rest)));
    let mut grouped = String::new();
    // What rounds to zero has no sign.
    if value < 0.0 && text.bytes().any(|byte| (b'1'..=b'9').contains(&byte)) {
        grouped.push('−');
    }
    for (place, digit) in whole.chars().enumerate() {
        // Four digits are read at a glance.
        if place > 0 && (whole.len() - place).is_multiple_of(3) && whole.len() > 4 {
            grouped.push(THOUSANDS);
        }
        grouped.push(digit);
    }
    if let Some(rest) = rest {
        grouped.push('.');
        grouped.push_str(rest);
    }
    grouped
}

/// With three digits that mean something.
pub(crate) fn significant(value: f64) -> String {
    let decimals = match value.abs() {
        size if size >= 99.95 => 0,
        size if size >= 9.995 => 1,
        size if size >= 0.9995 => 2,
        size if size > 0.0 => 3,
        _ => 0,
    };
    grouped(value, decimals)
}

/// In what a metric is told: the JSON's value is divided by `size`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Unit {
    pub(crate) size: f64,
    pub(crate) name: &'static str,
}

impl Unit {
    /// One in which values up to `largest` are short.
    pub(crate) fn of(metric: Metric, largest: f64) -> Unit {
        match Dimension::of(metric) {
            Dimension::Time { ns } => Unit::of_time(ns, largest),
            Dimension::Bytes if largest.abs() >= 10_000.0 => Unit { size: 1000.0, name: "kB" },
            Dimension::Bytes => Unit { size: 1.0, name: "bytes" },
            Dimension::PerSecond => Unit { size: 1.0, name: "/s" },
            Dimension::Share => Unit { size: 0.01, name: "%" },
            Dimension::Count => Unit { size: 1.0, name: "" },
        }
    }

    /// Of values in units of `ns` nanoseconds.
    fn of_time(ns: f64, largest: f64) -> Unit {
        let steps = [(1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1.0, "ns")];
        let fits = |(size, _): &(f64, &str)| largest.abs() * ns >= *size;
        let (size, name) = steps.into_iter().find(fits).unwrap_or((ns, name_of(ns)));
        Unit { size: size / ns, name }
    }

    /// The number alone.
    pub(crate) fn number(self, value: f64) -> String {
        // Of what is counted there are no fractions.
        if matches!(self.name, "bytes" | "") { grouped(value, 0) } else { significant(value / self.size) }
    }

    /// The number alone, as short as it can be.
    pub(crate) fn tick(self, value: f64) -> String {
        let number = self.number(value);
        if !number.contains('.') {
            return number;
        }
        number.trim_end_matches('0').trim_end_matches('.').into()
    }

    /// With its name.
    pub(crate) fn told(self, value: f64) -> String {
        let (number, name) = (self.number(value), self.name);
        match name {
            "" => number,
            "/s" => format!("{number}{name}"),
            _ => format!("{number}\u{a0}{name}"),
        }
    }
}

fn name_of(ns: f64) -> &'static str {
    match ns {
        ns if ns >= 1e9 => "s",
        ns if ns >= 1e6 => "ms",
        ns if ns >= 1e3 => "µs",
        _ => "ns",
    }
}

/// A metric's value with its unit.
pub(crate) fn value(metric: Metric, value: f64) -> String {
    Unit::of(metric, value).told(value)
}

/// What kind of quantity a metric is.
enum Dimension {
    /// In units of so many nanoseconds.
    Time {
        ns: f64,
    },
    Bytes,
    PerSecond,
    Share,
    Count,
}

impl Dimension {
    fn of(metric: Metric) -> Dimension {
        match metric {
            Metric::CpuNsPerMessage
            | Metric::CpuNsPerBeat
            | Metric::CpuNsPerClaim
            | Metric::CpuNsPerDelivery => Dimension::Time { ns: 1.0 },
            Metric::LatencyP50Us
            | Metric::LatencyP99Us
            | Metric::LatenessP50Us
            | Metric::LatenessP99Us
            | Metric::LatenessP999Us
            | Metric::LatenessMaxUs
            | Metric::SeenP50Us
            | Metric::SeenMaxUs => Dimension::Time { ns: 1e3 },
            Metric::CpuMsPerConnHour
            | Metric::LongestWaitMs
            | Metric::AllServedMs
            | Metric::LastDeliveryMs => Dimension::Time { ns: 1e6 },
            Metric::ConnectS => Dimension::Time { ns: 1e9 },
            Metric::UserBytes | Metric::KernelBytes | Metric::KernelBytesBothEnds => Dimension::Bytes,
            Metric::ClaimsPerCoreS
            | Metric::MessagesPerS
            | Metric::BeatsPerS
            | Metric::ClaimsPerS
            | Metric::DeliveriesPerS
            | Metric::WakeupsPerS => Dimension::PerSecond,
            Metric::ServerBusy | Metric::GeneratorBusy | Metric::ForeignBusy => Dimension::Share,
            Metric::Deaths
            | Metric::Early
            | Metric::FalseCloses
            | Metric::Undetected
            | Metric::Connections => Dimension::Count,
        }
    }
}

/// `a`, `a and b`, `a, b and c`.
pub(crate) fn list(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

/// With a capital letter and a full stop.
pub(crate) fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    let stop = if text.ends_with('.') { "" } else { "." };
    format!("{first}{}{stop}", letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_cannot_become_markup() {
        let escaped = escape("<script a=\"b\" c='d'>&\u{1b}[1m");
        assert_eq!(escaped, "&lt;script a=&quot;b&quot; c=&#39;d&#39;&gt;&amp;\u{fffd}[1m");
    }

    #[test]
    fn anchors_are_plain_words() {
        assert_eq!(anchor("deadlines: echo, 1000 connections"), "at-deadlines-echo-1000-connections");
        assert_eq!(anchor("\"><script>"), "at-script");
    }

    #[test]
    fn figures_have_three_digits_and_groups() {
        for (value, text) in [
            (0.0, "0"),
            (0.1234, "0.123"),
            (4.0561, "4.06"),
            (9.999, "10.0"),
            (12.34, "12.3"),
            (4056.1, "4056"),
            (40561.4, "40\u{202f}561"),
            (1_234_567.0, "1\u{202f}234\u{202f}567"),
            (-0.000_01, "0.000"),
            (-12.0, "−12.0"),
        ] {
            assert_eq!(significant(value), text);
        }
    }

    #[test]
    fn values_are_told_in_the_unit_that_fits() {
        assert_eq!(value(Metric::CpuNsPerMessage, 4056.0), "4.06\u{a0}µs");
        assert_eq!(value(Metric::CpuNsPerMessage, 900.0), "900\u{a0}ns");
        assert_eq!(value(Metric::LatenessMaxUs, 35_400.0), "35.4\u{a0}ms");
        assert_eq!(value(Metric::LatenessMaxUs, 0.0), "0\u{a0}µs");
        assert_eq!(value(Metric::CpuMsPerConnHour, 12.0), "12.0\u{a0}ms");
        assert_eq!(value(Metric::CpuMsPerConnHour, 0.05), "50.0\u{a0}µs");
        assert_eq!(value(Metric::KernelBytes, 4812.0), "4812\u{a0}bytes");
        assert_eq!(value(Metric::UserBytes, 33.9), "34\u{a0}bytes");
        assert_eq!(value(Metric::MessagesPerS, 212_000.0), "212\u{202f}000/s");
        assert_eq!(value(Metric::ServerBusy, 0.98), "98.0\u{a0}%");
    }

    #[test]
    fn ticks_are_short() {
        let tick = |value| Unit::of(Metric::CpuNsPerBeat, 20_000.0).tick(value);
        assert_eq!([tick(0.0), tick(4000.0), tick(4200.0), tick(10_000.0)], ["0", "4", "4.2", "10"]);
    }

    #[test]
    fn lists_read_as_sentences_do() {
        let names = |names: &[&str]| list(&names.iter().map(|name| (*name).into()).collect::<Vec<_>>());
        assert_eq!(names(&["a"]), "a");
        assert_eq!(names(&["a", "b", "c"]), "a, b and c");
        assert_eq!(sentence("no io_uring here"), "No io_uring here.");
    }
}
