//! What was found, and what it means.

use std::fmt;

use super::machine::Unread;

/// What a finding means for the gateway, from harmless to fatal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// As it should be, or it does not matter.
    Ok,
    /// Worth knowing.
    Note,
    /// It harms this gateway.
    Warn,
    /// The gateway cannot work as it is set up.
    Fail,
}

impl Verdict {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// One line of a diagnosis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// A sysctl, a limit or an option, as it is called where it is set.
    pub(crate) name: &'static str,
    /// As it was read, or why it was not.
    pub(crate) value: String,
    pub(crate) judgement: Judgement,
}

/// The opinion in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Judgement {
    pub(crate) verdict: Verdict,
    /// With the gateway's own numbers.
    pub(crate) meaning: String,
    /// The command; `None`: nothing.
    pub(crate) set: Option<String>,
}

/// Findings about one matter.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    pub(crate) subject: &'static str,
    pub(crate) findings: Vec<Finding>,
}

impl Finding {
    pub(crate) fn new(name: &'static str, value: impl fmt::Display, judgement: Judgement) -> Self {
        Self { name, value: value.to_string(), judgement }
    }

    /// Judges what was read. What was not is no fault: it may be hidden from this process only.
    pub(crate) fn judge<T>(
        name: &'static str,
        read: Result<(T, String), Unread>,
        judge: impl FnOnce(T) -> Judgement,
    ) -> Self {
        match read {
            Ok((value, text)) => Self::new(name, text, judge(value)),
            Err(unread) => Self::unread(name, &unread, "it cannot be judged from here"),
        }
    }

    /// What follows from not being able to read it.
    pub(crate) fn unread(name: &'static str, unread: &Unread, meaning: &str) -> Self {
        Self::new(name, unread, Judgement::note(meaning))
    }
}

impl Judgement {
    pub(crate) fn new(verdict: Verdict, meaning: impl Into<String>) -> Self {
        Self { verdict, meaning: meaning.into(), set: None }
    }

    pub(crate) fn ok(meaning: impl Into<String>) -> Self {
        Self::new(Verdict::Ok, meaning)
    }

    pub(crate) fn note(meaning: impl Into<String>) -> Self {
        Self::new(Verdict::Note, meaning)
    }

    pub(crate) fn warn(meaning: impl Into<String>) -> Self {
        Self::new(Verdict::Warn, meaning)
    }

    pub(crate) fn fail(meaning: impl Into<String>) -> Self {
        Self::new(Verdict::Fail, meaning)
    }

    /// What would mend it.
    pub(crate) fn set(self, command: impl Into<String>) -> Self {
        Self { set: Some(command.into()), ..self }
    }
}

/// `200 MB`, `1.2 GB`: decimal, and as exact as an estimate deserves.
pub(crate) fn bytes(n: u64) -> String {
    let n = n as f64;
    let (value, unit) = match n {
        n if n < 1e6 => (n / 1e3, "kB"),
        n if n < 1e9 => (n / 1e6, "MB"),
        n => (n / 1e9, "GB"),
    };
    let decimals = usize::from(value < 10.0);
    format!("{value:.decimals$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_are_ordered_by_harm() {
        assert!(
            Verdict::Ok < Verdict::Note && Verdict::Note < Verdict::Warn && Verdict::Warn < Verdict::Fail
        );
    }

    #[test]
    fn bytes_are_shown_in_their_unit() {
        assert_eq!([bytes(0), bytes(99_500_000), bytes(1_250_000_000)], ["0.0 kB", "100 MB", "1.2 GB"]);
    }
}
