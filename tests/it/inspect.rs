//! What `inspect` shows of GGUF and safetensors files.

use crate::common::*;
use gguf_conv::gguf::{Array, Metadata, Strings};
use gguf_conv::quant::GgmlType;
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use std::path::Path;

fn inspect_json(args: &[&str]) -> Json {
    let (out, _) = succeed(&[&["inspect", "--json"], args].concat());
    result(&out)
}

fn inspect_text(args: &[&str]) -> String {
    succeed(&[&["inspect"], args].concat()).0
}

/// An element of an array as GGUF stores it.
fn stored(element_type: &str, value: &Json) -> Vec<u8> {
    match element_type {
        "string" => {
            let text = value.as_str().unwrap();
            [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
        }
        "f32" => (value.as_f64().unwrap() as f32).to_le_bytes().to_vec(),
        "i32" => (value.as_i64().unwrap() as i32).to_le_bytes().to_vec(),
        "bool" => vec![value.as_bool().unwrap().into()],
        other => panic!("no such array in the fixtures: {other}"),
    }
}

/// A value as the dump has it: arrays of more than 8 elements as their length and checksum.
fn shortened(ty: &str, value: &Json) -> Json {
    match (ty.strip_suffix("[]"), value.as_array()) {
        (Some(element_type), Some(list)) if list.len() > 8 => {
            let bytes: Vec<u8> = list
                .iter()
                .flat_map(|value| stored(element_type, value))
                .collect();
            let hex: String = Sha256::digest(bytes)
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            json!({ "len": list.len(), "sha256": hex })
        }
        _ => value.clone(),
    }
}

/// `fixtures/reader.json` holds what gguf 0.19's reader sees.
#[test]
fn agrees_with_the_reader_of_gguf_py() {
    let dump = std::fs::read(fixture("reader.json")).unwrap();
    let dump: Json = serde_json::from_slice(&dump).unwrap();
    for (file, expected) in dump.as_object().unwrap() {
        let found = inspect_json(&[path_str(&fixture(file))]);
        let list = |key: &str| found[key].as_array().unwrap().clone();
        let keys: Vec<Json> = list("metadata")
            .iter()
            .map(|key| {
                json!([
                    key["key"],
                    key["type"],
                    shortened(key["type"].as_str().unwrap(), &key["value"])
                ])
            })
            .collect();
        assert_eq!(Json::from(keys), expected["metadata"], "{file}");
        let tensors: Vec<Json> = list("tensors")
            .iter()
            .map(|tensor| json!([tensor["name"], tensor["type"], tensor["dims"], tensor["offset"]]))
            .collect();
        assert_eq!(Json::from(tensors), expected["tensors"], "{file}");
    }
}

#[test]
fn the_summary_says_what_a_file_is() {
    let drafter = inspect_json(&[path_str(&fixture("mini-dense/drafter-q8_0.gguf"))]);
    let summary = &drafter["summary"];
    assert_eq!(summary["role"], "drafter");
    assert_eq!(summary["backbone_width"], 128);
    assert_eq!(summary["context_length"], 4096);
    assert_eq!(
        (&summary["layers"], &summary["sliding_layers"]),
        (&json!(4), &json!(3))
    );
    assert_eq!(
        (&summary["heads"], &summary["kv_heads"]),
        (&json!(4), &json!([2, 1]))
    );
    assert_eq!(summary["head_dims"], json!([32, 64]));
    assert_eq!(summary["types"][0]["type"], "Q8_0");
    let text = inspect_text(&[path_str(&fixture("mini-dense/drafter-q8_0.gguf"))]);
    for words in [
        "gemma4-assistant: drafter, for a target of width 128",
        "GGUF v3",
        "43 keys, 49 tensors",
        "4 layers (3 sliding, 1 full), width 64, 4 heads of 32/64, kv heads 2/1",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let target = inspect_json(&[path_str(&fixture("mini-edge/target-bf16.gguf"))]);
    assert_eq!(target["summary"]["role"], "target");
    assert_eq!(target["summary"]["layers"], 6);
}

#[test]
fn safetensors_are_shown_alike_as_file_folder_and_shards() {
    let drafter = Drafter::copy_of("mini-dense");
    let of_folder = inspect_json(&[drafter.str()]);
    let of_file = inspect_json(&[path_str(&drafter.weights())]);
    assert_eq!(of_folder["container"], "safetensors");
    assert_eq!(of_folder["tensors"], of_file["tensors"]);
    assert_eq!(of_folder["summary"]["backbone_width"], 128);
    assert_eq!(of_folder["summary"]["layers"], 4);
    assert_eq!(of_folder["metadata"][0]["key"], "format");
    let embedding = |report: &Json| {
        let tensors = report["tensors"].as_array().unwrap();
        tensors
            .iter()
            .find(|t| t["name"] == "model.embed_tokens.weight")
            .unwrap()
            .clone()
    };
    assert_eq!(
        embedding(&of_folder)["dims"],
        json!([64, 1024]),
        "innermost first"
    );
    assert_eq!(embedding(&of_folder)["type"], "BF16");

    let [first, _] = drafter.shard(|_| ());
    for given in [drafter.str(), path_str(&first)] {
        let sharded = inspect_json(&[given]);
        assert_eq!(sharded["parts"].as_array().unwrap().len(), 2);
        assert_eq!(sharded["tensors"].as_array().unwrap().len(), 48);
        assert_eq!(
            sharded["summary"]["parameters"],
            of_folder["summary"]["parameters"]
        );
    }
}

#[test]
fn a_file_is_known_by_its_content() {
    let folder = tempfile::tempdir().unwrap();
    let disguised = folder.path().join("drafter.safetensors");
    std::fs::copy(fixture("mini-dense/drafter-q8_0.gguf"), &disguised).unwrap();
    assert_eq!(inspect_json(&[path_str(&disguised)])["container"], "gguf");
    for (content, words) in [
        (&b""[..], "an empty file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"<!DOCTYPE html>", "web page"),
        (b"nothing of the kind", "give a .gguf or .safetensors file"),
    ] {
        std::fs::write(&disguised, content).unwrap();
        refuse(3, &[words], &["inspect", path_str(&disguised)]);
    }
}

#[test]
fn a_split_model_is_one() {
    let expected = ["a", "b", "c"];
    for part in ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"] {
        let report = inspect_json(&[path_str(&fixture("bad/ok-split").join(part))]);
        let names: Vec<&str> = report["tensors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|t| t["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, expected);
        assert_eq!(report["tensors"][1]["part"], 1);
        assert_eq!(report["parts"].as_array().unwrap().len(), 2);
    }
}

#[test]
fn filter_sort_and_no_tensors() {
    let file = fixture("mini-edge/drafter-q8_0.gguf");
    let file = path_str(&file);
    let names = |args: &[&str]| -> Vec<String> {
        let report = inspect_json(&[args, &[file]].concat());
        let name = |t: &Json| t["name"].as_str().unwrap().to_owned();
        report["tensors"].as_array().unwrap().iter().map(name).collect()
    };
    assert_eq!(names(&["--filter", "blk.?.attn_q.*"]).len(), 4);
    assert_eq!(names(&["--filter", "general.*"]).len(), 0);
    let report = inspect_json(&["--filter", "general.*", file]);
    let keys = report["metadata"].as_array().unwrap();
    assert!(
        !keys.is_empty()
            && keys
                .iter()
                .all(|key| key["key"].as_str().unwrap().starts_with("general."))
    );
    let by_name = names(&["--sort", "name"]);
    assert!(by_name.is_sorted());
    assert_eq!(names(&["--sort", "size"])[0], "token_embd.weight");
    assert_eq!(names(&["--sort", "offset"]), names(&[]));
    assert!(names(&["--no-tensors"]).is_empty());
    let text = inspect_text(&["--no-tensors", file]);
    assert!(!text.contains("blk.0") && text.contains("general.architecture"));
}

#[test]
fn full_shows_what_is_shortened_otherwise() {
    let file = fixture("mini-edge/drafter-q8_0.gguf");
    let short = inspect_text(&[path_str(&file)]);
    let full = inspect_text(&["--full", path_str(&file)]);
    assert!(short.contains("1024 in all") && !full.contains("in all"));
    assert!(full.len() > 2 * short.len());
}

#[test]
fn statistics_of_the_data() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("numbers.gguf");
    let values = [0.0_f32, -3.0, 4.0, f32::NAN, f32::INFINITY, -0.0, 1.0, 2.0];
    let data = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let integers = [7_i32, -1].iter().flat_map(|v| v.to_le_bytes()).collect();
    let mut metadata = Metadata::default();
    metadata.set("general.architecture", "test");
    let none = [f32::NAN; 2].iter().flat_map(|v| v.to_le_bytes()).collect();
    write_gguf(
        &path,
        &metadata,
        &[
            ("floats", &[8], GgmlType::F32, data),
            ("integers", &[2], GgmlType::I32, integers),
            ("none", &[2], GgmlType::F32, none),
            ("empty", &[0], GgmlType::F32, Vec::new()),
        ],
    );
    let report = inspect_json(&["--stats", path_str(&path)]);
    let stats = |i: usize| report["tensors"][i]["stats"].clone();
    let floats = stats(0);
    assert_eq!((&floats["min"], &floats["max"]), (&json!(-3.0), &json!(4.0)));
    assert_eq!(floats["mean"], json!(4.0 / 6.0));
    assert_eq!(floats["rms"], json!((30.0_f64 / 6.0).sqrt()));
    assert_eq!(
        (&floats["zero_share"], &floats["nan"], &floats["infinite"]),
        (&json!(0.25), &json!(1), &json!(1))
    );
    assert_eq!((&stats(1)["min"], &stats(1)["max"]), (&json!(-1.0), &json!(7.0)));
    assert_eq!((&stats(2)["min"], &stats(2)["nan"]), (&Json::Null, &json!(2)));
    assert_eq!(stats(3)["mean"], Json::Null);
    // Steps of 7/12 from -3 to 4.
    assert_eq!(floats["histogram"], json!([1, 0, 0, 0, 0, 2, 1, 0, 1, 0, 0, 1]));
    assert_eq!(
        (&stats(2)["histogram"], &stats(3)["histogram"]),
        (&Json::Null, &Json::Null)
    );
    let text = inspect_text(&["--stats", path_str(&path)]);
    assert!(text.contains("25.00 %"), "{text}");
}

#[test]
fn unknown_types_and_keys_are_shown() {
    let unknown = fixture("bad/type-unknown.gguf");
    let report = inspect_json(&[path_str(&unknown)]);
    assert_eq!(report["tensors"][0]["type"], "unknown(43)");
    assert_eq!(report["tensors"][0]["size_bytes"], Json::Null);
    let output = program()
        .args(["inspect", "--stats", path_str(&unknown)])
        .output()
        .unwrap();
    assert!(output.status.success());
    assert!(String::from_utf8(output.stderr).unwrap().contains("unknown(43)"));
    let strange = fixture("bad/ok-unknown-dtype.safetensors");
    assert_eq!(inspect_json(&[path_str(&strange)])["tensors"][0]["type"], "F19");
}

/// A file whose tensor ranges are wrong can be looked at; what is wrong goes to standard error.
#[test]
fn wrong_ranges_are_warnings() {
    for (file, words) in [
        ("overlap.gguf", "tensors a and b overlap"),
        ("offset-misaligned.gguf", "not aligned to 32"),
        ("data-missing.gguf", "beyond the end of the file"),
    ] {
        let path = fixture("bad").join(file);
        let (out, err) = succeed(&["inspect", "--json", path_str(&path)]);
        assert!(err.contains(words), "{err}");
        let report = result(&out);
        assert!(report["faults"][0].as_str().unwrap().contains(words));
    }
}

/// Every malformed file is told in one line, by exit code 3; none makes the program panic.
#[test]
fn malformed_files_are_told_in_one_line() {
    for entry in std::fs::read_dir(fixture("bad")).unwrap() {
        let path = entry.unwrap().path();
        let output = program()
            .args(["inspect", "--stats", path_str(&path)])
            .output()
            .unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        match output.status.code() {
            Some(0) => assert!(!err.contains("error: "), "{err}"),
            Some(3) => {
                let errors = err.lines().filter(|line| line.starts_with("error: ")).count();
                assert_eq!((errors, err.lines().count()), (1, 1), "{}: {err}", path.display());
            }
            code => panic!("{}: {code:?} {err}", path.display()),
        }
    }
}

#[test]
fn a_file_cannot_drive_the_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hostile.gguf");
    let evil = "\u{1b}]0;owned\u{7}\u{9b}2J\u{202e}\r\n";
    let mut metadata = Metadata::default();
    metadata.set("general.architecture", evil);
    metadata.set(format!("key{evil}"), evil);
    let tokens: Strings = [evil.as_bytes(), b"\xff\xfe", b"\xc3"].into_iter().collect();
    metadata.set("tokenizer.ggml.tokens", Array::String(tokens));
    write_gguf(&path, &metadata, &[(evil, &[1], GgmlType::F32, vec![0; 4])]);
    for args in [
        &["inspect", "--full"][..],
        &["inspect", "--json"],
        &["inspect", "--stats"],
    ] {
        let output = program().args(args).arg(&path).output().unwrap();
        let shown = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        let hidden = |c: &char| *c != '\n' && gguf_conv::text::is_hidden(*c);
        assert_eq!(shown.chars().find(hidden), None, "{args:?}");
    }
    let report = inspect_json(&[path_str(&path)]);
    assert_eq!(report["metadata"][0]["value"], evil, "strings are kept exactly");
    assert_eq!(report["tensors"][0]["name"], evil);
    let tokens = &report["metadata"][2]["value"];
    assert_eq!(tokens[1], json!({ "invalid_utf8": "\\xff\\xfe" }));
}

/// A vocabulary of Gemma's size is read in an instant, whatever the size of the data behind it.
#[test]
fn a_large_header_is_read_in_an_instant() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.gguf");
    let mut metadata = Metadata::default();
    metadata.set("general.architecture", "gemma4");
    let tokens: Strings = (0..262_144).map(|i| format!("token{i}")).collect();
    metadata.set("tokenizer.ggml.tokens", Array::String(tokens));
    metadata.set("tokenizer.ggml.scores", Array::F32(vec![-1000.0; 262_144]));
    metadata.set("tokenizer.ggml.token_type", Array::I32(vec![1; 262_144]));
    let merges: Strings = (0..514_906).map(|i| format!("left{i} right{i}")).collect();
    metadata.set("tokenizer.ggml.merges", Array::String(merges));
    write_gguf(
        &path,
        &metadata,
        &[(
            "token_embd.weight",
            &[4096, 2_000_000],
            GgmlType::Q8_0,
            Vec::new(),
        )],
    );
    stretch(&path, 9 << 30);
    let start = std::time::Instant::now();
    let text = inspect_text(&[path_str(&path)]);
    assert!(text.contains("514906 in all"));
    // The tests' build is not optimized, and the machine may be busy: the release build takes a tenth of this.
    assert!(start.elapsed().as_secs_f64() < 5.0, "{:?}", start.elapsed());
}

/// A file that claims more than any header has, and is long enough to hold it: sparse, so it takes no room on the disk.
#[test]
fn what_a_large_file_may_claim_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sparse.gguf");
    let head = |tensors: u64, keys: u64| {
        let mut bytes = b"GGUF\x03\0\0\0".to_vec();
        bytes.extend(tensors.to_le_bytes());
        bytes.extend(keys.to_le_bytes());
        bytes
    };
    let array = |element: u32, count: u64| {
        let mut bytes = head(0, 1);
        bytes.extend([&1_u64.to_le_bytes()[..], b"k", &9_u32.to_le_bytes()].concat());
        bytes.extend(element.to_le_bytes());
        bytes.extend(count.to_le_bytes());
        bytes
    };
    for (bytes, words) in [
        (
            head(100_000_000, 0),
            "claims 100000000 tensors at offset 8; at most 262144",
        ),
        (
            head(0, 100_000_000),
            "claims 100000000 metadata keys at offset 16; at most 65536",
        ),
        (array(0, 3 << 30), "longer than the 268435456 bytes"),
        (array(8, 100_000_000), "longer than the 268435456 bytes"),
        (array(9, 100_000), "claims 100000 arrays within array k"),
    ] {
        std::fs::write(&path, bytes).unwrap();
        stretch(&path, 4 << 30);
        refuse(3, &[words], &["inspect", path_str(&path)]);
    }
}

fn stretch(path: &Path, len: u64) {
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.set_len(len).unwrap();
}

#[test]
fn several_files_are_a_list() {
    let files = ["mini-dense/drafter-q8_0.gguf", "mini-edge/drafter-q8_0.gguf"].map(fixture);
    let (out, _) = succeed(&["inspect", "--json", path_str(&files[0]), path_str(&files[1])]);
    assert_eq!(results(&out).len(), 2);
}

/// Of a file that is cut short nearly every tensor is a fault; one is told and how many others, as `check` does.
#[test]
fn the_faults_of_a_cut_file_do_not_fill_the_screen() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.gguf");
    let whole = std::fs::read(fixture("mini-dense/drafter-q8_0.gguf")).unwrap();
    std::fs::write(&path, &whole[..100_000]).unwrap();
    let (_, warnings) = succeed(&["inspect", path_str(&path)]);
    assert_eq!(warnings.lines().count(), 1, "{warnings}");
    // All 49 tensors but the rotary factors, which stand first.
    let words = [
        "warning: ",
        "beyond the end of the file at 100000, and 47 more: blk.",
    ];
    assert!(words.iter().all(|word| warnings.contains(word)), "{warnings}");
    let (_, each) = succeed(&["inspect", "--verbose", path_str(&path)]);
    let each = each.lines().filter(|line| line.starts_with("warning: "));
    assert_eq!(each.count(), 48);
}
