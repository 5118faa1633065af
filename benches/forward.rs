//! Times the forward pass on real files: `cargo bench --bench forward -- --drafter D.gguf --target T.gguf`.
//!
//! The target's prompt pass as a share of the multiply-adds of `f32` that all threads do from registers, and against
//! llama.cpp's (`--llama-bench PATH`); one token of the target and one draft step as shares of the rate at which memory is
//! read. What is compared is taken in turns, and a share is of what its neighbours in time found: where cores are shared with
//! others, the rate of one moment says little of another. Medians, of shares their range too. Peak memory is that of this
//! process while the target reads its prompt, the mapped file included.

use clap::Parser;
use fearless_simd::{Level, Simd, SimdBase, SimdFloat, dispatch};
use gguf_conv::gguf::Gguf;
use gguf_conv::io::Inputs;
use gguf_conv::model::{
    Assistant, CacheType, Config, Head, KvCache, Pass, SharedKv, Target, Weights, Window,
};
use rayon::prelude::*;
use std::fmt;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

#[derive(Parser)]
struct Args {
    /// A drafter's GGUF, such as one converted from what make_big.py writes
    #[arg(long)]
    drafter: Option<PathBuf>,
    /// A target's GGUF
    #[arg(long)]
    target: Option<PathBuf>,
    /// llama.cpp's llama-bench, to compare the prompt pass with
    #[arg(long)]
    llama_bench: Option<PathBuf>,
    /// Tokens of the prompt
    #[arg(long, default_value_t = 512)]
    prompt: usize,
    /// Runs of each, of which the median counts
    #[arg(long, default_value_t = 7)]
    runs: usize,
    /// What `cargo bench` passes
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    if args.drafter.is_none() && args.target.is_none() {
        println!("nothing to time: name files with -- --drafter D.gguf --target T.gguf (see the README)");
    }
    // The target first: what the drafter touches would count as memory.
    if let Some(target) = &args.target {
        prompt_pass(target, &args)?;
        one_token(target, &args)?;
    }
    if let Some(drafter) = &args.drafter {
        draft_step(drafter, &args)?;
    }
    Ok(())
}

/// Rate of a draft step, and of a plain read of the same file.
fn draft_step(path: &Path, args: &Args) -> Result<()> {
    const POSITION: usize = 512;
    let gguf = Gguf::open(&Inputs::new(), path)?;
    let config = Config::from_gguf(&gguf, "gemma4-assistant")?;
    let embedding = Weights::tensor(&gguf, "token_embd.weight")?.ok_or("no token_embd.weight")?;
    let drafter = Assistant::load(&gguf, config, embedding.shape[0], Head::Dense, Window::LlamaCpp)?;
    let cache = |kind| {
        let layer = drafter.config().layers.iter().find(|layer| layer.kind == kind);
        layer.map(|layer| {
            let mut cache = KvCache::new(layer.kv_heads, layer.head_dim, CacheType::F32);
            let rows = numbers(POSITION * layer.kv_heads * layer.head_dim);
            cache.append(&rows, &rows);
            cache
        })
    };
    let full = cache(gguf_conv::arch::LayerKind::Full).ok_or("no full layer")?;
    let sliding = cache(gguf_conv::arch::LayerKind::Sliding).ok_or("no sliding layer")?;
    let kv = SharedKv {
        full: &full,
        sliding: &sliding,
    };
    drafter.check_shared(kv)?;
    let input = numbers(2 * drafter.backbone());

    let parts = gguf.parts().iter().map(|part| part.bytes());
    let parts: Vec<&[u8]> = parts.collect::<std::result::Result<_, _>>()?;
    let bytes: usize = parts.iter().map(|part| part.len()).sum();
    let (mut steps, mut reads) = (Vec::new(), Vec::new());
    for run in 0..=args.runs {
        let step = seconds(|| drafter.forward(&input, &[POSITION], kv, Pass::Step));
        let read = seconds(|| parts.iter().map(|part| stream(part)).fold(0, u64::wrapping_add));
        // The first brings the file into memory.
        if run > 0 {
            steps.push(step);
            reads.push(read);
        }
    }
    let shares = Shares(reads.iter().zip(&steps).map(|(read, step)| read / step).collect());
    let (step, read) = (median(steps), median(reads));
    let rate = |seconds: f64| bytes as f64 / seconds / 1e9;
    println!(
        "draft step of {}: {:.1} ms, {:.1} GB/s; a plain read of the file {:.1} GB/s; share {shares}",
        path.display(),
        1e3 * step,
        rate(step),
        rate(read),
    );
    Ok(())
}

/// Tokens a second of the target's prompt pass, and of llama.cpp's.
fn prompt_pass(path: &Path, args: &Args) -> Result<()> {
    let gguf = Gguf::open(&Inputs::new(), path)?;
    let config = Config::from_gguf(&gguf, "gemma4")?;
    let target = Target::load(&gguf, config)?;
    let prompt: Vec<u32> = (0..args.prompt)
        .map(|i| (i * 7919 % target.vocab()) as u32)
        .collect();
    target.check_prompt(&prompt)?;
    let per_token = 2.0 * in_layers(&gguf, |elements, _| elements);
    let (mut ours, mut theirs, mut flops) = (Vec::new(), Vec::new(), Vec::new());
    let mut shares = Vec::new();
    for _ in 0..args.runs {
        let before = multiply_adds();
        let mut state = target.state(0);
        let pass = seconds(|| {
            target.read_prompt(&mut state, &prompt, |hidden| {
                black_box(hidden);
            })
        });
        let after = multiply_adds();
        ours.push(args.prompt as f64 / pass);
        flops.extend([before, after]);
        shares.push(args.prompt as f64 / pass * per_token / (0.5 * (before + after)));
        if let Some(program) = &args.llama_bench {
            theirs.push(llama_bench(program, path, args.prompt)?);
        }
    }
    let bytes: u64 = gguf.parts().iter().map(|part| part.file_len()).sum();
    let (ours, flops) = (median(ours), median(flops));
    print!(
        "prompt pass of {}: {ours:.1} tokens/s; {} of the {:.0} GFLOP/s of {} threads from registers",
        path.display(),
        Shares(shares),
        flops / 1e9,
        rayon::current_num_threads()
    );
    if !theirs.is_empty() {
        let theirs = median(theirs);
        print!(
            "; llama.cpp {theirs:.1}; it is {:.2} times as fast",
            theirs / ours
        );
    }
    if let Some(peak) = peak_memory() {
        print!("; peak memory {:.2} times the file", peak / bytes as f64);
    }
    println!();
    Ok(())
}

/// A figure of the matrices that every token is multiplied with, added up: of elements and bytes. Experts count as if all
/// were.
fn in_layers(gguf: &Gguf, figure: impl Fn(f64, f64) -> f64) -> f64 {
    let tensors = gguf.tensors().filter(|tensor| {
        let name = tensor.name.to_string();
        tensor.dims.len() > 1 && (name.starts_with("blk.") || name == "per_layer_model_proj.weight")
    });
    let bytes = |name: &str| {
        gguf.tensor(name)
            .ok()
            .flatten()
            .map_or(0, |tensor| tensor.data.len())
    };
    tensors
        .map(|tensor| {
            let elements: u64 = tensor.dims.iter().product();
            figure(elements as f64, bytes(&tensor.name.to_string()) as f64)
        })
        .sum()
}

/// One token of the target, its logits too, against streaming the weights that it needs.
fn one_token(path: &Path, args: &Args) -> Result<()> {
    let gguf = Gguf::open(&Inputs::new(), path)?;
    let target = Target::load(&gguf, Config::from_gguf(&gguf, "gemma4")?)?;
    let name = match gguf.info("output.weight") {
        Some(_) => "output.weight",
        None => "token_embd.weight",
    };
    let head = gguf.tensor(name)?.ok_or("no token_embd.weight")?.data;
    let bytes = in_layers(&gguf, |_, bytes| bytes) + head.len() as f64;
    let mut state = target.state(args.runs + 1);
    let (mut passes, mut reads) = (Vec::new(), Vec::new());
    for _ in 0..=args.runs {
        passes.push(seconds(|| {
            let hidden = target.forward(&mut state, &[2], Pass::Step);
            target.logits(&hidden, Pass::Step)
        }));
        reads.push(seconds(|| stream(head)));
    }
    let in_head = head.len() as f64 / bytes;
    let shares = passes
        .iter()
        .zip(&reads)
        .map(|(pass, read)| read / in_head / pass);
    let shares = Shares(shares.collect());
    let (pass, rate) = (median(passes), head.len() as f64 / median(reads));
    println!(
        "one token: {:.0} ms, {:.1} GB/s; from memory {:.1} GB/s; share {shares}",
        1e3 * pass,
        bytes / pass / 1e9,
        rate / 1e9,
    );
    Ok(())
}

/// Multiply-adds a second of all threads, counted as two operations each.
fn multiply_adds() -> f64 {
    const ROUNDS: usize = 4_000_000;
    let run = || {
        let threads = rayon::current_num_threads();
        let time = seconds(|| rayon::broadcast(|_| dispatch!(Level::new(), simd => chains(simd, ROUNDS))));
        let lanes = dispatch!(Level::new(), simd => lanes(simd));
        (threads * ROUNDS * CHAINS * lanes * 2) as f64 / time
    };
    median((0..25).map(|_| run()).collect())
}

/// Sums that do not wait for each other.
const CHAINS: usize = 12;

#[inline(always)]
fn lanes<S: Simd>(_: S) -> usize {
    S::f32s::LEN
}

#[inline(always)]
fn chains<S: Simd>(simd: S, rounds: usize) -> f32 {
    let mut sums = [S::f32s::splat(simd, 1.0); CHAINS];
    let (factor, step) = (
        S::f32s::splat(simd, black_box(0.999)),
        S::f32s::splat(simd, black_box(0.001)),
    );
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = sum.mul_add(factor, step);
        }
    }
    sums.iter().flat_map(|sum| sum.as_slice()).sum()
}

/// Tokens a second by llama.cpp, on as many threads as ours.
fn llama_bench(program: &Path, model: &Path, prompt: usize) -> Result<f64> {
    let threads = rayon::current_num_threads().to_string();
    let output = Command::new(program)
        .args([
            "-r",
            "1",
            "-n",
            "0",
            "-o",
            "json",
            "-t",
            &threads,
            "-p",
            &prompt.to_string(),
            "-m",
        ])
        .arg(model)
        .output()?;
    let rows: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    rows[0]["avg_ts"]
        .as_f64()
        .ok_or_else(|| "llama-bench told no avg_ts".into())
}

/// Adds up all words of a file, on all cores.
fn stream(bytes: &[u8]) -> u64 {
    bytes
        .par_chunks(1 << 20)
        .map(|chunk| {
            let words = chunk.as_chunks().0.iter();
            words.fold(0u64, |sum, word| sum.wrapping_add(u64::from_ne_bytes(*word)))
        })
        .reduce(|| 0, u64::wrapping_add)
}

/// Numbers around zero, the same in every run.
fn numbers(count: usize) -> Vec<f32> {
    (0..count)
        .map(|i| (i * 7919 % 211) as f32 / 105.0 - 1.0)
        .collect()
}

fn seconds<T>(work: impl FnOnce() -> T) -> f64 {
    let start = Instant::now();
    black_box(work());
    start.elapsed().as_secs_f64()
}

/// The shares of all runs, told by their median and range.
struct Shares(Vec<f64>);

impl fmt::Display for Shares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let least = self.0.iter().copied().fold(f64::INFINITY, f64::min);
        let most = self.0.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        write!(f, "{:.2} ({least:.2} to {most:.2})", median(self.0.clone()))
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The most memory that this process had so far, in bytes; Linux tells.
fn peak_memory() -> Option<f64> {
    #[allow(clippy::disallowed_methods)] // the system's own file
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: f64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(1024.0 * kilobytes)
}
