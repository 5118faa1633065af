//! Models by name: of the Hub's cache and of Ollama's store.

use crate::common::home::{COMMIT, Home};
use crate::common::*;
use std::path::Path;

fn dense(name: &str) -> std::path::PathBuf {
    fixture("mini-dense").join(name)
}

/// A home with a target and its drafter in every place.
fn home() -> Home {
    let home = Home::new();
    let (target, drafter) = (dense("target-bf16.gguf"), dense("drafter-q8_0.gguf"));
    let files: Vec<_> = std::fs::read_dir(dense("drafter"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    let files: Vec<(&str, &Path)> = files
        .iter()
        .map(|path| (path.file_name().unwrap().to_str().unwrap(), path.as_path()))
        .collect();
    home.hub("google/mini-it-assistant", &files);
    home.hub(
        "ggml-org/mini-it-GGUF",
        &[
            ("mini-it-BF16.gguf", &target),
            ("q/mtp-mini-it-Q8_0.gguf", &drafter),
        ],
    );
    let layers: [(&str, &Path); 2] = [("model", &target), ("draft", &drafter)];
    home.ollama("registry.ollama.ai/library/mini/it", &layers);
    home
}

#[test]
fn a_drafter_is_converted_by_its_name_in_the_cache() {
    let home = home();
    for target in [
        "ollama:mini:it",
        "ggml-org/mini-it-GGUF",
        "hf:ggml-org/mini-it-GGUF:BF16",
    ] {
        let out = home.path("d.gguf");
        let args = [
            "google/mini-it-assistant",
            "--target",
            target,
            "--outtype",
            "q8_0",
            "--force",
            "-o",
            path_str(&out),
        ];
        home.run(0, &args);
        let data = |path: &Path| succeed(&["hash", path_str(path)]).0;
        // The name differs, the tensors do not.
        let tensors = |text: String| -> Vec<String> {
            let lines = text.lines().filter_map(|line| line.split_once(":tensor/"));
            lines
                .map(|(front, name)| format!("{} {name}", &front[..64]))
                .collect()
        };
        assert_eq!(tensors(data(&out)), tensors(data(&dense("drafter-q8_0.gguf"))));
    }
}

#[test]
fn every_command_takes_the_same_names() {
    let home = home();
    let (drafter, target) = ("hf:ggml-org/mini-it-GGUF:Q8_0", "ollama:mini:it");
    let drafter_of = "ggml-org/mini-it-GGUF";
    home.run(0, &["check", drafter_of, "--target", target]);
    home.run(
        0,
        &[
            "inspect",
            "--no-tensors",
            target,
            drafter,
            "google/mini-it-assistant",
        ],
    );
    home.run(0, &["hash", target]);
    home.run(
        0,
        &[
            "diff",
            target,
            "hf:ggml-org/mini-it-GGUF:mini-it-BF16.gguf",
            "--target",
            target,
            "--ignore",
            "none",
        ],
    );
    home.run(0, &["advise", "--target", target, "--drafter", drafter_of]);
    home.run(0, &["migrate", drafter_of, "--target", target, "--dry-run"]);
    let args = [
        "verify",
        drafter_of,
        "--target",
        target,
        "--source",
        "google/mini-it-assistant",
        "--generate",
        "4",
    ];
    home.run(0, &args);
    let folder = home.path("out");
    std::fs::create_dir(&folder).unwrap();
    home.run(
        0,
        &["quantize", target, "--outtype", "q8_0", "-o", path_str(&folder)],
    );
    assert!(
        folder.join("mini-it-Q8_0.gguf").is_file(),
        "named by the model, not by its checksum"
    );
    // Of a model of Ollama a drafter is what its DRAFT says.
    home.run(0, &["check", target, "--target", target]);
}

#[test]
fn revisions_are_found_by_ref_and_by_commit() {
    let home = home();
    let name = "google/mini-it-assistant";
    let refs = home.path("hf/hub/models--google--mini-it-assistant/refs");
    std::fs::create_dir(refs.join("pr")).unwrap();
    std::fs::write(refs.join("pr/1"), format!("{COMMIT}\n")).unwrap();
    for revision in ["main", "pr/1", COMMIT] {
        home.run(0, &["inspect", &format!("{name}@{revision}")]);
    }
    let (_, err) = home.run(3, &["inspect", &format!("{name}@v9")]);
    assert!(err.contains("v9") && err.contains(COMMIT), "{err}");
    // What a ref says is a name in the folder, or it is not followed.
    std::fs::write(
        refs.join("main"),
        "../../models--ggml-org--mini-it-GGUF/snapshots",
    )
    .unwrap();
    home.run(3, &["inspect", name]);
}

#[test]
fn what_is_not_there_is_told_with_the_way_out() {
    let home = home();
    let told = |args: &[&str], words: &[&str]| {
        let (_, err) = home.run(3, args);
        assert_eq!(err.lines().count(), 1, "{err}");
        for word in words {
            assert!(err.contains(word), "{word:?} is not in: {err}");
        }
    };
    told(
        &["inspect", "google/mini"],
        &["no such file", "cache of Hugging Face", "google/mini"],
    );
    told(&["hash", "hf:google/mini"], &["not in the cache"]);
    told(&["inspect", "hf:google/mini"], &["HF_HUB_OFFLINE"]);
    told(&["inspect", "google/mini.gguf"], &["no such file"]);
    told(
        &["hash", "hf:ggml-org/mini-it-GGUF:Q2_K"],
        &["Q2_K", "mini-it-BF16.gguf"],
    );
    told(&["inspect", "ollama:mini"], &["mini:latest", "mini:it"]);
    told(
        &["inspect", "ollama:mimi:it"],
        &["ollama pull mimi:it", "mini:it"],
    );
    told(&["convert", "ollama:mini:it"], &["checkpoint"]);
    let (_, err) = home.run(2, &["inspect", "ollama:../mini"]);
    assert!(err.contains("ollama list"), "{err}");
}

#[test]
fn a_local_path_comes_first() {
    let home = home();
    let here = home.path("work");
    std::fs::create_dir_all(here.join("google")).unwrap();
    std::fs::copy(dense("drafter-q8_0.gguf"), here.join("google/mini-it-assistant")).unwrap();
    let mut program = home.program();
    let output = program
        .current_dir(&here)
        .args(["inspect", "google/mini-it-assistant"])
        .output()
        .unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().contains("Q8_0"));
}

#[test]
fn a_manifest_leads_nowhere_but_to_its_blobs() {
    let home = home();
    let secret = home.path("secret.gguf");
    std::fs::copy(dense("target-bf16.gguf"), &secret).unwrap();
    for digest in [
        "../../secret.gguf",
        "sha256:../../../secret.gguf",
        path_str(&secret),
        "sha256:",
        "",
        "md5:0123456789abcdef0123456789abcdef",
    ] {
        let layer =
            serde_json::json!({ "mediaType": "application/vnd.ollama.image.model", "digest": digest });
        let manifest = serde_json::json!({ "layers": [layer] }).to_string();
        home.ollama_manifest("registry.ollama.ai/library/evil/latest", &manifest);
        let (_, err) = home.run(3, &["inspect", "ollama:evil"]);
        assert!(err.contains("is no digest") && err.lines().count() == 1, "{err}");
    }
    for text in ["", "[]", "{\"layers\": 7}", "\u{0}"] {
        home.ollama_manifest("registry.ollama.ai/library/evil/latest", text);
        home.run(3, &["inspect", "ollama:evil"]);
    }
    // A model that Ollama runs elsewhere, or keeps for MLX.
    home.ollama("registry.ollama.ai/library/cloud/latest", &[("license", &secret)]);
    let (_, err) = home.run(3, &["inspect", "ollama:cloud"]);
    assert!(err.contains("runs elsewhere"), "{err}");
    home.ollama("registry.ollama.ai/library/mlx/latest", &[("tensor", &secret)]);
    let (_, err) = home.run(3, &["inspect", "ollama:mlx"]);
    assert!(err.contains("MLX"), "{err}");
}
