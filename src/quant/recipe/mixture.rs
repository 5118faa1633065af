//! The mixtures as data: which weights of which file types get a type of their own, and which are never quantized.
//!
//! The rules are those of llama.cpp's `src/llama-quant.cpp` of October 2026, restricted to the file types that
//! [`FileType`] lists.

use super::FileType::{self, *};
use crate::quant::GgmlType;

/// What a tensor is for, as far as the mixtures tell tensors apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Role {
    Output,
    TokenEmbedding,
    /// Values, alone or joined with others in one tensor.
    AttentionValue,
    AttentionKey,
    AttentionQuery,
    AttentionOutput,
    FfnUp,
    FfnGate,
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
    (Name::Has("attn_q.weight"), Role::AttentionQuery),
    (Name::Has("attn_output.weight"), Role::AttentionOutput),
    (Name::Has("ffn_up"), Role::FfnUp),
    (Name::Has("ffn_gate"), Role::FfnGate),
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
    /// The same, with eight experts.
    MoreBitsOfEightExperts,
    /// In the layers between the first and the last eighth.
    Middle,
    /// In the first so many tensors of the role.
    First(usize),
    /// In the first tensors of the role, as many as that part of the layers.
    FirstTensors(usize),
    /// In the first layers, that part of them.
    FirstPart(usize),
    FirstPartWith(Importance, usize),
    With(Importance),
    /// At least four query heads share a key and a value.
    SharedHeads,
    /// Or there are at least four experts.
    SharedHeadsOrExperts,
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
    /// Tensors of the role before it.
    pub index: usize,
    /// Its layer.
    pub layer: usize,
    pub layers: usize,
    pub shared_heads: bool,
    pub experts: usize,
    pub importance: Importance,
    /// The tensor holds more than one matrix.
    pub matrices: bool,
}

impl When {
    fn holds(self, at: &Place) -> bool {
        let first_part = |part: usize| at.layer < at.layers / part;
        let eighth = at.layers / 8;
        let last = 7 * at.layers / 8;
        let more_bits = at.layer < eighth || at.layer >= last || (at.layer - eighth) % 3 == 2;
        match self {
            When::Always => true,
            When::MoreBits => more_bits,
            When::MoreBitsOfEightExperts => at.experts == 8 && more_bits,
            When::Middle => at.layer >= eighth && at.layer < last,
            When::First(n) => at.index < n,
            When::FirstTensors(part) => at.index < at.layers / part,
            When::FirstPart(part) => first_part(part),
            When::FirstPartWith(importance, part) => at.importance == importance && first_part(part),
            When::With(importance) => at.importance == importance,
            When::SharedHeads => at.shared_heads,
            When::SharedHeadsOrExperts => at.shared_heads || at.experts >= 4,
            When::EightExperts => at.experts == 8,
            When::NotEightExperts => at.experts != 8,
        }
    }
}

/// A type for tensors of a role in some file types, or in all where none is named.
struct Rule(Role, &'static [FileType], When, GgmlType);

/// The file types below two bits and a half, which have rules of their own.
const LOW: &[FileType] = &[IQ2_M, IQ2_S, IQ2_XS, IQ2_XXS, IQ1_M, IQ1_S];
const IQ2_MS: &[FileType] = &[IQ2_M, IQ2_S];
const IQ4: &[FileType] = &[IQ4_NL, IQ4_XS];

/// The first rule that applies counts; without one a tensor gets the type of the file.
#[rustfmt::skip]
const RULES: &[Rule] = &[
    Rule(Role::TokenEmbedding,  &[IQ2_XXS, IQ2_XS, IQ1_S, IQ1_M], When::Always, GgmlType::Q2_K),
    Rule(Role::TokenEmbedding,  &[IQ2_S, IQ2_M, IQ3_XXS],         When::Always, GgmlType::IQ3_S),
    Rule(Role::TokenEmbedding,  &[TQ1_0, TQ2_0, Q2_0],            When::Always, GgmlType::Q4_K),

    Rule(Role::AttentionValue,  LOW,               When::SharedHeadsOrExperts, GgmlType::Q4_K),
    Rule(Role::AttentionValue,  IQ2_MS,            When::Always,          GgmlType::IQ3_S),
    Rule(Role::AttentionValue,  LOW,               When::Always,          GgmlType::Q2_K),
    Rule(Role::AttentionKey,    LOW,               When::EightExperts,    GgmlType::Q4_K),
    Rule(Role::FfnDown,         IQ2_MS,            When::FirstTensors(8), GgmlType::IQ3_S),
    Rule(Role::FfnDown,         LOW,               When::FirstTensors(8), GgmlType::Q2_K),
    Rule(Role::AttentionOutput, LOW,               When::EightExperts,    GgmlType::Q5_K),
    Rule(Role::AttentionOutput, &[IQ1_S, IQ1_M],   When::Always,          GgmlType::IQ2_XXS),
    Rule(Role::AttentionOutput, IQ2_MS,            When::Always,          GgmlType::IQ3_S),

    Rule(Role::AttentionValue,  &[],               When::EightExperts,   GgmlType::Q8_0),
    Rule(Role::AttentionValue,  &[Q2_K, Q2_K_S, IQ3_XXS, IQ3_XS, IQ3_S], When::SharedHeads, GgmlType::Q4_K),
    Rule(Role::AttentionValue,  &[Q2_K],           When::Always,         GgmlType::Q3_K),
    Rule(Role::AttentionValue,  &[IQ3_XXS],        When::With(Importance::Absent), GgmlType::IQ3_S),
    Rule(Role::AttentionValue,  &[IQ3_M],          When::Always,         GgmlType::Q4_K),
    Rule(Role::AttentionValue,  &[Q3_K_M],         When::First(2),       GgmlType::Q5_K),
    Rule(Role::AttentionValue,  &[Q3_K_M],         When::Always,         GgmlType::Q4_K),
    Rule(Role::AttentionValue,  &[Q3_K_L],         When::Always,         GgmlType::Q5_K),
    Rule(Role::AttentionValue,  IQ4,               When::SharedHeads,    GgmlType::Q5_K),
    Rule(Role::AttentionValue,  &[Q4_K_S],         When::First(4),       GgmlType::Q5_K),
    Rule(Role::AttentionValue,  &[Q4_K_M, Q5_K_M], When::MoreBits,       GgmlType::Q6_K),
    Rule(Role::AttentionKey,    &[],               When::EightExperts,   GgmlType::Q8_0),
    Rule(Role::AttentionKey,    &[IQ3_XS],         When::Always,         GgmlType::IQ3_XXS),
    Rule(Role::AttentionKey,    &[IQ3_XXS],        When::Always,         GgmlType::IQ2_S),
    Rule(Role::AttentionQuery,  &[IQ3_XS],         When::Always,         GgmlType::IQ3_XXS),
    Rule(Role::AttentionQuery,  &[IQ3_XXS],        When::Always,         GgmlType::IQ2_S),
    Rule(Role::FfnDown,         &[Q2_K],           When::Always,         GgmlType::Q3_K),
    Rule(Role::FfnDown,         &[Q2_K_S],         When::FirstPart(8),   GgmlType::Q4_K),
    Rule(Role::FfnDown,         &[IQ3_XXS], When::FirstPartWith(Importance::Absent, 8), GgmlType::Q4_K),
    Rule(Role::FfnDown,         &[IQ3_XXS], When::With(Importance::Absent),             GgmlType::Q3_K),
    Rule(Role::FfnDown,         &[Q3_K_M],         When::FirstPart(16),  GgmlType::Q5_K),
    Rule(Role::FfnDown,         &[Q3_K_M],         When::Always,         GgmlType::Q4_K),
    Rule(Role::FfnDown,         &[IQ3_M],          When::FirstPart(8),   GgmlType::Q4_K),
    Rule(Role::FfnDown,         &[IQ3_M], When::MoreBitsOfEightExperts,  GgmlType::Q4_K),
    Rule(Role::FfnDown,         &[Q3_K_L],         When::Always,         GgmlType::Q5_K),
    Rule(Role::FfnDown,         &[Q4_K_S],         When::FirstPart(8),   GgmlType::Q5_K),
    Rule(Role::FfnDown,         &[Q4_K_M, Q5_K_M], When::MoreBits,       GgmlType::Q6_K),
    Rule(Role::FfnDown,         IQ4,    When::FirstPartWith(Importance::Absent, 8), GgmlType::Q5_K),
    Rule(Role::FfnDown,         &[Q4_0], When::FirstPartWith(Importance::Given, 8), GgmlType::Q4_1),
    Rule(Role::FfnDown,         &[Q5_0], When::FirstPartWith(Importance::Given, 8), GgmlType::Q5_1),
    Rule(Role::FfnUp,           &[IQ3_XS],         When::Middle,         GgmlType::IQ3_XXS),
    Rule(Role::FfnGate,         &[IQ3_XS],         When::Middle,         GgmlType::IQ3_XXS),
    Rule(Role::AttentionOutput, &[
        Q2_K, Q3_K_S, Q3_K_M, IQ4_NL, IQ4_XS, Q4_K_S, Q4_K_M, IQ3_XXS, IQ3_XS, IQ3_S, IQ3_M,
    ], When::EightExperts, GgmlType::Q5_K),
    Rule(Role::AttentionOutput, &[Q2_K],           When::NotEightExperts, GgmlType::Q3_K),
    Rule(Role::AttentionOutput, &[IQ3_XXS],        When::NotEightExperts, GgmlType::IQ3_S),
    Rule(Role::AttentionOutput, &[Q3_K_M, IQ3_M],  When::NotEightExperts, GgmlType::Q4_K),
    Rule(Role::AttentionOutput, &[Q3_K_L],         When::NotEightExperts, GgmlType::Q5_K),
];

/// The type that the mixture gives a tensor of `role`.
pub(super) fn mixed(file_type: FileType, role: Role, at: &Place) -> GgmlType {
    if file_type == MXFP4_MOE && !at.matrices {
        return GgmlType::Q8_0;
    }
    if file_type == MXFP4_MOE {
        return GgmlType::MXFP4;
    }
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
    (GgmlType::Q2_0,    GgmlType::Q4_0),
    (GgmlType::Q2_K,    GgmlType::Q4_0),
    (GgmlType::Q3_K,    GgmlType::Q4_0),
    (GgmlType::Q4_K,    GgmlType::Q5_0),
    (GgmlType::Q5_K,    GgmlType::Q5_1),
    (GgmlType::Q6_K,    GgmlType::Q8_0),
    (GgmlType::TQ1_0,   GgmlType::Q4_0),
    (GgmlType::TQ2_0,   GgmlType::Q4_0),
    (GgmlType::IQ4_XS,  GgmlType::IQ4_NL),
    (GgmlType::IQ3_S,   GgmlType::IQ4_NL),
    (GgmlType::IQ3_XXS, GgmlType::IQ4_NL),
    (GgmlType::IQ2_S,   GgmlType::IQ4_NL),
    (GgmlType::IQ2_XS,  GgmlType::IQ4_NL),
    (GgmlType::IQ2_XXS, GgmlType::IQ4_NL),
    (GgmlType::IQ1_M,   GgmlType::IQ4_NL),
    (GgmlType::IQ1_S,   GgmlType::IQ4_NL),
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

/// The type of the output, which tied token embeddings share.
pub(super) fn output_type(file_type: FileType, row_len: u64) -> GgmlType {
    let ty = file_type.tensor_type();
    if file_type == MXFP4_MOE || ty == GgmlType::Q8_0 || !ty.fits_row(row_len) {
        GgmlType::Q8_0
    } else if LOW.contains(&file_type) || file_type == IQ3_XXS {
        GgmlType::Q5_K
    } else {
        GgmlType::Q6_K
    }
}

/// Types that `llama-quantize` writes into files with an importance matrix only.
const WEIGHTED: &[GgmlType] = &[
    GgmlType::IQ3_XXS,
    GgmlType::IQ2_S,
    GgmlType::IQ2_XS,
    GgmlType::IQ2_XXS,
    GgmlType::IQ1_M,
    GgmlType::IQ1_S,
];

/// Whether a tensor of this type is to be had with weights from an importance matrix only. Embeddings, for which no
/// matrix has any, are spared where the type can do without.
pub(super) fn needs_importance(file_type: FileType, name: &str, ty: GgmlType) -> bool {
    let is_low = WEIGHTED.contains(&ty) || (file_type == Q2_K_S && ty == GgmlType::Q2_K);
    let is_embedding = matches!(Role::of(name), Role::Output | Role::TokenEmbedding);
    ty.needs_importance() || (is_low && !is_embedding)
}
