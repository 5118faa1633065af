//! `general.*` keys for the folder names and the model card that upstream's converter was run on.

use crate::common::*;
use gguf_conv::gguf::{Array, Gguf, Value};
use gguf_conv::io::Inputs;

/// Converts a copy of mini-dense under another folder name, with a model card.
fn convert_as(name: &str, card: Option<&str>) -> Gguf {
    let drafter = Drafter::named("mini-dense", name);
    if let Some(card) = card {
        std::fs::write(drafter.path.join("README.md"), card).unwrap();
    }
    let out = drafter.beside("out.gguf");
    succeed(&[drafter.str(), "-o", path_str(&out)]);
    Gguf::open(&Inputs::new(), &out).unwrap()
}

fn text(file: &Gguf, key: &str) -> Option<String> {
    file.metadata()
        .string(&format!("general.{key}"))
        .ok()
        .map(ToString::to_string)
}

#[track_caller]
fn assert_names(file: &Gguf, name: &str, basename: Option<&str>, finetune: Option<&str>) {
    assert_eq!(text(file, "name").as_deref(), Some(name));
    assert_eq!(text(file, "basename").as_deref(), basename);
    assert_eq!(text(file, "finetune").as_deref(), finetune);
}

#[test]
fn names_come_from_the_folder() {
    assert_names(&convert_as("drafter", None), "Drafter", None, None);
    assert_names(&convert_as("my_drafter.v2", None), "My_Drafter.V2", None, None);
    assert_names(
        &convert_as("gemma-4-E4B-it-qat-q4_0-unquantized-assistant", None),
        "Gemma 4 E4B It Qat Q4_0 Unquantized Assistant",
        Some("gemma-4-E4B-it-qat"),
        Some("unquantized-assistant"),
    );
}

#[test]
fn the_model_card_tells_licence_origin_tags_and_languages() {
    let card = "---\n\
        license: apache-2.0\n\
        license_link: https://ai.google.dev/gemma/docs/gemma_4_license\n\
        base_model: google/gemma-4-12B-it\n\
        tags:\n- gemma4\n- drafter\n\
        pipeline_tag: text-generation\n\
        language:\n- en\n- no\n\
        ---\n# Drafter\n";
    let file = convert_as("gemma-4-12B-it-assistant", Some(card));
    assert_names(
        &file,
        "Gemma 4 12B It Assistant",
        Some("gemma-4"),
        Some("12b-it-assistant"),
    );
    assert_eq!(text(&file, "license").as_deref(), Some("apache-2.0"));
    assert_eq!(
        text(&file, "license.link").as_deref(),
        Some("https://ai.google.dev/gemma/docs/gemma_4_license")
    );
    assert_eq!(
        file.metadata().get("general.base_model.count"),
        Some(&Value::U32(1))
    );
    assert_eq!(
        text(&file, "base_model.0.name").as_deref(),
        Some("Gemma 4 12B It")
    );
    assert_eq!(
        text(&file, "base_model.0.organization").as_deref(),
        Some("Google")
    );
    assert_eq!(
        text(&file, "base_model.0.repo_url").as_deref(),
        Some("https://huggingface.co/google/gemma-4-12B-it")
    );
    let list = |key: &str| file.metadata().array(key).cloned();
    let strings = |items: &[&str]| Ok(Array::String(items.iter().collect()));
    assert_eq!(
        list("general.tags"),
        strings(&["gemma4", "drafter", "text-generation"])
    );
    assert_eq!(list("general.languages"), strings(&["en", "no"]));
}

/// What cannot be read is told, one sentence a field; the rest of the file counts.
#[test]
fn fields_of_a_wrong_type_are_told() {
    let drafter = Drafter::copy_of("mini-dense");
    drafter.edit_json("generation_config.json", |json| {
        json["top_k"] = "64".into();
        json["temperature"] = serde_json::json!([1.0]);
        json["top_p"] = 0.5.into();
    });
    drafter.edit_json("tokenizer_config.json", |json| {
        json["add_bos_token"] = "yes".into();
        json["chat_template"] = 5.into();
    });
    drafter.edit_json("config.json", |json| json["eos_token_id"] = (-1).into());
    let out = drafter.beside("out.gguf");
    let (_, err) = succeed(&[drafter.str(), "-o", path_str(&out)]);
    for words in [
        "generation_config.json: top_k is \"64\", not a whole number; it is left out",
        "generation_config.json: temperature is [1.0], not a number",
        "tokenizer_config.json: add_bos_token is \"yes\", not true or false",
        "tokenizer_config.json: chat_template is 5, not a template",
        "config.json: eos_token_id is -1, not a token's number",
    ] {
        assert!(
            err.contains(&format!("warning: {words}")),
            "{words} is not in {err}"
        );
    }
    let gguf = Gguf::open(&Inputs::new(), &out).unwrap();
    let metadata = gguf.metadata();
    assert!(metadata.get("general.sampling.top_k").is_none());
    assert!(metadata.get("general.sampling.top_p").is_some());
    // What is right is not told.
    let untouched = fixture("mini-dense/drafter");
    let (_, err) = succeed(&[path_str(&untouched), "--dry-run"]);
    assert!(!err.contains("warning: "), "{err}");
}
