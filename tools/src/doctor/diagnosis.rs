//! All findings together, as a table, as JSON, and in one line.

use comfy_table::{ColumnConstraint, ContentArrangement, Width};
use heartring::Backend;
use serde_json::{Value, json};

use super::finding::{Finding, Section, Verdict};
use super::machine::Machine;
use super::settings::Settings;
use super::{accepting, capacity, network, silence, uring};
use crate::duration::show;
use crate::output;

/// Where nobody says how wide the output is: meanings are sentences, and one line each would be too long to read.
const COLUMNS_WITHOUT_TERMINAL: u16 = 140;

/// On a terminal of fewer columns names and values are folded, too, for the meanings to have room...
const COLUMNS_WIDE: u16 = 110;

/// ...and on one of fewer than these nothing is folded, since nothing could be read.
const COLUMNS_MIN: u16 = 60;

/// What the doctor found.
pub(crate) struct Diagnosis {
    sections: Vec<Section>,
}

impl Diagnosis {
    /// Judges the machine for these settings.
    pub(crate) fn new(machine: &Machine, settings: &Settings) -> Self {
        let sections =
            [uring::section, capacity::section, accepting::section, silence::section, network::section];
        Self { sections: sections.iter().map(|section| section(machine, settings)).collect() }
    }

    pub(crate) fn failures(&self) -> usize {
        self.names_of(Verdict::Fail).len()
    }

    fn warnings(&self) -> usize {
        self.names_of(Verdict::Warn).len()
    }

    fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.sections.iter().flat_map(|section| &section.findings)
    }

    fn names_of(&self, verdict: Verdict) -> Vec<&'static str> {
        let found = self.findings().filter(|finding| finding.judgement.verdict == verdict);
        found.map(|finding| finding.name).collect()
    }

    pub(crate) fn to_text(&self, settings: &Settings) -> String {
        let (introduction, table, summary) = (introduction(settings), self.table(), self.summary());
        match self.commands().as_slice() {
            [] => format!("{introduction}\n\n{table}\n\n{summary}"),
            commands => format!(
                "{introduction}\n\n{table}\n\nWhat to set; what is not listed needs nothing:\n{}\n\n{summary}",
                commands.join("\n")
            ),
        }
    }

    fn table(&self) -> comfy_table::Table {
        let mut table =
            output::table(&["setting", "value", "verdict", "what it means for this gateway"], &[]);
        let columns = table.width().unwrap_or(COLUMNS_WITHOUT_TERMINAL);
        let upper = |columns| ColumnConstraint::UpperBoundary(Width::Fixed(columns));
        if columns >= COLUMNS_MIN {
            let (name, value) = if columns < COLUMNS_WIDE { (24, 16) } else { (42, 30) };
            table.set_content_arrangement(ContentArrangement::Dynamic).set_width(columns);
            table.set_constraints([upper(name), upper(value), ColumnConstraint::ContentWidth]);
        } else {
            table.set_content_arrangement(ContentArrangement::Disabled);
        }
        for section in &self.sections {
            table.add_row([section.subject, "", "", ""]);
            for Finding { name, value, judgement } in &section.findings {
                table.add_row([
                    &format!("  {}", short(name)),
                    value,
                    judgement.verdict.name(),
                    &judgement.meaning,
                ]);
            }
        }
        table
    }

    /// Not in the table, where a command would be folded and could not be copied.
    fn commands(&self) -> Vec<String> {
        let line = |Finding { name, judgement, .. }: &Finding| {
            let command = judgement.set.as_ref()?;
            Some(format!("  {:<5} {name}: {command}", judgement.verdict.name()))
        };
        self.findings().filter_map(line).collect()
    }

    /// `2 warnings, 1 failure: RLIMIT_NOFILE, net.core.somaxconn, ...`
    pub(crate) fn summary(&self) -> String {
        let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
        let counts = format!("{}, {}", count(self.warnings(), "warning"), count(self.failures(), "failure"));
        let names = [self.names_of(Verdict::Fail), self.names_of(Verdict::Warn)].concat();
        if names.is_empty() {
            format!("{counts}: nothing here stands in this gateway's way")
        } else {
            format!("{counts}: {}", names.join(", "))
        }
    }

    /// Durations in milliseconds, as numbers; `set` is null where there is nothing to set.
    pub(crate) fn to_json(&self, settings: &Settings) -> Value {
        let finding = |subject: &str, Finding { name, value, judgement }: &Finding| {
            json!({
                "subject": subject,
                "name": name,
                "value": value,
                "verdict": judgement.verdict.name(),
                "meaning": judgement.meaning,
                "set": judgement.set,
            })
        };
        let findings: Vec<Value> = self
            .sections
            .iter()
            .flat_map(|section| section.findings.iter().map(|f| finding(section.subject, f)))
            .collect();
        json!({
            "settings": {
                "dead_within_ms": settings.liveness.dead_within.as_secs_f64() * 1e3,
                "beat_every_ms": settings.liveness.beat_every.as_secs_f64() * 1e3,
                "conns_max": settings.conns,
                "shards": settings.shards,
                "backlog": settings.config.backlog,
            },
            "backend": {
                "chosen": settings.backend.map(Backend::name),
                "reason": settings.backend_reason,
            },
            "findings": findings,
            "warnings": self.warnings(),
            "failures": self.failures(),
        })
    }
}

/// A sysctl as people speak of it. The whole name is in the commands, the summary and the JSON.
fn short(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

fn introduction(settings: &Settings) -> String {
    let Settings { conns, liveness, config, .. } = settings;
    format!(
        "For a gateway of {conns} connections on {}, backlog {}, whose devices beat every {} and are dead after {}.\nBackend: {} ({}).",
        settings.shards_in_words(),
        config.backlog,
        show(liveness.beat_every),
        show(liveness.dead_within),
        settings.backend.map_or("none", Backend::name),
        settings.backend_reason,
    )
}

#[cfg(test)]
mod tests {
    use super::super::machine::Unread;
    use super::*;

    fn diagnose(machine: &Machine) -> (Diagnosis, Settings) {
        let settings = Settings::usual(machine);
        (Diagnosis::new(machine, &settings), settings)
    }

    #[test]
    fn a_healthy_machine_has_nothing_to_set() {
        let (diagnosis, settings) = diagnose(&Machine::healthy());
        let text = diagnosis.to_text(&settings);
        assert_eq!((diagnosis.warnings(), diagnosis.failures()), (0, 0), "{text}");
        assert!(diagnosis.commands().is_empty(), "{text}");
        assert!(
            text.ends_with("0 warnings, 0 failures: nothing here stands in this gateway's way"),
            "{text}"
        );
    }

    #[test]
    fn warnings_and_failures_are_counted_and_named_failures_first() {
        let mut machine = Machine::healthy().with("net.core.somaxconn", "128");
        machine.nofile.maximum = Some(256);
        let (diagnosis, settings) = diagnose(&machine);
        assert_eq!(diagnosis.summary(), "1 warning, 1 failure: RLIMIT_NOFILE, net.core.somaxconn");
        let json = diagnosis.to_json(&settings);
        assert_eq!((&json["warnings"], &json["failures"]), (&json!(1), &json!(1)));
        assert!(
            diagnosis.commands().iter().any(|line| line.ends_with(": sysctl -w net.core.somaxconn=4096"))
        );
    }

    #[test]
    fn text_and_json_tell_the_same() {
        let (diagnosis, settings) = diagnose(&Machine::healthy());
        let (text, json) = (diagnosis.to_text(&settings), diagnosis.to_json(&settings));
        let findings = json["findings"].as_array().unwrap();
        assert_eq!(findings.len(), diagnosis.findings().count());
        for finding in findings {
            assert!(text.contains(short(finding["name"].as_str().unwrap())), "{finding}\n{text}");
        }
        assert_eq!(json["settings"]["beat_every_ms"], 10_000.0);
    }

    #[test]
    fn a_machine_that_shows_nothing_or_nonsense_is_not_accused() {
        for text in [
            Err(Unread::Missing),
            Err(Unread::Unreadable("permission denied".into())),
            Ok(String::new()),
            Ok("garbage \u{0} \u{fffd}".into()),
            Ok("-1".into()),
        ] {
            let machine = Machine::healthy().with_all(&text);
            let (diagnosis, settings) = diagnose(&machine);
            let shown = diagnosis.to_text(&settings);
            assert_eq!((diagnosis.warnings(), diagnosis.failures()), (0, 0), "{text:?}\n{shown}");
        }
    }

    #[test]
    fn the_largest_numbers_overflow_nothing() {
        for number in ["0", "18446744073709551615", "4294967295"] {
            let text = format!("{number} {number} {number}");
            let machine = Machine::healthy()
                .with_all(&Ok(number.into()))
                .with("net.ipv4.tcp_mem", &text)
                .with("fs.file-nr", &text);
            let _ = diagnose(&machine);
        }
    }
}
