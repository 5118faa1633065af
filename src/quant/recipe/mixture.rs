//! The mixtures as data: which weights of which file types get a type of their own, and which are never quantized.
//!
//! The rules are those of llama.cpp's `src/llama-quant.cpp` of October 2026, restricted to the file types that
//! [`FileType`] lists.

use super::FileType::{self, *};
use crate::quant::GgmlType;

/// What a tensor is for, as far as the mixtures tell tensors apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Output,
    TokenEmbedding,
    /// Values, alone or joined with others in one tensor.
    AttentionValue,
    AttentionKey,
    AttentionOutput,
    FfnDown,
    Other,
}

/// What is in a name tells the role; the first match counts.
const ROLES: &[(Name, Role)] = &[
    (Name::Is("output.weight"), Role::Output),
    (Name::Is("token_embd.weight"), Role::TokenEmbedding),
    (Name::Is("per_layer_token_embd.weight"), Role::TokenEmbedding),
    (Name::Has("attn_qkv.weight"), Role::AttentionValue),
    (Name::Has("attn_kv_b.weight"), Role::AttentionValue),
    (Name::Has("attn_v.weight"), Role::AttentionValue),
    (Name::Has("attn_k.weight"), Role::AttentionKey),
    (Name::Has("attn_output.weight"), Role::AttentionOutput),
    (Name::Has("ffn_down"), Role::FfnDown),
];

impl Role {
    pub(super) fn of(name: &str) -> Role {
        let found = ROLES.iter().find(|(pattern, _)| pattern.matches(name));
        found.map_or(Role::Other, |(_, role)| *role)
    }
}

/// A condition on a tensor's name.
#[derive(Debug, Clone, Copy)]
pub(super) enum Name {
    Is(&'static str),
    Has(&'static str),
}

impl Name {
    fn matches(self, name: &str) -> bool {
        match self {
            Name::Is(text) => name == text,
            Name::Has(text) => name.contains(text),
        }
    }
}

/// Weights that keep their type: small, or too sensitive.
const KEPT: &[Name] = &[
    Name::Has("_norm.weight"),
    Name::Has("ffn_gate_inp.weight"),
    Name::Has("ffn_gate_tid2eid.weight"),
    Name::Has("altup"),
    Name::Has("laurel"),
    Name::Has("per_layer_model_proj"),
    Name::Is("position_embd.weight"),
    Name::Is("token_types.weight"),
    Name::Has("ssm_conv1d"),
    Name::Has("shortconv.conv.weight"),
    Name::Has("indexer.k_proj.weight"),
    Name::Has("indexer.q_proj.weight"),
    Name::Has("time_mix_first.weight"),
    Name::Has("time_mix_w0.weight"),
    Name::Has("time_mix_w1.weight"),
    Name::Has("time_mix_w2.weight"),
    Name::Has("time_mix_v0.weight"),
    Name::Has("time_mix_v1.weight"),
    Name::Has("time_mix_v2.weight"),
    Name::Has("time_mix_a0.weight"),
    Name::Has("time_mix_a1.weight"),
    Name::Has("time_mix_a2.weight"),
    Name::Has("time_mix_g1.weight"),
    Name::Has("time_mix_g2.weight"),
    Name::Has("time_mix_decay_w1.weight"),
    Name::Has("time_mix_decay_w2.weight"),
    Name::Has("time_mix_lerp_fused.weight"),
    Name::Has("attn_rel_b.weight"),
    Name::Has(".position_embd"),
    Name::Has("sam.pos_embd"),
    Name::Has("sam.neck."),
    Name::Has("sam.net_"),
    Name::Has(".rel_pos"),
    Name::Has(".patch_embd"),
    Name::Has(".patch_merger"),
    Name::Has("a.rvq.codebook"),
    Name::Has("mm.a.code_embd"),
];

/// Whether a tensor of this name may be quantized at all.
pub(super) fn is_weight(name: &str) -> bool {
    name.ends_with("weight") && !KEPT.iter().any(|kept| kept.matches(name))
}

/// When a rule applies.
#[derive(Debug, Clone, Copy)]
pub(super) enum When {
    Always,
    /// In the first and last eighth of the layers and every third one between.
    MoreBits,
    /// In the first so many tensors of the role.
    First(usize),
    /// In the first layers, that part of them.
    FirstPart(usize),
    FirstPartWith(Importance, usize),
    /// At least four query heads share a key and a value.
    SharedHeads,
    EightExperts,
    NotEightExperts,
}

/// Whether an importance matrix is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Importance {
    Given,
    Absent,
}

/// What conditions are judged by: where the tensor stands among those of its role, and what the model is like.
pub(super) struct Place {
    pub index: usize,
    pub count: usize,
    pub shared_heads: bool,
    pub experts: usize,
    pub importance: Importance,
}

impl When {
    fn holds(self, at: &Place) -> bool {
        let first_part = |part: usize| at.index < at.count / part;
        match self {
            When::Always => true,
            When::MoreBits => {
                let eighth = at.count / 8;
                at.index < eighth || at.index >= 7 * at.count / 8 || (at.index - eighth) % 3 == 2
            }
            When::First(n) => at.index < n,
            When::FirstPart(part) => first_part(part),
            When::FirstPartWith(importance, part) => at.importance == importance && first_part(part),
            When::SharedHeads => at.shared_heads,
            When::EightExperts => at.experts == 8,
            When::NotEightExperts => at.experts != 8,
        }
    }
}

/// A type for tensors of a role in some file types, or in all where none is named.
struct Rule(Role, &'static [FileType], When, GgmlType);

/// The first rule that applies counts; without one a tensor gets the type of the file.
#[rustfmt::skip]
const RULES: &[Rule] = &[
    Rule(Role::AttentionValue,  &[],               When::EightExperts,   GgmlType::Q8_0),
    Rule(Role::AttentionValue,  &[Q2_K],           When::SharedHeads,    GgmlType::Q4_K),
    Rule(Role::AttentionValue,  &[Q2_K],           When::Always,         GgmlType::Q3_K),
    Rule(Role::AttentionValue,  &[Q3_K_M],         When::First(2),       GgmlType::Q5_K),
    Rule(Role::AttentionValue,  &[Q3_K_M],         When::Always,         GgmlType::Q4_K),
    Rule(Role::AttentionValue,  &[Q3_K_L],         When::Always,         GgmlType::Q5_K),
    Rule(Role::AttentionValue,  &[IQ4_NL],         When::SharedHeads,    GgmlType::Q5_K),
    Rule(Role::AttentionValue,  &[Q4_K_S],         When::First(4),       GgmlType::Q5_K),
    Rule(Role::AttentionValue,  &[Q4_K_M, Q5_K_M], When::MoreBits,       GgmlType::Q6_K),
    Rule(Role::AttentionKey,    &[],               When::EightExperts,   GgmlType::Q8_0),
    Rule(Role::FfnDown,         &[Q2_K],           When::Always,         GgmlType::Q3_K),
    Rule(Role::FfnDown,         &[Q3_K_M],         When::FirstPart(16),  GgmlType::Q5_K),
    Rule(Role::FfnDown,         &[Q3_K_M],         When::Always,         GgmlType::Q4_K),
    Rule(Role::FfnDown,         &[Q3_K_L],         When::Always,         GgmlType::Q5_K),
    Rule(Role::FfnDown,         &[Q4_K_S],         When::FirstPart(8),   GgmlType::Q5_K),
    Rule(Role::FfnDown,         &[Q4_K_M, Q5_K_M], When::MoreBits,       GgmlType::Q6_K),
    Rule(Role::FfnDown,         &[IQ4_NL], When::FirstPartWith(Importance::Absent, 8), GgmlType::Q5_K),
    Rule(Role::FfnDown,         &[Q4_0],   When::FirstPartWith(Importance::Given, 8),  GgmlType::Q4_1),
    Rule(Role::FfnDown,         &[Q5_0],   When::FirstPartWith(Importance::Given, 8),  GgmlType::Q5_1),
    Rule(Role::AttentionOutput, &[Q2_K, Q3_K_S, Q3_K_M, IQ4_NL, Q4_K_S, Q4_K_M], When::EightExperts, GgmlType::Q5_K),
    Rule(Role::AttentionOutput, &[Q2_K],           When::NotEightExperts, GgmlType::Q3_K),
    Rule(Role::AttentionOutput, &[Q3_K_M],         When::NotEightExperts, GgmlType::Q4_K),
    Rule(Role::AttentionOutput, &[Q3_K_L],         When::NotEightExperts, GgmlType::Q5_K),
];

/// The type that the mixture gives a tensor of `role`.
pub(super) fn mixed(file_type: FileType, role: Role, at: &Place) -> GgmlType {
    RULES
        .iter()
        .find(|Rule(of, files, when, _)| {
            *of == role && (files.is_empty() || files.contains(&file_type)) && when.holds(at)
        })
        .map_or(file_type.tensor_type(), |Rule(.., ty)| *ty)
}

/// The type for rows that do not divide into blocks of the key.
#[rustfmt::skip]
const FALLBACKS: &[(GgmlType, GgmlType)] = &[
    (GgmlType::Q2_K,   GgmlType::Q4_0),
    (GgmlType::Q3_K,   GgmlType::Q4_0),
    (GgmlType::Q4_K,   GgmlType::Q5_0),
    (GgmlType::Q5_K,   GgmlType::Q5_1),
    (GgmlType::Q6_K,   GgmlType::Q8_0),
    (GgmlType::IQ4_XS, GgmlType::IQ4_NL),
];

/// `ty`, or where it does not fit the row its fallback, or where that does not fit either F16.
pub(super) fn fitting(ty: GgmlType, row_len: u64) -> GgmlType {
    let fallback = FALLBACKS.iter().find(|(from, _)| *from == ty).map(|(_, to)| *to);
    [Some(ty), fallback]
        .into_iter()
        .flatten()
        .find(|ty| ty.fits_row(row_len))
        .unwrap_or(GgmlType::F16)
}
