//! `quantize` against the files that llama-quantize wrote from the same bf16 files, and what it refuses.

use crate::common::*;
use gguf_conv::gguf::{Gguf, Metadata};
use gguf_conv::io::Inputs;
use gguf_conv::quant::GgmlType;
use std::path::{Path, PathBuf};

pub(crate) fn quantize(input: &Path, output: &Path, args: &[&str]) -> (String, String) {
    let mut all = vec!["quantize", path_str(input), "-o", path_str(output)];
    all.extend(args);
    succeed(&all)
}

/// The drafter of a pair as converted to bf16.
pub(crate) fn bf16_drafter(pair: &str, folder: &Path) -> PathBuf {
    let path = folder.join(format!("{pair}-bf16.gguf"));
    succeed(&[
        path_str(&fixture(pair).join("drafter")),
        "--outtype",
        "bf16",
        "-o",
        path_str(&path),
    ]);
    path
}

#[test]
fn every_file_is_llama_quantizes_to_the_byte() {
    let folder = tempfile::tempdir().unwrap();
    let mut compared = 0;
    for pair in PAIRS {
        let drafter = bf16_drafter(pair, folder.path());
        let target = fixture(pair).join("target-bf16.gguf");
        for (name, sum) in checksums(pair) {
            let Some((model, outtype)) = name
                .strip_suffix(".gguf")
                .and_then(|name| name.split_once("-lq-"))
            else {
                continue;
            };
            let input = if model == "drafter" { &drafter } else { &target };
            let out = folder.path().join(format!("{pair}-{name}"));
            quantize(input, &out, &["--outtype", outtype]);
            assert_eq!(sha256(&out), sum, "{pair} {name}");
            compared += 1;
        }
    }
    assert_eq!(compared, 54);
}

#[test]
fn types_of_few_bits_are_refused_without_an_importance_matrix() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("never.gguf");
    let target = fixture("mini-dense").join("target-bf16.gguf");
    let args = ["--outtype", "iq2_xxs", "-o", path_str(&out)];
    let quantize = [&["quantize", path_str(&target)], &args[..]].concat();
    refuse(
        2,
        &["blk.4.attn_output.weight in IQ2_XXS", "--imatrix"],
        &quantize,
    );
    let drafter = fixture("mini-dense").join("drafter");
    let args = ["--outtype", "iq3_xxs", "-o", path_str(&out)];
    let convert = [&[path_str(&drafter)], &args[..]].concat();
    refuse(2, &["in IQ3_XXS", "quantize with --imatrix"], &convert);
    assert!(!out.exists());
}

#[test]
fn tensors_can_be_given_another_type() {
    let folder = tempfile::tempdir().unwrap();
    let input = bf16_drafter("mini-dense", folder.path());
    let out = folder.path().join("out.gguf");
    quantize(
        &input,
        &out,
        &["--outtype", "q4_0", "--tensor-type", "blk.*.ffn_up.weight=q5_1"],
    );
    let file = Gguf::open(&Inputs::new(), &out).unwrap();
    let ty = |name: &str| file.info(name).unwrap().ty.known();
    assert_eq!(ty("blk.2.ffn_up.weight"), Some(GgmlType::Q5_1));
    assert_eq!(ty("blk.2.ffn_gate.weight"), Some(GgmlType::Q4_0));
    assert_eq!(ty("token_embd.weight"), Some(GgmlType::Q8_0));
    quantize(&input, &out, &["--outtype", "q4_0", "--pure", "--force"]);
    let file = Gguf::open(&Inputs::new(), &out).unwrap();
    assert_eq!(
        file.info("token_embd.weight").unwrap().ty.known(),
        Some(GgmlType::Q4_0)
    );
}

#[test]
fn what_is_quantized_already_stays_so_unless_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let q8_0 = fixture("mini-dense/drafter-q8_0.gguf");
    let out = folder.path().join("out.gguf");
    refuse(
        3,
        &["is Q8_0 already", "--allow-requantize"],
        &[
            "quantize",
            path_str(&q8_0),
            "-o",
            path_str(&out),
            "--outtype",
            "q4_0",
        ],
    );
    assert!(!out.exists());
    let (_, told) = quantize(&q8_0, &out, &["--outtype", "q4_0", "--allow-requantize"]);
    assert!(told.contains("22 tensors were quantized already"), "{told}");
    // The same type again changes no tensor.
    let (said, _) = quantize(&q8_0, &out, &["--outtype", "q8_0", "--force"]);
    assert!(said.contains("0 of 49 tensors changed their type"), "{said}");
}

#[test]
fn columns_that_matter_are_fitted_better() {
    let folder = tempfile::tempdir().unwrap();
    let input = bf16_drafter("mini-dense", folder.path());
    let name = "blk.0.attn_q.weight";
    let source = Gguf::open(&Inputs::new(), &input).unwrap();
    let columns = source.info(name).unwrap().row_len() as usize;

    // The first half of the columns matters a thousand times as much.
    let matrix = folder.path().join("imatrix.gguf");
    let weights: Vec<u8> = (0..columns)
        .flat_map(|i| if i < columns / 2 { 1000.0_f32 } else { 1.0 }.to_le_bytes())
        .collect();
    let mut metadata = Metadata::default();
    metadata.set("general.type", "imatrix");
    metadata.set(
        "imatrix.datasets",
        gguf_conv::gguf::Array::String(["text"].iter().collect()),
    );
    metadata.set("imatrix.chunk_count", 1_u32);
    metadata.set("imatrix.chunk_size", 512_u32);
    let (sums, counts) = (format!("{name}.in_sum2"), format!("{name}.counts"));
    write_gguf(
        &matrix,
        &metadata,
        &[
            (&sums, &[columns as u64, 1], GgmlType::F32, weights),
            (&counts, &[1, 1], GgmlType::F32, 1.0_f32.to_le_bytes().to_vec()),
        ],
    );

    let error = |path: &Path| {
        let file = Gguf::open(&Inputs::new(), path).unwrap();
        let decode = |file: &Gguf| {
            let tensor = file.tensor(name).unwrap().unwrap();
            let mut values = vec![0.0_f32; tensor.info.elements() as usize];
            tensor.ty.decode(tensor.data, &mut values).unwrap();
            values
        };
        let (ours, theirs) = (decode(&file), decode(&source));
        let squares = ours.iter().zip(&theirs).enumerate();
        squares
            .filter(|(i, _)| i % columns < columns / 2)
            .map(|(_, (a, b))| f64::from(a - b).powi(2))
            .sum::<f64>()
    };
    let (plain, weighted) = (
        folder.path().join("plain.gguf"),
        folder.path().join("weighted.gguf"),
    );
    quantize(&input, &plain, &["--outtype", "q4_0"]);
    quantize(
        &input,
        &weighted,
        &["--outtype", "q4_0", "--imatrix", path_str(&matrix)],
    );
    assert!(error(&weighted) < error(&plain));
    let keys = Gguf::open(&Inputs::new(), &weighted).unwrap();
    assert_eq!(keys.metadata().uint("quantize.imatrix.entries_count"), Ok(1));

    std::fs::write(&matrix, "no importance matrix").unwrap();
    let out = folder.path().join("never.gguf");
    refuse(
        3,
        &["imatrix.gguf"],
        &[
            "quantize",
            path_str(&input),
            "-o",
            path_str(&out),
            "--outtype",
            "q4_0",
            "--imatrix",
            path_str(&matrix),
        ],
    );
}

/// As people call llama-quantize: the output and the type by their places.
#[test]
fn output_and_type_may_stand_in_their_places() {
    let folder = tempfile::tempdir().unwrap();
    let input = bf16_drafter("mini-dense", folder.path());
    let (input, named) = (path_str(&input), folder.path().join("named.gguf"));
    let by_option = folder.path().join("option.gguf");
    quantize(Path::new(input), &by_option, &["--outtype", "q4_k_m"]);
    let ways: [&[&str]; 4] = [
        &[input, path_str(&named), "Q4_K_M"],
        &[input, path_str(&named), "--outtype", "Q4_K"],
        &[input, "Q4_K_M", "-o", path_str(&named)],
        &["--force", input, path_str(&named), "q4_k"],
    ];
    for way in ways {
        succeed(&[&["quantize"], way].concat());
        assert_eq!(sha256(&named), sha256(&by_option), "{way:?}");
        if way[0] == input {
            std::fs::remove_file(&named).unwrap();
        }
    }
    // Without a name it gets the usual one, beside the input.
    succeed(&["quantize", input, "Q4_K_M"]);
    assert_eq!(
        sha256(&folder.path().join("mini-dense-Q4_K_M.gguf")),
        sha256(&by_option)
    );
    let out = path_str(&named);
    let wrong: [(&[&str], &str); 7] = [
        (&[input], "no type is given; add --outtype"),
        (&[input, "new.gguf"], "no type is given; add --outtype"),
        (&[input, "Q4_K_X"], "\"Q4_K_X\" is no file type; those are f32"),
        (&[input, "new.gguf", "Q4_K_X"], "\"Q4_K_X\" is no file type"),
        (
            &[input, "q4_0", "--outtype", "q8_0"],
            "two types, q4_0 and --outtype q8_0",
        ),
        (
            &[input, "new.gguf", "q4_0", "-o", out],
            "two outputs, new.gguf and -o",
        ),
        (
            &[input, "new.gguf", "copy", "--pure"],
            "copy keeps every tensor as it is",
        ),
    ];
    for (args, words) in wrong {
        refuse(2, &[words], &[&["quantize"], args].concat());
    }
    assert!(!Path::new("new.gguf").exists());
}
