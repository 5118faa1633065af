//! What `quantize` and `convert` say and do about types, importance matrices, overflow and quantization-aware training.

use crate::common::*;
use crate::quantize::{bf16_drafter, quantize};
use gguf_conv::gguf::{Array, Gguf, Metadata};
use gguf_conv::io::Inputs;
use gguf_conv::quant::GgmlType;
use std::path::Path;

const UP: &str = "model.layers.1.mlp.up_proj.weight";

/// A drafter with one weight replaced by this bf16.
fn with_weight(row: usize, column: usize, value: f32) -> Drafter {
    let drafter = Drafter::copy_of("mini-dense");
    drafter.edit_tensors(|tensors| {
        let tensor = tensors.get_mut(UP).unwrap();
        let at = 2 * (row * tensor.shape[1] + column);
        let value = half::bf16::from_f32(value);
        tensor.data[at..at + 2].copy_from_slice(&value.to_le_bytes());
    });
    drafter
}

#[test]
fn a_weight_beyond_f16_is_refused_with_the_way_out_and_bf16_keeps_it() {
    let drafter = with_weight(3, 5, 1e6);
    let (old, out) = (drafter.beside("old.gguf"), drafter.beside("out.gguf"));
    let args = [drafter.str(), "-o", path_str(&out), "--outtype", "f16"];
    refuse(3, &[UP, "row 3, column 5", "F16", "--outtype bf16"], &args);
    assert!(!out.exists());
    succeed(&[drafter.str(), "-o", path_str(&old), "--outtype", "bf16"]);
    refuse(
        3,
        &["blk.1.ffn_up.weight", "row 3, column 5", "--outtype bf16"],
        &[
            "quantize",
            path_str(&old),
            "-o",
            path_str(&out),
            "--outtype",
            "f16",
        ],
    );
    assert!(!out.exists());
    // Blocks of Q8_0 reach further.
    succeed(&[drafter.str(), "-o", path_str(&out), "--outtype", "q8_0"]);
}

#[test]
fn no_type_makes_a_finite_weight_infinite() {
    let drafter = with_weight(3, 5, -1e30);
    let out = drafter.beside("out.gguf");
    for outtype in [
        "f16", "q8_0", "q4_0", "q4_k_m", "q6_k", "q3_k_m", "q2_k", "iq4_nl", "q5_1",
    ] {
        let args = [drafter.str(), "-o", path_str(&out), "--outtype", outtype];
        refuse(3, &[UP, "row 3, column 5", "--outtype bf16"], &args);
        assert!(!out.exists(), "{outtype}");
    }
    let args = [drafter.str(), "-o", path_str(&out), "--outtype", "q4_0", "--qat"];
    refuse(3, &[UP, "row 3, column 5"], &args);
    for outtype in ["bf16", "f32"] {
        succeed(&[
            drafter.str(),
            "-o",
            path_str(&out),
            "--outtype",
            outtype,
            "--force",
        ]);
    }
}

#[test]
fn nan_is_no_weight_in_any_type_that_it_would_be_changed_to() {
    let drafter = with_weight(7, 0, f32::NAN);
    let (old, out) = (drafter.beside("old.gguf"), drafter.beside("out.gguf"));
    succeed(&[drafter.str(), "-o", path_str(&old), "--outtype", "bf16"]);
    for outtype in ["f32", "f16", "q8_0"] {
        refuse(
            3,
            &["blk.1.ffn_up.weight", "NaN at row 7, column 0", "damaged"],
            &[
                "quantize",
                path_str(&old),
                "-o",
                path_str(&out),
                "--outtype",
                outtype,
            ],
        );
    }
}

/// The root mean square of the difference in percent of that of the first file, over the matrices of the layers.
fn rms_error(exact: &Path, other: &Path) -> f64 {
    let (exact, other) = (
        Gguf::open(&Inputs::new(), exact).unwrap(),
        Gguf::open(&Inputs::new(), other).unwrap(),
    );
    let (mut missed, mut all) = (0.0, 0.0);
    for info in exact.tensors().filter(|info| info.dims.len() == 2) {
        let name = info.name.to_string();
        if !name.starts_with("blk.") {
            continue;
        }
        let decode = |file: &Gguf| {
            let tensor = file.tensor(&name).unwrap().unwrap();
            let mut values = vec![0.0_f32; tensor.info.elements() as usize];
            tensor.ty.decode(tensor.data, &mut values).unwrap();
            values
        };
        for (a, b) in decode(&exact).into_iter().zip(decode(&other)) {
            missed += f64::from(a - b).powi(2);
            all += f64::from(a).powi(2);
        }
    }
    100.0 * (missed / all).sqrt()
}

#[test]
fn qat_keeps_weights_that_llama_quantizes_rule_loses() {
    let drafter = Drafter::named("mini-dense", "gemma-4-X-it-qat-q4_0-unquantized-assistant");
    drafter.edit_tensors(|tensors| {
        for (name, tensor) in tensors {
            if tensor.shape.len() != 2 || !name.starts_with("model.layers") {
                continue;
            }
            let values: Vec<f32> = tensor
                .data
                .as_chunks()
                .0
                .iter()
                .map(|bytes| half::bf16::from_le_bytes(*bytes).to_f32())
                .collect();
            // A grid of levels from -7 to 7, as the training that Google describes for Q4_0 leaves it.
            let on_grid = values.chunks(32).flat_map(|block| {
                let amax = block.iter().fold(0.0_f32, |amax, v| amax.max(v.abs()));
                let d = half::f16::from_f32(amax / 7.0).to_f32();
                block.iter().map(move |v| {
                    if d == 0.0 {
                        0.0
                    } else {
                        d * (v / d).round().clamp(-7.0, 7.0)
                    }
                })
            });
            *tensor = Raw::bf16(&tensor.shape.clone(), on_grid);
        }
    });
    let file = |name: &str, args: &[&str]| {
        let out = drafter.beside(name);
        let all = [&[drafter.str(), "-o", path_str(&out)], args].concat();
        (succeed(&all).0, out.clone())
    };
    let (_, exact) = file("exact.gguf", &["--outtype", "bf16"]);
    let (told, plain) = file("plain.gguf", &["--outtype", "q4_0"]);
    assert!(told.contains("with --qat about "), "{told}");
    let (_, kept) = file("kept.gguf", &["--outtype", "q4_0", "--qat"]);
    assert!(rms_error(&exact, &plain) > 5.0);
    assert!(rms_error(&exact, &kept) <= 0.15, "{}", rms_error(&exact, &kept));

    // The same from the bf16 file.
    let again = drafter.beside("again.gguf");
    quantize(&exact, &again, &["--outtype", "q4_0", "--qat"]);
    assert_eq!(rms_error(&kept, &again), 0.0);
    let (_, told) = quantize(&exact, &again, &["--outtype", "q8_0", "--qat", "--force"]);
    assert!(told.contains("--qat changes nothing"), "{told}");
}

fn types(path: &Path, names: &[&str]) -> Vec<String> {
    let file = Gguf::open(&Inputs::new(), path).unwrap();
    let ty = |name: &&str| file.info(name).unwrap().ty.to_string();
    names.iter().map(ty).collect()
}

#[test]
fn patterns_are_globs_or_expressions_and_must_fit() {
    let folder = tempfile::tempdir().unwrap();
    let (input, out) = (
        bf16_drafter("mini-dense", folder.path()),
        folder.path().join("out.gguf"),
    );
    let names = [
        "blk.0.attn_q.weight",
        "blk.1.attn_q.weight",
        "blk.1.ffn_up.weight",
        "token_embd.weight",
    ];
    for (pattern, expected) in [
        ("attn_q=Q8_0", ["Q8_0", "Q8_0", "Q4_0", "Q8_0"]),
        (r"BLK\.[1-3]\.(attn|ffn)=q5_1", ["Q4_0", "Q5_1", "Q5_1", "Q8_0"]),
        ("blk.1.*=bf16", ["Q4_0", "BF16", "BF16", "Q8_0"]),
        ("*=q5_0", ["Q5_0", "Q5_0", "Q5_0", "Q5_0"]),
    ] {
        quantize(
            &input,
            &out,
            &["--outtype", "q4_0", "--tensor-type", pattern, "--force"],
        );
        assert_eq!(types(&out, &names), expected, "{pattern}");
    }
    let args = |pattern| {
        [
            "quantize",
            path_str(&input),
            "-o",
            path_str(&out),
            "--outtype",
            "q4_0",
            "--force",
            "--tensor-type",
            pattern,
        ]
        .map(str::to_owned)
    };
    let wrong = args("blk.*.fnn_up.weight=q8_0");
    let wrong: Vec<&str> = wrong.iter().map(String::as_str).collect();
    refuse(
        2,
        &["blk.*.fnn_up.weight", "near it are blk.0.ffn_up.weight"],
        &wrong,
    );
    let (_, told) = quantize(
        &input,
        &out,
        &["--outtype", "q4_0", "--force", "--tensor-type", "attn_norm=q8_0"],
    );
    assert!(
        told.contains("reaches only tensors that are never quantized"),
        "{told}"
    );
}

#[test]
fn options_write_what_llama_quantize_writes() {
    let folder = tempfile::tempdir().unwrap();
    let drafter = bf16_drafter("mini-dense", folder.path());
    let out = folder.path().join("out.gguf");
    let mut compared = 0;
    let list = std::fs::read_to_string(fixture("quant/options.txt")).unwrap();
    for line in list.lines() {
        let (sum, run) = line.split_once("  ").unwrap();
        let words: Vec<&str> = run.split(' ').collect();
        let input = match words[0] {
            "drafter" => drafter.clone(),
            _ => fixture("mini-dense/target-bf16.gguf"),
        };
        let args = [&["--force", "--outtype"], &words[1..]].concat();
        quantize(&input, &out, &args);
        assert_eq!(sha256(&out), sum, "{run}");
        compared += 1;
    }
    assert_eq!(compared, 16);
}

#[test]
fn embeddings_and_output_have_options_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let (input, out) = (
        bf16_drafter("mini-dense", folder.path()),
        folder.path().join("out.gguf"),
    );
    let names = ["token_embd.weight", "blk.1.attn_q.weight"];
    for (args, expected) in [
        (&["--token-embedding-type", "Q4_1"][..], ["Q4_1", "Q4_0"]),
        (&["--output-tensor-type", "q5_1"], ["Q5_1", "Q4_0"]),
        (
            &["--output-tensor-type", "q5_1", "--token-embedding-type", "q4_0"],
            ["Q4_0", "Q4_0"],
        ),
        (&["--output-tensor-type", "q5_1", "--pure"], ["Q4_0", "Q4_0"]),
        (
            &[
                "--token-embedding-type",
                "q4_0",
                "--tensor-type",
                "token_embd=f16",
            ],
            ["Q4_0", "Q4_0"],
        ),
        // Their rows do not divide into blocks of 256.
        (&["--token-embedding-type", "q4_k"], ["Q5_0", "Q4_0"]),
    ] {
        let all = [&["--outtype", "q4_0", "--force"], args].concat();
        quantize(&input, &out, &all);
        assert_eq!(types(&out, &names), expected, "{args:?}");
    }
    let (_, told) = quantize(
        &input,
        &out,
        &["--outtype", "q4_0", "--leave-output-tensor", "--force"],
    );
    assert!(told.contains("the output is tied to token_embd.weight"), "{told}");
}

#[test]
fn other_names_of_file_types_and_fallbacks_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let input = bf16_drafter("mini-dense", folder.path());
    let (a, b) = (folder.path().join("a.gguf"), folder.path().join("b.gguf"));
    let (_, told) = quantize(&input, &a, &["--outtype", "q4_k_m"]);
    assert!(
        told.contains(
            " of 49 tensors are Q5_0 in place of Q4_K: their rows do not divide into blocks of 256; 5.50 bits per weight \
             in place of 4.50, +"
        ),
        "{told}"
    );
    let args = ["quantize", path_str(&input), "q4_k_m", "--dry-run"];
    let (shown, told) = succeed(&args);
    assert!(told.contains("5.50 bits per weight in place of 4.50"), "{told}");
    let row = shown
        .lines()
        .find(|line| line.contains("blk.0.attn_q.weight"))
        .unwrap();
    assert!(row.ends_with("5.50 bits per weight, in place of Q4_K"), "{row}");
    quantize(&input, &b, &["--outtype", "Q4_K"]);
    assert_eq!(sha256(&a), sha256(&b));
    let (_, told) = quantize(&input, &b, &["--outtype", "q8_0", "--force"]);
    assert!(!told.contains("in place of"), "{told}");
}

/// Length of a tensor's rows.
fn row_len(path: &Path, tensor: &str) -> usize {
    let gguf = Gguf::open(&Inputs::new(), path).unwrap();
    gguf.info(tensor).unwrap().row_len() as usize
}

/// An importance matrix as llama-imatrix writes it: for each tensor its sums.
pub(crate) fn importance(path: &Path, entries: &[(&str, Vec<f32>)]) {
    let mut metadata = Metadata::default();
    metadata.set("general.type", "imatrix");
    metadata.set("imatrix.datasets", Array::String(["text"].iter().collect()));
    metadata.set("imatrix.chunk_count", 1_u32);
    metadata.set("imatrix.chunk_size", 512_u32);
    let bytes = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let names: Vec<[String; 2]> = entries
        .iter()
        .map(|(name, _)| [format!("{name}.in_sum2"), format!("{name}.counts")])
        .collect();
    let lens: Vec<[u64; 2]> = entries.iter().map(|(_, sums)| [sums.len() as u64, 1]).collect();
    let mut tensors: Vec<(&str, &[u64], GgmlType, Vec<u8>)> = Vec::new();
    for (((_, sums), [in_sum2, counts]), dims) in entries.iter().zip(&names).zip(&lens) {
        tensors.push((in_sum2, dims, GgmlType::F32, bytes(sums)));
        tensors.push((counts, &[1, 1], GgmlType::F32, bytes(&[1.0])));
    }
    write_gguf(path, &metadata, &tensors);
}

#[test]
fn importance_of_any_size_never_zeroes_a_tensor() {
    let folder = tempfile::tempdir().unwrap();
    let input = bf16_drafter("mini-dense", folder.path());
    let (matrix, out) = (folder.path().join("imatrix.gguf"), folder.path().join("out.gguf"));
    let (up, pre) = ("blk.0.ffn_up.weight", "nextn.pre_projection.weight");
    let columns = row_len(&input, up);
    let wide = row_len(&input, pre);
    let nonzero = |name: &str| {
        let file = Gguf::open(&Inputs::new(), &out).unwrap();
        let tensor = file.tensor(name).unwrap().unwrap();
        let mut values = vec![0.0_f32; tensor.info.elements() as usize];
        tensor.ty.decode(tensor.data, &mut values).unwrap();
        values.iter().filter(|v| **v != 0.0).count() * 2 > values.len()
    };
    for outtype in ["q4_0", "q4_1", "q5_0", "q5_1", "iq4_nl"] {
        for sums in [0.0, 1e-38, 1e-45, 3e38] {
            importance(&matrix, &[(up, vec![sums; columns]), (pre, vec![1.0; wide])]);
            let args = ["--outtype", outtype, "--imatrix", path_str(&matrix), "--force"];
            let (_, told) = quantize(&input, &out, &args);
            assert!(nonzero(up), "{outtype} {sums}");
            assert_eq!(
                told.contains("holds zeros alone for 1 matrices"),
                sums == 0.0,
                "{told}"
            );
        }
    }
    // Sums of one size are no reason to fit otherwise, however large.
    let fitted = |sums: f32| {
        importance(&matrix, &[(up, vec![sums; columns])]);
        quantize(
            &input,
            &out,
            &["--outtype", "q4_0", "--imatrix", path_str(&matrix), "--force"],
        );
        sha256(&out)
    };
    assert_eq!(fitted(1.0), fitted(2_f32.powi(120)));
}

/// A type of so few bits has nothing to go by where an expert was never called.
#[test]
fn an_expert_of_zeros_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let (input, matrix, out) = ["in.gguf", "imatrix.gguf", "out.gguf"]
        .map(|name| folder.path().join(name))
        .into();
    let mut metadata = Metadata::default();
    metadata.set("general.architecture", "gemma4");
    metadata.set("gemma4.block_count", 1_u32);
    metadata.set("gemma4.expert_count", 2_u32);
    metadata.set("gemma4.attention.head_count", 1_u32);
    metadata.set("gemma4.attention.head_count_kv", 1_u32);
    let weights: Vec<u8> = random(1).take(256 * 4 * 2).flat_map(f32::to_le_bytes).collect();
    let name = "blk.0.ffn_up_exps.weight";
    write_gguf(&input, &metadata, &[(name, &[256, 4, 2], GgmlType::F32, weights)]);
    for zero in [0, 1] {
        let mut sums = vec![1.0; 512];
        sums[256 * zero..][..256].fill(0.0);
        importance(&matrix, &[(name, sums)]);
        for outtype in ["iq2_xxs", "iq2_xs", "iq1_s"] {
            let args = [
                "quantize",
                path_str(&input),
                path_str(&out),
                outtype,
                "--imatrix",
                path_str(&matrix),
            ];
            for more in [&[][..], &["--dry-run"]] {
                refuse(
                    3,
                    &[name, "zeros alone for one of its experts"],
                    &[&args[..], more].concat(),
                );
            }
            assert!(!out.exists());
        }
    }
}

#[test]
fn what_the_importance_matrix_lacks_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let input = bf16_drafter("mini-dense", folder.path());
    let (matrix, out) = (folder.path().join("imatrix.gguf"), folder.path().join("out.gguf"));
    let pre = "nextn.pre_projection.weight";
    let wide = row_len(&input, pre);
    importance(&matrix, &[(pre, vec![1.0; wide])]);
    let args = ["--outtype", "q4_0", "--imatrix", path_str(&matrix), "--verbose"];
    let (_, told) = quantize(&input, &out, &args);
    assert!(
        told.contains("22 of 23 quantized tensors have no entry"),
        "{told}"
    );
    assert!(
        told.contains("no entry in the importance matrix: blk.0.attn_q.weight"),
        "{told}"
    );
    assert!(!told.contains(&format!("matrix: {pre}")), "{told}");

    let refused = |words: &[&str], imatrix: &Path| {
        let args = [
            "quantize",
            path_str(&input),
            "-o",
            path_str(&out),
            "--outtype",
            "q4_0",
            "--force",
            "--imatrix",
        ];
        refuse(3, words, &[&args[..], &[path_str(imatrix)]].concat());
    };
    importance(&matrix, &[("blk.77.attn_q.weight", vec![1.0; 64])]);
    refused(
        &["imatrix.gguf", "none of the 23 tensors", "another model"],
        &matrix,
    );
    let mut sums = vec![1.0; wide];
    sums[5] = -1.0;
    importance(&matrix, &[(pre, sums)]);
    refused(&[pre, "-1 as sum of column 5"], &matrix);
    refused(&["gemma4-assistant", "no importance matrix"], &input);
    refused(
        &["a safetensors file"],
        &fixture("mini-dense/drafter/model.safetensors"),
    );
}
