//! The JSON report of inspect.

use super::{Args, Inspected, shown};
use crate::cli::json::{KeyReport, Text};
use crate::gguf::Endian;
use crate::inspect::{Role, Summary};
use crate::storage::stats::{Figures, Histogram, STEPS};
use crate::storage::{ModelFile, ModelTensor, WeightFile};
use serde::Serialize;

/// The JSON report on one model.
#[derive(Serialize)]
pub(super) struct Report<'a> {
    path: String,
    /// `gguf` or `safetensors`.
    container: &'static str,
    version: Option<u32>,
    endian: &'static str,
    alignment: Option<u64>,
    parts: Vec<PartReport>,
    summary: SummaryReport<'a>,
    faults: Vec<&'a str>,
    metadata: Vec<KeyReport<'a>>,
    tensors: Vec<TensorReport<'a>>,
}

#[derive(Serialize)]
struct PartReport {
    path: String,
    size_bytes: u64,
    data_offset: u64,
}

#[derive(Serialize)]
struct SummaryReport<'a> {
    /// `drafter`, `target` or `other`.
    role: &'static str,
    architecture: Option<&'a str>,
    dialect: Option<&'a str>,
    backbone_width: Option<u64>,
    parameters: u64,
    data_bytes: u64,
    bits_per_weight: f64,
    types: Vec<TypeReport<'a>>,
    context_length: Option<u64>,
    sliding_window: Option<u64>,
    vocabulary: Option<u64>,
    width: Option<u64>,
    layers: Option<u64>,
    sliding_layers: Option<u64>,
    heads: Option<u64>,
    kv_heads: &'a [u64],
    head_dims: &'a [u64],
}

#[derive(Serialize)]
struct TypeReport<'a> {
    #[serde(rename = "type")]
    ty: &'a str,
    tensors: usize,
    parameters: u64,
    size_bytes: u64,
}

#[derive(Serialize)]
struct TensorReport<'a> {
    name: Text<'a>,
    #[serde(rename = "type")]
    ty: &'a str,
    /// Innermost first.
    dims: &'a [u64],
    /// From the start of the data section.
    offset: u64,
    /// From the start of the file.
    file_offset: u64,
    size_bytes: Option<u64>,
    /// Position in `parts`.
    part: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    stats: Option<StatsReport>,
}

/// Absent figures are those of a tensor without finite numbers.
#[derive(Serialize)]
struct StatsReport {
    min: Option<f32>,
    max: Option<f32>,
    mean: Option<f64>,
    rms: Option<f64>,
    zero_share: f64,
    nan: u64,
    infinite: u64,
    histogram: Option<[u64; STEPS]>,
}

pub(super) fn of<'a>(one: &'a Inspected, args: &Args) -> Report<'a> {
    let summary = &one.summary;
    let parts = |data_offsets: Vec<u64>| {
        let part = |(file, data_offset): (WeightFile, u64)| PartReport {
            path: file.path.display().to_string(),
            size_bytes: file.len,
            data_offset,
        };
        one.file.files().into_iter().zip(data_offsets).map(part).collect()
    };
    let (container, version, endian, alignment, data_offsets) = match one.file {
        ModelFile::Gguf(gguf) => {
            let header = &gguf.parts()[0].header;
            let offsets = gguf.parts().iter().map(|part| part.header.data_offset).collect();
            let (version, alignment) = (Some(header.version), Some(header.alignment));
            ("gguf", version, header.endian, alignment, offsets)
        }
        ModelFile::Safetensors(checkpoint) => {
            let offsets = checkpoint.files().iter().map(|file| file.data_start()).collect();
            ("safetensors", None, Endian::Little, None, offsets)
        }
    };
    Report {
        path: one.file.path().display().to_string(),
        container,
        version,
        endian: match endian {
            Endian::Little => "little",
            Endian::Big => "big",
        },
        alignment,
        parts: parts(data_offsets),
        summary: summary_report(summary),
        faults: one.faults.iter().map(|fault| fault.message.as_str()).collect(),
        metadata: one
            .metadata
            .iter()
            .filter(|(key, _)| shown(args, key))
            .map(|(key, value)| KeyReport::new(key, value))
            .collect(),
        tensors: one.tensors.iter().map(tensor_report).collect(),
    }
}

fn summary_report(summary: &Summary) -> SummaryReport<'_> {
    SummaryReport {
        role: match summary.role {
            Role::Drafter => "drafter",
            Role::Target => "target",
            Role::Other => "other",
        },
        architecture: summary.architecture.as_deref(),
        dialect: summary.dialect.as_deref(),
        backbone_width: summary.backbone,
        parameters: summary.parameters,
        data_bytes: summary.data_bytes,
        bits_per_weight: summary.bits_per_weight(),
        types: summary
            .types
            .iter()
            .map(|share| TypeReport {
                ty: &share.name,
                tensors: share.tensors,
                parameters: share.parameters,
                size_bytes: share.bytes,
            })
            .collect(),
        context_length: summary.context,
        sliding_window: summary.window,
        vocabulary: summary.vocabulary,
        width: summary.width,
        layers: summary.layers,
        sliding_layers: summary.sliding_layers,
        heads: summary.heads,
        kv_heads: &summary.kv_heads,
        head_dims: &summary.head_dims,
    }
}

fn tensor_report<'a>((tensor, figures): &'a (ModelTensor, Option<Figures>)) -> TensorReport<'a> {
    TensorReport {
        name: Text(tensor.name),
        ty: &tensor.type_name,
        dims: &tensor.dims,
        offset: tensor.offset,
        file_offset: tensor.file_offset,
        size_bytes: tensor.size,
        part: tensor.file,
        stats: figures.as_ref().map(|Figures { stats, histogram }| StatsReport {
            min: stats.min,
            max: stats.max,
            mean: stats.mean,
            rms: stats.rms,
            zero_share: stats.zero_share(),
            nan: stats.nan,
            infinite: stats.infinite,
            histogram: histogram.map(|Histogram(counts)| counts),
        }),
    }
}
