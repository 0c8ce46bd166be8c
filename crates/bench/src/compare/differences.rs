//! In what two runs differ, other than in what they found.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::report::{Report, Section};

/// One thing that is not the same.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Difference {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) part: Option<String>,
    pub(super) what: String,
    /// Null where there is none.
    pub(super) before: Value,
    pub(super) after: Value,
    /// Whether absolute figures, of the part or of all, do not compare because of it.
    pub(super) disqualifies: bool,
}

/// The version is what one compares; and more rounds find the same, with more certainty.
const HARMLESS: [&str; 2] = ["version", "rounds"];

/// Of the machines.
pub(super) fn of_machines(before: &Report, after: &Report) -> Vec<Difference> {
    let fields = |report: &Report| match serde_json::to_value(&report.machine) {
        Ok(Value::Object(fields)) => fields,
        Ok(_) | Err(_) => Map::new(),
    };
    of_maps(None, &fields(before), &fields(after))
}

/// Of two sections of one title: their sizes, and who took part.
pub(super) fn of_sections(before: &Section<'_>, after: &Section<'_>) -> Vec<Difference> {
    let part = before.title.map(String::from);
    let mut differences = of_maps(part.as_deref(), before.params, after.params);
    if before.workload != after.workload {
        differences.push(Difference {
            part: part.clone(),
            what: "workload".into(),
            before: before.workload.into(),
            after: after.workload.into(),
            disqualifies: true,
        });
    }
    for (one, other, is_before) in [(before, after, true), (after, before, false)] {
        let absent =
            one.rows.iter().filter(|row| other.rows.iter().all(|known| known.contender != row.contender));
        differences
            .extend(absent.map(|row| only_in(part.clone(), "contender", row.contender.name(), is_before)));
    }
    differences
}

/// A part without a counterpart.
pub(super) fn of_absent(section: &Section<'_>, is_before: bool) -> Difference {
    only_in(None, "part", section.title.unwrap_or(section.workload).into(), is_before)
}

fn only_in(part: Option<String>, what: &str, name: String, is_before: bool) -> Difference {
    let (name, none) = (Value::String(name), Value::Null);
    let (before, after) = if is_before { (name, none) } else { (none, name) };
    Difference { part, what: what.into(), before, after, disqualifies: false }
}

fn of_maps(part: Option<&str>, before: &Map<String, Value>, after: &Map<String, Value>) -> Vec<Difference> {
    let mut names: Vec<&String> = before.keys().collect();
    names.extend(after.keys().filter(|name| !before.contains_key(*name)));
    let differ = names.into_iter().filter(|name| before.get(*name) != after.get(*name));
    let difference = |name: &String| Difference {
        part: part.map(String::from),
        what: name.clone(),
        before: before.get(name).cloned().unwrap_or_default(),
        after: after.get(name).cloned().unwrap_or_default(),
        disqualifies: !HARMLESS.contains(&name.as_str()),
    };
    differ.map(difference).collect()
}
