//! One gateway, frozen twice: among the living, and while some of them die.

use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use heartring::{Config, Instant, Limits};
use heartring_socket::now;
use heartring_tests::{ChildEnd, Crowd, Device, GatewayChild, NEAR, On, Wire, alone, skip};

use super::doomed::{DOOMED, Doomed, since};

/// The living.
const HEALTHY: usize = 10_000;

/// Long enough that a crowd on two busy cores is never late with three beats in a row.
const DEAD_WITHIN: Duration = Duration::from_secs(2);

/// What heartring tells devices to do.
const BEAT_EVERY: Duration = DEAD_WITHIN.checked_div(3).unwrap();

/// For how long the gateway stands still: three deadlines, and a little.
const FROZEN: Duration = Duration::from_millis(6100);

/// So long after its beginning the last die.
const SILENT_AFTER: Duration = Duration::from_millis(5600);

/// Longer than a freeze and the deadline after it: TCP would otherwise give the silent up first, since for it nothing stands still.
const USER_TIMEOUT: Duration = Duration::from_secs(12);

/// What a machine that is busy with other tests may add to the time in which the dead are to be told.
const SLACK: Duration = Duration::from_secs(2);

pub(crate) fn run(on: On, test: &str) {
    if GatewayChild::is_child(test) {
        return GatewayChild::serve_at(config(on), &format!("{NEAR}:0"));
    }
    // In a process of its own: so many devices fill its table of descriptors.
    alone(test, || freeze_twice(on, test));
}

fn config(on: On) -> Config {
    let limits = Limits { conns_max: Some((HEALTHY + DOOMED) as u32), ..Limits::default() };
    let mut config = Config { limits, ..on.config(DEAD_WITHIN) };
    config.overrides.user_timeout = Some(Some(USER_TIMEOUT));
    config
}

fn freeze_twice(on: On, test: &str) {
    let wire = match Wire::new() {
        Ok(wire) => wire,
        Err(why) => return skip(test, &why),
    };
    let mut gateway = GatewayChild::spawn(test);
    let addr = gateway.addr();
    let began = now();
    let crowd = Crowd::gather(HEALTHY, BEAT_EVERY, move || TcpStream::connect(addr).expect("it listens"));
    let doomed = Doomed::gather(addr, BEAT_EVERY, &wire);
    crowd.wait_until_complete();
    let connected_in = since(began);

    let thawed_at = freeze(&gateway, || ());
    // Who is blamed for the freeze is blamed by then: everybody's deadline has come once more.
    thread::sleep(DEAD_WITHIN + BEAT_EVERY);
    nobody_is_blamed(&gateway.ends(), thawed_at);

    let mut dead = None;
    let thawed_at = freeze(&gateway, || {
        let dying = doomed.begin_to_die();
        thread::sleep(SILENT_AFTER);
        dead = Some(dying.all_die(&wire));
    });
    let dead = dead.expect("they have died");
    let ends = ends_of_the_dead(&mut gateway, thawed_at);
    let mut dispersed = crowd.stop();
    assert!(dispersed.longest_silence < DEAD_WITHIN, "this machine kept a device itself from beating");
    let reported = dead.check(&ends, thawed_at);
    for (cause, after) in reported {
        assert!(after <= DEAD_WITHIN + BEAT_EVERY + SLACK, "{cause} was told {after:?} after the thaw");
    }

    let echoed_in = echo_all(&mut dispersed.devices);
    assert_eq!(gateway.ends().len(), DOOMED, "the living were blamed");
    assert_eq!(dispersed.beats_refused, 0, "a living device was cut off");
    dead.bury();
    drop(dispersed.devices);
    let stats = gateway.end();

    println!(
        "freeze {}/{}: {HEALTHY} devices connected in {connected_in:.1?}, frozen twice for {FROZEN:?}, silent for {:.2?} at \
         most: 0 false closes; after the second thaw {DOOMED} deaths were told within {}; all echoed in {echoed_in:.2?}; \
         {} stalls, {} postponed, {} acquitted",
        on.backend_name(),
        on.deadlines.map_or("default", |strategy| strategy.name()),
        dispersed.longest_silence,
        reported.map(|(cause, after)| format!("{after:.3?} ({cause})")).join(", "),
        stats.stalls,
        stats.postponed,
        stats.acquitted,
    );
}

/// Stops the gateway for as long as it must be, with `meanwhile` in it; returns when it went on.
fn freeze(gateway: &GatewayChild, meanwhile: impl FnOnce()) -> Instant {
    gateway.freeze();
    let frozen_at = now();
    meanwhile();
    thread::sleep(FROZEN.saturating_sub(since(frozen_at)));
    gateway.thaw();
    now()
}

/// Waits until the connections of the dead are closed; what was told by then.
fn ends_of_the_dead(gateway: &mut GatewayChild, thawed_at: Instant) -> Vec<ChildEnd> {
    let give_up_at = thawed_at + 2 * DEAD_WITHIN + 4 * SLACK;
    loop {
        thread::sleep(Duration::from_millis(100));
        let ends = gateway.ends();
        if ends.iter().filter(|end| end.closed_at.is_some()).count() >= DOOMED {
            return ends;
        }
        assert!(now() < give_up_at, "{} of {DOOMED} were told", ends.len());
    }
}

fn nobody_is_blamed(ends: &[ChildEnd], thawed_at: Instant) {
    let Some(first) = ends.first() else { return };
    let after = first.condemned_at.saturating_since(thawed_at);
    panic!("{} of the living were blamed, the first one {after:?} after the thaw: {first:?}", ends.len());
}

/// Everybody asks, then everybody has its answer; how long it took.
fn echo_all(devices: &mut [Device]) -> Duration {
    let began = now();
    for device in &mut *devices {
        device.send(b"echo still here\n");
    }
    for device in devices {
        device.expect(b"still here\n");
    }
    since(began)
}
