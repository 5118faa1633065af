//! The codecs' speed on one core, by type and instruction set, in bytes of f32 encoded or decoded a second, beside a plain
//! copy of as many bytes: a codec near it is at the speed of memory.
#![allow(missing_docs)] // criterion's macros

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use gguf_conv::quant::{GgmlType, Isa};
use std::hint::black_box;
use std::time::Duration;

const ROW: usize = 1024;
/// 4 MB of f32: beyond the second cache, as tensors are.
const LEN: usize = 1024 * ROW;

/// Weights as a bf16 checkpoint has them.
fn weights() -> Vec<f32> {
    let mut state = 1u64;
    let mut uniform = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    let mut normal = || (0..6).map(|_| uniform()).sum::<f32>() * 0.03;
    (0..LEN)
        .map(|_| f32::from_bits(normal().to_bits() & 0xffff_0000))
        .collect()
}

fn bytes_of(ty: GgmlType) -> usize {
    LEN / ty.block_len() * ty.block_bytes()
}

fn group<'a>(c: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = c.benchmark_group(name);
    group.throughput(Throughput::Bytes(4 * LEN as u64));
    group.sample_size(10);
    group.warm_up_time(Duration::from_millis(200));
    group.measurement_time(Duration::from_millis(600));
    group
}

fn copy(c: &mut Criterion) {
    let x = weights();
    let mut out = vec![0.0; LEN];
    group(c, "copy").bench_function("f32", |b| b.iter(|| out.copy_from_slice(black_box(&x))));
}

fn encode(c: &mut Criterion, name: &str, importance: Option<&[f32]>) {
    let x = weights();
    let mut group = group(c, name);
    for ty in GgmlType::all().filter(|ty| ty.can_encode()) {
        if importance.is_none() && ty.needs_importance() || importance.is_some() && !ty.is_quantized() {
            continue;
        }
        let mut blocks = vec![0; bytes_of(ty)];
        for isa in Isa::available() {
            group.bench_function(format!("{ty} {}", isa.name()), |b| {
                b.iter(|| ty.encode_on(isa, black_box(&x), ROW, importance, &mut blocks));
            });
        }
    }
}

fn encode_plain(c: &mut Criterion) {
    encode(c, "encode", None);
}

fn encode_weighted(c: &mut Criterion) {
    let importance: Vec<f32> = (0..ROW).map(|i| (i % 17) as f32 / 16.0).collect();
    encode(c, "encode with importance", Some(&importance));
}

fn decode(c: &mut Criterion) {
    let mut group = group(c, "decode");
    let mut out = vec![0.0; LEN];
    for ty in GgmlType::all() {
        let blocks: Vec<u8> = (0..bytes_of(ty)).map(|i| (i * 31 % 61) as u8).collect();
        for isa in Isa::available() {
            group.bench_function(format!("{ty} {}", isa.name()), |b| {
                b.iter(|| ty.decode_on(isa, black_box(&blocks), &mut out));
            });
        }
    }
}

criterion_group!(codecs, copy, encode_plain, encode_weighted, decode);
criterion_main!(codecs);
