//! What changed between two reports.
//!
//! Two runs are never interleaved, so that absolute figures compare only where machine and sizes are the same, and then as far
//! as their ranges do not touch. Paired ratios were taken within each run, and compare further.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use crate::error::Error;
use crate::report::Report;

mod changes;
mod differences;
mod text;

use changes::Comparison;

#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// The earlier report, as `--json` printed it
    before: PathBuf,
    /// The later one
    after: PathBuf,
    /// Print one JSON object instead of tables; in it, `change` is in percent
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &CompareArgs) -> Result<ExitCode, Error> {
    let text = compare(args)?;
    io::stdout().write_all(text.as_bytes()).map_err(Error::system("writing the comparison"))?;
    Ok(ExitCode::SUCCESS)
}

fn compare(args: &CompareArgs) -> Result<String, Error> {
    let (before, after) = (load(&args.before)?, load(&args.after)?);
    if before.workload != after.workload {
        return Err(Error::Usage(format!(
            "{} is a report of {}, {} one of {}: compare two of the same workload",
            args.before.display(),
            before.workload,
            args.after.display(),
            after.workload
        )));
    }
    let comparison = Comparison::of(&before, &after);
    Ok(if args.json { comparison.to_json() } else { text::render(&comparison) })
}

fn load(path: &Path) -> Result<Report, Error> {
    let refuse = |why: String| Error::Usage(format!("{}: {why}", path.display()));
    let text = fs::read_to_string(path).map_err(|error| refuse(error.to_string()))?;
    let remedy = "give a file that `heartring bench <workload> --json` printed";
    let json: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| refuse(format!("no JSON ({error}): {remedy}")))?;
    serde_json::from_value(json).map_err(|error| refuse(format!("no report ({error}): {remedy}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::specimen;

    /// A file of its own, gone when the test is over.
    struct Temporary(PathBuf);

    impl Temporary {
        fn new(name: &str, text: &str) -> Temporary {
            let path = std::env::temp_dir().join(format!("heartring-compare-{}-{name}", std::process::id()));
            fs::write(&path, text).unwrap();
            Temporary(path)
        }
    }

    impl Drop for Temporary {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }

    fn ask(before: &Temporary, after: &Temporary, json: bool) -> Result<String, Error> {
        compare(&CompareArgs { before: before.0.clone(), after: after.0.clone(), json })
    }

    #[test]
    fn a_report_compared_with_itself_has_not_changed() {
        let file = Temporary::new("same", &specimen::all().to_json());
        let text = ask(&file, &file, false).unwrap();
        let claims = ["┆ better", "┆ worse", "┆ does not", "Differs", "Changed"];
        assert!(
            claims.iter().all(|claim| !text.contains(claim)) && text.contains("┆ within the spread"),
            "{text}"
        );
        let json: serde_json::Value = serde_json::from_str(&ask(&file, &file, true).unwrap()).unwrap();
        assert_eq!(json["differences"], serde_json::json!([]));
        assert_eq!(json["before"]["version"], "0.1.0");
        assert_eq!(json["after"]["machine"]["cores"], 2);
        assert_eq!(json["changes"][0]["change"], 0.0);
        assert!(json["ratios"].as_array().is_some_and(|ratios| !ratios.is_empty()));
    }

    #[test]
    fn what_cannot_be_compared_is_refused_in_one_line() {
        let report = specimen::all();
        let file = Temporary::new("good", &report.to_json());
        let garbage = Temporary::new("garbage", "heartring: 12 ns");
        let other_kind = Temporary::new("kind", "{\"seeds\": 10000}");
        let beats = Report { workload: "beats".into(), ..report };
        let beats = Temporary::new("beats", &beats.to_json());
        let missing = Temporary(PathBuf::from("/nonexistent/report.json"));
        for (other, reason) in [
            (&garbage, "no JSON"),
            (&other_kind, "no report"),
            (&beats, "compare two of the same workload"),
            (&missing, "No such file"),
        ] {
            for refused in [ask(&file, other, false), ask(other, &file, true)] {
                let error = refused.unwrap_err();
                let line = error.to_string();
                assert!(line.contains(reason) && !line.contains('\n'), "{line}");
                assert_eq!(error.exit_status(), 2);
            }
        }
    }
}
