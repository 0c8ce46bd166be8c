//! `heartring torment` as its users meet it: a short one holds on both backends, it says what it cannot do, and it leaves
//! nothing, also when it is interrupted or killed.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use heartring_tests::skip;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

fn torment(args: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_heartring"));
    command.arg("torment").args(args.split_whitespace());
    command
}

/// Plays each of `episodes` once and checks what the report says of them.
fn plays(test: &str, backend: &str, episodes: &[&str]) {
    let kinds: String = episodes.iter().flat_map(|episode| [" --episode ", episode]).collect();
    // However short the time, what is named is played once.
    let args = format!("--backend {backend} --devices 60 --healthy 20 --dead-within 1500ms --json{kinds}");
    let Output { status, stdout, stderr } = torment(&args).args(["--minutes", "0.02"]).output().unwrap();
    let complaint = String::from_utf8_lossy(&stderr).into_owned();
    if status.code() == Some(2) {
        return skip(test, &complaint);
    }
    let report: Value = serde_json::from_slice(&stdout).expect("one JSON object and nothing else");
    assert!(status.success(), "{status}\n{report:#}\n{complaint}");
    let gateway = &report["backends"][0];
    for (name, check) in gateway["checks"].as_object().expect("checks by name") {
        assert!(check["looked"].as_u64() > Some(0), "{name} was never looked at\n{report:#}");
        assert_eq!(check["violated"], 0, "{name}\n{report:#}");
    }
    let played: Vec<&Value> = gateway["episodes"].as_array().expect("a list of episodes").iter().collect();
    assert_eq!(played.len(), episodes.len(), "{report:#}");
    for episode in played.iter().filter(|episode| episode["skipped"].is_null()) {
        assert!(episode["victims"].as_u64() >= Some(60), "{episode:#}");
        assert_eq!(episode["false_closes"], 0, "{episode:#}");
    }
    let leaks = &gateway["leaks"];
    assert_eq!(leaks["start"]["descriptors"], leaks["end"]["descriptors"], "{leaks:#}");
}

/// What befalls devices, the wire and the gateway: one of each kind.
const EPISODES: &[&str] =
    &["silent-deaths", "outage-healed", "rst-storm", "gateway-frozen", "gateway-restart"];

#[test]
fn a_short_torment_holds_on_io_uring() {
    plays("a_short_torment_holds_on_io_uring", "uring", EPISODES);
}

#[test]
fn a_short_torment_holds_on_epoll() {
    plays("a_short_torment_holds_on_epoll", "epoll", EPISODES);
}

/// A torment that has begun, and the processes that it has started.
struct Begun {
    child: Child,
    parts: Vec<u32>,
}

/// Starts a torment and waits until its first episode is under way; `None` if it cannot be played here.
fn begin(test: &str) -> Option<Begun> {
    let mut child = torment("--backend epoll --devices 20 --healthy 5 --minutes 5")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    if !lines.any(|line| line.contains("epoll: ")) {
        let complaint = child.wait_with_output().unwrap();
        skip(test, &String::from_utf8_lossy(&complaint.stderr));
        return None;
    }
    thread::spawn(move || lines.for_each(drop)); // So that it is not held up by a full pipe.
    let parts = descendants(child.id());
    assert!(parts.len() >= 6, "three networks, a gateway and two fleets: {parts:?}");
    Some(Begun { child, parts })
}

fn descendants(parent: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// Waits until all the processes, and with them their networks, are gone.
fn are_gone(parts: &[u32]) {
    let lives =
        |pid: &u32| fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z"));
    // Far more than the kernel takes to end a dozen processes.
    let gone = (0..2000).any(|_| {
        let gone = !parts.iter().any(lives);
        thread::sleep(Duration::from_millis(if gone { 0 } else { 10 }));
        gone
    });
    assert!(gone, "left behind: {:?}", parts.iter().filter(|pid| lives(pid)).collect::<Vec<_>>());
}

#[test]
fn an_interrupted_torment_leaves_nothing_and_says_so() {
    let Some(Begun { mut child, parts }) = begin("an_interrupted_torment_leaves_nothing_and_says_so") else {
        return;
    };
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    are_gone(&parts);
}

#[test]
fn a_killed_torment_leaves_nothing_either() {
    let Some(Begun { mut child, parts }) = begin("a_killed_torment_leaves_nothing_either") else { return };
    child.kill().unwrap();
    child.wait().unwrap();
    are_gone(&parts);
}

#[test]
fn wrong_arguments_are_refused_on_one_line_with_status_2() {
    for (args, says) in [
        ("--minutes 0", "minutes lie between"),
        ("--minutes soon", "minutes are a number"),
        ("--episode earthquake", "invalid value 'earthquake'"),
        ("--devices 19", "20..=20000"),
        ("--devices 20001", "20..=20000"),
        ("--backend kqueue", "invalid value 'kqueue'"),
        ("--dead-within 1ms", "dead_within"),
        ("--shards 0", "1..=64"),
    ] {
        let output = torment(args).output().unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args}: {complaint}");
        assert!(
            complaint.starts_with("error: ") && complaint.trim_end().lines().count() == 1,
            "{args}: {complaint}"
        );
        assert!(complaint.contains(says), "{args}: {complaint}");
        assert!(output.stdout.is_empty(), "{args}");
    }
}
