//! The report as one self-contained web page: nothing is loaded, nothing runs.
//!
//! - `setting`: machine, method, known weaknesses. `headlines`, `verdicts`, `standing`: what it says in plain words.
//! - `bars`, `curves`, `trend`, drawn with `axis`, `lines` and `palette`. `tables`: the figures.
//! - `text`: figures and escaped text. `style`: how it looks.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::contender::Mode;
use crate::report::{Report, Section};
use crate::wariness;
use crate::workload::Workload;

mod axis;
mod bars;
mod curves;
mod headlines;
mod lines;
mod palette;
mod setting;
#[cfg(test)]
pub(crate) mod specimen;
mod standing;
mod style;
mod tables;
mod text;
mod trend;
mod verdicts;

use palette::marked;
use standing::Statement;
use text::{anchor, escape};
use trend::Trend;

/// The whole page.
pub(crate) fn render(report: &Report) -> String {
    let sections = report.sections();
    let trends = trend::find(&sections);
    let mut html = head(report);
    html.push_str("<main>\n");
    html.push_str(&summary(&sections, &trends));
    html.push_str(&frame(report));
    for section in &sections {
        // Before the first of the sections that it sums up.
        let begin = trends.iter().filter(|trend| trend.begins_with(section));
        begin.for_each(|trend| html.push_str(&render_trend(trend)));
        html.push_str(&render_section(section));
    }
    html.push_str("</main>\n");
    html.push_str(&foot(report));
    html
}

/// What a section measured, read back from its sizes; none of a kind that this version does not know.
fn task(section: &Section<'_>) -> Option<Workload> {
    serde_json::from_value(json!({ section.workload: section.params })).ok()
}

fn anchor_of(section: &Section<'_>) -> String {
    anchor(section.title.unwrap_or(section.workload))
}

fn head(report: &Report) -> String {
    let (name, machine) = (escape(&report.workload), &report.machine);
    let (version, kernel, cpu) = (escape(&machine.version), escape(&machine.kernel), escape(&machine.cpu));
    let cores = machine.cores;
    let css = style::CSS;
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>heartring bench: {name}</title>\n<style>{css}</style>\n</head>\n<body>\n<header>\n\
         <p class=\"eyebrow\">heartring {version} · bench {name}</p>\n<h1>What it costs to know who is there</h1>\n\
         <p class=\"lede\">heartring keeps connections: it tells frames apart, keeps a deadline for every peer, says who is dead and \
         why, and evicts whoever comes twice. This page says what that costs on one machine, against servers that do none of it \
         (<code class=\"bare\">bare_uring</code>, <code class=\"bare\">bare_epoll</code>: the limit) and against the runtimes that \
         people would use instead. Where nothing can be concluded, it says so. Measured on {cpu}, {cores} cores, Linux {kernel}.</p>\n\
         </header>\n"
    )
}

fn summary(sections: &[Section<'_>], trends: &[Trend<'_>]) -> String {
    let mut html = String::from("<section id=\"summary\">\n<h2>In short</h2>\n<dl class=\"summary\">\n");
    for section in sections {
        for trend in trends.iter().filter(|trend| trend.begins_with(section)) {
            let (title, line) = (trend.title(), turns(&trend.statements().0));
            let _ = writeln!(
                html,
                "<dt><a href=\"#{}\">{}</a></dt><dd>{line}</dd>",
                anchor(&title),
                escape(&title)
            );
        }
        let title = escape(section.title.unwrap_or(section.workload));
        let (anchor, line) = (anchor_of(section), marked(&headlines::headline(section)));
        let _ = writeln!(html, "<dt><a href=\"#{anchor}\">{title}</a></dt><dd>{line}</dd>");
    }
    html.push_str("</dl>\n</section>\n");
    html
}

/// When it turns, in one line.
fn turns(statements: &[Statement]) -> String {
    let opening = if statements.iter().any(|statement| statement.turns) { "" } else { "No order turns. " };
    let texts: Vec<&str> = statements.iter().map(|statement| statement.text.as_str()).collect();
    marked(&format!("{opening}{}", texts.join(" ")))
}

/// Machine, method and weaknesses.
fn frame(report: &Report) -> String {
    let machine = &report.machine;
    format!(
        "<section id=\"machine\">\n<h2>The machine</h2>\n{}</section>\n<section id=\"method\">\n<h2>The method</h2>\n{}\
         <h3>Known weaknesses</h3>\n{}</section>\n",
        setting::machine(machine),
        setting::method(machine),
        setting::weaknesses(machine),
    )
}

fn render_section(section: &Section<'_>) -> String {
    let title = escape(section.title.unwrap_or(section.workload));
    let (anchor, headline) = (anchor_of(section), marked(&headlines::headline(section)));
    let mut html =
        format!("<section id=\"{anchor}\">\n<h2>{title}</h2>\n<p class=\"params\">{}</p>\n", params(section));
    let _ = writeln!(html, "<p class=\"headline\">{headline}</p>");
    html.push_str(&tables::tiles(section));
    html.push_str(&bars::draw(section));
    html.push_str(&answers(section));
    html.push_str(&curves::draw(section));
    html.push_str(&tables::figures(section));
    html.push_str(&tables::ratios(section));
    html.push_str(&notes(section));
    html.push_str("</section>\n");
    html
}

/// The sizes, and how it was measured.
fn params(section: &Section<'_>) -> String {
    let batches = section.rows.iter().any(|row| row.contender.mode == Mode::Batched);
    // Sizes first.
    let is_condition = |name: &str| CONDITIONS.iter().any(|(condition, _, _)| *condition == name);
    let sizes = section.params.iter().filter(|(name, _)| !is_condition(name));
    let sizes = sizes.map(|(name, value)| (name.replace('_', " "), plain(value)));
    let conditions = CONDITIONS.iter().filter(|(name, _, _)| batches || *name != "batch_within_us");
    let conditions = conditions.filter_map(|(name, label, unit)| {
        let value = section.params.get(*name)?;
        Some((label.to_string(), format!("{}{unit}", plain(value))))
    });
    let spans = sizes
        .chain(conditions)
        .map(|(label, value)| format!("<span>{} <b>{}</b></span>", escape(&label), escape(&value)));
    spans.collect::<Vec<_>>().join(" ")
}

/// What is no size: how it is called here, and in what it is.
const CONDITIONS: [(&str, &str, &str); 5] = [
    ("dead_within_s", "deadline", "\u{a0}s"),
    ("rounds", "rounds", ""),
    ("seconds", "window", "\u{a0}s"),
    ("warmup_seconds", "warm-up", "\u{a0}s"),
    ("batch_within_us", "waits for company", "\u{a0}µs"),
];

fn plain(value: &Value) -> String {
    match value {
        Value::Number(number) => match number.as_f64() {
            Some(whole) if whole.fract() == 0.0 => text::grouped(whole, 0),
            Some(_) | None => number.to_string(),
        },
        Value::String(text) => text.clone(),
        Value::Bool(yes) => String::from(if *yes { "yes" } else { "no" }),
        Value::Null | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

fn answers(section: &Section<'_>) -> String {
    let answers = verdicts::answers(section);
    if answers.is_empty() {
        return String::new();
    }
    let mut html = String::from("<dl class=\"answers\">\n");
    for answer in answers {
        let sentences = answer.sentences.iter().map(|sentence| format!("<p>{}</p>", marked(sentence)));
        let _ = writeln!(html, "<dt>{}</dt><dd>{}</dd>", answer.question, sentences.collect::<String>());
    }
    html.push_str("</dl>\n");
    html
}

/// Who could not run, and what to be wary of.
fn notes(section: &Section<'_>) -> String {
    let failures = section.failures.iter().map(|failure| {
        let name = failure.contender.name();
        format!("<li class=\"failed\">{} could not run: {}</li>\n", marked(&name), escape(&failure.why))
    });
    let cautions = wariness::cautions(section).into_iter();
    let cautions = cautions.map(|caution| format!("<li>{}.</li>\n", marked(&caution)));
    let notes: String = failures.chain(cautions).collect();
    if notes.is_empty() {
        notes
    } else {
        format!("<h3>To be wary of</h3>\n<ul class=\"notes\">\n{notes}</ul>\n")
    }
}

fn render_trend(trend: &Trend<'_>) -> String {
    let title = trend.title();
    let (first, others) = trend.statements();
    let mut html = format!("<section id=\"{}\">\n<h2>{}</h2>\n", anchor(&title), escape(&title));
    let _ = writeln!(html, "<p class=\"headline\">{}</p>", turns(&first));
    html.push_str(&trend.draw());
    if !others.is_empty() {
        let others = others.iter().map(|statement| format!("<li>{}</li>\n", marked(&statement.text)));
        let _ = write!(html, "<ul class=\"statements\">\n{}</ul>\n", others.collect::<Vec<_>>().concat());
    }
    html.push_str(
        "<p class=\"params\">Told apart by the 95 % intervals of paired ratios at each size; two whom rounds did not compare, only \
         if the ranges of their rounds do not touch.</p>\n</section>\n",
    );
    html
}

fn foot(report: &Report) -> String {
    format!(
        "<footer>\n<p>Made by heartring {} with <code>heartring bench {} --report</code>. Every figure, and the points of every curve, \
         are in the JSON that <code>--json</code> prints; <code>heartring bench compare</code> says what changed between \
         two of them.</p>\n</footer>\n</body>\n</html>\n",
        escape(&report.machine.version),
        escape(&report.workload),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Elements that have no end.
    const VOID: [&str; 3] = ["meta", "br", "hr"];

    /// Names of tags, with what they are: whether they open, close, or do both.
    fn check_balance(html: &str) {
        let mut open: Vec<String> = Vec::new();
        let body = html.split_once("</style>").map_or(html, |(_, body)| body);
        open.extend(["html".into(), "head".into()]);
        for tag in body.split('<').skip(1) {
            let inside = tag.split_once('>').unwrap_or_else(|| panic!("no end of <{tag}")).0;
            if let Some(name) = inside.strip_prefix('/') {
                assert_eq!(open.pop().as_deref(), Some(name), "</{name}>");
            } else if !inside.ends_with('/') {
                let name = inside.split_whitespace().next().unwrap_or_default();
                assert!(name.starts_with(|letter: char| letter.is_ascii_alphabetic()), "<{inside}>");
                if !VOID.contains(&name) {
                    open.push(name.into());
                }
            }
        }
        assert!(open.is_empty(), "{open:?}");
    }

    #[test]
    fn every_tag_is_closed_in_order() {
        check_balance(&render(&specimen::all()));
    }

    #[test]
    fn nothing_is_loaded_and_nothing_runs() {
        let html = render(&specimen::all());
        for foreign in ["<script", "http:", "https:", "url(", "@import", "<img", "<link"] {
            assert!(!html.contains(foreign), "{foreign}");
        }
    }

    #[test]
    fn what_comes_from_outside_is_text() {
        let html = render(&specimen::all());
        assert!(html.contains(&escape(specimen::WHY)) && !html.contains(specimen::WHY));
    }

    #[test]
    fn every_link_leads_to_one_place() {
        let html = render(&specimen::all());
        let links = html.split("href=\"#").skip(1).map(|rest| rest.split('"').next().unwrap());
        for link in links {
            assert_eq!(html.matches(&format!("id=\"{link}\"")).count(), 1, "{link}");
        }
    }

    #[test]
    fn every_section_has_its_line_in_the_summary() {
        let report = specimen::all();
        let html = render(&report);
        for section in report.sections() {
            let anchor = anchor_of(&section);
            assert!(html.contains(&format!("<dt><a href=\"#{anchor}\">")), "{anchor}");
        }
    }

    #[test]
    fn a_report_of_one_workload_has_a_page_too() {
        let mut report = specimen::all();
        report.parts.retain(|part| part.part == "echo");
        report.params = report.parts.remove(0).params;
        report.workload = "echo".into();
        report.rows.retain(|row| row.part.as_deref() == Some("echo"));
        report.ratios.retain(|ratio| ratio.part.as_deref() == Some("echo"));
        report.failures.clear();
        report.rows.iter_mut().for_each(|row| row.part = None);
        report.ratios.iter_mut().for_each(|ratio| ratio.part = None);
        let html = render(&report);
        check_balance(&html);
        assert!(html.contains("<section id=\"at-echo\">"));
    }

    #[test]
    fn a_workload_that_nobody_knows_and_a_run_without_rows_are_pages_too() {
        let mut report = specimen::all();
        report.parts[0].workload = "juggling".into();
        report.rows.retain(|row| row.part.as_deref() != Some("storm"));
        let html = render(&report);
        check_balance(&html);
        assert!(html.contains("does not know") && html.contains("Nobody could be measured."));
    }

    /// To look at it: `HEARTRING_SPECIMEN=page.html cargo test -p heartring-bench specimen_can_be_looked_at`.
    #[test]
    fn specimen_can_be_looked_at() {
        let html = render(&specimen::all());
        assert!(html.len() < 2_000_000, "{} bytes", html.len());
        if let Some(path) = std::env::var_os("HEARTRING_SPECIMEN") {
            std::fs::write(path, html).unwrap();
        }
    }
}
