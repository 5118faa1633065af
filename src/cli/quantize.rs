//! `gguf-conv quantize`: arguments, progress and report of a change of type.

use super::json;
use super::page::Page;
use super::print;
use super::shared::{FormatArgs, WritingArgs};
use super::sources::{Finder, Reach, SourceArgs, source};
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
  gguf-conv quantize drafter-bf16.gguf drafter-q4_k_m.gguf Q4_K_M
          the same as llama-quantize is called; without a name for the output, NAME-Q4_K_M.gguf beside the input
  gguf-conv quantize drafter-bf16.gguf -o d.gguf --outtype q4_k_m --imatrix imatrix.gguf
          fitted by an importance matrix";

/// Arguments of quantize.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The GGUF to start from, best in bf16, f16 or f32; any part of a split one
    #[arg(value_name = "IN.gguf", value_parser = source())]
    input: Source,
    /// Output file and type by their places, as llama-quantize takes them: either or both
    #[arg(value_name = "OUT.gguf] [TYPE", num_args = 0..=2)]
    words: Vec<PathBuf>,
    /// Output file, a folder to write NAME-TYPE.gguf into, or - for standard output [default: NAME-TYPE.gguf beside the
    /// input, or in the current folder for a model by its name]
    #[arg(short, long, value_name = "OUT.gguf")]
    output: Option<PathBuf>,
    /// Type of the file; copy keeps every tensor as it is
    #[arg(long, ignore_case = true, value_parser = outtypes(&[COPY]))]
    outtype: Option<String>,
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
    #[command(flatten)]
    writing: WritingArgs,
    #[command(flatten)]
    sources: SourceArgs,
    #[command(flatten)]
    pub(super) format: FormatArgs,
}

/// The type that leaves every tensor as it is, by `llama-quantize`'s name.
const COPY: &str = "copy";

/// What to write and where, from options and places.
#[derive(Debug)]
struct Asked<'a> {
    /// `None` for a copy.
    file_type: Option<FileType>,
    output: Option<&'a Path>,
}

impl Args {
    /// Where the file is written to, as it was given.
    pub(super) fn output(&self) -> Option<&Path> {
        self.asked().ok()?.output
    }

    /// What was asked for; an error where options and places say something twice, or no type is said.
    fn asked(&self) -> Result<Asked<'_>, Error> {
        let usage = |message: String| Err(Error::Usage(message));
        let word = |path: &Path| print::path(path);
        // A file that has a type's name is written with -o.
        let (outputs, types) = match self.words.as_slice() {
            [words @ .., last] if file_type(last).is_some() => (words, Some(last.as_path())),
            words => (words, None),
        };
        let file_type = match (types, &self.outtype, outputs) {
            (Some(last), Some(outtype), _) => {
                let last = word(last);
                return usage(format!("two types, {last} and --outtype {outtype}; give one"));
            }
            (Some(last), None, _) => file_type(last),
            (None, Some(outtype), [] | [_]) => file_type(Path::new(outtype)),
            (None, _, [.., last]) if outputs.len() > 1 || last.extension().is_none() => {
                return usage(format!(
                    "{:?} is no file type; those are {}, and copy",
                    word(last),
                    file_types().join(", ")
                ));
            }
            (None, ..) => {
                return usage(format!(
                    "no type is given; add --outtype with one of {}",
                    file_types().join(", ")
                ));
            }
        };
        let output = match (outputs, &self.output) {
            ([first, ..], Some(output)) => {
                let (first, output) = (word(first), word(output));
                return usage(format!("two outputs, {first} and -o {output}; give one"));
            }
            ([first, ..], None) => Some(first.as_path()),
            ([], output) => output.as_deref(),
        };
        let file_type = file_type.flatten();
        let changes = self.pure
            || self.qat
            || self.allow_requantize
            || !self.tensor_type.is_empty()
            || self.token_embedding_type.is_some()
            || self.output_tensor_type.is_some()
            || self.imatrix.is_some();
        if file_type.is_none() && changes {
            return usage(
                "copy keeps every tensor as it is, so it takes no option that changes one".to_owned(),
            );
        }
        Ok(Asked { file_type, output })
    }
}

/// The file type of this name, `None` in it for a copy.
fn file_type(name: &Path) -> Option<Option<FileType>> {
    let name = name.to_str()?;
    match name.eq_ignore_ascii_case(COPY) {
        true => Some(None),
        false => FileType::from_name(name).map(Some),
    }
}

fn file_types() -> Vec<&'static str> {
    FileType::ALL.iter().map(|file_type| file_type.name()).collect()
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
    let asked = args.asked()?;
    let input = Finder::new(inputs, args.sources.download).find(&args.input, Wanted::Gguf, Reach::Whole)?;
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
        file_type: asked.file_type,
        pure: args.pure,
        overrides: &args.tensor_type,
        token_embedding: args.token_embedding_type,
        output: args.output_tensor_type,
        leave_output: args.leave_output_tensor,
        qat: args.qat,
        allow_requantize: args.allow_requantize,
        importance: matrix.as_ref().map(|matrix| Importance { matrix, name: &name }),
    };
    let outtype = asked.file_type.map_or(COPY, FileType::name);
    let name = || {
        let name = args.input.file_name().map(PathBuf::from);
        default_name(name.as_deref().unwrap_or(&input), outtype)
    };
    let output = match asked.output {
        Some(output) => write::place(output, name),
        None if input == args.input.typed() => input.with_file_name(name()),
        // Nothing is written into a cache.
        None => name(),
    };
    if !args.writing.dry_run {
        write::check(&output, inputs, args.writing.force)?;
    }
    let plan = quantize::plan(&gguf, options)?;
    print::detail("planned");
    plan.warnings().iter().for_each(|warning| print::warn(warning));
    if args.imatrix.is_some() {
        for tensor in quantize::without_importance(plan.tensors()) {
            let name = text::name(tensor.name.as_bytes());
            print::detail(&format!("no entry in the importance matrix: {name}"));
        }
    }
    let mut grid = Q4Grid::default();
    if !args.writing.dry_run {
        grid = write::write(&plan, &output, inputs, args.writing.force)?;
    }
    if args.format.json {
        json::write_beside(
            inputs,
            Some(&output),
            "quantize",
            &[report(args, outtype, &output, &plan)],
            &[],
        )?;
    } else {
        let mut page = text(args, &output, &plan);
        let is_q4_0 = options.file_type == Some(FileType::Q4_0);
        if let Some(line) = grid_line(grid).filter(|_| is_q4_0) {
            page.line(line);
        }
        print::written(&page, &output, inputs)?;
    }
    Ok(Outcome::Done)
}

/// `NAME-TYPE.gguf`, where NAME loses the type that it ends in.
fn default_name(input: &Path, outtype: &str) -> PathBuf {
    let stem = input.file_stem().unwrap_or_default().to_string_lossy();
    let name = match stem.rsplit_once(['-', '.']) {
        Some((name, last)) if FileType::from_name(&last.to_lowercase()).is_some() => name,
        _ => &stem,
    };
    format!("{name}-{}.gguf", outtype.to_uppercase()).into()
}

fn text(args: &Args, output: &Path, plan: &Plan) -> Page {
    let mut page = Page::new();
    if args.writing.dry_run {
        let rows: Vec<Vec<String>> = plan
            .tensors()
            .iter()
            .map(|t| {
                let change = format!("{} → {}", t.source.ty, t.ty);
                let bits = format!("{:.2} bits per weight", t.ty.bits_per_weight());
                let fallback = match t.wanted == t.ty {
                    true => bits,
                    false => format!("{bits}, in place of {}", t.wanted),
                };
                vec![t.name.clone(), text::dims(&t.dims), change, fallback]
            })
            .collect();
        page.rows(&rows);
    }
    page.line(format!(
        "{} {}: {}, {} parameters, {:.2} bits per weight, {} of {} tensors changed their type",
        if args.writing.dry_run {
            "would write"
        } else {
            "wrote"
        },
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

fn report<'a>(args: &'a Args, outtype: &'a str, output: &Path, plan: &'a Plan) -> Report<'a> {
    Report {
        dry_run: args.writing.dry_run,
        output: output.display().to_string(),
        size_bytes: plan.file_len(),
        outtype,
        warnings: plan.warnings(),
        tensors: tensors(plan),
    }
}
