//! `inspect --get`, and the histogram of `inspect --stats`, against the `gguf` package and numpy.

use crate::common::*;
use gguf_conv::gguf::{Array, Metadata, Strings};
use gguf_conv::quant::GgmlType;
use serde_json::{Value as Json, json};

fn dump(name: &str) -> Json {
    serde_json::from_slice(&std::fs::read(fixture(name)).unwrap()).unwrap()
}

fn get(name: &str, file: &str) -> String {
    succeed(&["inspect", "--get", name, file]).0
}

fn get_json(name: &str, file: &str) -> Json {
    result(&succeed(&["inspect", "--json", "--get", name, file]).0)
}

/// Numbers as f32, sign of zero and all: JSON's reader is not exact in the last digit of an f64.
fn bits(values: &Json) -> Vec<u32> {
    let values = values.as_array().unwrap().iter();
    values
        .map(|value| (value.as_f64().unwrap() as f32).to_bits())
        .collect()
}

/// `fixtures/values.json` holds what gguf 0.19 decodes.
#[test]
fn numbers_are_those_of_gguf_py() {
    let mut types = Vec::new();
    for (file, tensors) in dump("values.json").as_object().unwrap() {
        let path = fixture(file);
        for (ty, tensor) in tensors.as_object().unwrap() {
            let expected = tensor["values"].as_array().unwrap();
            let first = tensor["first"].as_u64().unwrap();
            let name = tensor["name"].as_str().unwrap();
            let asked = format!("{name}[{first}..{}]", first + expected.len() as u64);
            let got = get_json(&asked, path_str(&path));
            assert_eq!(bits(&got["value"]), bits(&tensor["values"]), "{asked}");
            assert_eq!(
                (&got["tensor_type"], &got["first"]),
                (&json!(ty), &tensor["first"])
            );
            let bare: Vec<u32> = get(&asked, path_str(&path))
                .lines()
                .map(|line| line.parse::<f32>().unwrap().to_bits())
                .collect();
            assert_eq!(bare, bits(&tensor["values"]), "{asked}");
            // One number alone, within a block.
            let one = get_json(&format!("{name}[{}]", first + 5), path_str(&path));
            assert_eq!(bits(&json!([one["value"]])), bits(&json!([expected[5]])));
            types.push(ty.clone());
        }
    }
    types.sort();
    types.dedup();
    assert_eq!(types, ["BF16", "F32", "I64", "Q4_0", "Q8_0"]);
}

#[test]
fn histograms_are_those_of_numpy() {
    for (file, tensors) in dump("values.json").as_object().unwrap() {
        let path = fixture(file);
        let report = result(&succeed(&["inspect", "--json", "--stats", path_str(&path)]).0);
        let found = report["tensors"].as_array().unwrap();
        for tensor in tensors.as_object().unwrap().values() {
            let found = found
                .iter()
                .find(|found| found["name"] == tensor["name"])
                .unwrap();
            assert_eq!(
                found["stats"]["histogram"], tensor["histogram"],
                "{file} {tensor}"
            );
        }
    }
}

/// `fixtures/reader.json` holds what gguf 0.19's reader sees.
#[test]
fn values_of_keys_are_those_of_gguf_py() {
    let dump = dump("reader.json");
    let name = "mini-edge/drafter-q8_0.gguf";
    let file = fixture(name);
    for key in dump[name]["metadata"].as_array().unwrap() {
        let (key, ty, value) = (key[0].as_str().unwrap(), &key[1], &key[2]);
        let got = get_json(key, path_str(&file));
        assert_eq!(got["type"], *ty, "{key}");
        match value.get("len") {
            Some(len) => assert_eq!(
                got["value"].as_array().unwrap().len(),
                len.as_u64().unwrap() as usize
            ),
            None => assert_eq!(got["value"], *value, "{key}"),
        }
        let bare = get(key, path_str(&file));
        match value {
            Json::String(text) => assert_eq!(bare, format!("{text}\n"), "{key}"),
            Json::Array(list) => assert_eq!(bare.lines().count(), list.len(), "{key}"),
            Json::Number(number) => assert_eq!(
                bare.trim().parse::<f32>().unwrap(),
                number.as_f64().unwrap() as f32,
                "{key}"
            ),
            _ => {}
        }
    }
}

#[test]
fn parts_of_lists_are_counted_from_zero() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lists.gguf");
    let mut metadata = Metadata::default();
    metadata.set("general.architecture", "test");
    let tokens: Strings = ["a", "b\nc", "\u{1b}[2J", "d e"].iter().collect();
    metadata.set("tokens", Array::String(tokens));
    metadata.set("odd[0]", 7_u32);
    metadata.set("odd", Array::U32(vec![1, 2]));
    metadata.set("large", u64::MAX);
    let numbers = [i64::MIN, i64::MAX, (1 << 53) + 1];
    let data = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
    write_gguf(&path, &metadata, &[("ids", &[3], GgmlType::I64, data)]);
    let file = path_str(&path);
    for (asked, expected) in [
        ("tokens[1..4]", "b\\nc\n\\u{1b}[2J\nd e\n"),
        ("tokens[..1]", "a\n"),
        ("tokens[3..]", "d e\n"),
        // A string alone is as it is: this is no terminal.
        ("tokens[1]", "b\nc\n"),
        ("tokens[2]", "\u{1b}[2J\n"),
        ("tokens[4..]", ""),
        ("odd[0]", "7\n"),
        ("odd[1]", "2\n"),
        ("large", "18446744073709551615\n"),
        (
            "ids[..]",
            "-9223372036854775808\n9223372036854775807\n9007199254740993\n",
        ),
    ] {
        assert_eq!(get(asked, file), expected, "{asked}");
    }
    let ids = get_json("ids[2]", file);
    assert_eq!(
        (&ids["value"], &ids["type"]),
        (&json!(9_007_199_254_740_993_u64), &json!("i64"))
    );
    for (asked, words) in [
        (
            "tokens[4]",
            "tokens has 4 elements, counted from 0; [4] is not among them",
        ),
        ("tokens[2..1]", "[2..1] is not among them"),
        ("ids[0..4]", "ids has 3 elements"),
        ("large[0]", "large is one u64, no list; ask for it without [...]"),
        (
            "ids",
            "ids is a tensor, I64 of 3; say which of its 3 numbers, as in 'ids[0..16]'",
        ),
        (
            "token",
            "no key and no tensor is called token; the nearest are tokens",
        ),
        (
            "idx[0..2]",
            "no key and no tensor is called idx; the nearest are ids",
        ),
        ("tokens[x]", "no key and no tensor is called tokens[x]"),
    ] {
        refuse(2, &[words], &["inspect", "--get", asked, file]);
    }
}

#[test]
fn every_container_has_values() {
    let drafter = fixture("mini-dense/drafter");
    let of_checkpoint = get("model.embed_tokens.weight[0..3]", path_str(&drafter));
    assert_eq!(of_checkpoint.lines().count(), 3);
    let parts = fixture("bad/ok-split/m-00001-of-00002.gguf");
    // The second part holds it.
    assert!(!get("b[..]", path_str(&parts)).is_empty());
    let files = ["mini-dense/drafter-q8_0.gguf", "mini-edge/drafter-q8_0.gguf"].map(fixture);
    let both = [path_str(&files[0]), path_str(&files[1])];
    let (out, _) = succeed(&[&["inspect", "--get", "general.architecture"], &both[..]].concat());
    assert_eq!(out, "gemma4-assistant\n".repeat(2));
}

/// What is there of a file that was cut off can be read, and what is not is told.
#[test]
fn a_cut_file_gives_what_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.gguf");
    let whole = fixture("mini-dense/drafter-q8_0.gguf");
    let bytes = std::fs::read(&whole).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 1000]).unwrap();
    let first = "token_embd.weight[0..4]";
    assert_eq!(get(first, path_str(&path)), get(first, path_str(&whole)));
    let names: Vec<String> = result(&succeed(&["inspect", "--json", path_str(&whole)]).0)["tensors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tensor| tensor["name"].as_str().unwrap().to_owned())
        .collect();
    let last = format!("{}[..]", names.last().unwrap());
    refuse(
        3,
        &["beyond the end of the file"],
        &["inspect", "--get", &last, path_str(&path)],
    );
}

#[test]
fn too_many_numbers_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.gguf");
    let mut metadata = Metadata::default();
    metadata.set("general.architecture", "test");
    write_gguf(
        &path,
        &metadata,
        &[("t", &[4096, 4096], GgmlType::F32, Vec::new())],
    );
    std::fs::File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(65 << 20)
        .unwrap();
    let file = path_str(&path);
    refuse(
        2,
        &["16777216 numbers of t are too many at once; ask for at most 1048576"],
        &["inspect", "--get", "t[..]", file],
    );
    assert_eq!(get("t[16777214..]", file), "0\n0\n");
}

#[test]
fn the_bars_of_a_histogram_fit_beside_the_figures() {
    let file = fixture("mini-dense/drafter-q8_0.gguf");
    let (out, _) = succeed(&["inspect", "--stats", "--filter", "blk.0.attn_*", path_str(&file)]);
    let rows: Vec<&str> = out.lines().skip_while(|line| *line != "tensors").collect();
    assert!(rows.len() > 3, "{out}");
    for row in rows {
        assert!(gguf_conv::text::width(row) <= 100, "{row}");
    }
    assert!(out.contains('█') && out.contains('▁'), "{out}");
}
