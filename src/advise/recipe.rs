//! How the programs that people run are told to draft with a pair, and which of them cannot.

use serde::Serialize;

/// A program's recipe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Recipe {
    /// The program.
    pub program: &'static str,
    /// Whether it drafts with this kind of drafter today (November 2026).
    pub can: bool,
    /// Whether the recipe was run in the tests of this program; else it follows the program's documentation or source.
    pub tried: bool,
    /// A command line or the content of a file; empty where it cannot.
    pub text: String,
    /// What to know about it.
    pub note: &'static str,
}

impl Recipe {
    /// What is to be said behind the program's name.
    pub fn standing(&self) -> &'static str {
        match (self.can, self.tried) {
            (false, _) => " (cannot take this drafter today)",
            (true, false) => " (by its documentation, untried)",
            (true, true) => "",
        }
    }
}

/// What recipes are for.
#[derive(Debug, Clone, Copy)]
pub struct Pair<'a> {
    /// The target's GGUF.
    pub target: &'a str,
    /// The drafter's GGUF.
    pub drafter: &'a str,
    /// `general.architecture` of the drafter.
    pub architecture: &'a str,
    /// How llama.cpp drafts with it.
    pub spec_type: &'a str,
    /// Most tokens a draft.
    pub n_max: u32,
    /// Tokens of all sequences together.
    pub context: u64,
    /// Sequences at the same time.
    pub parallel: u64,
    /// Type of keys and values.
    pub cache: &'a str,
}

/// How llama.cpp drafts with a file of an architecture.
pub fn spec_type(architecture: &str, has_markov_head: bool) -> &'static str {
    match architecture {
        "gemma4-assistant" => "draft-mtp",
        "eagle3" => "draft-eagle3",
        "dflash" if has_markov_head => "draft-dspark",
        "dflash" => "draft-dflash",
        _ => "draft-simple",
    }
}

/// A name as a shell takes it.
fn quoted(path: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-/+:=@%".contains(c);
    match !path.is_empty() && path.chars().all(is_plain) {
        true => path.to_owned(),
        false => format!("'{}'", path.replace('\'', "'\\''")),
    }
}

/// All recipes.
pub fn recipes(pair: &Pair) -> Vec<Recipe> {
    let is_assistant = pair.architecture == "gemma4-assistant";
    let (target, drafter) = (quoted(pair.target), quoted(pair.drafter));
    let cache = match pair.cache {
        "f16" => String::new(),
        cache => format!(" --cache-type-k {cache} --cache-type-v {cache}"),
    };
    let n_max = pair.n_max;
    // A block of mlx-vlm holds the target's token too.
    let block = n_max + 1;
    let recipe = |program, can, text: String, note| Recipe {
        program,
        can,
        tried: program == "llama-server",
        text: if can { text } else { String::new() },
        note,
    };
    vec![
        recipe(
            "llama-server",
            true,
            format!(
                "llama-server --model {target} --model-draft {drafter} --spec-type {} --spec-draft-n-max {n_max} --parallel {} \
                 --ctx-size {}{cache}",
                pair.spec_type, pair.parallel, pair.context
            ),
            "--spec-type must not be missing: without it a gemma4-assistant or eagle3 drafter is loaded and never used \
             (b11434), or the server aborts (b11549); n-max cannot be set by request",
        ),
        recipe(
            "Ollama (Modelfile)",
            true,
            format!(
                "FROM {}\nDRAFT {}\nPARAMETER draft_num_predict {n_max}\nPARAMETER num_ctx {}",
                pair.target,
                pair.drafter,
                pair.context / pair.parallel.max(1)
            ),
            "`ollama create NAME -f Modelfile` makes the model; an environment variable alone loads no drafter; answers tell no \
             acceptance",
        ),
        recipe(
            "LM Studio",
            pair.spec_type == "draft-simple",
            format!(
                "lms load {target} --context-length {}",
                pair.context / pair.parallel.max(1)
            ),
            "takes models of their own as drafters (Speculative Decoding in the model's settings); a gemma4-assistant is not \
             offered there, or fails at the first message (its bug tracker, 2044, 2150, 2229, 2244)",
        ),
        recipe(
            "koboldcpp",
            is_assistant,
            format!(
                "koboldcpp --model {target} --draftmodel {drafter} --draftamount {n_max} --contextsize {}",
                pair.context
            ),
            "since June 2026 for gemma4-assistant (its issue 2262); --debugmode shows whether it drafts",
        ),
        recipe(
            "mlx-vlm",
            is_assistant,
            format!(
                "mlx_vlm.server --model TARGET_FOLDER --draft-model DRAFTER_FOLDER --draft-kind mtp --draft-block-size {block}"
            ),
            "takes the safetensors folders, no GGUF; a block holds the target's token too",
        ),
        recipe(
            "vLLM",
            is_assistant,
            format!(
                "vllm serve TARGET --speculative-config '{{\"method\": \"mtp\", \"model\": \"DRAFTER\", \"num_speculative_tokens\": \
                 {n_max}}}'"
            ),
            "takes the safetensors folders or Hub names, no GGUF; without \"method\": \"mtp\" it takes the drafter for a model of \
             its own; its documentation names the drafters of E2B, E4B, 26B-A4B and 31B",
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn llama_server_is_never_told_to_draft_without_a_type_and_names_are_quoted() {
        let pair = Pair {
            target: "my models/t'.gguf",
            drafter: "d.gguf",
            architecture: "gemma4-assistant",
            spec_type: spec_type("gemma4-assistant", false),
            n_max: 3,
            context: 8192,
            parallel: 2,
            cache: "q8_0",
        };
        let recipes = recipes(&pair);
        let expected = "llama-server --model 'my models/t'\\''.gguf' --model-draft d.gguf --spec-type draft-mtp \
                        --spec-draft-n-max 3 --parallel 2 --ctx-size 8192 --cache-type-k q8_0 --cache-type-v q8_0";
        assert_eq!(recipes[0].text, expected);
        assert!(
            recipes[1]
                .text
                .ends_with("PARAMETER draft_num_predict 3\nPARAMETER num_ctx 4096")
        );
        let eagle = Pair {
            architecture: "eagle3",
            ..pair
        };
        let of = |recipes: &[Recipe], program: &str| {
            recipes.iter().find(|r| r.program == program).cloned().unwrap()
        };
        for recipe in super::recipes(&eagle) {
            assert_eq!(recipe.can, !recipe.text.is_empty(), "{recipe:?}");
        }
        assert!(!of(&super::recipes(&eagle), "koboldcpp").can);
        assert!(!of(&recipes, "LM Studio").can, "it does not offer assistants");
        let expected = r#"vllm serve TARGET --speculative-config '{"method": "mtp", "model": "DRAFTER", "num_speculative_tokens": 3}'"#;
        assert_eq!(of(&recipes, "vLLM").text, expected);
    }
}
