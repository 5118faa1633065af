//! `gguf-conv quantize`: arguments, progress and report of a change of type.

use super::json;
use super::page::Page;
use super::print;
use super::sources::{Finder, source};
use super::write::{self, TensorReport, grid_line, tensors};
use super::{Outcome, outtypes};
use crate::Error;
use crate::gguf::Gguf;
use crate::io::Inputs;
use crate::io::kind::Wanted;
use crate::plan::{Plan, Q4Grid};
use crate::quant::GgmlType;
use crate::quant::recipe::{FileType, NamePattern, Override};
use crate::quantize::imatrix::ImportanceMatrix;
use crate::quantize::{self, Importance, Options};
use crate::source::Source;
use crate::text;
use indicatif::HumanBytes;
use serde::Serialize;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  gguf-conv quantize drafter-bf16.gguf -o drafter-q4_k_m.gguf --outtype q4_k_m
          the mixture that llama-quantize makes
  gguf-conv quantize drafter-bf16.gguf -o d.gguf --outtype q4_0 --tensor-type 'token_embd*=q8_0'
          with another type for some tensors
  gguf-conv quantize drafter-bf16.gguf -o d.gguf --outtype q4_k_m --imatrix imatrix.gguf
          fitted by an importance matrix";

/// Arguments of quantize.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The GGUF to start from, best in bf16, f16 or f32; any part of a split one
    #[arg(value_name = "IN.gguf", value_parser = source())]
    input: Source,
    /// Output file, a folder to write NAME-TYPE.gguf into, or - for standard output
    #[arg(short, long, value_name = "OUT.gguf")]
    pub(super) output: PathBuf,
    /// Type of the file
    #[arg(long, ignore_case = true, value_parser = outtypes(&[]))]
    outtype: String,
    /// Every weight in the file's own type, wherever it fits
    #[arg(long)]
    pure: bool,
    /// Another type for the tensors whose name fits: a glob (`*` any text, `?` one character), or where that fits no name
    /// a regular expression found anywhere in it; may stand several times, the first that fits counts
    #[arg(long, value_name = "PATTERN=TYPE", value_parser = tensor_type)]
    tensor_type: Vec<Override>,
    /// Type of the token embeddings
    #[arg(long, value_name = "TYPE", value_parser = encodable)]
    token_embedding_type: Option<GgmlType>,
    /// Type of the output, or of the token embeddings where they are the output too
    #[arg(long, value_name = "TYPE", value_parser = encodable)]
    output_tensor_type: Option<GgmlType>,
    /// Leave output.weight as it is
    #[arg(long)]
    leave_output_tensor: bool,
    /// Importance matrix that llama-imatrix wrote, GGUF or the legacy format
    #[arg(long, value_name = "FILE")]
    imatrix: Option<PathBuf>,
    /// Fit Q4_0 such that weights on the grid of a quantization-aware training keep their values (other bytes than
    /// llama-quantize's)
    #[arg(long)]
    qat: bool,
    /// Encode tensors anew that are quantized already, which loses twice
    #[arg(long)]
    allow_requantize: bool,
    /// Name the tensors that the importance matrix has no entry for
    #[arg(long)]
    verbose: bool,
    /// Show what would be written and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Replace the output file if it exists
    #[arg(long)]
    force: bool,
    /// Report as JSON
    #[arg(long)]
    pub json: bool,
}

/// `PATTERN=TYPE`.
fn tensor_type(text: &str) -> Result<Override, String> {
    let (pattern, name) = text.rsplit_once('=').ok_or("should be PATTERN=TYPE")?;
    Ok(Override {
        pattern: NamePattern::new(pattern),
        ty: encodable(name)?,
    })
}

/// The name of a type that can be written.
fn encodable(name: &str) -> Result<GgmlType, String> {
    let ty = GgmlType::from_name(name).filter(|ty| ty.can_encode());
    ty.ok_or_else(|| {
        let known: Vec<String> = GgmlType::all()
            .filter(|ty| ty.can_encode())
            .map(|ty| ty.name().to_lowercase())
            .collect();
        format!(
            "{name:?} is no type that can be written; those are {}",
            known.join(", ")
        )
    })
}

/// Plans the file, then writes it or shows the plan.
pub(super) fn run(args: &Args, inputs: &Inputs) -> Result<Outcome, Error> {
    let input = Finder::new(inputs).find(&args.input, Wanted::Gguf)?;
    let gguf = Gguf::open(inputs, &input)?;
    let matrix = args
        .imatrix
        .as_deref()
        .map(|path| ImportanceMatrix::open(inputs, path))
        .transpose()?;
    let name = args
        .imatrix
        .as_ref()
        .map(|path| path.display().to_string())
        .unwrap_or_default();
    let options = Options {
        // The parser let only names of file types through.
        file_type: FileType::from_name(&args.outtype)
            .ok_or_else(|| Error::Usage(format!("unknown file type {}", args.outtype)))?,
        pure: args.pure,
        overrides: &args.tensor_type,
        token_embedding: args.token_embedding_type,
        output: args.output_tensor_type,
        leave_output: args.leave_output_tensor,
        qat: args.qat,
        allow_requantize: args.allow_requantize,
        importance: matrix.as_ref().map(|matrix| Importance { matrix, name: &name }),
    };
    if !args.dry_run {
        write::check(&args.output, inputs, args.force)?;
    }
    let output = write::place(&args.output, || {
        let name = args.input.file_name().map(PathBuf::from);
        default_name(&name.unwrap_or(input), options.file_type)
    });
    let plan = quantize::plan(&gguf, options)?;
    plan.warnings().iter().for_each(|warning| print::warn(warning));
    if args.verbose && args.imatrix.is_some() {
        for tensor in quantize::without_importance(plan.tensors()) {
            let name = text::name(tensor.name.as_bytes());
            print::tell(&format!("no entry in the importance matrix: {name}"));
        }
    }
    let mut grid = Q4Grid::default();
    if !args.dry_run {
        grid = write::write(&plan, &output, inputs, args.force)?;
    }
    if args.json {
        json::write_beside(Some(&output), "quantize", &[report(args, &output, &plan)], &[])?;
    } else {
        let mut page = text(args, &output, &plan);
        let is_q4_0 = options.file_type == FileType::Q4_0;
        if let Some(line) = grid_line(grid).filter(|_| is_q4_0) {
            page.line(line);
        }
        print::report(&page, Some(&output))?;
    }
    Ok(Outcome::Done)
}

/// `NAME-TYPE.gguf`, where NAME loses the type that it ends in.
fn default_name(input: &Path, file_type: FileType) -> PathBuf {
    let stem = input.file_stem().unwrap_or_default().to_string_lossy();
    let name = match stem.rsplit_once(['-', '.']) {
        Some((name, last)) if FileType::from_name(&last.to_lowercase()).is_some() => name,
        _ => &stem,
    };
    format!("{name}-{}.gguf", file_type.name().to_uppercase()).into()
}

fn text(args: &Args, output: &Path, plan: &Plan) -> Page {
    let mut page = Page::new();
    if args.dry_run {
        let rows: Vec<Vec<String>> = plan
            .tensors()
            .iter()
            .map(|t| {
                let change = format!("{} → {}", t.source.ty, t.ty);
                vec![t.name.clone(), text::dims(&t.dims), change]
            })
            .collect();
        page.rows(&rows);
    }
    page.line(format!(
        "{} {}: {}, {} parameters, {:.2} bits per weight, {} of {} tensors changed their type",
        if args.dry_run { "would write" } else { "wrote" },
        print::output(output),
        HumanBytes(plan.file_len()),
        print::count(plan.parameters()),
        plan.bits_per_weight(),
        plan.tensors().iter().filter(|t| t.ty != t.source.ty).count(),
        plan.tensors().len(),
    ));
    page
}

/// The JSON report.
#[derive(Serialize)]
struct Report<'a> {
    dry_run: bool,
    output: String,
    size_bytes: u64,
    outtype: &'a str,
    warnings: &'a [String],
    tensors: Vec<TensorReport<'a>>,
}

fn report<'a>(args: &'a Args, output: &Path, plan: &'a Plan) -> Report<'a> {
    Report {
        dry_run: args.dry_run,
        output: output.display().to_string(),
        size_bytes: plan.file_len(),
        outtype: &args.outtype,
        warnings: plan.warnings(),
        tensors: tensors(plan),
    }
}
