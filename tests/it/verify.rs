//! `verify` against transformers' and llama.cpp's figures, and against planted faults.

use crate::common::{PAIRS, fixture, path_str, with};
use gguf_conv::gguf::Gguf;
use gguf_conv::io::Inputs;
use gguf_conv::model::{Arithmetic, CacheType, Compute, Config, Head, Target, Window};
use gguf_conv::verify::{Limits, Options, Prompt, Report, verify};
use half::{bf16, f16};
use safetensors::SafeTensors;
use serde_json::Value;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// What transformers made of a pair.
struct Reference {
    json: Value,
}

impl Reference {
    fn of(pair: &str) -> Reference {
        let text = std::fs::read(fixture(pair).join("reference.json")).unwrap();
        Reference {
            json: serde_json::from_slice(&text).unwrap(),
        }
    }

    fn tokens(&self, key: &str) -> Vec<u32> {
        let tokens = self.json[key].as_array().unwrap();
        tokens
            .iter()
            .map(|token| token.as_u64().unwrap() as u32)
            .collect()
    }

    fn text(&self) -> Prompt {
        Prompt::Text(self.json["text"].as_str().unwrap().to_owned())
    }
}

/// What only the newest positions go through must leave the same behind, batch by batch.
#[test]
fn hidden_states_of_the_newest_positions_are_those_of_a_whole_pass() {
    for pair in PAIRS {
        let gguf = Gguf::open(&Inputs::new(), &fixture(pair).join("target-bf16.gguf")).unwrap();
        let config = Config::from_gguf(&gguf, "gemma4").unwrap();
        let width = config.width;
        let target = Target::load(&gguf, config).unwrap();
        // More than one batch.
        let prompt: Vec<u32> = (0..530).map(|i| (i * 7919 % 200) as u32).collect();
        let read = |newest: usize, layers: &[usize]| {
            let mut state = target.tapped_state(usize::MAX, layers);
            let mut hidden = Vec::new();
            target.read_prompt_while(&mut state, &prompt, newest, |rows, _| {
                hidden.extend_from_slice(rows);
                true
            });
            let kv = target.shared_kv(&state);
            let mut taps = Vec::new();
            state.taps().gather(layers, 500, &mut taps);
            (hidden, [kv.full, kv.sliding].map(|cache| cache.keys()), taps)
        };
        let last = target.config().layers.len();
        for layers in [&[][..], &[1, last - 1], &[last]] {
            let (all, kept, taps) = read(prompt.len(), layers);
            assert_eq!(
                (all.len(), taps.len()),
                (prompt.len() * width, layers.len() * width)
            );
            for newest in [0, 1, 17, 40] {
                let (hidden, still_kept, still_tapped) = read(newest, layers);
                assert_eq!(hidden, all[(prompt.len() - newest) * width..], "{pair} {newest}");
                assert!(still_kept == kept && still_tapped == taps, "{pair} {newest}");
            }
        }
    }
}

fn options(pair: &str, drafter: PathBuf) -> Options {
    with(
        Options::new(drafter, fixture(pair).join("target-bf16.gguf")),
        |o| o.prompt = Reference::of(pair).text(),
    )
}

fn with_source(pair: &str, drafter: PathBuf) -> Options {
    with(options(pair, drafter), |o| {
        o.source = Some(fixture(pair).join("drafter"))
    })
}

/// The pairs' trained weights leave errors near 1e-6; the bar is a tenfold of that.
#[test]
fn every_intermediate_is_that_of_transformers() {
    for (pair, head) in [("mini-dense", Head::Dense), ("mini-edge", Head::Centroid)] {
        let folder = TempDir::new().unwrap();
        let dump = folder.path().join("dump.safetensors");
        let reference = Reference::of(pair);
        let report = verify(
            &Inputs::new(),
            &with(with_source(pair, fixture(pair).join("drafter-q8_0.gguf")), |o| {
                o.window = Window::Transformers;
                o.head = head;
                o.dump = Some(dump.clone());
                o.limits = Limits {
                    generate: 64,
                    ..Limits::default()
                };
            }),
        )
        .unwrap();
        assert!(report.verdict.ok, "{}", report.verdict.line);
        assert_eq!(report.prompt, reference.tokens("prompt"));
        let forward = report.forward.unwrap();
        assert_eq!(u64::from(forward.next), reference.json["next"].as_u64().unwrap());
        assert_eq!(forward.source_drafted.unwrap(), reference.tokens("drafted"));
        let acceptance = report.acceptance.unwrap();
        assert_eq!(acceptance.output_is_greedy, Some(true));
        assert_eq!(acceptance.output.unwrap()[..64], reference.tokens("greedy"));
        compare_dumps(&fixture(pair).join("reference.safetensors"), &dump, |_| 1e-5);
    }
}

/// Experts, with random weights: there rounding grows about tenfold a draft step, and of the later steps only the tokens
/// are compared.
#[test]
fn experts_give_what_transformers_gives() {
    let folder = TempDir::new().unwrap();
    let dump = folder.path().join("dump.safetensors");
    let reference = Reference::of("mini-moe");
    let report = verify(
        &Inputs::new(),
        &with(
            options("mini-moe", fixture("mini-moe").join("drafter-bf16.gguf")),
            |o| {
                o.window = Window::Transformers;
                o.dump = Some(dump.clone());
                o.prompt = Prompt::Tokens(reference.tokens("prompt"));
            },
        ),
    )
    .unwrap();
    let forward = report.forward.unwrap();
    assert_eq!(u64::from(forward.next), reference.json["next"].as_u64().unwrap());
    assert_eq!(forward.drafted, reference.tokens("drafted"));
    let acceptance = report.acceptance.unwrap();
    assert_eq!(acceptance.output_is_greedy, Some(true));
    assert_eq!(acceptance.output.unwrap()[..64], reference.tokens("greedy"));
    let expected = fixture("mini-moe").join("reference.safetensors");
    compare_dumps(&expected, &dump, |name| match name.split_once('.') {
        Some(("step0", _)) => 1e-3,
        Some(("step1" | "step2" | "step3", _)) => 1.0,
        _ => 1e-5,
    });
}

/// `bar`: the largest error of a tensor, relative to its largest element.
fn compare_dumps(expected: &Path, found: &Path, bar: impl Fn(&str) -> f32) {
    let (expected, found) = (std::fs::read(expected).unwrap(), std::fs::read(found).unwrap());
    let expected = SafeTensors::deserialize(&expected).unwrap();
    let found = SafeTensors::deserialize(&found).unwrap();
    assert_eq!(expected.len(), found.len());
    for (name, tensor) in expected.tensors() {
        let other = found.tensor(&name).unwrap();
        assert_eq!(
            (tensor.dtype(), tensor.shape()),
            (other.dtype(), other.shape()),
            "{name}"
        );
        if name == "prompt" {
            assert_eq!(tensor.data(), other.data());
            continue;
        }
        let numbers = |data: &[u8]| -> Vec<f32> {
            let elements = data.as_chunks().0.iter();
            elements.map(|b| f32::from_le_bytes(*b)).collect()
        };
        let (a, b) = (numbers(tensor.data()), numbers(other.data()));
        let largest = a.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        let error = a.iter().zip(&b).fold(0.0f32, |m, (a, b)| m.max((a - b).abs()));
        assert!(error <= bar(&name) * largest, "{name}: {error} of {largest}");
    }
}

/// Drafted and accepted of `llama-speculative-simple --spec-type draft-mtp --spec-draft-n-max 3 -n 128 --temp 0` on the
/// same files and prompt.
const FIGURES: [(&str, &str, usize, usize); 4] = [
    ("mini-dense", "drafter-q8_0.gguf", 104, 97),
    ("mini-dense", "drafter-lq-q4_0.gguf", 107, 96),
    ("mini-edge", "drafter-q8_0.gguf", 127, 89),
    ("mini-edge", "drafter-lq-q4_0.gguf", 130, 88),
];

/// It keeps keys and values in f16 and multiplies quantized blocks by 8-bit activations, so near-ties fall otherwise.
#[test]
fn acceptance_is_that_of_llama_cpp() {
    for (pair, drafter, drafted, accepted) in FIGURES {
        let report = verify(&Inputs::new(), &options(pair, fixture(pair).join(drafter))).unwrap();
        let ours = report.acceptance.unwrap();
        let near = |ours: usize, theirs: usize| ours.abs_diff(theirs) * 20 <= theirs;
        assert!(
            near(ours.drafted, drafted),
            "{pair} {drafter}: {} drafted, not {drafted}",
            ours.drafted
        );
        assert!(
            near(ours.accepted, accepted),
            "{pair} {drafter}: {} accepted, not {accepted}",
            ours.accepted
        );
    }
}

#[test]
fn in_its_arithmetic_acceptance_differs_from_llama_cpp_by_two_at_most_on_average() {
    let mut apart = 0;
    for (pair, drafter, drafted, accepted) in FIGURES {
        let options = with(options(pair, fixture(pair).join(drafter)), |o| {
            o.compute = Compute {
                arithmetic: Arithmetic::LlamaCpp,
                cache_type: CacheType::F16,
            }
        });
        let ours = verify(&Inputs::new(), &options).unwrap().acceptance.unwrap();
        apart += ours.drafted.abs_diff(drafted) + ours.accepted.abs_diff(accepted);
    }
    assert!(apart <= 2 * 2 * FIGURES.len(), "{apart} in all");
}

/// What the verifying passes said is the text that the target writes alone.
#[test]
fn the_greedy_text_is_proved_on_request_and_where_the_target_is_small() {
    let proving = |prove_greedy| {
        let options = with(
            with_source("mini-edge", fixture("mini-edge").join("drafter-q8_0.gguf")),
            |o| {
                o.prove_greedy = prove_greedy;
                o.limits = Limits {
                    generate: 24,
                    ..Limits::default()
                };
            },
        );
        verify(&Inputs::new(), &options).unwrap().acceptance.unwrap()
    };
    assert_eq!(proving(None).output_is_greedy, Some(true));
    assert_eq!(proving(Some(true)).output_is_greedy, Some(true));
    let unproved = proving(Some(false));
    assert_eq!(unproved.output_is_greedy, None);
    assert_eq!(unproved.output, proving(None).output);
}

#[test]
fn good_files_pass_with_and_without_a_source() {
    for pair in PAIRS {
        for drafter in ["drafter-q8_0.gguf", "drafter-lq-q4_0.gguf"] {
            for options in [options, with_source] {
                let report = verify(&Inputs::new(), &options(pair, fixture(pair).join(drafter))).unwrap();
                assert!(report.verdict.ok, "{pair} {drafter}: {}", report.verdict.line);
                assert!(report.findings.is_empty(), "{:?}", report.findings);
            }
        }
    }
}

/// A copy of a GGUF whose tensors can be changed in place.
struct Patch {
    folder: TempDir,
    gguf: Gguf,
    bytes: Vec<u8>,
}

impl Patch {
    fn new(path: &Path) -> Patch {
        Patch {
            folder: TempDir::new().unwrap(),
            gguf: Gguf::open(&Inputs::new(), path).unwrap(),
            bytes: std::fs::read(path).unwrap(),
        }
    }

    fn tensor(&mut self, name: &str) -> &mut [u8] {
        let info = self.gguf.info(name).unwrap();
        let start = (self.gguf.parts()[0].header.data_offset + info.offset) as usize;
        &mut self.bytes[start..][..info.size().unwrap() as usize]
    }

    fn row(&mut self, name: &str, row: usize) -> &mut [u8] {
        let info = self.gguf.info(name).unwrap();
        let bytes = info.ty.known().unwrap().bytes(info.row_len()).unwrap() as usize;
        &mut self.tensor(name)[row * bytes..][..bytes]
    }

    fn rows(&mut self, name: &str, change: impl Fn(&mut [u8])) {
        let rows = self.gguf.info(name).unwrap().dims[1] as usize;
        (0..rows).for_each(|row| change(self.row(name, row)));
    }

    fn exchange(&mut self, a: &str, b: &str) {
        let (first, second) = (self.tensor(a).to_vec(), self.tensor(b).to_vec());
        self.tensor(a).copy_from_slice(&second);
        self.tensor(b).copy_from_slice(&first);
    }

    fn floats(&mut self, name: &str, values: &[f32]) {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.tensor(name).copy_from_slice(&bytes);
    }

    fn save(&self) -> PathBuf {
        let path = self.folder.path().join("drafter.gguf");
        std::fs::write(&path, &self.bytes).unwrap();
        path
    }
}

/// Expects a fault whose sentence has these words, with and without a source.
#[track_caller]
fn caught(pair: &str, patch: &Patch, words: &[&str]) {
    for options in [options, with_source] {
        let report = verify(&Inputs::new(), &options(pair, patch.save())).unwrap();
        assert_fault(&report, words);
    }
}

#[track_caller]
fn assert_fault(report: &Report, words: &[&str]) {
    assert!(!report.verdict.ok, "{}", report.verdict.line);
    let says = |message: &str| words.iter().all(|word| message.contains(word));
    let told = report
        .findings
        .iter()
        .any(|finding| finding.is_error() && says(&finding.message));
    assert!(told, "{words:?} not in {:?}", report.findings);
}

const PRE_PROJECTION: &str = "nextn.pre_projection.weight";

fn q8_0(pair: &str) -> Patch {
    Patch::new(&fixture(pair).join("drafter-q8_0.gguf"))
}

#[test]
fn queries_of_two_layers_exchanged() {
    for pair in PAIRS {
        let mut patch = q8_0(pair);
        for part in ["attn_q", "attn_output"] {
            patch.exchange(&format!("blk.0.{part}.weight"), &format!("blk.1.{part}.weight"));
        }
        caught(
            pair,
            &patch,
            &["attn_q and attn_output of blk.0 and blk.1 are exchanged"],
        );
    }
}

#[test]
fn a_scale_left_at_one() {
    let pair = "mini-dense";
    let mut patch = q8_0(pair);
    // The trained drafters have 1 everywhere, so the others are given scales first.
    for (l, scale) in [0.5625f32, 1.0, 0.53125, 0.59375].into_iter().enumerate() {
        patch.floats(&format!("blk.{l}.layer_output_scale.weight"), &[scale]);
    }
    let report = verify(&Inputs::new(), &options(pair, patch.save())).unwrap();
    assert_fault(
        &report,
        &["blk.1.layer_output_scale.weight is exactly 1, the other layers have 0.5625"],
    );

    let patch = q8_0(pair);
    let source = checkpoint_with_scale(pair, "model.layers.1.layer_scalar", 0.5625);
    let report = verify(
        &Inputs::new(),
        &with(options(pair, patch.save()), |o| {
            o.source = Some(source.path().to_owned())
        }),
    )
    .unwrap();
    assert_fault(
        &report,
        &["blk.1.layer_output_scale.weight is 1, the source has 0.5625"],
    );
}

/// A copy of a drafter's checkpoint with another scalar.
fn checkpoint_with_scale(pair: &str, name: &str, value: f32) -> TempDir {
    let folder = TempDir::new().unwrap();
    let source = fixture(pair).join("drafter");
    std::fs::copy(source.join("config.json"), folder.path().join("config.json")).unwrap();
    let mut bytes = std::fs::read(source.join("model.safetensors")).unwrap();
    let at = {
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let data = tensors.tensor(name).unwrap().data();
        data.as_ptr() as usize - bytes.as_ptr() as usize
    };
    bytes[at..at + 2].copy_from_slice(&bf16::from_f32(value).to_le_bytes());
    std::fs::write(folder.path().join("model.safetensors"), bytes).unwrap();
    folder
}

#[test]
fn rotary_factors_all_one() {
    for pair in PAIRS {
        let mut patch = q8_0(pair);
        patch.floats("rope_freqs.weight", &[1.0; 32]);
        caught(pair, &patch, &["rope_freqs.weight has no unrotated part"]);
    }
}

#[test]
fn halves_of_the_projection_exchanged() {
    for pair in PAIRS {
        let mut patch = q8_0(pair);
        patch.rows(PRE_PROJECTION, |row| row.rotate_left(row.len() / 2));
        caught(
            pair,
            &patch,
            &["the two halves of nextn.pre_projection.weight are exchanged"],
        );
    }
}

#[test]
fn embeddings_not_scaled() {
    for pair in PAIRS {
        let mut patch = q8_0(pair);
        patch.rows(PRE_PROJECTION, |row| {
            let embedding = row.len() / 2;
            for block in row[..embedding].chunks_exact_mut(34) {
                let d = f16::from_le_bytes([block[0], block[1]]).to_f32() / 128f32.sqrt();
                block[..2].copy_from_slice(&f16::from_f32(d).to_le_bytes());
            }
        });
        caught(pair, &patch, &["the embeddings are not scaled", "√128"]);
    }
}

#[test]
fn a_drafter_of_another_target() {
    let words = [
        "does not belong to this target",
        "key and value heads of sliding layers is 1, the target's 2",
    ];
    let report = verify(
        &Inputs::new(),
        &options("mini-dense", fixture("mini-edge").join("drafter-q8_0.gguf")),
    )
    .unwrap();
    assert_fault(&report, &words);
}

/// The other target has the same numbers; its hidden states mean other things.
#[test]
fn a_drafter_of_another_target_of_the_same_shape() {
    for pair in PAIRS {
        let mut patch = q8_0(pair);
        // Embedding and hidden state are read in another order.
        patch.rows(PRE_PROJECTION, |row| {
            let (embedding, hidden) = row.split_at_mut(row.len() / 2);
            embedding.reverse_blocks();
            hidden.reverse_blocks();
        });
        let report = verify(&Inputs::new(), &options(pair, patch.save())).unwrap();
        assert_fault(&report, &["does not belong to this target"]);
    }
}

trait Blocks {
    fn reverse_blocks(&mut self);
}

impl Blocks for [u8] {
    /// The Q8_0 blocks of a row in reverse order, and the levels in each.
    fn reverse_blocks(&mut self) {
        let blocks: Vec<Vec<u8>> = self.chunks_exact(34).map(<[u8]>::to_vec).collect();
        for (to, from) in self.chunks_exact_mut(34).zip(blocks.iter().rev()) {
            to.copy_from_slice(from);
            to[2..].reverse();
        }
    }
}

#[test]
fn nibbles_swapped() {
    for pair in PAIRS {
        let path = fixture(pair).join("drafter-lq-q4_0.gguf");
        let swap = |patch: &mut Patch, name: &str| {
            for block in patch.tensor(name).chunks_exact_mut(18) {
                block[2..].iter_mut().for_each(|byte| *byte = byte.rotate_left(4));
            }
        };
        let mut one = Patch::new(&path);
        swap(&mut one, "blk.1.ffn_up.weight");
        caught(pair, &one, &["nibbles", "are swapped in blk.1.ffn_up.weight"]);

        let mut all = Patch::new(&path);
        let q4_0: Vec<String> = all
            .gguf
            .tensors()
            .filter(|info| info.ty.to_string() == "Q4_0")
            .map(|info| info.name.to_string())
            .collect();
        q4_0.iter().for_each(|name| swap(&mut all, name));
        caught(pair, &all, &["nibbles", "are swapped", "more"]);
    }
}

#[test]
fn a_row_of_zeros() {
    for pair in PAIRS {
        let mut patch = q8_0(pair);
        patch.row("blk.2.ffn_up.weight", 17).fill(0);
        caught(pair, &patch, &["row 17 of blk.2.ffn_up.weight is all zeros"]);
        let mut patch = q8_0(pair);
        patch.row("token_embd.weight", 700).fill(0);
        caught(pair, &patch, &["row 700 of token_embd.weight is all zeros"]);
    }
}

#[test]
fn the_program_tells_and_exits_accordingly() {
    let pair = fixture("mini-dense");
    let (drafter, target) = (pair.join("drafter-q8_0.gguf"), pair.join("target-bf16.gguf"));
    let (drafter, target) = (path_str(&drafter), path_str(&target));
    let arguments = [
        "verify",
        drafter,
        "--target",
        target,
        "--tokens",
        "2,946,422",
        "--generate",
        "96",
    ];
    let (text, _) = crate::common::succeed(&[&arguments[..], &["--threads", "1"]].concat());
    assert!(
        text.starts_with("ok: drafter-q8_0.gguf drafts for target-bf16.gguf: "),
        "{text}"
    );

    let (one, _) = crate::common::succeed(&[&arguments[..], &["--threads", "1", "--json"]].concat());
    let (two, _) = crate::common::succeed(&[&arguments[..], &["--threads", "2", "--json"]].concat());
    assert_eq!(one, two, "the report does not depend on the number of threads");
    let report = crate::common::result(&one);
    assert_eq!(report["prompt"], serde_json::json!([2, 946, 422]));
    assert!(report["acceptance"]["drafted"].as_u64() >= report["acceptance"]["accepted"].as_u64());

    let stranger = fixture("mini-edge").join("drafter-q8_0.gguf");
    let output = crate::common::program()
        .args(["verify", path_str(&stranger), "--target", target])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("NOT OK: "));
}

#[test]
fn what_cannot_be_run_is_refused() {
    let pair = fixture("mini-edge");
    let (drafter, target) = (pair.join("drafter-q8_0.gguf"), pair.join("target-bf16.gguf"));
    let (drafter, target) = (path_str(&drafter), path_str(&target));
    let verify = |more: &[&str]| -> Vec<String> {
        let base = ["verify", drafter, "--target", target];
        base.iter().chain(more).map(|s| (*s).to_owned()).collect()
    };
    let refuse = |code, words: &[&str], more: &[&str]| {
        let arguments = verify(more);
        crate::common::refuse(
            code,
            words,
            &arguments.iter().map(String::as_str).collect::<Vec<_>>(),
        );
    };
    let long = vec!["5"; 4097].join(",");
    refuse(2, &["4097 tokens", "context of 4096"], &["--tokens", &long]);
    refuse(2, &["token 1024", "vocabulary of 1024"], &["--tokens", "2,1024"]);
    refuse(
        2,
        &["holds no centroid head", "--source"],
        &["--head", "centroid"],
    );
    refuse(
        2,
        &["exists already", "--force"],
        &["--dump", path_str(&pair.join("reference.json"))],
    );
    refuse(3, &["no such file"], &["--prompt-file", "/nonexistent"]);
    crate::common::refuse(
        3,
        &["not the GGUF of a Gemma 4 drafter"],
        &["verify", target, "--target", target],
    );
    crate::common::refuse(3, &["gemma4"], &["verify", drafter, "--target", drafter]);
}
