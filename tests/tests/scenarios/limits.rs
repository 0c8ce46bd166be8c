//! Limits of ours and of the machine, and the orderly stop.

use std::time::Duration;
use std::{fs, thread};

use heartring::{Cause, Config, Limits, Lines};
use heartring_socket::now;
use heartring_tests::{Device, End, Event, GatewayProbe, On, alone};
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

const LONG: Duration = Duration::from_mins(1);

fn config(on: On, conns_max: Option<u32>) -> Config {
    Config { limits: Limits { conns_max, ..Limits::default() }, ..on.config(LONG) }
}

/// Those who are in stay in; whoever comes too many is told at once, and not left in the kernel's queue.
pub(crate) fn a_full_gateway_refuses_and_counts(on: On) {
    let probe = GatewayProbe::start::<Lines>(config(on, Some(10)));
    let mut inside: Vec<Device> = (0..10).map(|_| Device::connect(probe.addr())).collect();
    for device in &mut inside {
        device.send(b"echo in\n");
        device.expect(b"in\n");
    }
    for _ in 0..5 {
        let mut refused = Device::connect(probe.addr());
        assert_eq!(refused.read_to_end(), (vec![], End::Reset));
    }
    for device in &mut inside {
        device.send(b"echo still in\n");
        device.expect(b"still in\n");
    }
    // A place that is given up is taken by the next who comes.
    let leaver = inside.pop().expect("there are ten");
    leaver.fin();
    probe.wait(leaver.addr(), "end of a connection", |event| matches!(event, Event::Closed(_)));
    let mut next = Device::connect_and_send(probe.addr(), b"echo welcome\n");
    next.expect(b"welcome\n");
    let stats = probe.finish().stats;
    assert_eq!((stats.closed("refused"), stats.accepted), (5, 16), "{stats:?}");
}

/// The process has no descriptor left for a client that waits. On io_uring connections live in the ring's own table, so
/// that the client is served all the same; on epoll it waits, without costing anything, until there is one.
pub(crate) fn without_descriptors_nothing_spins(on: On) {
    alone(&format!("{}::without_descriptors_nothing_spins", on.module), || starve_and_feed(on));
}

fn starve_and_feed(on: On) {
    let few = Rlimit { current: Some(256), maximum: Some(256) };
    setrlimit(Resource::Nofile, few).expect("a limit can be lowered");
    let probe = GatewayProbe::start::<Lines>(config(on, None));
    let mut before = Device::connect_and_send(probe.addr(), b"echo before\n");
    before.expect(b"before\n");
    let mut eaten: Vec<fs::File> =
        std::iter::from_fn(|| fs::File::open("/dev/null").ok()).take(1000).collect();
    assert!(eaten.len() < 256, "the limit is in force");
    eaten.pop();
    let mut waiting = Device::connect(probe.addr()); // Takes the last one.
    waiting.send(b"echo at last\n");
    let (began, cpu_before) = (now(), cpu_time());
    thread::sleep(Duration::from_secs(2));
    let (cpu, real) = (cpu_time().saturating_sub(cpu_before), now().saturating_since(began));
    assert!(cpu < real / 5, "{cpu:?} of CPU in {real:?}: it spins");
    before.send(b"echo still there\n");
    before.expect(b"still there\n");
    drop(eaten);
    waiting.expect(b"at last\n");
    let stats = probe.finish().stats;
    let backed_off = stats.accept_back_offs;
    let plain = on.backend == heartring::BackendChoice::Epoll;
    assert!(!plain || (1..200).contains(&backed_off), "backed off {backed_off} times");
    assert!(stats.accept_failures < 200, "{stats:?}");
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

pub(crate) fn two_thousand_connections_stop_in_order(on: On) {
    const DEVICES: usize = 2000;
    let mut config = config(on, Some(2100));
    config.overrides.drain_within = Some(Duration::from_secs(15));
    let probe = GatewayProbe::start::<Lines>(config);
    let connect = |_| Device::connect_and_send(probe.addr(), b"hello\n");
    let devices: Vec<Device> = (0..DEVICES).map(connect).collect();
    probe.frames(devices[DEVICES - 1].addr(), 1);
    let began = now();
    probe.stop();
    for mut device in devices {
        assert_eq!(device.read_to_end(), (vec![], End::Eof), "orderly: no reset");
    }
    let stats = probe.finish().stats;
    let took = now().saturating_since(began);
    assert!(took < Duration::from_secs(20), "{took:?}");
    assert_eq!(stats.closed("draining"), DEVICES as u64);
}

/// They have read our FIN and sit there: `drain_within` is what they get.
pub(crate) fn peers_that_never_close_do_not_hold_up_the_stop(on: On) {
    let mut config = config(on, Some(100));
    config.overrides.drain_within = Some(Duration::from_secs(1));
    let probe = GatewayProbe::start::<Lines>(config);
    let mut devices: Vec<Device> =
        (0..50).map(|_| Device::connect_and_send(probe.addr(), b"hello\n")).collect();
    probe.frames(devices[49].addr(), 1);
    let began = now();
    probe.stop();
    assert_eq!(probe.closed(devices[0].addr()).cause, Cause::Draining);
    let stats = probe.finish().stats;
    let took = now().saturating_since(began);
    assert!((Duration::from_secs(1)..Duration::from_secs(20)).contains(&took), "{took:?}");
    assert_eq!(stats.closed("draining"), 50);
    for device in &mut devices {
        assert_eq!(device.read_to_end(), (vec![], End::Eof));
    }
}
