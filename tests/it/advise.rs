//! `advise` against the sizes that llama.cpp prints, and its predictions against simulated costs.

use crate::common::{fixture, path_str, program, refuse, succeed};
use gguf_conv::advise::memory::{Load, Memory, Model, largest_context, memory};
use gguf_conv::advise::time::{Acceptance, Costs, Experts, Point};
use gguf_conv::advise::{Forecast, fastest, forecast};
use gguf_conv::gguf::Gguf;
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

/// Sizes in MiB from the log of llama.cpp of about b11549 (PyPI xllamacpp 2026.10.11549), with --ubatch-size 512 on a CPU:
/// pair, drafter, context, parallel, and of the log both model buffers, keys and values of full and of sliding layers, the
/// compute buffers of target and drafter.
type Printed = (&'static str, &'static str, u64, u64, [f64; 2], [f64; 2], [f64; 2]);

const PRINTED: [Printed; 2] = [
    (
        "mini-dense/target-bf16.gguf",
        "mini-dense/drafter-q8_0.gguf",
        4096,
        1,
        [2.18, 0.30],
        [1.00, 0.75],
        [8.28, 5.94],
    ),
    (
        "mini-edge/target-bf16.gguf",
        "mini-edge/drafter-q8_0.gguf",
        4096,
        1,
        [2.40, 0.30],
        [1.00, 0.19],
        [8.03, 5.94],
    ),
];

fn check(memory: &Memory, (target, _, _, _, weights, cache, compute): &Printed) {
    // What is printed has two digits behind the point.
    let same = |what: &str, bytes: u64, printed: f64| {
        assert!(
            (bytes as f64 / MIB - printed).abs() <= 0.0051,
            "{target}: {what} {} is not {printed}",
            bytes as f64 / MIB
        );
    };
    same("target", memory.target_weights, weights[0]);
    same("drafter", memory.drafter_weights, weights[1]);
    same("full layers", memory.full_cache, cache[0]);
    same("sliding layers", memory.sliding_cache, cache[1]);
    let printed: f64 = weights.iter().chain(cache).chain(compute).sum();
    let ours = (memory.total() - memory.output - memory.repacked_weights) as f64 / MIB;
    assert!(
        (ours / printed - 1.0).abs() <= 0.05,
        "{target}: {ours} of {printed} in all"
    );
}

#[test]
fn memory_is_what_llama_cpp_prints() {
    for printed in PRINTED {
        let (target, drafter, context, parallel, ..) = printed;
        let target = model(&fixture(target), "gemma4");
        let drafter = model(&fixture(drafter), "gemma4-assistant");
        check(
            &memory(&target, Some(&drafter), &load(context, parallel)),
            &printed,
        );
    }
    // Four sequences, each with a cache of its own: 512 positions, fewer than a sliding layer's window and batch.
    let target = model(&fixture("mini-dense/target-bf16.gguf"), "gemma4");
    let four = memory(&target, None, &load(2048, 4));
    assert_eq!((four.full_cache, four.sliding_cache), (1 << 19, 2 << 20));
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

/// A server whose rounds cost what `round` says, in seconds by tokens that the target looks at.
fn points(round: impl Fn(u32) -> f64, acceptance: &Acceptance) -> Vec<Point> {
    let point = |n: u32| Point {
        n_max: n,
        speed: acceptance.length(n) / round(n),
        length: acceptance.length(n),
    };
    [0, 1, 2, 3, 4, 6].map(point).to_vec()
}

/// Predicted from two conditions, the best is measured best or within 3 % of it.
fn check_best(what: &str, points: &[Point], acceptance: &Acceptance, experts: Option<Experts>) -> Forecast {
    let (costs, forecast) = forecast(points, acceptance, experts).expect("two conditions are there");
    let predictions: Vec<_> = points
        .iter()
        .map(|point| costs.predict(point.n_max, acceptance))
        .collect();
    let chosen = fastest(&predictions).expect("there are some").n_max;
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
    forecast
}

#[test]
fn the_best_n_max_is_predicted_from_two_conditions() {
    // Light: 6 ms a pass, 0.5 ms a token looked at, 2.5 ms a step of the drafter. Heavy: 80 ms a pass, the rest the same,
    // and 2 ms a round. Each round rises a little faster than its tokens, as caches and kernels make it.
    let round = |pass: f64, overhead: f64| {
        move |n: u32| {
            let n = f64::from(n);
            let drafting = if n > 0.0 {
                overhead + 0.0025 * n + 0.0005 * n * (1.0 + n / 20.0)
            } else {
                0.0
            };
            pass + drafting
        }
    };
    for chances in [
        [0.9, 0.8, 0.7, 0.6, 0.5, 0.4],
        [0.6, 0.35, 0.2, 0.1, 0.06, 0.03],
        [0.3, 0.1, 0.03, 0.01, 0.0, 0.0],
    ] {
        let acceptance = Acceptance::new(&chances);
        check_best(
            "light",
            &points(round(0.006, 0.0005), &acceptance),
            &acceptance,
            None,
        );
        check_best(
            "heavy",
            &points(round(0.080, 0.002), &acceptance),
            &acceptance,
            None,
        );

        // Experts: of 128 eight a token, counted by drawing them; a pass over one token is 60 % experts.
        let mut rng = fastrand::Rng::with_seed(4);
        let touched: Vec<f64> = (0..8)
            .map(|tokens| {
                let draws = 400;
                let sum: usize = (0..draws)
                    .map(|_| {
                        let mut seen = [false; 128];
                        for _ in 0..=tokens {
                            rng.choose_multiple(0..128_usize, 8)
                                .into_iter()
                                .for_each(|expert| seen[expert] = true);
                        }
                        seen.iter().filter(|seen| **seen).count()
                    })
                    .sum();
                sum as f64 / f64::from(draws)
            })
            .collect();
        let with_experts = |n: u32| {
            let looked_at = 0.4 + 0.6 * touched[n as usize] / 8.0;
            0.015 * looked_at + 0.0012 * f64::from(n)
        };
        let experts = Experts {
            count: 128.0,
            used: 8.0,
            share: 0.6,
        };
        let forecast = check_best(
            "experts",
            &points(with_experts, &acceptance),
            &acceptance,
            Some(experts),
        );
        assert!(forecast.median_error.expect("others were measured") < 0.05);
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
