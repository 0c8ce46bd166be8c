//! How many are let in: in all, per shard, per source.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use heartring::{Config, Gateway, Limits, Lines};
use heartring_tests::{GatewayProbe, On, add_address, in_own_network};
use socket2::{Domain, Socket, Type};

use super::claimant::{DRAIN_WITHIN, is_let_in};

const LONG: Duration = Duration::from_mins(1);

fn config(on: On, limits: Limits) -> Config {
    let mut config = Config { limits, ..on.config(LONG) };
    config.overrides.drain_within = DRAIN_WITHIN;
    config
}

/// Who was let in, and how many were not.
#[derive(Default)]
struct Tally {
    inside: Vec<io::Result<TcpStream>>,
    refused: u64,
}

impl Tally {
    fn try_one(&mut self, gateway: SocketAddr) -> bool {
        let client = TcpStream::connect(gateway);
        let is_in = is_let_in(&client);
        if is_in {
            self.inside.push(client);
        } else {
            self.refused += 1;
        }
        is_in
    }

    /// Connects until `count` are inside. The kernel chooses the shard: some try a full one.
    fn fill(&mut self, gateway: SocketAddr, count: usize) {
        let tries = (0..1000).position(|_| {
            self.try_one(gateway);
            self.inside.len() == count
        });
        assert!(tries.is_some(), "only {} of {count} were let in", self.inside.len());
    }
}

pub(crate) fn conns_max_bounds_all_shards_together(on: On) {
    let limits = Limits { conns_max: Some(10), ..Limits::default() };
    bounds_two_shards(Config { shards: Some(2), ..config(on, limits) });
}

/// The same bound by the other setting: five on each of two.
pub(crate) fn conns_per_shard_max_bounds_each(on: On) {
    let limits = Limits { conns_max: None, conns_per_shard_max: 5, ..Limits::default() };
    bounds_two_shards(Config { shards: Some(2), ..config(on, limits) });
}

fn bounds_two_shards(config: Config) {
    let probe = GatewayProbe::start::<Lines>(config);
    let mut tally = Tally::default();
    tally.fill(probe.addr(), 10);
    for _ in 0..20 {
        assert!(!tally.try_one(probe.addr()), "an eleventh was let in");
    }
    assert!(tally.inside.iter().all(is_let_in), "those inside are served as before");
    // A place that is given up is taken by another.
    for round in 1..=3 {
        drop(tally.inside.pop());
        probe.closed_count(round, LONG);
        tally.fill(probe.addr(), 10);
    }
    let stats = probe.finish().stats;
    assert_eq!((stats.refused("conns_max"), stats.closed("refused")), (tally.refused, tally.refused));
    assert_eq!(stats.accepted, 13 + tally.refused, "{stats:?}");
}

fn connect_from(source: &str, gateway: SocketAddr) -> io::Result<TcpStream> {
    let source: IpAddr = source.parse().expect("it is an address");
    let socket = Socket::new(Domain::for_address(gateway), Type::STREAM, None).expect("a descriptor is left");
    socket.bind(&SocketAddr::new(source, 0).into()).expect("the source is this machine's");
    socket.connect(&gateway.into())?;
    Ok(socket.into())
}

/// Lets three in from `source` at `gateway`, and no fourth.
fn fills_its_share(source: &str, gateway: SocketAddr) -> Vec<io::Result<TcpStream>> {
    let inside: Vec<_> = (0..3).map(|_| connect_from(source, gateway)).collect();
    assert!(inside.iter().all(is_let_in), "three from {source}");
    assert!(!is_let_in(&connect_from(source, gateway)), "a fourth from {source}");
    inside
}

fn three_per_source() -> Limits {
    Limits { conns_max: Some(100), conns_per_source_max: Some(3), ..Limits::default() }
}

pub(crate) fn a_source_has_its_share_and_no_more(on: On) {
    let probe = GatewayProbe::start::<Lines>(config(on, three_per_source()));
    let sources: Vec<String> = (2..=6).map(|host| format!("127.0.0.{host}")).collect();
    let mut inside: Vec<_> = sources.iter().map(|source| fills_its_share(source, probe.addr())).collect();
    // What one source gives up is its own.
    drop(inside[0].pop());
    probe.closed_count(1, LONG);
    assert!(!is_let_in(&connect_from(&sources[1], probe.addr())));
    inside[0].push(connect_from(&sources[0], probe.addr()));
    assert!(inside.iter().flatten().all(is_let_in));
    let stats = probe.finish().stats;
    assert_eq!((stats.refused("source_max"), stats.refused("conns_max")), (6, 0), "{stats:?}");
    assert_eq!(stats.closed("draining"), 15, "{stats:?}");
}

/// An IPv4 client comes as `::ffff:a.b.c.d` to a listener of both kinds. It is the same source there.
pub(crate) fn ipv4_counts_alike_on_either_kind_of_listener(on: On) {
    let running = Gateway::new(config(on, three_per_source()))
        .listen("127.0.0.1:0")
        .listen("[::]:0")
        .start(|_shard| Echo)
        .expect("the gateway starts");
    let native = running.addrs()[0];
    let mapped = SocketAddr::new(native.ip(), running.addrs()[1].port());
    let one = [connect_from("127.0.0.2", native), connect_from("127.0.0.2", mapped)];
    assert!(one.iter().all(is_let_in));
    let third = connect_from("127.0.0.2", native);
    assert!(is_let_in(&third));
    for listener in [native, mapped] {
        assert!(!is_let_in(&connect_from("127.0.0.2", listener)), "a fourth at {listener}");
    }
    let _others = [fills_its_share("127.0.0.3", mapped), fills_its_share("127.0.0.4", native)];
    running.stop();
    let summary = running.join().expect("no shard fails");
    assert_eq!((summary.ledger_open, summary.stats.refused("source_max")), (0, 4), "{:?}", summary.stats);
}

/// A host chooses freely among the addresses of its /64.
pub(crate) fn a_site_of_ipv6_is_one_source(on: On) {
    let body = || {
        ["fd00::1/64", "fd00::2/64", "fd00::ffff:3/64", "fd00:0:0:1::1/64"].into_iter().for_each(add_address);
        let probe = GatewayProbe::start_at::<Lines>(config(on, three_per_source()), "[::]:0");
        let gateway = SocketAddr::new("::1".parse().expect("it is an address"), probe.addr().port());
        let site = ["fd00::1", "fd00::2", "fd00::ffff:3"].map(|source| connect_from(source, gateway));
        assert!(site.iter().all(is_let_in));
        for source in ["fd00::1", "fd00::ffff:3"] {
            assert!(!is_let_in(&connect_from(source, gateway)), "a fourth from {source}");
        }
        let _others = [fills_its_share("fd00:0:0:1::1", gateway), fills_its_share("::1", gateway)];
        let stats = probe.finish().stats;
        assert_eq!(stats.refused("source_max"), 4, "{stats:?}");
    };
    in_own_network(&format!("{}::a_site_of_ipv6_is_one_source", on.module), &[], body);
}

/// Answers `echo TEXT` with TEXT.
struct Echo;

impl heartring::Handler for Echo {
    type Protocol = Lines;

    fn received(&mut self, conn: &mut heartring::Conn<'_>, line: &[u8]) {
        let text = line.strip_prefix(b"echo ").expect("clients say nothing else");
        conn.send_copy(&[text, b"\n"].concat()).expect("a small answer fits");
    }
}
