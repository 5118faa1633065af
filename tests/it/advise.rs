//! `advise` against the sizes that llama.cpp prints, and its predictions against simulated costs.

use crate::bench;
use crate::common::server::{Rounds, Simulated};
use crate::common::{fixture, path_str, program, refuse, result, succeed, target_metadata};
use gguf_conv::advise::memory::{Load, Model, largest_context, memory};
use gguf_conv::advise::time::{Acceptance, Costs, Experts, Point};
use gguf_conv::advise::{Forecast, fastest, forecast, measured_acceptance, points};
use gguf_conv::bench::Interrupt;
use gguf_conv::bench::analysis::{Guards, analyse};
use gguf_conv::bench::record::{Condition, Run, call_line, header_line};
use gguf_conv::bench::run::run;
use gguf_conv::gguf::{Array, Gguf, Layout, TensorSpec};
use gguf_conv::io::Inputs;
use gguf_conv::quant::GgmlType;
use serde_json::Value;
use std::path::Path;

const MIB: f64 = (1 << 20) as f64;

fn model(path: &Path, architecture: &str) -> Model {
    let gguf = Gguf::open(&Inputs::new(), path).expect("the file is there");
    Model::read(&gguf, architecture).expect("its numbers are there")
}

fn load(context: u64, parallel: u64) -> Load {
    Load {
        context,
        parallel,
        cache: GgmlType::F16,
        batch: 512,
        cpu: true,
        n_max: 3,
    }
}

/// Sizes in MiB that llama.cpp of about b11549 (PyPI xllamacpp 2026.10.11549) printed for a pair on a CPU, at
/// `tests/llama_server.py -lv 5`.
struct Printed {
    pair: &'static str,
    drafter: &'static str,
    load: Load,
    /// `CPU_Mapped model buffer size` of target and drafter.
    weights: [f64; 2],
    /// `CPU_REPACK model buffer size` of both together.
    repacked: f64,
    /// `CPU KV buffer size` of full and of sliding layers.
    cache: [f64; 2],
    /// `CPU compute buffer size` of target and drafter.
    compute: [f64; 2],
}

/// What the rule for compute buffers was fitted to.
fn fitted() -> [Printed; 2] {
    let of = |pair, weights, cache, compute| Printed {
        pair,
        drafter: "drafter-q8_0.gguf",
        load: load(4096, 1),
        weights,
        repacked: 0.0,
        cache,
        compute,
    };
    [
        of("mini-dense", [2.18, 0.30], [1.00, 0.75], [8.28, 5.94]),
        of("mini-edge", [2.40, 0.30], [1.00, 0.19], [8.03, 5.94]),
    ]
}

/// What it was not: other contexts, sequences, types of cache, batches, another drafter, and a pair with experts.
fn held_out() -> [Printed; 6] {
    let of = |pair, drafter, (context, parallel, cache, batch): (u64, u64, GgmlType, u64)| Printed {
        pair,
        drafter,
        load: Load {
            cache,
            batch,
            ..load(context, parallel)
        },
        weights: [0.0; 2],
        repacked: 0.0,
        cache: [0.0; 2],
        compute: [0.0; 2],
    };
    use GgmlType::{F16, Q4_0, Q8_0};
    [
        Printed {
            weights: [2.40, 0.30],
            cache: [1.06, 0.20],
            compute: [8.03, 5.94],
            ..of("mini-edge", "drafter-q8_0.gguf", (8192, 2, Q8_0, 512))
        },
        Printed {
            weights: [2.40, 0.30],
            cache: [2.12, 0.03],
            compute: [4.88, 4.38],
            ..of("mini-edge", "drafter-q8_0.gguf", (16384, 1, Q8_0, 128))
        },
        Printed {
            weights: [2.40, 0.18],
            repacked: 0.12,
            cache: [0.50, 0.31],
            compute: [13.06, 8.88],
            ..of("mini-edge", "drafter-lq-q4_0.gguf", (2048, 1, F16, 1024))
        },
        Printed {
            weights: [2.18, 0.30],
            cache: [1.12, 0.56],
            compute: [4.01, 2.85],
            ..of("mini-dense", "drafter-q8_0.gguf", (16384, 4, Q4_0, 256))
        },
        Printed {
            weights: [0.59, 0.17],
            cache: [2.00, 0.50],
            compute: [3.08, 2.60],
            ..of("mini-moe", "drafter-bf16.gguf", (8192, 2, F16, 256))
        },
        Printed {
            weights: [0.59, 0.17],
            cache: [1.00, 0.38],
            compute: [5.90, 5.44],
            ..of("mini-moe", "drafter-bf16.gguf", (4096, 1, F16, 512))
        },
    ]
}

/// Holds what is computed to what was printed: weights and caches exactly, the total within 5 %. Gives its error.
fn check(printed: &Printed) -> f64 {
    let file = |name: &str| fixture(&format!("{}/{name}", printed.pair));
    let target = model(&file("target-bf16.gguf"), "gemma4");
    let drafter = model(&file(printed.drafter), "gemma4-assistant");
    let memory = memory(&target, Some(&drafter), &printed.load);
    // What is printed has two digits behind the point.
    let same = |what: &str, bytes: u64, mib: f64| {
        assert!(
            (bytes as f64 / MIB - mib).abs() <= 0.0051,
            "{}, {:?}: {what} {} is not {mib}",
            printed.pair,
            printed.load,
            bytes as f64 / MIB
        );
    };
    same("target", memory.target_weights, printed.weights[0]);
    same("drafter", memory.drafter_weights, printed.weights[1]);
    same("interleaved", memory.repacked_weights, printed.repacked);
    same("full layers", memory.full_cache, printed.cache[0]);
    same("sliding layers", memory.sliding_cache, printed.cache[1]);
    let parts = printed
        .weights
        .iter()
        .chain(&printed.cache)
        .chain(&printed.compute);
    let all = parts.sum::<f64>() + printed.repacked;
    let error = (memory.total() - memory.output) as f64 / MIB / all - 1.0;
    println!(
        "{}, {:?}: {:+.1} % of {all:.2} MiB",
        printed.pair,
        printed.load,
        100.0 * error
    );
    assert!(
        error.abs() <= 0.05,
        "{}, {:?}: {error} of {all}",
        printed.pair,
        printed.load
    );
    error
}

#[test]
fn memory_is_what_llama_cpp_prints() {
    fitted().iter().for_each(|printed| {
        check(printed);
    });
    // Four sequences, each with a cache of its own: 512 positions, fewer than a sliding layer's window and batch.
    let target = model(&fixture("mini-dense/target-bf16.gguf"), "gemma4");
    let four = memory(&target, None, &load(2048, 4));
    assert_eq!((four.full_cache, four.sliding_cache), (1 << 19, 2 << 20));
}

#[test]
fn memory_is_what_llama_cpp_prints_where_the_rule_was_not_fitted() {
    held_out().iter().for_each(|printed| {
        check(printed);
    });
}

/// A target of E4B's size in Q4_K and Q6_K: a header, and a hole where the data would lie.
#[cfg(unix)]
fn e4b_target(path: &Path) {
    use GgmlType::{F32, Q4_K, Q6_K};
    let (width, ffn, heads, layers, own) = (2560, 10240, 8, 42, 24);
    let (vocab, per_layer) = (262_144, 256);
    let is_full = |layer: u64| (layer + 1).is_multiple_of(6);
    let mut metadata = target_metadata(width as u32, [256, 512], 2, &["<pad>"]);
    for (key, value) in [
        ("block_count", layers),
        ("context_length", 131_072),
        ("feed_forward_length", ffn),
        ("attention.head_count", heads),
        ("attention.sliding_window", 512),
        ("attention.shared_kv_layers", layers - own),
        ("embedding_length_per_layer_input", per_layer),
    ] {
        metadata.set(format!("gemma4.{key}"), value as u32);
    }
    let kinds = (0..layers).map(|layer| !is_full(layer)).collect();
    metadata.set("gemma4.attention.sliding_window_pattern", Array::Bool(kinds));
    let mut tensors = Vec::new();
    let mut add = |name: String, dims: &[u64], ty: GgmlType| {
        tensors.push(TensorSpec {
            name: name.into(),
            dims: dims.to_vec(),
            ty: ty.into(),
            size: ty.bytes(dims.iter().product()).expect("whole blocks"),
        });
    };
    add("rope_freqs.weight".to_owned(), &[256], F32);
    add("token_embd.weight".to_owned(), &[width, vocab], Q6_K);
    add(
        "per_layer_token_embd.weight".to_owned(),
        &[per_layer * layers, vocab],
        Q4_K,
    );
    add(
        "per_layer_model_proj.weight".to_owned(),
        &[width, per_layer * layers],
        Q4_K,
    );
    add("per_layer_proj_norm.weight".to_owned(), &[per_layer], F32);
    for layer in 0..layers {
        let mut add = |name: &str, dims: &[u64], ty| add(format!("blk.{layer}.{name}.weight"), dims, ty);
        let head_dim = if is_full(layer) { 512 } else { 256 };
        for name in [
            "attn_norm",
            "post_attention_norm",
            "ffn_norm",
            "post_ffw_norm",
            "post_norm",
        ] {
            add(name, &[width], F32);
        }
        add("layer_output_scale", &[1], F32);
        add("attn_q_norm", &[head_dim], F32);
        add("attn_q", &[width, heads * head_dim], Q4_K);
        add("attn_output", &[heads * head_dim, width], Q4_K);
        if layer < own {
            add("attn_k_norm", &[head_dim], F32);
            add("attn_k", &[width, 2 * head_dim], Q4_K);
            add("attn_v", &[width, 2 * head_dim], Q6_K);
        }
        add("ffn_gate", &[width, ffn], Q4_K);
        add("ffn_up", &[width, ffn], Q4_K);
        add(
            "ffn_down",
            &[ffn, width],
            if layer % 2 == 1 { Q6_K } else { Q4_K },
        );
        add("inp_gate", &[width, per_layer], Q4_K);
        add("proj", &[per_layer, width], Q4_K);
    }
    add("output_norm.weight".to_owned(), &[width], F32);
    let layout = Layout::new(&metadata, &tensors).expect("the file can be laid out");
    std::fs::write(path, &layout.header).expect("written");
    let file = std::fs::OpenOptions::new().write(true).open(path);
    file.and_then(|file| file.set_len(layout.file_len))
        .expect("a hole can be made");
}

#[cfg(unix)]
#[test]
fn memory_of_a_target_of_e4bs_size_is_what_llama_cpp_prints() {
    // llama.cpp b11434: llama-speculative-simple -c 8192 -ub 512 --no-repack -lv 4.
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("e4b.gguf");
    e4b_target(&path);
    let load = Load {
        cpu: false,
        ..load(8192, 1)
    };
    let memory = memory(&model(&path, "gemma4"), None, &load);
    let mib = |bytes: u64| bytes as f64 / MIB;
    assert!(
        (mib(memory.target_weights) - 4314.69).abs() < 0.0051,
        "{memory:?}"
    );
    assert_eq!((memory.full_cache, memory.sliding_cache), (128 << 20, 40 << 20));
    assert!((mib(memory.output) - 1.0).abs() < 0.01, "{memory:?}");
    let printed = 4314.69 + 128.0 + 40.0 + 116.03;
    assert!(
        (mib(memory.total() - memory.output) / printed - 1.0).abs() < 0.005,
        "{memory:?}"
    );
    assert!(
        (mib(memory.target_compute) / 116.03 - 1.0).abs() < 0.05,
        "{memory:?}"
    );
}

#[test]
fn the_largest_context_fits_and_the_next_does_not() {
    let target = model(&fixture("mini-dense/target-bf16.gguf"), "gemma4");
    let available = 12 << 20;
    let largest = largest_context(&target, None, &load(4096, 1), available).expect("some context fits");
    let total = |context| memory(&target, None, &load(context, 1)).total();
    assert!(
        total(largest) <= available && total(largest + 256) > available,
        "{largest}"
    );
    assert_eq!(largest_context(&target, None, &load(4096, 1), 1 << 20), None);
}

/// Lengths of drafts that are measured; off and the longest are what predictions rest on.
const LENGTHS: [u32; 7] = [0, 1, 2, 3, 4, 6, 8];

/// Benchmarks simulated servers whose rounds take `seconds` by length of the draft, one for each of [`LENGTHS`].
fn benchmark(seconds: &[f64], chances: &[f64], seed: u64) -> Run {
    let servers: Vec<(Condition, Simulated)> = LENGTHS
        .into_iter()
        .map(|n_max| {
            let rounds = Rounds {
                n_max,
                chances: chances.to_vec(),
                seconds: seconds.to_vec(),
                noise: 0.02,
            };
            let off = (n_max > 0).then_some("n-max 0");
            let condition = bench::condition(&format!("n-max {n_max}"), n_max, off);
            (condition, rounds.server(seed * 100 + u64::from(n_max)))
        })
        .collect();
    let mut plan = bench::plan(
        servers.iter().map(|(c, server)| (c.clone(), server)).collect(),
        seed,
    );
    plan.kinds
        .retain(|kind| ["code", "chat"].contains(&kind.name.as_str()));
    (plan.calls, plan.predict) = (48, 512);
    for prompt in plan.kinds.iter_mut().flat_map(|kind| &mut kind.prompts) {
        prompt.predict = 512;
    }
    run(plan, None, &Interrupt::default(), &mut |_| Ok(())).expect("it runs")
}

/// What two conditions predict to be fastest is measured fastest, or within 3 % of it.
fn check_best(what: &str, measured: &Run, experts: Option<Experts>) -> Forecast {
    let analysis = analyse(measured, &Guards::default());
    let points = points(&analysis);
    assert_eq!(points.len(), LENGTHS.len(), "{what}");
    let acceptance = Acceptance::new(&measured_acceptance(&analysis).expect("it is told"));
    let (costs, forecast) = forecast(&points, &acceptance, experts).expect("two conditions are there");
    assert_eq!(forecast.fitted, [0, 8], "{what}");
    let predictions = LENGTHS.map(|n| costs.predict(n, &acceptance));
    check_measured(
        what,
        &points,
        fastest(&predictions).expect("there are some").n_max,
    );
    forecast
}

#[track_caller]
fn check_measured(what: &str, points: &[Point], chosen: u32) {
    let speed = |n: u32| {
        points
            .iter()
            .find(|point| point.n_max == n)
            .expect("measured")
            .speed
    };
    let best = points.iter().map(|point| point.speed).fold(0.0, f64::max);
    assert!(
        speed(chosen) >= 0.97 * best,
        "{what}: {chosen} gives {} of {best}",
        speed(chosen)
    );
}

/// Shares accepted up to each place: of code, of prose, of something that the drafter does not know.
const CHANCES: [[f64; 8]; 3] = [
    [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.33, 0.27],
    [0.6, 0.35, 0.2, 0.1, 0.06, 0.03, 0.02, 0.01],
    [0.3, 0.1, 0.03, 0.01, 0.0, 0.0, 0.0, 0.0],
];

/// Seconds of rounds with drafts of 0 to 8 tokens: a pass, 2.5 ms a step of the drafter, and for each token looked at half
/// a millisecond that rises a little, as caches and kernels make it.
fn dense(pass: f64, overhead: f64) -> Vec<f64> {
    let drafting = |n: f64| overhead + 0.0025 * n + 0.0005 * n * (1.0 + n / 20.0);
    (0..=8)
        .map(|n| pass + if n > 0 { drafting(f64::from(n)) } else { 0.0 })
        .collect()
}

#[test]
fn the_best_n_max_on_simulated_servers_is_predicted_from_two_conditions() {
    let folder = tempfile::tempdir().expect("a folder");
    let jsonl = folder.path().join("run.jsonl");
    let (target, drafter) = (
        fixture("mini-dense/target-bf16.gguf"),
        fixture("mini-dense/drafter-q8_0.gguf"),
    );
    for (seed, chances) in (0..).zip(CHANCES) {
        // A light target of 6 ms a pass, and a heavy one of 80.
        for (what, seconds) in [("light", dense(0.006, 0.0005)), ("heavy", dense(0.080, 0.002))] {
            let run = benchmark(&seconds, &chances, seed);
            check_best(what, &run, None);
            // The program says the same of the file.
            let mut lines = header_line(&run.header).expect("JSON");
            run.calls
                .iter()
                .for_each(|call| lines += &call_line(call).expect("JSON"));
            std::fs::write(&jsonl, lines).expect("written");
            let args = [
                "advise",
                "--target",
                path_str(&target),
                "--drafter",
                path_str(&drafter),
            ];
            let (json, _) = succeed(&[&args[..], &["--measured", path_str(&jsonl), "--json"]].concat());
            let best = result(&json)["best_n_max"].as_u64().expect("a number") as u32;
            check_measured(what, &points(&analyse(&run, &Guards::default())), best);
        }
        // Experts: of 128 eight a token, counted by drawing them; a pass over one token is 60 % experts.
        let mut rng = fastrand::Rng::with_seed(4);
        let mut touched = |tokens: u32| {
            let draws = 400;
            let mut draw = || {
                let mut seen = [false; 128];
                for _ in 0..=tokens {
                    rng.choose_multiple(0..128_usize, 8)
                        .into_iter()
                        .for_each(|expert| seen[expert] = true);
                }
                seen.iter().filter(|seen| **seen).count()
            };
            (0..draws).map(|_| draw()).sum::<usize>() as f64 / f64::from(draws)
        };
        let round = |n: u32| 0.015 * (0.4 + 0.6 * touched(n) / 8.0) + 0.0012 * f64::from(n);
        let seconds: Vec<f64> = (0..=8).map(round).collect();
        let experts = Experts {
            count: 128.0,
            used: 8.0,
            share: 0.6,
        };
        let forecast = check_best("experts", &benchmark(&seconds, &chances, seed), Some(experts));
        assert!(
            forecast.median_error.expect("others were measured") < 0.05,
            "{forecast:?}"
        );
    }
}

#[test]
fn costs_that_bandwidth_gives_favour_heavy_targets() {
    let acceptance = Acceptance::even(0.7);
    let ratio = |target: f64| {
        Costs::of_bandwidth(target, 4e8, 4e11, None)
            .predict(3, &acceptance)
            .ratio
    };
    assert!(ratio(17e9) > ratio(4e9) && ratio(4e9) > ratio(1e9));
}

#[test]
fn advice_is_given_in_words_and_for_programs() {
    let (target, drafter) = (
        fixture("mini-dense/target-bf16.gguf"),
        fixture("mini-dense/drafter-q8_0.gguf"),
    );
    let pair = [
        "advise",
        "--target",
        path_str(&target),
        "--drafter",
        path_str(&drafter),
    ];
    let folder = tempfile::tempdir().expect("a folder");
    let verify = folder.path().join("verify.json");
    std::fs::write(
        &verify,
        r#"{"results":[{"acceptance":{"by_position":[{"rate":0.8},{"rate":0.6}]}}]}"#,
    )
    .expect("written");
    let mut args = pair.to_vec();
    args.extend([
        "--memory",
        "1G",
        "--bandwidth",
        "40G",
        "--acceptance",
        path_str(&verify),
    ]);
    let (text, _) = succeed(&args);
    for words in [
        "fits: takes",
        "--spec-type draft-mtp",
        "DRAFT ",
        "expected to be fastest",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    args.push("--json");
    let (json, _) = succeed(&args);
    let json: Value = serde_json::from_str(&json).expect("JSON");
    let result = &json["results"][0];
    assert_eq!(json["command"], "advise");
    assert!(
        result["largest_context"]
            .as_u64()
            .is_some_and(|context| context == 4096),
        "{result}"
    );
    assert!(result["best_n_max"].as_u64().is_some_and(|n| n > 0));

    let mut args = pair.to_vec();
    args.extend(["--memory", "4M"]);
    let output = program().args(&args).output().expect("the program starts");
    assert_eq!(output.status.code(), Some(1));
    std::fs::write(&verify, "{}").expect("written");
    let mut args = pair.to_vec();
    args.extend(["--acceptance", path_str(&verify)]);
    refuse(3, &["no acceptance", "verify --json"], &args);
}
