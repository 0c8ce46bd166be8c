//! What core is made of: the queue of ops, the slots, the deadlines and their sweep.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use heartring_core::{ConnId, Deadline, Instant, Op, OpKind, OpSet, Slots, Tick, Ticks};

/// Ops of a busy turn.
const TURN: u64 = 64;

/// What a shard does per op: note it as in flight, queue it, hand it over at the end of the turn, take it off the books.
fn op_queue(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("op_queue");
    group.throughput(Throughput::Elements(TURN));
    let payload = bytes::Bytes::from_static(&[0; 32]);
    group.bench_function("emit_and_drain_64_sends", |bencher| {
        let mut queue: Vec<Op> = Vec::new();
        let mut in_flight = vec![OpSet::EMPTY; TURN as usize];
        bencher.iter(|| {
            for slot in 0..TURN as u32 {
                assert!(in_flight[slot as usize].insert(OpKind::Send));
                let conn = ConnId::new(slot, 1);
                queue.push(Op::Send { conn, payload: payload.clone(), more: false });
            }
            for op in queue.drain(..) {
                black_box(&op);
                if let Op::Send { conn, .. } = op {
                    assert!(in_flight[conn.slot() as usize].remove(OpKind::Send));
                }
            }
        });
    });
    group.finish();
}

/// As large as the record of a connection.
type Record = [u64; 11];

fn slots(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("slots");
    group.throughput(Throughput::Elements(1));
    let mut slots = Slots::new(20_000);
    let ids: Vec<ConnId> = (0..20_000).filter_map(|n| slots.insert([n; 11], Ticks::ZERO).ok()).collect();
    group.bench_function("get_one_of_20k", |bencher| {
        let mut nth = 0;
        bencher.iter(|| {
            // A stride that the prefetcher does not know.
            nth = (nth + 7_919) % ids.len();
            black_box(slots.get(ids[nth]).map(|record| record[3]))
        });
    });
    group.bench_function("remove_and_insert", |bencher| {
        let mut slots = Slots::<Record>::new(64);
        let mut last = slots.insert([0; 11], Ticks::ZERO).ok();
        bencher.iter(|| {
            let record = last.and_then(|id| slots.remove(id)).unwrap_or_default();
            last = slots.insert(black_box(record), Ticks::ZERO).ok();
        });
    });
    group.finish();
}

/// `count` slots that are taken, without deadlines.
fn slots_of(count: u32) -> Slots<()> {
    let mut slots = Slots::new(count);
    while slots.insert((), Ticks::ZERO).is_ok() {}
    slots
}

/// `count` deadlines that are spread over 15 s from `from` on.
fn fleet(count: u32, from: Instant) -> Slots<()> {
    let mut deadlines = slots_of(count);
    for slot in 0..count {
        let offset = Duration::from_secs(15).mul_f64(f64::from(slot) / f64::from(count));
        deadlines.set(Deadline::Beat, slot, Tick::at_or_after(from + offset));
    }
    deadlines
}

fn deadlines(criterion: &mut Criterion) {
    let start = Instant::from_nanos(1 << 40);
    let mut group = criterion.benchmark_group("deadlines");
    group.throughput(Throughput::Elements(1));
    group.bench_function("beat_of_one_of_20k", |bencher| {
        let mut deadlines = fleet(20_000, start);
        let ids: Vec<ConnId> = deadlines.iter().map(|(id, ())| id).collect();
        for id in &ids {
            deadlines.note_ordinary(*id);
        }
        let (mut nth, now) = (0, Tick::at_or_after(start));
        bencher.iter(|| {
            nth = (nth + 7_919) % ids.len();
            assert!(deadlines.beat_if_ordinary(black_box(ids[nth]), black_box(now)));
        });
    });
    for (count, name) in [(20_000, "20k"), (1_000_000, "1m")] {
        group.throughput(Throughput::Elements(u64::from(count)));
        group.bench_function(format!("sweep_{name}_healthy"), |bencher| {
            // The bound is at `start`, but everybody has beaten since: the whole array is walked and nobody found.
            let mut healthy = fleet(count, start + Duration::from_secs(5));
            let (mut due, now) = (Vec::new(), start + Duration::from_secs(1));
            let stale = Tick::at_or_after(start);
            let late = Tick::at_or_after(start + Duration::from_secs(5));
            bencher.iter(|| {
                healthy.set(Deadline::Beat, 0, stale);
                healthy.touch(Deadline::Beat, 0, late);
                let walked = healthy.sweep(Deadline::Beat, now, 1024, &mut due);
                assert!(walked && due.is_empty());
            });
        });
    }
    group.bench_function("sweep_1m_with_20k_due", |bencher| {
        let now = start + Duration::from_millis(300);
        let deadlines = fleet(1_000_000, start);
        bencher.iter_batched_ref(
            || (clone(&deadlines, 1_000_000), Vec::with_capacity(32_768)),
            |(deadlines, due)| deadlines.sweep(Deadline::Beat, now, usize::MAX >> 1, due),
            BatchSize::LargeInput,
        );
    });
    group.throughput(Throughput::Elements(20_000));
    group.bench_function("sweep_20k_with_20k_due", |bencher| {
        let mut all = fleet(20_000, start);
        let mut due = Vec::with_capacity(32_768);
        bencher.iter(|| {
            due.clear();
            all.sweep(Deadline::Beat, start + Duration::from_secs(16), usize::MAX >> 1, &mut due);
            assert_eq!(due.len(), 20_000);
        });
    });
    group.finish();
}

fn clone(deadlines: &Slots<()>, count: u32) -> Slots<()> {
    let mut copy = slots_of(count);
    for slot in 0..count {
        if let Some(due) = deadlines.due(Deadline::Beat, slot) {
            copy.set(Deadline::Beat, slot, due);
        }
    }
    copy
}

criterion_group!(benches, op_queue, slots, deadlines);
criterion_main!(benches);
