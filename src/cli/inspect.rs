//! `gguf-conv inspect`: what a GGUF file holds.

use super::Outcome;
use super::print::{self, SCHEMA_VERSION};
use crate::Error;
use crate::gguf::{Endian, Gguf, Metadata, escape};
use bstr::BStr;
use indicatif::HumanBytes;
use serde::Serialize;
use serde_json::Value as Json;
use std::path::PathBuf;

/// Arguments of inspect.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// GGUF files; of a split model any part
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Show long values whole
    #[arg(long)]
    full: bool,
    /// Report as JSON: one document for one file, a list for several
    #[arg(long)]
    json: bool,
}

/// Reads each file's header and prints it.
pub(super) fn run(args: &Args) -> Result<Outcome, Error> {
    let files = args
        .files
        .iter()
        .map(|path| Gguf::open(path))
        .collect::<Result<Vec<Gguf>, _>>()?;
    if args.json {
        let reports: Vec<Report> = files.iter().map(report).collect();
        match reports.as_slice() {
            [one] => print::stdout_json(one)?,
            several => print::stdout_json(&several)?,
        }
    } else {
        let texts: Vec<String> = files.iter().map(|file| text(file, args.full)).collect();
        print::stdout(&texts.join("\n"))?;
    }
    Ok(Outcome::Done)
}

fn text(file: &Gguf, full: bool) -> String {
    let architecture = file
        .metadata()
        .string("general.architecture")
        .map_or_else(|_| "?".to_owned(), |a| escape(a));
    let parameters: u64 = file
        .tensors()
        .map(|info| info.elements())
        .fold(0, u64::saturating_add);
    let data: u64 = file
        .tensors()
        .filter_map(|info| info.size())
        .fold(0, u64::saturating_add);
    let size: u64 = file.parts().iter().map(|part| part.file_len()).sum();
    let header = &file.parts()[0].header;
    let endian = if header.endian == Endian::Big {
        ", big-endian"
    } else {
        ""
    };
    let mut text = format!(
        "{}\n  {architecture}, GGUF v{}{endian}, {}, {} keys, {} tensors, {} parameters, {:.2} bits per weight\n",
        file.path().display(),
        header.version,
        HumanBytes(size),
        file.metadata().len(),
        file.tensors().count(),
        print::count(parameters),
        data as f64 * 8.0 / parameters.max(1) as f64,
    );
    let keys: Vec<Vec<String>> = file
        .metadata()
        .iter()
        .map(|(key, value)| vec![escape(key), value.type_name(), print::value(value, full)])
        .collect();
    let tensors: Vec<Vec<String>> = file
        .tensors()
        .map(|info| {
            let size = info
                .size()
                .map_or_else(|| "?".to_owned(), |size| HumanBytes(size).to_string());
            vec![
                escape(&info.name),
                info.ty.to_string(),
                print::shape(&info.dims),
                size,
                format!("at {}", info.offset),
            ]
        })
        .collect();
    text.push_str(&format!(
        "metadata\n{}tensors\n{}",
        print::columns(&keys),
        print::columns(&tensors)
    ));
    text
}

/// The JSON report on one model.
#[derive(Serialize)]
struct Report {
    schema_version: u32,
    path: String,
    version: u32,
    endian: &'static str,
    alignment: u64,
    parts: Vec<PartReport>,
    metadata: Vec<KeyReport>,
    tensors: Vec<TensorReport>,
}

#[derive(Serialize)]
struct PartReport {
    path: String,
    size_bytes: u64,
    data_offset: u64,
}

/// A metadata key in JSON reports.
#[derive(Serialize)]
pub(super) struct KeyReport {
    key: Json,
    #[serde(rename = "type")]
    ty: String,
    value: Json,
}

#[derive(Serialize)]
struct TensorReport {
    name: Json,
    #[serde(rename = "type")]
    ty: String,
    /// Innermost first.
    shape: Vec<u64>,
    /// From the start of the data section.
    offset: u64,
    size_bytes: Option<u64>,
    part: usize,
}

/// Metadata for JSON, every value whole.
pub(super) fn keys(metadata: &Metadata) -> Vec<KeyReport> {
    let key = |(key, value): (&BStr, &crate::gguf::Value)| KeyReport {
        key: print::text_json(key),
        ty: value.type_name(),
        value: print::value_json(value),
    };
    metadata.iter().map(key).collect()
}

fn report(file: &Gguf) -> Report {
    let header = &file.parts()[0].header;
    let tensors = file.parts().iter().enumerate().flat_map(|(part, p)| {
        p.header.tensors.iter().map(move |info| TensorReport {
            name: print::text_json(BStr::new(&info.name)),
            ty: info.ty.to_string(),
            shape: info.dims.clone(),
            offset: info.offset,
            size_bytes: info.size(),
            part,
        })
    });
    Report {
        schema_version: SCHEMA_VERSION,
        path: file.path().display().to_string(),
        version: header.version,
        endian: if header.endian == Endian::Big {
            "big"
        } else {
            "little"
        },
        alignment: header.alignment,
        parts: file
            .parts()
            .iter()
            .map(|part| PartReport {
                path: part.path.display().to_string(),
                size_bytes: part.file_len(),
                data_offset: part.header.data_offset,
            })
            .collect(),
        metadata: keys(file.metadata()),
        tensors: tensors.collect(),
    }
}
