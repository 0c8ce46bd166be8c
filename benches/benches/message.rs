//! The whole of core, per message: a 32-byte frame is received, echoed, and the send completes. No backend: what a driver
//! would do is a push into a vector.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use heartring_core::{
    Completion, Config, Conn, ConnId, DeadlineStrategy, Handler, Instant, LengthPrefixed, Listener,
    ListenerId, Op, Place, Shard,
};

const LISTENER: ListenerId = ListenerId(0);

/// How much time a turn takes: what a busy shard needs for a few messages and two system calls.
const TURN: Duration = Duration::from_micros(10);

#[derive(Default)]
struct Echo;

impl Handler for Echo {
    type Protocol = LengthPrefixed;

    fn received(&mut self, conn: &mut Conn<'_>, frame: &[u8]) {
        let _ = conn.send_copy(frame);
    }
}

/// The same for peers that have claimed an identity.
#[derive(Default)]
struct NamedEcho;

impl Handler for NamedEcho {
    type Protocol = LengthPrefixed;

    fn opened(&mut self, conn: &mut Conn<'_>) {
        let name = conn.id().to_string();
        let _ = conn.claim(name.as_bytes());
    }

    fn received(&mut self, conn: &mut Conn<'_>, frame: &[u8]) {
        let _ = conn.send_copy(frame);
    }
}

/// A handler that hears and says nothing.
#[derive(Default)]
struct Sink;

impl Handler for Sink {
    type Protocol = LengthPrefixed;

    fn received(&mut self, _conn: &mut Conn<'_>, frame: &[u8]) {
        black_box(frame);
    }
}

/// A shard with live connections, and no backend.
struct Null<H: Handler> {
    shard: Shard<H>,
    conns: Vec<ConnId>,
    /// Who speaks next.
    next: usize,
    now: Instant,
    sends: Vec<(ConnId, bytes::Bytes)>,
}

impl<H: Handler> Null<H> {
    fn new(handler: H, count: usize) -> Self {
        let config = Config::default();
        let listener = Listener { id: LISTENER, addr: "127.0.0.1:7000".parse().expect("an address") };
        let shard =
            Shard::new(Place::alone(count as u32, DeadlineStrategy::Linked), &config, &[listener], handler)
                .expect("the default is valid");
        let mut null =
            Self { shard, conns: Vec::new(), next: 0, now: Instant::from_nanos(1 << 40), sends: Vec::new() };
        while null.conns.len() < count {
            null.accept(count);
        }
        null
    }

    /// Accepts what the shard asks for, up to `count` in all, and says hello for each.
    fn accept(&mut self, count: usize) {
        let mut asked = Vec::new();
        self.shard.end_turn(self.now, &mut |op| {
            if let Op::Accept { conn, .. } = op {
                asked.push(conn);
            }
        });
        let peer = "127.0.0.2:50000".parse().expect("an address");
        for conn in asked.into_iter().take(count - self.conns.len()) {
            self.shard.handle(self.now, Completion::Accepted { listener: LISTENER, conn, peer });
            self.shard.handle(self.now, Completion::Received { conn, bytes: &LengthPrefixed::encode(b"") });
            self.conns.push(conn);
        }
    }

    /// One turn: the sends of the last one complete, and `count` connections each receive `frame`.
    fn turn(&mut self, count: usize, frame: &[u8]) {
        self.now = self.now + TURN;
        for (conn, payload) in self.sends.drain(..) {
            let result = Ok(payload.len());
            self.shard.handle(self.now, Completion::Sent { conn, payload, result });
        }
        for _ in 0..count {
            // Devices speak in no order: a stride that the prefetcher does not know.
            self.next = (self.next + 7_919) % self.conns.len();
            let conn = self.conns[self.next];
            self.shard.handle(self.now, Completion::Received { conn, bytes: frame });
        }
        let sends = &mut self.sends;
        self.shard.end_turn(self.now, &mut |op| {
            if let Op::Send { conn, payload, .. } = op {
                sends.push((conn, payload));
            }
        });
        black_box(self.shard.wake_at());
    }
}

fn message(criterion: &mut Criterion) {
    let frame = LengthPrefixed::encode(&[b'x'; 28]);
    let beat = LengthPrefixed::encode(b"");
    let mut group = criterion.benchmark_group("message");
    for (conns, per_turn) in [(1, 1), (1_000, 1), (1_000, 64), (20_000, 64)] {
        group.throughput(Throughput::Elements(per_turn as u64));
        group.bench_function(format!("echo/{conns}_conns/{per_turn}_per_turn"), |bencher| {
            let mut null = Null::new(Echo, conns);
            bencher.iter(|| null.turn(per_turn, &frame));
        });
    }
    group.throughput(Throughput::Elements(64));
    group.bench_function("echo_to_an_identity/20000_conns/64_per_turn", |bencher| {
        let mut null = Null::new(NamedEcho, 20_000);
        bencher.iter(|| null.turn(64, &frame));
    });
    group.bench_function("data_without_an_answer/1000_conns/64_per_turn", |bencher| {
        let mut null = Null::new(Sink, 1_000);
        bencher.iter(|| null.turn(64, &frame));
    });
    group.bench_function("beat/1000_conns/64_per_turn", |bencher| {
        let mut null = Null::new(Sink, 1_000);
        bencher.iter(|| null.turn(64, &beat));
    });
    group.finish();
}

criterion_group!(benches, message);
criterion_main!(benches);
