//! Tests that need a process of their own, because they count or take away what a process has once.

use std::process::Command;
use std::{env, fs};

const CHILD: &str = "HEARTRING_TEST_CHILD";

/// Runs `body` in a child process: this test program again, with this one test.
///
/// # Panics
///
/// If the child fails, with what it printed.
pub fn alone(test: &str, body: impl FnOnce()) {
    if env::var(CHILD).is_ok_and(|child| child == test) {
        return body();
    }
    let program = env::current_exe().expect("the test program has a path");
    let run = Command::new(program)
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(CHILD, test)
        .output()
        .expect("the test program can be run again");
    let (out, err) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    // A name that matches no test would succeed with zero tests.
    let passed = run.status.success() && out.contains("1 passed");
    assert!(passed, "{test} failed in its own process ({}):\n{out}\n{err}", run.status);
    print!("{out}"); // The figures of a test that has passed are seen with --nocapture.
}

/// How many descriptors this process has open.
///
/// # Panics
///
/// If there is no /proc.
pub fn descriptors_open() -> usize {
    fs::read_dir("/proc/self/fd").expect("/proc is mounted").count()
}
