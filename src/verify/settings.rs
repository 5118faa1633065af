//! The numbers that a drafter's GGUF states against those of its checkpoint.

use super::words::code;
use crate::finding::Finding;
use crate::model::{DFlashConfig, DrafterConfig, Eagle3Config, Numbers, RopeNumbers};
use std::fmt::Debug;

/// One finding for each number that differs. Those of assistants are held to the target instead, whose keys they read.
pub fn differences(ours: &DrafterConfig, source: &DrafterConfig) -> Vec<Finding> {
    let mut told = Told::default();
    match (ours, source) {
        (DrafterConfig::Eagle3(ours), DrafterConfig::Eagle3(theirs)) => of_eagle3(&mut told, ours, theirs),
        (DrafterConfig::DFlash(ours), DrafterConfig::DFlash(theirs)) => of_dflash(&mut told, ours, theirs),
        _ => {}
    }
    told.findings
}

#[derive(Default)]
struct Told {
    findings: Vec<Finding>,
}

impl Told {
    fn say(&mut self, key: &str, message: String) {
        let finding = Finding::error(code::FILE, message);
        self.findings.push(finding.about(Some(key.to_owned())));
    }

    fn hold<T: PartialEq + Debug>(&mut self, key: &str, ours: &T, theirs: &T) {
        if ours != theirs {
            self.say(key, format!("{key} is {ours:?}, the source's is {theirs:?}"));
        }
    }

    /// Numbers that may have been rounded to 32 bits.
    fn hold_real(&mut self, key: &str, ours: f64, theirs: f64) {
        let (ours, theirs) = (ours as f32, theirs as f32);
        if ours != theirs {
            self.say(key, format!("{key} is {ours}, the source's is {theirs}"));
        }
    }
}

fn of_eagle3(told: &mut Told, ours: &Eagle3Config, theirs: &Eagle3Config) {
    of_all(told, "eagle3", &ours.numbers, &theirs.numbers);
    told.hold(
        "eagle3.target_hidden_size",
        &ours.target_width,
        &theirs.target_width,
    );
    let key = "eagle3.norm_before_residual";
    told.hold(key, &ours.norm_before_residual, &theirs.norm_before_residual);
    told.hold(
        "eagle3.norm_before_fc",
        &ours.norm_before_fc,
        &theirs.norm_before_fc,
    );
}

fn of_dflash(told: &mut Told, ours: &DFlashConfig, theirs: &DFlashConfig) {
    of_all(told, "dflash", &ours.numbers, &theirs.numbers);
    told.hold("dflash.block_size", &ours.block_size, &theirs.block_size);
    if ours.mask_token != theirs.mask_token {
        let key = "tokenizer.ggml.mask_token_id";
        let (ours, theirs) = (ours.mask_token, theirs.mask_token);
        told.say(key, format!("the mask token is {ours}, the source's is {theirs}"));
    }
    let key = "dflash.embedding_scale";
    match (ours.embedding_scale, theirs.embedding_scale) {
        (1.0, scale) if scale != 1.0 => {
            told.say(
                key,
                format!("{key} is missing or 1: the source scales embeddings by {scale}"),
            );
        }
        (ours, theirs) => told.hold_real(key, ours.into(), theirs.into()),
    }
    let real = [
        (
            "dflash.attention.scale",
            ours.attention_scale,
            theirs.attention_scale,
        ),
        (
            "dflash.attention.value_scale",
            ours.value_scale,
            theirs.value_scale,
        ),
    ];
    for (key, ours, theirs) in real {
        told.hold_real(key, ours.into(), theirs.into());
    }
    told.hold("dflash.hidden_activation", &ours.activation, &theirs.activation);
    told.hold("dflash.attention.sliding_window", &ours.sliding, &theirs.sliding);
    told.hold("dflash.attention.causal", &ours.causal, &theirs.causal);
    let key = "dflash.sample_from_anchor";
    told.hold(key, &ours.sample_from_anchor, &theirs.sample_from_anchor);
    told.hold("dflash.selector_top_k", &ours.selector, &theirs.selector);
    // Only DFlash2 has its logits scaled.
    if theirs.selector.is_some() {
        told.hold_real(
            "dflash.logit_scale",
            ours.logit_scale.into(),
            theirs.logit_scale.into(),
        );
        told.hold("dflash.final_logit_softcapping", &ours.soft_cap, &theirs.soft_cap);
    }
}

fn of_all(told: &mut Told, architecture: &str, ours: &Numbers, theirs: &Numbers) {
    let key = |name: &str| format!("{architecture}.{name}");
    let counts = [
        ("embedding_length", ours.width, theirs.width),
        ("block_count", ours.layers, theirs.layers),
        ("attention.head_count", ours.heads, theirs.heads),
        ("attention.head_count_kv", ours.kv_heads, theirs.kv_heads),
        ("attention.key_length", ours.head_dim, theirs.head_dim),
        ("feed_forward_length", ours.ffn, theirs.ffn),
        ("rope.dimension_count", ours.rope.dims, theirs.rope.dims),
    ];
    for (name, ours, theirs) in counts {
        told.hold(&key(name), &ours, &theirs);
    }
    let name = key("attention.layer_norm_rms_epsilon");
    told.hold_real(&name, ours.eps.into(), theirs.eps.into());
    told.hold_real(&key("rope.freq_base"), ours.rope.base, theirs.rope.base);
    let stretch = [ours, theirs].map(|numbers| numbers.rope.stretch.into());
    told.hold_real(&key("rope.scaling.factor"), stretch[0], stretch[1]);
    of_factors(told, &ours.rope, &theirs.rope);
    let (a, b) = (&ours.target_layers, &theirs.target_layers);
    if a != b {
        let sorted = |layers: &[usize]| {
            let mut layers = layers.to_vec();
            layers.sort_unstable();
            layers
        };
        let why = match sorted(a) == sorted(b) {
            true => ": layers are exchanged, and each has weights of its own",
            false => "",
        };
        let name = key("target_layers");
        told.say(&name, format!("{name} is {a:?}, the source's is {b:?}{why}"));
    }
}

/// The factors of rotary frequencies, which a checkpoint states and a GGUF has as a tensor.
fn of_factors(told: &mut Told, ours: &RopeNumbers, theirs: &RopeNumbers) {
    const NAME: &str = "rope_freqs.weight";
    /// Above this a pair stands still.
    const STILL: f32 = 1e20;
    /// More than what programs make of the same numbers.
    const ROUNDING: f32 = 1e-5;
    if ours.dims != theirs.dims {
        // Told already.
        return;
    }
    let (ours, theirs) = match (&ours.factors, &theirs.factors) {
        (None, None) => return,
        (None, Some(_)) => {
            let message = format!("{NAME} is missing: the source divides its rotary frequencies by factors");
            return told.say(NAME, message);
        }
        (Some(ours), Some(theirs)) => (ours, theirs),
        (Some(ours), None) => (ours, &vec![1.0; ours.len()]),
    };
    let differ = |(a, b): (&f32, &f32)| match (*a > STILL, *b > STILL) {
        (false, false) => (a - b).abs() > ROUNDING * b.abs(),
        (a, b) => a != b,
    };
    let pairs = ours.iter().zip(theirs);
    if let Some((i, (a, b))) = pairs.enumerate().find(|(_, pair)| differ(*pair)) {
        told.say(NAME, format!("factor {i} of {NAME} is {a}, the source's is {b}"));
    }
}
