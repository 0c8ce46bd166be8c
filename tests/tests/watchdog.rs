//! The watchdog: a shard that does not turn is seen and reported while it is stuck, and if the configuration says so, the
//! others get its clients.

mod watchdog {
    pub(crate) mod held;
}

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use heartring::{Config, Error, Health, Watchdog};
use heartring_socket::now;
use heartring_tests::{On, Wire, skip};
use watchdog::held::{Client, Held, PATIENCE};

/// Long enough that no deadline has a part in these tests.
const LONG: Duration = Duration::from_mins(1);

/// A machine that is busy with other tests keeps a shard away for less.
const STUCK_AFTER: Duration = Duration::from_millis(200);

/// How many share the port where several do.
const SHARDS: u16 = 4;

/// Clients: so many that none of four shards gets none.
const CLIENTS: usize = 48;

macro_rules! tests {
    ($($name:ident)*) => {
        mod uring {
            $(#[test]
            fn $name() {
                super::on(heartring::BackendChoice::Uring, "uring", super::$name);
            })*
        }

        mod epoll {
            $(#[test]
            fn $name() {
                super::on(heartring::BackendChoice::Epoll, "epoll", super::$name);
            })*
        }
    };
}

tests! {
    a_blocked_shard_is_reported_and_an_idle_one_never_is
    the_only_shard_keeps_its_clients_and_its_queue_is_seen
    without_closing_the_clients_of_a_stuck_shard_wait
    with_closing_every_new_client_is_served
    with_migration_no_client_of_a_stuck_shard_is_lost
    two_stuck_shards_leave_the_clients_to_the_others
    after_the_order_to_stop_clients_are_refused_at_once
    a_gateway_stops_while_a_listener_is_closed
    a_panic_frees_the_port
}

fn on(backend: heartring::BackendChoice, module: &'static str, test: fn(On)) {
    On { backend, deadlines: None, module }.run(test);
}

fn config(on: On, shards: u16, close_listeners: bool) -> Config {
    let watchdog = Some(Watchdog { stuck_after: STUCK_AFTER, close_listeners });
    let mut config = Config { shards: Some(shards), watchdog, backlog: 256, ..on.config(LONG) };
    config.limits.conns_max = Some(2000);
    config
}

/// Has a shard stuck, and returns which one, with the client to blame.
fn hold_one(held: &Held) -> (usize, Client) {
    let mut client = Client::connect(held.addr()).expect("the gateway listens");
    let shard = client.ask().expect("the gateway answers");
    client.hold();
    held.wait("a stuck shard", |health| health.shards[shard].times_stuck == 1);
    (shard, client)
}

fn is_closed(health: &Health, shard: usize) -> bool {
    health.shards[shard].listeners[0].closed
}

/// Clients that connect, ask and go without end.
struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<io::Result<u64>>>,
}

impl Load {
    fn begin(gateway: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..2).map(|_| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                let mut served = 0;
                while !stop.load(Ordering::Acquire) {
                    Client::connect(gateway)?.ask()?;
                    served += 1;
                }
                Ok(served)
            })
        });
        Self { threads: threads.collect(), stop }
    }

    /// How many were served, which is all of them.
    fn end(self) -> u64 {
        self.stop.store(true, Ordering::Release);
        let served = self.threads.into_iter().map(|thread| thread.join().expect("a load does not panic"));
        served.map(|served| served.expect("every client is served")).sum()
    }
}

fn a_blocked_shard_is_reported_and_an_idle_one_never_is(on: On) {
    let held = Held::start(config(on, 2, false));
    thread::sleep(STUCK_AFTER * 5);
    assert!(held.health().shards.iter().all(|shard| shard.stuck_for.is_none() && shard.times_stuck == 0));
    let began = now();
    let (shard, mut client) = hold_one(&held);
    println!("{}: reported after {:?}", on.backend_name(), now().saturating_since(began));
    let health = held.wait("for how long", |health| health.shards[shard].stuck_for.is_some());
    assert!(health.shards[shard].stuck_for >= Some(STUCK_AFTER), "{health:?}");
    assert_eq!(health.shards[1 - shard].stuck_for, None, "{health:?}");
    held.release();
    client.ask().expect("the shard turns again");
    let health = held.wait("that it turns", |health| health.shards[shard].stuck_for.is_none());
    assert_eq!(health.shards[shard].times_stuck, 1, "one turn is reported once");
    assert_eq!(health.shards[1 - shard].times_stuck, 0, "{health:?}");
    held.finish();
}

fn the_only_shard_keeps_its_clients_and_its_queue_is_seen(on: On) {
    let held = Held::start(config(on, 1, true));
    let (_, _blocker) = hold_one(&held);
    let mut clients = Client::connect_many(CLIENTS, held.addr());
    let health = held.wait("a long queue", |health| health.shards[0].listeners[0].queue == CLIENTS as u32);
    let listener = health.shards[0].listeners[0];
    assert_eq!((listener.addr, listener.queue_max, listener.closed), (held.addr(), 256, false));
    held.release();
    assert!(clients.iter_mut().all(|client| client.ask().is_ok()), "nobody was sent away");
    held.wait("an empty queue", |health| health.shards[0].listeners[0].queue == 0);
    held.finish();
}

fn without_closing_the_clients_of_a_stuck_shard_wait(on: On) {
    let held = Held::start(config(on, SHARDS, false));
    let (stuck, _blocker) = hold_one(&held);
    let mut clients = Client::connect_many(CLIENTS, held.addr());
    let empty = |health: &Health, shard: usize| health.shards[shard].listeners[0].queue == 0;
    let health = held.wait("others without queues", |health| {
        (0..SHARDS.into()).all(|shard| shard == stuck || empty(health, shard))
    });
    let waiting = health.shards[stuck].listeners[0].queue;
    assert!(waiting > 0 && !is_closed(&health, stuck), "{health:?}");
    held.release();
    let shards: Vec<usize> = clients.iter_mut().map(|client| client.ask().expect("it is served")).collect();
    assert_eq!(shards.iter().filter(|&&shard| shard == stuck).count(), waiting as usize);
    held.wait("an empty queue", |health| empty(health, stuck));
    held.finish();
}

fn with_closing_every_new_client_is_served(on: On) {
    let held = Held::start(config(on, SHARDS, true));
    let (stuck, mut blocker) = hold_one(&held);
    held.wait("a closed listener", |health| is_closed(health, stuck));
    let load = Load::begin(held.addr());
    for mut client in Client::connect_many(CLIENTS, held.addr()) {
        assert_ne!(client.ask().expect("every new client is served"), stuck);
    }
    let health = held.health();
    assert!(is_closed(&health, stuck) && health.shards[stuck].stuck_for.is_some(), "{health:?}");
    let released = now();
    held.release();
    held.wait("an open listener", |health| !is_closed(health, stuck));
    let open_after = now().saturating_since(released);
    blocker.ask().expect("its connections have survived");
    serves_again(&held, stuck);
    let serves_after = now().saturating_since(released);
    println!("{}: open after {open_after:?}, serves after {serves_after:?}", on.backend_name());
    println!("{} clients served meanwhile", load.end());
    held.finish();
}

/// Waits until a client is served by `shard`.
fn serves_again(held: &Held, shard: usize) {
    let give_up_at = now() + PATIENCE;
    while Client::connect(held.addr()).and_then(|mut client| client.ask()).expect("it is served") != shard {
        assert!(now() < give_up_at, "shard {shard} gets no clients: {:?}", held.health());
    }
}

/// The thread of a test is its own, so a namespace of its own disturbs no other.
fn with_migration_no_client_of_a_stuck_shard_is_lost(on: On) {
    let _wire = match Wire::new() {
        Ok(wire) => wire,
        Err(why) => return skip(on.module, &why),
    };
    std::fs::write("/proc/sys/net/ipv4/tcp_migrate_req", "1").expect("the namespace is ours");
    let held = Held::start(config(on, SHARDS, true));
    let mut blocker = Client::connect(held.addr()).expect("the gateway listens");
    let stuck = blocker.ask().expect("the gateway answers");
    blocker.hold();
    held.is_holding();
    let mut clients = Client::connect_many(CLIENTS, held.addr());
    for client in &mut clients {
        client.say().expect("it waits or is served");
    }
    let health = held.wait("a closed listener", |health| is_closed(health, stuck));
    assert_eq!(health.shards[stuck].times_stuck, 1);
    for client in &mut clients {
        let shard = client.hear().unwrap_or_else(|error| panic!("{error}: {:?}", held.health()));
        assert_ne!(shard, stuck, "it has moved to another shard");
    }
    held.release();
    held.wait("an open listener", |health| !is_closed(health, stuck));
    serves_again(&held, stuck);
    held.finish();
}

fn two_stuck_shards_leave_the_clients_to_the_others(on: On) {
    let held = Held::start(config(on, 3, true));
    let (first, _blocker) = hold_one(&held);
    held.wait("a closed listener", |health| is_closed(health, first));
    let (second, _another) = hold_one(&held);
    held.wait("another closed listener", |health| is_closed(health, second));
    let third = 3 - first - second;
    for mut client in Client::connect_many(CLIENTS, held.addr()) {
        assert_eq!(client.ask().expect("it is served"), third);
    }
    // And when the last one is stuck, it keeps its clients.
    let (_, _third) = hold_one(&held);
    let mut clients = Client::connect_many(CLIENTS, held.addr());
    assert!(!is_closed(&held.health(), third));
    held.release();
    assert!(clients.iter_mut().all(|client| client.ask().is_ok()), "nobody was sent away");
    for shard in 0..3 {
        serves_again(&held, shard);
    }
    held.finish();
}

/// The watchdog knows the listening sockets, and lets go of them in time.
fn after_the_order_to_stop_clients_are_refused_at_once(on: On) {
    let mut config = config(on, 2, true);
    config.overrides.drain_within = Some(PATIENCE);
    let held = Held::start(config);
    let mut lasting = Client::connect(held.addr()).expect("the gateway listens");
    lasting.ask().expect("it is served");
    held.stop();
    // The gateway drains for as long as this client stays.
    let give_up_at = now() + PATIENCE / 2;
    let refused = loop {
        match Client::connect(held.addr()) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => break true,
            Err(_) | Ok(_) if now() >= give_up_at => break false,
            Err(_) | Ok(_) => thread::sleep(Duration::from_millis(1)),
        }
    };
    assert!(refused, "{:?}", held.health());
    assert!(held.health().shards.iter().all(|shard| shard.listeners.is_empty()));
    drop(lasting);
    held.finish();
}

fn a_gateway_stops_while_a_listener_is_closed(on: On) {
    let held = Held::start(config(on, 2, true));
    let (stuck, _blocker) = hold_one(&held);
    held.wait("a closed listener", |health| is_closed(health, stuck));
    held.stop();
    held.wait("the other to drain", |health| health.shards[1 - stuck].listeners.is_empty());
    held.finish();
}

fn a_panic_frees_the_port(on: On) {
    let held = Held::start(config(on, 2, true));
    let mut client = Client::connect(held.addr()).expect("the gateway listens");
    client.panic();
    assert!(matches!(held.join(), Err(Error::Panicked(_))));
}
