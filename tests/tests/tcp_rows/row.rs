//! A row of the table: its measurement on one backend, in namespaces of its own.

use std::any::Any;
use std::thread;
use std::time::Duration;

use heartring::{BackendChoice, Cause, Closed, Config, Errno, Keepalive, Lines};
use heartring_tests::{Device, GatewayProbe, NEAR, On, Wire, kernel_forgets, run_rootless, skip};

/// How long any row may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// Beside the kernel's own lateness: this machine may be busy with other tests.
const SLACK: Duration = Duration::from_secs(4);

/// The kernel counts in jiffies, at most 10 ms long, and rounds both ends of a time down.
const JIFFY: Duration = Duration::from_millis(10);

/// The first frame of a device whose end TCP is to notice: a deadline of an hour.
pub(crate) const HOUR: &[u8] = b"dead 3600000\n";

/// A row.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    /// What happens to the device.
    pub(crate) situation: &'static str,
    /// Makes it happen, and checks what came of it.
    pub(crate) measure: fn(&Case) -> Measured,
}

/// What a row is measured with.
pub(crate) struct Case {
    pub(crate) on: On,
    pub(crate) wire: Wire,
}

/// What was measured.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    pub(crate) setting: String,
    pub(crate) seconds: Duration,
    pub(crate) outcome: String,
    pub(crate) errno: Option<Errno>,
}

impl Case {
    /// Starts a gateway at the near end, and connects a device that has sent `hello`, which has been heard.
    pub(crate) fn start(&self, config: Config, hello: &[u8]) -> (GatewayProbe, Device) {
        let probe = start_gateway(config);
        let device = greet(&probe, self.wire.connect(probe.addr()), hello);
        (probe, device)
    }

    /// A configuration in which TCP is the first to notice, if the device begins with [`HOUR`].
    pub(crate) fn tcp_first(&self, keepalive: Option<Keepalive>, user_timeout: Option<Duration>) -> Config {
        let hour = Some(Duration::from_hours(1));
        let mut config = self.on.config(Duration::from_secs(1));
        config.tick_every = Some(Duration::from_millis(20));
        config.overrides.hello_within = hour;
        config.overrides.send_stall_within = hour;
        config.overrides.keepalive = Some(keepalive);
        config.overrides.user_timeout = Some(user_timeout);
        config.overrides.rto_max = Some(None);
        config
    }
}

/// Starts a gateway at the near end of the calling thread's wire.
pub(crate) fn start_gateway(config: Config) -> GatewayProbe {
    GatewayProbe::start_at::<Lines>(config, &format!("{NEAR}:0"))
}

/// Has the device send `hello`, and waits until it was heard.
pub(crate) fn greet(probe: &GatewayProbe, mut device: Device, hello: &[u8]) -> Device {
    device.send(hello);
    probe.frames(device.addr(), 1);
    // The acknowledgement, too: from here on nothing is in flight.
    thread::sleep(Duration::from_millis(300));
    device
}

/// Waits for the end of the device's connection, of which the kernel must keep nothing.
pub(crate) fn end(probe: &GatewayProbe, device: &Device) -> Closed {
    let closed = probe.closed_within(PATIENCE, device.addr());
    kernel_forgets(probe.addr(), device.addr(), Duration::from_secs(2));
    closed
}

impl Measured {
    /// Checks cause, errno and time of a connection's end. `nominal` is the earliest moment; the kernel's timers are late by
    /// up to an eighth, and what is checked once per `interval` by that, too.
    pub(crate) fn new(
        setting: String,
        closed: &Closed,
        (cause, errno): (Cause, Option<Errno>),
        seconds: Duration,
        (nominal, interval): (Duration, Duration),
    ) -> Self {
        assert_eq!((closed.cause, closed.evidence.errno), (cause, errno), "after {seconds:?}: {closed:?}");
        let latest = nominal.mul_f64(1.125) + interval + Duration::from_secs(1) + SLACK;
        let window = nominal.saturating_sub(JIFFY)..=latest;
        assert!(window.contains(&seconds), "{seconds:?} is not in {window:?}: {closed:?}");
        Self { setting, seconds, outcome: cause.name().into(), errno }
    }
}

/// Measures all rows on both backends at once, and prints the table.
pub(crate) fn run(test: &str, rows: &[Row]) {
    if let Err(why) = thread::spawn(|| Wire::new().map(drop)).join().expect("it does not panic") {
        return run_rootless(test, &why);
    }
    let on = |backend, module| On { backend, deadlines: None, module };
    let backends = [on(BackendChoice::Uring, "uring"), on(BackendChoice::Epoll, "epoll")];
    let available =
        backends.into_iter().filter(|on| on.is_available().map_err(|why| skip(test, &why)).is_ok());
    let cases: Vec<(Row, On)> = available.flat_map(|on| rows.iter().map(move |row| (*row, on))).collect();
    let threads: Vec<_> = cases
        .into_iter()
        .map(|(row, on)| {
            let body = move || {
                let wire = Wire::new().expect("it worked before");
                (row.measure)(&Case { on, wire })
            };
            (row, on, thread::spawn(body))
        })
        .collect();
    let mut failures = 0;
    println!("{:<42} {:<6} {:<38} {:>8}  {:<24} errno", "situation", "on", "setting", "seconds", "outcome");
    for (row, on, thread) in threads {
        let (situation, backend) = (row.situation, on.backend_name());
        match thread.join() {
            Ok(Measured { setting, seconds, outcome, errno }) => println!(
                "{situation:<42} {backend:<6} {setting:<38} {:>8.2}  {outcome:<24} {}",
                seconds.as_secs_f64(),
                errno.map_or("", Errno::name)
            ),
            Err(panic) => {
                failures += 1;
                println!("{situation:<42} {backend:<6} FAILED: {}", text_of(panic.as_ref()));
            }
        }
    }
    assert_eq!(failures, 0, "rows failed; the table above says which");
}

/// As the facts write it.
pub(crate) fn short(keepalive: Keepalive) -> String {
    format!("KA {}/{}/{}", keepalive.idle_s, keepalive.interval_s, keepalive.probes)
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked")
}
