//! What `verify` has the target continue: prompts through its chat template, and a suite of them.

use crate::common::parts::Parts;
use crate::common::{fixture, path_str, refuse, succeed};
use gguf_conv::prompts;
use gguf_conv::verify::wilson;
use serde_json::Value as Json;
use std::path::Path;

const DRAFTER: &str = "mini-dense/drafter-q8_0.gguf";
const TARGET: &str = "mini-dense/target-bf16.gguf";

fn verified(target: &Path, args: &[&str]) -> Json {
    let drafter = fixture(DRAFTER);
    let mut all = vec![
        "verify",
        path_str(&drafter),
        "--target",
        path_str(target),
        "--json",
    ];
    all.extend(args);
    let document: Json = serde_json::from_str(&succeed(&all).0).unwrap();
    document["results"][0].clone()
}

/// The target with a chat template of its own.
fn with_template(template: &str, folder: &Path) -> std::path::PathBuf {
    let mut parts = Parts::read(&fixture(TARGET));
    parts.set("tokenizer.chat_template", template);
    let path = folder.join("target.gguf");
    parts.write(&path);
    path
}

/// What Jinja2 makes of the template stands beside it (fixtures/chat/render.py).
#[test]
fn a_prompt_goes_through_the_chat_template_as_jinja2_renders_it() {
    let folder = tempfile::tempdir().unwrap();
    let read = |name: &str| std::fs::read_to_string(fixture("chat").join(name)).unwrap();
    let target = with_template(&read("template.jinja"), folder.path());
    let rendered = read("rendered.txt");
    let said = "  Write a class for a queue. | and nothing else";
    let ours = verified(&target, &["--generate", "0", "--template", "--prompt", said]);
    let plain = verified(
        &target,
        &[
            "--generate",
            "0",
            "--prompt",
            rendered.strip_prefix("<bos>").unwrap(),
        ],
    );
    assert_eq!(ours["prompt"], plain["prompt"]);
    assert!(ours["prompt"].as_array().unwrap().len() > 20);
}

#[test]
fn a_template_that_cannot_be_used_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let drafter = fixture(DRAFTER);
    let refused = |target: &Path, words: &[&str]| {
        let (drafter, target) = (path_str(&drafter), path_str(target));
        refuse(3, words, &["verify", drafter, "--target", target, "--template"]);
    };
    for (template, words) in [
        ("{{ raise_exception('no users here') }}", "no users here"),
        ("{% if %}", "syntax error"),
        (
            "{% for i in range(9999) %}{% for j in range(9999) %}{{ i * j }}{% endfor %}{% endfor %}",
            "fuel",
        ),
    ] {
        let target = with_template(template, folder.path());
        refused(
            &target,
            &["target.gguf", "chat template", words, "leave --template out"],
        );
    }
    let mut parts = Parts::read(&fixture(TARGET));
    parts.remove("tokenizer.chat_template");
    let target = folder.path().join("none.gguf");
    parts.write(&target);
    refused(
        &target,
        &["none.gguf", "tokenizer.chat_template", "leave --template out"],
    );
}

/// Each prompt fares in the suite as it fares by itself, and that is held to llama.cpp's figures (verify.rs).
#[test]
fn a_suite_counts_what_each_of_its_prompts_gives_by_itself() {
    let target = fixture(TARGET);
    let args = ["--generate", "24", "--suite", "--kinds", "json,short"];
    let suite = verified(&target, &args)["suite"].clone();
    let kinds = suite["kinds"].as_array().unwrap();
    let count = |kind: &Json, key: &str| kind[key].as_u64().unwrap() as usize;
    for (kind, name) in kinds.iter().zip(["json", "short"]) {
        assert_eq!(kind["kind"], name);
        let texts = prompts::built_in(24).into_iter().find(|kind| kind.name == name);
        let (mut drafted, mut accepted, mut first) = (0, 0, 0);
        for prompt in &texts.unwrap().prompts {
            let alone = verified(&target, &["--generate", "24", "--prompt", &prompt.text]);
            drafted += count(&alone["acceptance"], "drafted");
            accepted += count(&alone["acceptance"], "accepted");
            first += count(&alone["acceptance"]["by_position"][0], "accepted");
        }
        assert_eq!(
            (
                count(kind, "prompts"),
                count(kind, "drafted"),
                count(kind, "accepted")
            ),
            (4, drafted, accepted)
        );
        assert_eq!(count(&kind["by_position"][0], "accepted"), first);
        let (low, high) = wilson(accepted, drafted);
        assert_eq!(kind["interval"], serde_json::json!([low, high]));
    }
    for key in ["prompts", "drafted", "accepted"] {
        let sum: usize = kinds.iter().map(|kind| count(kind, key)).sum();
        assert_eq!(count(&suite["all"], key), sum, "{key}");
    }
}
