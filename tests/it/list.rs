//! `list`: what is on a machine, and what fits what.

use crate::common::home::Home;
use crate::common::parts::Parts;
use crate::common::*;
use gguf_conv::gguf::{Array, Value};
use serde_json::Value as Json;
use std::path::Path;
use std::time::{Duration, Instant};

fn listed(home: &Home) -> Vec<Json> {
    results(&home.run(0, &["list", "--json"]).0)
}

fn named<'m>(models: &'m [Json], name: &str) -> &'m Json {
    let is_it = |model: &&Json| model["name"].as_str().is_some_and(|found| found.ends_with(name));
    models
        .iter()
        .find(is_it)
        .unwrap_or_else(|| panic!("{name} is not listed"))
}

#[test]
fn pairs_are_those_that_check_finds_nothing_against() {
    let home = Home::new();
    let file = |pair: &str, name: &str| fixture(pair).join(name);
    let dense = [
        file("mini-dense", "target-bf16.gguf"),
        file("mini-dense", "drafter-q8_0.gguf"),
    ];
    let edge = [
        file("mini-edge", "target-bf16.gguf"),
        file("mini-edge", "drafter-q8_0.gguf"),
    ];
    let layers: [(&str, &Path); 2] = [("model", &dense[0]), ("draft", &dense[1])];
    home.ollama("registry.ollama.ai/library/mini/dense", &layers);
    home.hub(
        "a/edge-GGUF",
        &[("edge.gguf", &edge[0]), ("mtp-edge.gguf", &edge[1])],
    );
    let checkpoint = fixture("mini-dense/drafter");
    home.hub(
        "a/mini-assistant",
        &[
            ("config.json", &checkpoint.join("config.json")),
            ("model.safetensors", &checkpoint.join("model.safetensors")),
        ],
    );
    let folder = home.path(".lmstudio/models/a/b");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::copy(&dense[1], folder.join("d.gguf")).unwrap();
    std::fs::write(folder.join("broken.gguf"), "GGUF").unwrap();
    let models = listed(&home);
    assert_eq!(models.len(), 7);
    let fits = |name: &str| {
        let fits = named(&models, name)["fits"].as_array().unwrap();
        fits.iter()
            .map(|name| name.as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let d = folder.join("d.gguf");
    assert_eq!(
        fits("ollama:mini:dense"),
        ["a/mini-assistant", "ollama:mini:dense (DRAFT)", path_str(&d)]
    );
    assert_eq!(fits("d.gguf"), ["ollama:mini:dense"]);
    // It has no tokenizer, and would be given the target's.
    assert_eq!(fits("a/mini-assistant"), ["ollama:mini:dense"]);
    assert_eq!(fits("mtp-edge.gguf"), ["hf:a/edge-GGUF:edge.gguf"]);
    let target = named(&models, "ollama:mini:dense");
    assert_eq!(
        (target["role"].as_str(), target["type"].as_str()),
        (Some("target"), Some("BF16"))
    );
    assert_eq!(
        target["size_bytes"].as_u64(),
        Some(dense[0].metadata().unwrap().len())
    );
    let checkpoint = named(&models, "a/mini-assistant");
    assert_eq!(
        (checkpoint["role"].as_str(), checkpoint["container"].as_str()),
        (Some("drafter"), Some("safetensors"))
    );
    assert!(named(&models, "broken.gguf")["error"].is_string());
    // Each name is one that commands take.
    home.run(
        0,
        &[
            "check",
            "hf:a/edge-GGUF:mtp-edge.gguf",
            "--target",
            "hf:a/edge-GGUF:edge.gguf",
        ],
    );
    let (text, _) = home.run(0, &["list"]);
    assert!(text.contains("pairs\n") && text.contains("LM Studio\n"), "{text}");
    let about = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/json.md")).unwrap();
    for field in target.as_object().unwrap().keys() {
        assert!(
            about.contains(&format!("`{field}`")),
            "{field} is not in docs/json.md"
        );
    }
}

#[test]
fn an_empty_machine_tells_where_was_looked() {
    let home = Home::new();
    let (text, _) = home.run(0, &["list"]);
    assert!(
        text.contains("no models") && text.contains(path_str(&home.path("ollama"))),
        "{text}"
    );
}

/// Reading four terabytes would take an hour; the bar is for headers.
#[test]
fn two_hundred_large_models_are_listed_by_their_headers() {
    let home = Home::new();
    let folder = home.path(".lmstudio/models");
    std::fs::create_dir_all(&folder).unwrap();
    let target = fixture("mini-dense/target-bf16.gguf");
    for n in 0..200 {
        let path = folder.join(format!("target-{n:03}.gguf"));
        std::fs::copy(&target, &path).unwrap();
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(20 << 30).unwrap();
    }
    std::fs::copy(fixture("mini-dense/drafter-q8_0.gguf"), folder.join("mtp.gguf")).unwrap();
    let start = Instant::now();
    let models = listed(&home);
    let took = start.elapsed();
    assert_eq!(models.len(), 201);
    assert_eq!(named(&models, "mtp.gguf")["fits"].as_array().unwrap().len(), 200);
    assert!(took < Duration::from_secs(20), "{took:?}");
    println!("list of 200 models of 20 GB: {took:?}");
}

/// Models that a fingerprint takes for alike are; those that differ in a number, a token or the rotary factors are not.
#[test]
fn what_is_listed_for_one_holds_for_all_alike() {
    let home = Home::new();
    let folder = home.path(".lmstudio/models");
    std::fs::create_dir_all(&folder).unwrap();
    let write = |name: &str, edit: &dyn Fn(&mut Parts)| {
        let mut parts = Parts::read(&fixture("mini-dense/target-bf16.gguf"));
        edit(&mut parts);
        parts.write(&folder.join(format!("{name}.gguf")));
    };
    const TOKENS: &str = "tokenizer.ggml.tokens";
    let another_token = |parts: &mut Parts| {
        let tokens = parts.metadata.iter().find(|(key, _)| key == TOKENS);
        let Some((_, Value::Array(Array::String(tokens)))) = tokens else {
            panic!("no tokens");
        };
        let mut tokens: Vec<Vec<u8>> = tokens.iter().map(|token| token.to_vec()).collect();
        tokens[700] = b"another".to_vec();
        parts.set(TOKENS, Array::String(tokens.iter().collect()));
    };
    let other_factors = |parts: &mut Parts| {
        let mut tensors = parts.tensors.iter_mut();
        let factors = tensors.find(|(name, ..)| name == "rope_freqs.weight").unwrap();
        factors.3[..4].copy_from_slice(&1e30_f32.to_le_bytes());
    };
    let name = "general.name".to_owned();
    write("same", &|_| ());
    write("named", &|parts| {
        parts.metadata.push((name.clone(), "another".into()))
    });
    write("token", &another_token);
    write("factors", &other_factors);
    write("width", &|parts| parts.set("gemma4.embedding_length", 256_u32));
    for file in ["drafter-q8_0.gguf", "drafter-lq-q4_0.gguf"] {
        std::fs::copy(fixture("mini-dense").join(file), folder.join(file)).unwrap();
    }
    let models = listed(&home);
    for (name, fits) in [
        ("same", 2),
        ("named", 2),
        ("token", 0),
        ("factors", 0),
        ("width", 0),
    ] {
        let found = &named(&models, &format!("{name}.gguf"))["fits"];
        assert_eq!(found.as_array().unwrap().len(), fits, "{name}");
        let path = folder.join(format!("{name}.gguf"));
        let drafter = fixture("mini-dense/drafter-q8_0.gguf");
        let args = [
            "check",
            "--no-data",
            path_str(&drafter),
            "--target",
            path_str(&path),
        ];
        let code = program().args(args).output().unwrap().status.code();
        assert_eq!(code == Some(0), fits > 0, "{name}");
    }
    for drafter in ["drafter-q8_0.gguf", "drafter-lq-q4_0.gguf"] {
        let fits = named(&models, drafter)["fits"].to_string();
        assert!(
            fits.contains("same.gguf") && fits.contains("named.gguf"),
            "{fits}"
        );
    }
}
