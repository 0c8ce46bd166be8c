//! Other people's programs: which are here, and how they are run.

use std::process::{Command, Output};

/// Whether `program` can be started; if not, says that `test` is skipped.
pub(crate) fn has(test: &str, program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok();
    if !found {
        heartring_tests::skip(test, &format!("{program} is not installed"));
    }
    found
}

/// A Python that has `modules`; if there is none, says that `test` is skipped. `HEARTRING_PYTHON` names one, in a virtual
/// environment for example; otherwise it is `python3`.
pub(crate) fn python(test: &str, modules: &[&str]) -> Option<String> {
    let python = std::env::var("HEARTRING_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let imports = format!("import {}", modules.join(", "));
    let found = Command::new(&python).args(["-c", &imports]).output().is_ok_and(|run| run.status.success());
    if !found {
        heartring_tests::skip(test, &format!("{python} has no {}", modules.join(" and ")));
    }
    found.then_some(python)
}

/// Runs a program to its end and returns what it printed.
pub(crate) fn run(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().expect("the program starts");
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{command:?}: {status}\n{stdout}\n{stderr}");
    stdout.into_owned()
}
