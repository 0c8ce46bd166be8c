//! S3: the beat is late and the device lives. No byte that reached the machine is lost.

use std::time::Duration;

use heartring::{Cause, Closed, Config, Lines};
use heartring_socket::now;
use heartring_tests::{Device, End, Event, GatewayProbe, On, kernel_forgets};

const DEAD_WITHIN: Duration = Duration::from_secs(1);
const GRACE: Duration = Duration::from_secs(2);

fn config(on: On, grace: Duration) -> Config {
    let mut config = on.config(DEAD_WITHIN);
    config.overrides.grace = Some(grace);
    config
}

pub(crate) fn late_beat_is_still_delivered_during_grace(on: On) {
    let probe = GatewayProbe::start::<Lines>(config(on, GRACE));
    let mut device = Device::connect_and_send(probe.addr(), b"hello\n");
    let beat_at = device.spoke_at;
    assert_eq!(device.read_to_end(), (vec![], End::Eof), "at the deadline our sending side is shut");
    let shut_at = now();
    assert!(shut_at >= beat_at + DEAD_WITHIN, "shut after {:?}", shut_at.saturating_since(beat_at));
    device.send(b"late one\n\nlate two\nand half a li");
    let closed = probe.closed(device.addr());
    let deadline = beat_at + DEAD_WITHIN;
    check_verdict(&closed, deadline);
    assert_eq!(closed.late_bytes, 16, "of two lines; a heartbeat is empty, half a line is none");
    let entries = probe.log().entries();
    let ended_at = entries.last().expect("the log is not empty").at;
    assert!(ended_at >= deadline + GRACE, "the device did not close: it had its whole grace period");
    let events: Vec<Event> = entries.into_iter().map(|entry| entry.event).collect();
    let late = |text: &[u8]| Event::Late(text.to_vec());
    let life =
        [Event::Opened, Event::Received(b"hello".to_vec()), Event::Overdue, Event::Closing(closed.cause)];
    assert_eq!(events[..4], life);
    assert_eq!(events[4..], [late(b"late one"), late(b""), late(b"late two"), Event::Closed(closed)]);
    kernel_forgets(probe.addr(), device.addr(), Duration::from_secs(5));
    let stats = probe.finish().stats;
    assert_eq!((stats.late_frames, stats.late_bytes, stats.closed("heartbeat_missed")), (3, 16, 1));
}

/// A device that is told to go says what it still has to say, and closes.
pub(crate) fn a_device_that_gives_up_in_grace_is_closed_in_order(on: On) {
    let probe = GatewayProbe::start::<Lines>(config(on, Duration::from_mins(1)));
    let mut device = Device::connect_and_send(probe.addr(), b"hello\n");
    let deadline = device.spoke_at + DEAD_WITHIN;
    assert_eq!(device.read_to_end(), (vec![], End::Eof));
    device.send(b"my last reading\n");
    device.fin();
    // At once, not at the end of the minute, and still for what was decided at the deadline.
    let closed = probe.closed(device.addr());
    check_verdict(&closed, deadline);
    assert_eq!(closed.late_bytes, 15);
    assert_eq!(device.read_for(Duration::from_millis(100)), (vec![], End::Eof), "it is not reset");
    probe.finish();
}

/// More than a socket buffer, from a device that took the verdict for a hiccup.
pub(crate) fn a_flood_in_grace_is_delivered_whole_and_in_order(on: On) {
    const LINES: usize = 20_000;
    let probe = GatewayProbe::start::<Lines>(config(on, Duration::from_secs(30)));
    let mut device = Device::connect_and_send(probe.addr(), b"hello\n");
    assert_eq!(device.read_to_end(), (vec![], End::Eof));
    let lines: Vec<String> =
        (0..LINES).map(|nth| format!("reading {nth}, which was never asked for")).collect();
    device.send((lines.join("\n") + "\n").as_bytes());
    device.fin();
    let closed = probe.closed_within(Duration::from_mins(1), device.addr());
    assert_eq!(closed.cause, Cause::HeartbeatMissed);
    assert_eq!(closed.late_bytes, lines.iter().map(|line| line.len() as u64).sum::<u64>());
    let of_device = probe.log().of(device.addr());
    let late = of_device.into_iter().filter_map(|event| match event {
        Event::Late(line) => Some(line),
        Event::Opened
        | Event::Received(_)
        | Event::Overdue
        | Event::Closing(_)
        | Event::Full
        | Event::Closed(_) => None,
    });
    assert!(late.eq(lines.into_iter().map(String::into_bytes)), "every line, once, in order");
    assert_eq!(probe.finish().stats.late_frames, LINES as u64);
}

pub(crate) fn without_grace_the_verdict_closes_at_once(on: On) {
    let probe = GatewayProbe::start::<Lines>(config(on, Duration::ZERO));
    let mut device = Device::connect_and_send(probe.addr(), b"hello\n");
    let deadline = device.spoke_at + DEAD_WITHIN;
    assert_eq!(device.read_to_end(), (vec![], End::Reset));
    let closed = probe.closed(device.addr());
    check_verdict(&closed, deadline);
    let log = probe.log().of(device.addr());
    assert_eq!(log[log.len() - 2..], [Event::Closing(closed.cause), Event::Closed(closed)]);
    kernel_forgets(probe.addr(), device.addr(), Duration::from_secs(5));
    probe.finish();
}

fn check_verdict(closed: &Closed, deadline: heartring::Instant) {
    assert_eq!(closed.cause, Cause::HeartbeatMissed);
    assert!(closed.decided_at >= deadline, "{:?} early", deadline.saturating_since(closed.decided_at));
    assert!(closed.evidence.silence >= DEAD_WITHIN, "{closed:?}");
    assert!(closed.lateness.is_some(), "{closed:?}");
}
