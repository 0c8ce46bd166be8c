//! The benchmark suite as its users meet it, in sizes that prove that it works and no figure.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::thread;

use heartring_tests::forbid_io_uring;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

fn bench(args: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_heartring"));
    command.arg("bench").args(args.split_whitespace());
    command
}

fn report_of(args: &str, output: &Output) -> Value {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args}: {:?}\n{said}", output.status);
    serde_json::from_slice(&output.stdout).expect("one JSON object and nothing else")
}

fn measure(args: &str) -> Value {
    let args = format!("{args} --rounds 1 --json");
    report_of(&args, &bench(&args).output().unwrap())
}

/// A folder for one test, which is removed when it is over.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Folder {
        let folder = std::env::temp_dir().join(format!("heartring-{test}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Folder(folder)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("a path without strange characters").into()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The median of the only contender's metric.
fn median(report: &Value, metric: &str) -> f64 {
    report["rows"][0][metric]["median"].as_f64().unwrap_or_else(|| panic!("no {metric} in {report:#}"))
}

#[test]
fn every_workload_reports_in_one_object() {
    const ONE: &str = "--contenders heartring_epoll --seconds 0.1";
    for (workload, args, cost) in [
        ("echo", "--connections 5", "cpu_ns_per_message"),
        ("beats", "--connections 20 --rate 500", "cpu_ns_per_beat"),
        ("beats", "--connections 20 --rate 500 --answered", "cpu_ns_per_beat"),
        ("beats", "--connections 20 --rate 0", "cpu_ms_per_conn_hour"),
        ("storm", "--identities 50", "cpu_ns_per_claim"),
        ("fanout", "--connections 20", "cpu_ns_per_delivery"),
        ("memory", "--few 50 --many 400", "user_bytes"),
        ("detect", "--scenes single --deaths 5 --dead-within 2", "lateness_p99_us"),
        ("scale", "--connections 50 --dead-within 2", "cpu_ms_per_conn_hour"),
    ] {
        let report = measure(&format!("{workload} {args} {ONE}"));
        assert_eq!(report["workload"], workload);
        assert_eq!(report["rows"][0]["contender"], "heartring_epoll", "{report:#}");
        assert!(median(&report, cost).is_finite(), "{report:#}");
        assert_eq!(report["failures"].as_array().map(Vec::len), Some(0), "{report:#}");
        assert!(report["machine"]["kernel"].is_string() && report["params"]["rounds"] == 1, "{report:#}");
    }
}

#[test]
fn deaths_are_told_and_nobody_is_accused() {
    for args in [
        "detect --scenes single --deaths 20 --dead-within 2",
        "detect --scenes mass --mass 20 --dead-within 2",
        "scale --connections 2000 --dead-within 3 --seconds 0.1",
    ] {
        let report = measure(&format!("{args} --contenders heartring_epoll"));
        assert!((median(&report, "deaths") - 20.0).abs() < 0.5, "{report:#}");
        for zero in ["early", "false_closes", "undetected"] {
            assert!(median(&report, zero) < 0.5, "{args}: {zero}: {report:#}");
        }
    }
}

#[test]
fn rounds_are_paired_into_ratios() {
    let report = measure("echo --connections 5 --seconds 0.05 --contenders bare_epoll,heartring_epoll");
    let ratio = &report["ratios"][0];
    assert_eq!((&ratio["of"], &ratio["to"]), (&"heartring_epoll".into(), &"bare_epoll".into()));
    assert!(ratio["median"].as_f64() > Some(0.0) && ratio.get("interval").is_none(), "one round: {report:#}");
}

#[test]
fn a_page_is_written_and_two_reports_compare() {
    let folder = Folder::new("bench-page");
    let (page, one, two) = (folder.file("page.html"), folder.file("one.json"), folder.file("two.json"));
    for file in [&one, &two] {
        let args = format!(
            "echo --connections 5,10 --seconds 0.05 --rounds 1 --contenders bare_epoll --json --report {page}"
        );
        let output = bench(&args).output().unwrap();
        assert_eq!(report_of(&args, &output)["parts"].as_array().map(Vec::len), Some(2));
        fs::write(file, &output.stdout).unwrap();
    }
    let html = fs::read_to_string(&page).unwrap();
    assert!(html.starts_with("<!DOCTYPE html>") && html.contains("<svg"), "{}", &html[..200]);
    assert!(!html.contains("<script"), "it needs none");
    let args = format!("compare {one} {two} --json");
    let compared = report_of(&args, &bench(&args).output().unwrap());
    assert!(compared["changes"].as_array().is_some_and(|changes| !changes.is_empty()), "{compared:#}");
}

#[test]
fn an_interrupt_leaves_nothing() {
    let folder = Folder::new("bench-interrupt");
    // A count that no other test uses, by which its processes are known.
    let args = format!(
        "echo --connections 77 --rounds 99 --contenders bare_epoll --report {}",
        folder.file("r.html")
    );
    let mut suite = bench(&args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(suite.stderr.take().unwrap()).lines();
    assert!(said.any(|line| line.unwrap().contains("round 1/99")), "it measures");
    kill_process(Pid::from_child(&suite), Signal::INT).unwrap();
    assert_eq!(suite.wait().unwrap().code(), Some(130));
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 0, "no page, and no draft of one");
    let left = fs::read_dir("/proc").unwrap().flatten().filter(|process| {
        let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains("\"connections\":77,")
    });
    assert_eq!(left.count(), 0, "no server and no generator");
}

#[test]
fn where_io_uring_is_forbidden_the_rest_is_measured() {
    let args =
        "echo --connections 5 --seconds 0.05 --rounds 1 --json --contenders heartring_uring,bare_epoll";
    // Forbidden to this thread, and to what it starts.
    let output = thread::spawn(move || {
        forbid_io_uring().unwrap();
        bench(args).output().unwrap()
    });
    let report = report_of(args, &output.join().unwrap());
    assert_eq!(report["rows"][0]["contender"], "bare_epoll");
    assert_eq!(report["failures"][0]["contender"], "heartring_uring");
    let why = report["failures"][0]["why"].as_str().unwrap();
    assert!(why.contains("io_uring"), "{why}");
    assert_eq!(report["machine"]["generator"], "epoll", "{report:#}");
}

#[test]
fn when_nobody_can_be_measured_the_first_reason_is_told() {
    let output = thread::spawn(|| {
        forbid_io_uring().unwrap();
        bench("echo --connections 5 --seconds 0.05 --rounds 1 --contenders bare_uring").output().unwrap()
    });
    let output = output.join().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("no contender could be measured: bare_uring"), "{said}");
}

/// Which core takes what loopback carries is a property of the network that a process sees.
#[test]
fn steering_touches_nobody_elses_loopback() {
    const RPS: &str = "/sys/class/net/lo/queues/rx-0/rps_cpus";
    let before = fs::read_to_string(RPS).ok();
    let args = "echo --connections 5 --seconds 0.3 --rounds 3 --json --contenders bare_epoll --rps on";
    let mut suite = bench(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(suite.stderr.take().unwrap()).lines();
    if !said.any(|line| line.unwrap().contains("round 1/3")) {
        assert_eq!(suite.wait().unwrap().code(), Some(2), "it says that it may not");
        return heartring_tests::skip("steering", "no CAP_SYS_ADMIN, or one core");
    }
    // In the suite's own network it is set meanwhile; here it is what it was.
    let own = fs::read_to_string(format!("/proc/{}/root{RPS}", suite.id())).unwrap();
    assert!(!own.trim_matches(['0', ',', '\n']).is_empty(), "a core is named: {own:?}");
    assert_eq!(fs::read_to_string(RPS).ok(), before);
    let output = suite.wait_with_output().unwrap();
    assert_eq!(report_of(args, &output)["params"]["rps"], true);
}
