//! The program as its users meet it: bad input is refused on one line, and the demo agrees with itself.

use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

fn heartring(args: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_heartring")).args(args.split_whitespace()).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs a small demo and checks everything that it must get right.
fn small_demo(args: &str) {
    let output = heartring(&format!("demo --devices 60 --for 4s --dead-within 1s --json {args}"));
    if args.contains("uring") && output.status.code() == Some(2) {
        return skip(&stderr(&output));
    }
    assert!(output.status.success(), "{args}: {:?}\n{}", output.status, stderr(&output));
    let report: Value = serde_json::from_slice(&output.stdout).expect("one JSON object and nothing else");
    for zero in ["mismatches", "false_closes", "late_bytes_lost", "early", "refused", "ledger_open"] {
        assert_eq!(report[zero], 0, "{args}: {zero}\n{report:#}");
    }
    assert_eq!((report["accepted"].as_u64(), report["devices"].as_u64()), (Some(60), Some(60)));
    let closed: u64 = report["closed"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
    assert_eq!(closed, 60, "every connection ends once: {report:#}");
    assert!(report["late_bytes_delivered"].as_u64() > Some(0), "some device was late: {report:#}");
    assert!(report["lateness_us"]["count"].as_u64() > Some(0), "some deadline passed: {report:#}");
}

/// Runs a small reboot loop and checks everything that it must get right.
fn small_reboot_loop(backend: &str) {
    let args = "--scenario reboot-loop --shards 2 --identities 20 --reboots 200 --rate 200 --json";
    let output = heartring(&format!("demo {args} --backend {backend}"));
    if backend == "uring" && output.status.code() == Some(2) {
        return skip(&stderr(&output));
    }
    let report: Value = serde_json::from_slice(&output.stdout).expect("one JSON object and nothing else");
    assert!(output.status.success(), "{:?}\n{report:#}", output.status);
    for zero in ["cut_off", "sockets_end", "close_wait_end", "queued_end", "ledger_open"] {
        assert_eq!(report[zero], 0, "{zero}\n{report:#}");
    }
    assert_eq!((&report["reboots"], &report["superseded"]), (&200.into(), &200.into()), "{report:#}");
    assert_eq!((&report["bound_max"], &report["conns_per_identity_max"]), (&1.into(), &2.into()));
    assert_eq!(report["descriptors_start"], report["descriptors_end"]);
    assert_eq!(report["takeover_us"]["count"], 200);
    assert!(report["visit_us"]["count"].as_u64() > Some(5), "healthy clients came: {report:#}");
}

/// A machine that cannot run a test says so; where all must run, that is a failure.
fn skip(why: &str) {
    assert_ne!(std::env::var("HEARTRING_REQUIRE_ALL").as_deref(), Ok("1"), "cannot run here: {why}");
    eprintln!("SKIPPED, cannot run here: {why}");
}

#[test]
fn the_demo_agrees_with_itself_on_io_uring_with_linked_deadlines() {
    small_demo("--backend uring --deadlines linked");
}

#[test]
fn the_demo_agrees_with_itself_on_io_uring_with_leases() {
    small_demo("--backend uring --deadlines lease");
}

#[test]
fn the_demo_agrees_with_itself_on_io_uring_with_sweeps() {
    small_demo("--backend uring --deadlines sweep");
}

#[test]
fn the_demo_agrees_with_itself_on_epoll_with_linked_deadlines() {
    small_demo("--backend epoll --deadlines linked");
}

#[test]
fn the_demo_agrees_with_itself_on_epoll_with_leases() {
    small_demo("--backend epoll --deadlines lease");
}

#[test]
fn the_demo_agrees_with_itself_on_epoll_with_sweeps() {
    small_demo("--backend epoll --deadlines sweep");
}

#[test]
fn the_demo_agrees_with_itself_on_ipv6_with_one_shard() {
    small_demo("--listen [::1]:0 --shards 1 --seed 3");
}

#[test]
fn a_run_without_a_terminal_explains_itself_and_ends_with_its_verdict() {
    let output = heartring("--devices 20 --for 4s --dead-within 1s");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(text.starts_with("A device that crashes"), "{text}");
    assert!(text.contains("what devices do"), "{text}");
    assert!(text.lines().last().unwrap().starts_with("PASS"), "{text}");
    assert!(!text.contains('\x1b'), "no escape sequences without a terminal: {text:?}");
}

#[test]
fn the_reboot_loop_holds_on_io_uring() {
    small_reboot_loop("uring");
}

#[test]
fn the_reboot_loop_holds_on_epoll() {
    small_reboot_loop("epoll");
}

#[test]
fn an_interrupt_ends_the_reboot_loop_in_order_and_says_so() {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_heartring"))
        .args(["demo", "--scenario", "reboot-loop", "--identities", "20"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines().map(Result::unwrap);
    lines.find(|line| line.contains("of 2000 takeovers")).expect("the devices reboot");
    kill_process(Pid::from_child(&demo), Signal::INT).unwrap();
    let last = lines.last().unwrap();
    assert!(last.starts_with("interrupted") && last.ends_with("nothing broken so far"), "{last}");
    assert_eq!(demo.wait().unwrap().code(), Some(130));
}

#[test]
fn an_interrupt_ends_the_run_in_order_and_says_so() {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_heartring"))
        .args(["demo", "--devices", "20", "--dead-within", "1s"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines().map(Result::unwrap);
    lines.find(|line| line.contains("live 20")).expect("the devices connect");
    kill_process(Pid::from_child(&demo), Signal::INT).unwrap();
    let last = lines.last().unwrap();
    assert!(last.starts_with("interrupted") && last.ends_with("no mismatch so far"), "{last}");
    assert_eq!(demo.wait().unwrap().code(), Some(130));
}

#[test]
fn bad_input_is_refused_on_one_line_with_status_2() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port_in_use = format!("demo --listen {}", taken.local_addr().unwrap());
    for (args, says) in [
        ("--no-such-flag", "--no-such-flag"),
        ("demo --no-such-flag", "--no-such-flag"),
        ("no-such-command", "no-such-command"),
        ("demo --dead-within 0", "dead_within"),
        ("demo --dead-within soon", "500ms or 3s"),
        ("demo --heartbeat 3s --dead-within 3s", "beat"),
        ("demo --for 1s", "--for"),
        ("demo --devices 0", "--devices"),
        ("demo --backend kqueue", "uring"),
        ("demo --scenario earthquake", "reboot-loop"),
        ("demo --scenario reboot-loop --devices 5", "--devices"),
        ("demo --reboots 5", "--scenario reboot-loop"),
        ("demo --scenario reboot-loop --identities 0", "--identities"),
        ("demo --listen nowhere", "nowhere"),
        ("demo --listen 192.0.2.1:7000", "192.0.2.1"),
        (&port_in_use, "in use"),
        ("explain --dead-within 0", "dead_within"),
        ("fleet", "orders"),
    ] {
        let output = heartring(args);
        let error = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{args}: {error}");
        assert!(error.starts_with("error: ") && error.lines().count() == 1, "{args}: {error:?}");
        assert!(error.contains(says), "{args}: {error:?}");
        assert!(output.stdout.is_empty(), "{args}: nothing is half-started");
    }
}

#[test]
fn explain_prints_a_table_or_an_object() {
    let text = String::from_utf8(heartring("explain --dead-within 30s").stdout).unwrap();
    assert!(text.contains("heartbeat_missed") && text.contains("beat_every"), "{text}");
    let object: Value =
        serde_json::from_slice(&heartring("explain --dead-within 30s --json").stdout).unwrap();
    assert_eq!(object["dead_within_ms"], 30_000.0);
}
