//! Two live devices with one identity, each of which comes back at once when the other has taken it.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use heartring::FlapGuard;
use heartring_socket::now;
use heartring_tests::On;

use super::history::Manner;
use super::trial::Trial;

const GUARD: FlapGuard =
    FlapGuard { takeovers_max: 5, window: Duration::from_secs(10), cool_down: Duration::from_millis(500) };

/// How many times the gateway must damp them.
const ROUNDS: u64 = 3;

/// How long a device waits for a word.
const PATIENCE: Duration = Duration::from_secs(30);

/// The newest wins until there were too many takeovers; then the gateway says for how long it refuses, and keeps to it.
pub(crate) fn two_that_fight_are_damped(on: On) {
    let began = now();
    let mut trial = Trial::begin(on, Some(GUARD));
    let (gateway, refusals) = (trial.gateway(), Arc::new(AtomicU64::new(0)));
    let devices = [(); 2].map(|()| {
        let refusals = Arc::clone(&refusals);
        thread::spawn(move || fight(gateway, &refusals))
    });
    let conns = devices.map(|device| device.join().expect("a device hears what it should")).iter().sum();
    trial.wait_closed(conns);
    let outcome = trial.end(0);
    let (stats, lasted) = (&outcome.summary.stats, now().saturating_since(began));
    println!("{}; {:?} of CPU in {lasted:?}", outcome.describe(), outcome.cpu);
    assert_eq!((stats.closed("refused"), stats.refused("flapping")), (ROUNDS, ROUNDS));
    // Neither leaves before it is superseded, so each takeover is one. The last one ends the fight.
    assert_eq!(stats.closed("superseded"), ROUNDS * u64::from(GUARD.takeovers_max) + 1);
    assert!(lasted >= GUARD.cool_down * ROUNDS as u32, "the identity was free after {lasted:?}");
    assert!(outcome.cpu < lasted / 10, "{:?} of CPU in {lasted:?}", outcome.cpu);
}

/// Claims again and again, until both have been damped often enough and the other has lost. Returns how many times it has
/// connected.
fn fight(gateway: SocketAddr, refusals: &AtomicU64) -> u64 {
    let mut was_last_refused = false;
    for conns in 1.. {
        let mut device = Device::claim(gateway);
        let mut words = device.hear();
        if words.first().is_some_and(|word| word == "claimed") {
            if was_last_refused {
                return conns; // The pause is over, and it is the one that remains.
            }
            words = device.hear();
        }
        match words.get(1).map(String::as_str) {
            // Without a word: what was queued for it had not left yet, and nobody waits for a superseded one.
            Some("superseded") | None => {
                if refusals.load(Ordering::SeqCst) == ROUNDS {
                    return conns;
                }
            }
            Some("refused") => {
                let retry_after = Duration::from_millis(words[2].parse().expect("a number"));
                assert!(retry_after <= GUARD.cool_down, "it is to wait for {retry_after:?}");
                was_last_refused = refusals.fetch_add(1, Ordering::SeqCst) + 1 == ROUNDS;
                // What it was told is rounded down to milliseconds.
                thread::sleep(retry_after + Duration::from_millis(1));
            }
            Some(_) => panic!("no gateway says {words:?}"),
        }
    }
    unreachable!("it fights until it is damped")
}

struct Device(BufReader<TcpStream>);

impl Device {
    fn claim(gateway: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(gateway).expect("a gateway takes devices");
        stream.set_read_timeout(Some(PATIENCE)).expect("a read can have a bound");
        stream.write_all(format!("claim twin {} 0\n", Manner::Stays.name()).as_bytes()).expect("it is open");
        Self(BufReader::new(stream))
    }

    /// The words of the gateway's next line; none if it resets instead.
    fn hear(&mut self) -> Vec<String> {
        let mut line = String::new();
        match self.0.read_line(&mut line) {
            Ok(_) => line.split_whitespace().map(String::from).collect(),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Vec::new(),
            Err(error) => panic!("the gateway says nothing: {error}"),
        }
    }
}
