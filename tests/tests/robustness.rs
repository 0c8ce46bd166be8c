//! Hostile peers beside healthy ones: whatever a peer sends, and whenever it goes, nobody else notices.
//!
//! What each hostile peer does follows from a seed, which a failure prints: `HEARTRING_SEED=... cargo test --test robustness`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{env, process};

use heartring::{BackendChoice, Cause, LengthPrefixed, Summary};
use heartring_tests::{Device, Dice, Event, GatewayProbe, On};

const HOSTILE: usize = 600;
const HEALTHY: usize = 50;

/// Hostile peers at one time.
const GANGS: usize = 8;

const DEAD_WITHIN: Duration = Duration::from_secs(3);

mod uring {
    #[test]
    fn hostile_peers_disturb_nobody() {
        super::test(heartring::BackendChoice::Uring, "uring");
    }
}

mod epoll {
    #[test]
    fn hostile_peers_disturb_nobody() {
        super::test(heartring::BackendChoice::Epoll, "epoll");
    }
}

fn test(backend: BackendChoice, module: &'static str) {
    On { backend, deadlines: None, module }.run(hostile_peers_disturb_nobody);
}

fn hostile_peers_disturb_nobody(on: On) {
    let seed = env::var("HEARTRING_SEED")
        .map_or(u64::from(process::id()), |seed| seed.parse().expect("HEARTRING_SEED is a number"));
    println!("replay with HEARTRING_SEED={seed}");
    let mut config = on.config(DEAD_WITHIN);
    config.limits.conns_max = Some(1000);
    config.overrides.hello_within = Some(Duration::from_secs(1));
    config.overrides.frame_within = Some(Duration::from_secs(1));
    config.overrides.grace = Some(Duration::from_millis(500));
    let probe = GatewayProbe::start::<LengthPrefixed>(config);
    let healthy: Vec<Device> = (0..HEALTHY).map(|_| Device::connect(probe.addr())).collect();
    let addrs: Vec<SocketAddr> = healthy.iter().map(Device::addr).collect();
    let talk = Talk::begin(healthy);
    let gateway = probe.addr();
    let gangs: Vec<_> = (0..GANGS as u64)
        .map(|gang| thread::spawn(move || harass(gateway, seed.wrapping_mul(GANGS as u64) + gang)))
        .collect();
    let lasting: Vec<Device> =
        gangs.into_iter().flat_map(|gang| gang.join().expect("a gang does not panic")).collect();
    // Those that have gone are known, those that linger are cut.
    probe.closed_count(HOSTILE, Duration::from_secs(30));
    drop(lasting);
    let (healthy, answers) = talk.end();
    for addr in addrs {
        let events = probe.log().of(addr);
        let ended = events.iter().any(|event| matches!(event, Event::Closed(_) | Event::Closing(_)));
        assert!(!ended, "a healthy device was disturbed, seed {seed}: {:?}", events.last());
    }
    assert!(answers >= HEALTHY * 5, "only {answers} answers");
    let summary = probe.finish();
    drop(healthy);
    check(&summary, seed);
}

fn check(summary: &Summary, seed: u64) {
    let stats = &summary.stats;
    let of = |cause: Cause| stats.closed(cause.name());
    assert_eq!(stats.closed_total(), (HOSTILE + HEALTHY) as u64, "seed {seed}: {stats:?}");
    assert_eq!(of(Cause::Draining), HEALTHY as u64, "seed {seed}: {stats:?}");
    for cause in
        [Cause::PeerClosed, Cause::PeerReset, Cause::HelloMissed, Cause::FrameStalled, Cause::TooLarge]
    {
        assert!(of(cause) > 0, "nobody ended as {}, seed {seed}: {stats:?}", cause.name());
    }
}

/// One gang's share of the hostile peers, one after another. Returns those that stay connected and do nothing more.
fn harass(gateway: SocketAddr, seed: u64) -> Vec<Device> {
    let mut dice = Dice::new(seed);
    let mut lasting = Vec::new();
    for _ in 0..HOSTILE / GANGS {
        let mut device = Device::connect(gateway);
        // Whatever it says may meet a reset: that is the gateway's good right.
        match dice.below(10) {
            0 => {
                let _ = device.try_send(&garbage(&mut dice));
                device.reset();
            }
            1 => lasting.extend(device.try_send(&garbage(&mut dice)).is_ok().then_some(device)),
            2 => lasting.extend(device.try_send(&0x4000_0000_u32.to_be_bytes()).is_ok().then_some(device)),
            3 => {
                let half = [&LengthPrefixed::encode(b"hello")[..], b"\0\0\x01\0half a fra"].concat();
                lasting.extend(device.try_send(&half).is_ok().then_some(device));
            }
            4 => lasting.push(device), // Says nothing, for ever.
            5 => device.reset(),
            6 => {
                let _ = device.try_send(&LengthPrefixed::encode(b"echo never read"));
                thread::sleep(Duration::from_micros(dice.below(20_000)));
                device.reset();
            }
            7 => {
                let _ = device.try_send(&LengthPrefixed::encode(b"flood"));
                thread::sleep(Duration::from_micros(dice.below(20_000)));
                device.reset();
            }
            8 => {
                for byte in *b"\0\0\0\x02hi\0\0\0\x0aten" {
                    let _ = device.try_send(&[byte]);
                    thread::sleep(Duration::from_micros(dice.below(3_000)));
                }
                lasting.push(device);
            }
            _ => {
                let _ = device.try_send(&LengthPrefixed::encode(b"hello"));
                device.fin();
            }
        }
    }
    lasting
}

/// Healthy devices that ask and check the answers, from one thread.
struct Talk {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(Vec<Device>, usize)>,
}

impl Talk {
    fn begin(mut devices: Vec<Device>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let body = move || {
            let (question, answer) =
                (LengthPrefixed::encode(b"echo well?"), LengthPrefixed::encode(b"well?"));
            let mut answers = 0;
            while !stopped.load(Ordering::Acquire) {
                for device in &mut devices {
                    device.send(&question);
                }
                for device in &mut devices {
                    device.expect(&answer);
                }
                answers += devices.len();
                thread::sleep(Duration::from_millis(100));
            }
            (devices, answers)
        };
        Self { stop, thread: thread::spawn(body) }
    }

    /// The devices, and how many answers came.
    fn end(self) -> (Vec<Device>, usize) {
        self.stop.store(true, Ordering::Release);
        self.thread.join().expect("every question is answered")
    }
}

fn garbage(dice: &mut Dice) -> Vec<u8> {
    let length = 1 + dice.below(3000);
    (0..length).map(|_| dice.next() as u8).collect()
}
