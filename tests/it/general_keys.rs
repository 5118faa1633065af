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
