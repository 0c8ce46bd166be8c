//! A network of a test's own: a namespace with nothing but loopback, whose settings it may change.

use std::panic::resume_unwind;
use std::process::Command;
use std::{env, fs, thread};

use crate::privileged_unsafe::unshare_network;
use crate::requirement::skip;

/// Set in the child that runs in a user namespace.
const ROOTLESS: &str = "HEARTRING_TEST_ROOTLESS";

/// Runs `body` on a thread with a network of its own, in which `net.ipv4.` `settings` hold; or says aloud why it cannot.
///
/// Without the privilege, the test runs once more as root of a user namespace.
///
/// # Panics
///
/// If `body` does.
pub fn in_own_network(test: &str, settings: &[(&str, &str)], body: impl FnOnce() + Send) {
    let alone = || {
        unshare_network().map_err(|error| format!("unshare(CLONE_NEWNET): {error}"))?;
        ip(&["link", "set", "lo", "up"])?;
        for (name, value) in settings {
            let path = format!("/proc/sys/net/ipv4/{name}");
            fs::write(&path, value).map_err(|error| format!("{path}: {error}"))?;
        }
        body();
        Ok(())
    };
    let result: Result<(), String> =
        thread::scope(|scope| scope.spawn(alone).join()).unwrap_or_else(|panic| resume_unwind(panic));
    match result {
        Ok(()) => {}
        Err(why) => run_rootless(test, &why),
    }
}

/// Gives the calling thread's network another address, for example `fd00::1/64`.
///
/// # Panics
///
/// If it is not the test's own network.
pub fn add_address(addr: &str) {
    // nodad: it can be used at once.
    ip(&["addr", "add", addr, "dev", "lo", "nodad"]).expect("a network of one's own takes addresses");
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(arguments).output().map_err(|error| format!("ip: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("ip {arguments:?}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

/// Runs a test that lacks a privilege once more, as root of a user namespace of its own; says aloud if it is there already.
///
/// # Panics
///
/// If the test fails there.
pub fn run_rootless(test: &str, why: &str) {
    if env::var_os(ROOTLESS).is_some() {
        return skip(test, why);
    }
    let program = env::current_exe().expect("the test program has a path");
    let child = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net"])
        .arg(program)
        .args(["--exact", test, "--nocapture"])
        .env(ROOTLESS, "1")
        .output();
    match child {
        Ok(output) if output.stdout.is_empty() => {
            // `unshare` itself fails without a word of the test program.
            skip(test, &format!("{why}; and {}", String::from_utf8_lossy(&output.stderr).trim()));
        }
        Ok(output) => {
            print!("{}", String::from_utf8_lossy(&output.stdout));
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "it failed in a user namespace:\n{errors}");
        }
        Err(error) => skip(test, &format!("{why}; and unshare: {error}")),
    }
}
