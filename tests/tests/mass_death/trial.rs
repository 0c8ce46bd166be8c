//! One gateway with one shard, its many peers that die, and its few that live.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpStream};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use std::{fs, thread};

use heartring::{Config, Instant, Limits};
use heartring_socket::now;
use heartring_tests::{Absence, ChildEnd, Crowd, Device, GatewayChild, NEAR, On, Wire, alone, skip};
use rustix::process::{Resource, getrlimit};

use super::deaths::{Deaths, millis};
use super::living::Living;

/// Those who die, if a process may have so many descriptors.
const DYING: usize = 20_000;

/// Those who stay.
const LIVING: usize = 240;

/// Descriptors that a gateway on epoll and the devices' process need for other things.
const DESCRIPTORS_BESIDE: usize = 160;

pub(crate) const DEAD_WITHIN: Duration = Duration::from_secs(3);

const BEAT_EVERY: Duration = DEAD_WITHIN.checked_div(3).unwrap();

/// By when the last verdict must have come, after its deadline. A machine that is busy with other tests may keep the shard away for
/// longer than it tolerates; then everybody gets another beat.
const LATENESS_MAX: Duration = DEAD_WITHIN;

/// So late that TCP gives nobody up before the heartbeat does.
const USER_TIMEOUT: Duration = Duration::from_secs(12);

/// How long closing them all may take, after the grace period.
const PATIENCE: Duration = Duration::from_secs(20);

/// The figures of one are not those of another: one at a time.
static ALONE: Mutex<()> = Mutex::new(());

pub(crate) fn run(on: On, test: &str) {
    if GatewayChild::is_child(test) {
        return GatewayChild::serve_at(config(on), &format!("{NEAR}:0"));
    }
    let _turn = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    // In a process of its own: so many devices fill its table of descriptors.
    alone(test, || everybody_dies(on, test));
}

fn config(on: On) -> Config {
    let limits = Limits { conns_max: Some((dying() + LIVING) as u32), ..Limits::default() };
    // As often as possible: what lies between two ticks is how long the shard served nobody.
    let tick_every = Some(Duration::from_millis(1));
    let mut config = Config { limits, tick_every, ..on.config(DEAD_WITHIN) };
    config.overrides.user_timeout = Some(Some(USER_TIMEOUT));
    config
}

/// As many as are to die, or as fit into a process together with the living.
fn dying() -> usize {
    let descriptors = getrlimit(Resource::Nofile).maximum.map_or(usize::MAX, |most| most as usize);
    DYING.min(descriptors - DESCRIPTORS_BESIDE - LIVING)
}

fn everybody_dies(on: On, test: &str) {
    let wire = match Wire::new() {
        Ok(wire) => wire,
        Err(why) => return skip(test, &why),
    };
    let mut gateway = GatewayChild::spawn(test);
    let began = now();
    let devices = gather(&wire, gateway.addr());
    let connected_in = now().saturating_since(began);
    let living = Living::begin(gateway.addr(), LIVING);
    gateway.take_longest_absence(); // That of their connecting is another matter.

    let spoke_at = die(devices, &wire);
    let before = gateway.take_longest_absence();
    let (ends, absence) = ends_of_the_dead(&mut gateway, &living, spoke_at.len());
    let answers = living.end();
    let deaths = Deaths::check(&ends, &spoke_at);
    let stats = gateway.end();
    println!(
        "mass death {}/{}: {} peers connected in {connected_in:.1?}, died at once: {deaths}; longest turn {}, \
         {:.0?} after the first verdict ({} while they lived); {}; {} stalls, {} postponed, {} acquitted",
        on.backend_name(),
        on.deadlines.map_or("default", |strategy| strategy.name()),
        spoke_at.len(),
        millis(absence.lasted),
        absence.until.saturating_since(deaths.first),
        millis(before.lasted),
        deaths.waits_beside(&answers),
        stats.stalls,
        stats.postponed,
        stats.acquitted,
    );
    assert!(deaths.lateness_max() <= LATENESS_MAX, "the last verdict was {:?} late", deaths.lateness_max());
}

/// Connects the many at the far end of the wire and has them beat, each in its own rhythm, for a while.
fn gather(wire: &Wire, gateway: SocketAddr) -> Vec<Device> {
    let crowd = wire.at_far_end(move || {
        // More ports than there are devices: the kernel looks for a free one step by step.
        fs::write("/proc/sys/net/ipv4/ip_local_port_range", "1024 65535").expect("the namespace is ours");
        Crowd::gather(dying(), BEAT_EVERY, move || TcpStream::connect(gateway).expect("it listens"))
    });
    crowd.wait_until_complete();
    thread::sleep(BEAT_EVERY);
    let dispersed = crowd.stop();
    assert_eq!(dispersed.beats_refused, 0, "a living device was cut off");
    dispersed.devices
}

/// All beat once more, then no packet of theirs arrives any more; when each spoke last.
fn die(mut devices: Vec<Device>, wire: &Wire) -> HashMap<SocketAddr, Instant> {
    for device in &mut devices {
        device.send(b"\n");
    }
    wire.cut();
    let spoke_at = devices.iter().map(|device| (device.addr(), device.spoke_at)).collect();
    // Nothing of this is seen at the near end; it only frees the far one.
    devices.into_iter().for_each(Device::reset);
    spoke_at
}

/// Waits until all the dead are closed; what was told, and the longest turn meanwhile.
fn ends_of_the_dead(gateway: &mut GatewayChild, living: &Living, dead: usize) -> (Vec<ChildEnd>, Absence) {
    // To ask for the ends disturbs the shard: not before they should have come.
    thread::sleep(DEAD_WITHIN + 2 * BEAT_EVERY);
    let give_up_at = now() + PATIENCE;
    let mut absence = Absence::default();
    loop {
        absence = absence.longer(gateway.take_longest_absence());
        let ends = gateway.ends();
        assert!(ends.iter().all(|end| !living.addrs.contains(&end.peer)), "one of the living was condemned");
        if ends.iter().filter(|end| end.closed_at.is_some()).count() >= dead {
            return (ends, absence);
        }
        assert!(now() < give_up_at, "{} of {dead} were told", ends.len());
        thread::sleep(Duration::from_millis(500));
    }
}
