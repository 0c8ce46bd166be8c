//! `heartring doctor` in the places where gateways run: without io_uring, in a network of their own, with few descriptors.

use std::process::{Command, Output};
use std::thread;

use heartring_tests::{forbid_io_uring, skip};
use serde_json::Value;

const HEARTRING: &str = env!("CARGO_BIN_EXE_heartring");

fn doctor(args: &str) -> Output {
    Command::new(HEARTRING).arg("doctor").args(args.split_whitespace()).output().unwrap()
}

fn object(output: &Output) -> Value {
    let error = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|why| panic!("one JSON object ({why}): {error}"))
}

fn finding<'a>(diagnosis: &'a Value, name: &str) -> &'a Value {
    let findings = diagnosis["findings"].as_array().unwrap();
    findings.iter().find(|finding| finding["name"] == name).unwrap_or_else(|| panic!("{name}: {diagnosis:#}"))
}

#[test]
fn each_finding_has_a_value_a_meaning_and_what_to_set() {
    let output = doctor("--json --conns-max 100 --dead-within 45s --shards 3 --backlog 300 --backend epoll");
    let diagnosis = object(&output);
    let settings = &diagnosis["settings"];
    assert_eq!(
        (&settings["dead_within_ms"], &settings["beat_every_ms"]),
        (&45_000.0.into(), &15_000.0.into())
    );
    assert_eq!(
        (&settings["conns_max"], &settings["shards"], &settings["backlog"]),
        (&100.into(), &3.into(), &300.into())
    );
    assert_eq!(diagnosis["backend"]["chosen"], "epoll");
    let findings = diagnosis["findings"].as_array().unwrap();
    let count = |verdict: &str| findings.iter().filter(|finding| finding["verdict"] == verdict).count();
    assert_eq!(diagnosis["warnings"], count("warn"));
    assert_eq!(diagnosis["failures"], count("fail"));
    assert_eq!(findings.len(), ["ok", "note", "warn", "fail"].map(count).iter().sum::<usize>());
    for finding in findings {
        for word in ["subject", "name", "value", "meaning"] {
            assert!(finding[word].as_str().is_some_and(|text| !text.is_empty()), "{word}: {finding}");
        }
        assert!(finding["set"].is_null() || finding["set"].is_string(), "{finding}");
    }
    assert_eq!(output.status.code(), Some(i32::from(count("fail") > 0)));
}

#[test]
fn the_table_ends_with_a_summary_and_has_no_escapes_without_a_terminal() {
    let text = String::from_utf8(doctor("--conns-max 100").stdout).unwrap();
    for expected in ["somaxconn", "tcp_keepalive_time", "RLIMIT_NOFILE", "what it means for this gateway"] {
        assert!(text.contains(expected), "{expected}:\n{text}");
    }
    assert!(text.lines().last().unwrap().contains("warning"), "{text}");
    assert!(!text.contains('\x1b'), "{text:?}");
}

#[test]
fn where_io_uring_is_forbidden_the_gateway_falls_back_or_fails_by_what_was_asked_for() {
    // The filter holds for this thread and what it starts.
    let forbidden = thread::spawn(|| {
        forbid_io_uring().expect("the kernel has seccomp");
        ["auto", "uring", "epoll"]
            .map(|backend| doctor(&format!("--json --conns-max 100 --backend {backend}")))
    });
    let [auto, uring, epoll] = forbidden.join().unwrap();
    for (output, verdict, chosen) in
        [(auto, "warn", "epoll".into()), (uring, "fail", Value::Null), (epoll, "ok", "epoll".into())]
    {
        let diagnosis = object(&output);
        let io_uring = finding(&diagnosis, "io_uring");
        assert_eq!((&io_uring["verdict"], &io_uring["value"]), (&verdict.into(), &"refused".into()));
        assert!(io_uring["meaning"].as_str().unwrap().contains("EPERM"), "{io_uring}");
        assert_eq!(diagnosis["backend"]["chosen"], chosen);
        assert!(finding(&diagnosis, "seccomp")["value"].as_str().unwrap().starts_with("filters"));
        assert_eq!(output.status.code(), Some(i32::from(verdict == "fail")), "{diagnosis:#}");
    }
}

#[test]
fn too_few_descriptors_fail_with_what_to_set() {
    let script = format!("ulimit -n 256 && exec {HEARTRING} doctor --json --conns-max 10000 --shards 2");
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    let diagnosis = object(&output);
    let nofile = finding(&diagnosis, "RLIMIT_NOFILE");
    assert_eq!((&nofile["value"], &nofile["verdict"]), (&"256 soft, 256 hard".into(), &"fail".into()));
    assert!(nofile["set"].as_str().unwrap().contains("ulimit -n"), "{nofile}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_network_namespace_of_ones_own_hides_values_and_nothing_is_accused_for_it() {
    let inside = |args: &str| {
        let mut unshare = Command::new("unshare");
        unshare.args(["--user", "--map-root-user", "--net"]).args(args.split_whitespace()).output()
    };
    match inside("true") {
        Ok(output) if output.status.success() => {}
        Ok(output) => return skip("unshare", &String::from_utf8_lossy(&output.stderr)),
        Err(error) => return skip("unshare", &error.to_string()),
    }
    let diagnosis = object(&inside(&format!("{HEARTRING} doctor --json --conns-max 100")).unwrap());
    let tcp_mem = finding(&diagnosis, "net.ipv4.tcp_mem");
    assert_eq!((&tcp_mem["value"], &tcp_mem["verdict"]), (&"not there".into(), &"note".into()));
    assert_eq!(finding(&diagnosis, "TcpExt ListenOverflows")["value"], "0", "its own counters");
}

#[test]
fn wrong_options_are_refused_on_one_line_with_status_2() {
    for (args, says) in [
        ("--dead-within 0", "dead_within"),
        ("--conns-max 0", "conns_max"),
        ("--conns-max many", "--conns-max"),
        ("--shards 0", "--shards"),
        ("--backlog 0", "backlog"),
        ("--backend kqueue", "uring"),
    ] {
        let output = doctor(args);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args}: {error}");
        assert!(error.starts_with("error: ") && error.lines().count() == 1, "{args}: {error:?}");
        assert!(error.contains(says) && output.stdout.is_empty(), "{args}: {error:?}");
    }
}
