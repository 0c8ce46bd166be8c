//! Framing alone: 64 frames of 32 bytes in one buffer.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use heartring_core::{Decoded, LengthPrefixed, Lines, Protocol};

const FRAMES: u64 = 64;

/// Takes every frame off the front of `buffer`; returns how many there were.
fn decode_all<P: Protocol<State = ()>>(protocol: &P, mut buffer: &[u8]) -> u64 {
    let mut frames = 0;
    while let Decoded::Frame { payload, used, .. } = protocol.decode(&mut (), buffer, 0) {
        black_box(payload);
        frames += 1;
        buffer = &buffer[used..];
    }
    frames
}

fn framing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("framing");
    group.throughput(Throughput::Elements(FRAMES));
    let lines = [&[b'x'; 31][..], b"\n"].concat().repeat(FRAMES as usize);
    group.bench_function("lines_64_of_32_bytes", |bencher| {
        bencher.iter(|| assert_eq!(decode_all(&Lines, black_box(&lines)), FRAMES));
    });
    let prefixed = LengthPrefixed::encode(&[b'x'; 28]).repeat(FRAMES as usize);
    group.bench_function("length_prefixed_64_of_32_bytes", |bencher| {
        bencher.iter(|| assert_eq!(decode_all(&LengthPrefixed, black_box(&prefixed)), FRAMES));
    });
    let long_line = [&[b'x'; 16 << 10][..], b"\n"].concat();
    group.throughput(Throughput::Bytes(long_line.len() as u64));
    group.bench_function("line_of_16_kib", |bencher| {
        bencher.iter(|| assert_eq!(decode_all(&Lines, black_box(&long_line)), 1));
    });
    group.finish();
}

criterion_group!(benches, framing);
criterion_main!(benches);
