//! `gguf-conv set`: arguments and report of changed metadata.

use super::json::{self, Whole};
use super::page::Page;
use super::print;
use super::shared::{ArchArgs, FormatArgs};
use super::sources::{Finder, Reach, SourceArgs, source};
use super::write;
use super::{Outcome, of_gguf, whole_name};
use crate::Error;
use crate::gguf::{Gguf, Value};
use crate::io::kind::Wanted;
use crate::io::{Inputs, TextLimit};
use crate::set::{self, Change, Edit, InPlace, SetError, ValueSpec, backup_path};
use crate::source::Source;
use indicatif::HumanBytes;
use serde::Serialize;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  gguf-conv set in.gguf -o out.gguf --name 'My model' general.license=apache-2.0
          another name and licence
  gguf-conv set in.gguf -o out.gguf --chat-template chat_template.jinja
          the chat template of a file
  gguf-conv set in.gguf -o out.gguf tokenizer.ggml.eos_token_ids='[1, 106]' --type tokenizer.ggml.eos_token_ids=u32[]
          a new key, whose type must be said; lists are JSON
  gguf-conv set in.gguf --in-place gemma4-assistant.context_length=65536
          without a copy, which needs a header of the same length up to the padding; the old one is kept
  gguf-conv set in.gguf --restore in.gguf.header
          puts it back

Types: u8 i8 u16 i16 u32 i32 u64 i64 f32 f64 bool string, and each with [] for a list.";

/// Arguments of set.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The GGUF to change; any part of a split one
    #[arg(value_name = "IN.gguf", value_parser = source())]
    input: Source,
    /// Keys and their values; a key that is there keeps its type
    #[arg(value_name = "KEY=VALUE", value_parser = assignment)]
    values: Vec<(String, String)>,
    /// Output file, a folder to write it into, or - for standard output
    #[arg(short, long, value_name = "OUT.gguf", required_unless_present_any = ["in_place", "dry_run", "restore"])]
    pub(super) output: Option<PathBuf>,
    /// Type of a key, new or not
    #[arg(long = "type", value_name = "KEY=TYPE", value_parser = typed)]
    types: Vec<(String, ValueSpec)>,
    /// Take a key out; may stand several times
    #[arg(long, value_name = "KEY")]
    remove: Vec<String>,
    /// The text of a file as tokenizer.chat_template
    #[arg(long, value_name = "FILE")]
    chat_template: Option<PathBuf>,
    /// What the model is called: general.name
    #[arg(long)]
    name: Option<String>,
    /// Write the new header over the old one, where it fits; the old one is kept in IN.gguf.header
    #[arg(long, conflicts_with = "output")]
    in_place: bool,
    /// Put back the header that --in-place has kept
    #[arg(
        long,
        value_name = "BACKUP",
        conflicts_with_all = ["values", "output", "types", "remove", "chat_template", "name", "in_place", "dry_run"]
    )]
    restore: Option<PathBuf>,
    /// Show what would change and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Replace the output file if it exists, or write one that would not load; not both at once
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    sources: SourceArgs,
    #[command(flatten)]
    pub(super) format: FormatArgs,
    #[command(flatten)]
    arch: ArchArgs,
}

/// `KEY=VALUE`, where the value may hold further signs of equality.
fn assignment(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("should be KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// `KEY=TYPE`.
fn typed(text: &str) -> Result<(String, ValueSpec), String> {
    let (key, name) = text.split_once('=').ok_or("should be KEY=TYPE")?;
    Ok((key.to_owned(), set::parse_type(name)?))
}

/// What became of the file.
enum Done<'a> {
    /// Nothing was written.
    Nothing,
    /// A file of this length.
    Written(&'a Path, u64),
    /// The header, and the old one into this file.
    InPlace(PathBuf),
}

/// Makes the changes, then writes the file or shows them.
pub(super) fn run(args: &Args, inputs: &Inputs) -> Result<Outcome, Error> {
    let input = Finder::new(inputs, args.sources.download).find(&args.input, Wanted::Gguf, Reach::Whole)?;
    let is_own = input == args.input.typed();
    if (args.in_place || args.restore.is_some()) && !is_own {
        let why = "it is kept by another program".to_owned();
        return Err(SetError::NotInPlace { path: input, why }.into());
    }
    if let Some(backup) = &args.restore {
        return restored(args, &input, backup, inputs);
    }
    let registry = args.arch.registry(inputs)?;
    let edits = edits(args, inputs)?;
    let gguf = Gguf::open(inputs, &input)?;
    let output = args.output.as_deref().filter(|_| !args.dry_run);
    if let Some(path) = output {
        write::check(path, inputs, args.force)?;
    }
    let named = args.input.file_name().map(PathBuf::from);
    let name = || whole_name(named.as_deref().unwrap_or(&input));
    let output = output.map(|path| write::place(path, name));
    of_gguf(&registry, &gguf);
    let edited = set::edit(&registry, &gguf, &edits)?;
    print::detail("checked what would change");
    match (args.force, output.as_deref()) {
        (false, _) => edited.loadable(&gguf)?,
        (true, Some(path)) => edited.replaces(path)?,
        (true, None) => {}
    }
    let mut warnings: Vec<String> = edited.faults.iter().map(|fault| fault.message.clone()).collect();
    let in_place = args
        .in_place
        .then(|| InPlace::plan(&gguf, &edited.metadata))
        .transpose()?;
    let plan = match (&in_place, &output) {
        (None, Some(_)) => Some(set::plan(&gguf, edited.metadata.clone())?),
        _ => None,
    };
    warnings.extend(plan.iter().flat_map(|plan| plan.warnings().iter().cloned()));
    warnings.iter().for_each(|warning| print::warn(warning));
    let done = match (&in_place, &plan, &output) {
        (Some(header), ..) if !args.dry_run && !edited.changes.is_empty() => {
            let backup = backup_path(gguf.path());
            header.write(&backup, inputs)?;
            Done::InPlace(backup)
        }
        (_, Some(plan), Some(path)) => {
            write::write(plan, path, inputs, args.force)?;
            Done::Written(path, plan.file_len())
        }
        _ => Done::Nothing,
    };
    // Of the input that was changed here nobody else did it.
    let unchanged = match done {
        Done::InPlace(_) => Inputs::new(),
        _ => inputs.clone(),
    };
    if args.format.json {
        let report = report(args, gguf.path(), &edited.changes, &done, warnings);
        json::write_beside(&unchanged, output.as_deref(), "set", &[report], &[])?;
    } else {
        let page = text(args, gguf.path(), &edited.changes, &done);
        match &done {
            Done::Written(path, _) => print::written(&page, path, &unchanged)?,
            _ => print::stdout(&page, &unchanged)?,
        }
    }
    Ok(Outcome::Done)
}

fn restored(args: &Args, input: &Path, backup: &Path, inputs: &Inputs) -> Result<Outcome, Error> {
    set::restore(input, backup, inputs)?;
    if args.format.json {
        let done = Done::Nothing;
        json::write(
            &Inputs::new(),
            "set",
            &[report(args, input, &[], &done, Vec::new())],
            &[],
        )?;
    } else {
        let line = format!(
            "put the header in {} back into {}",
            print::path(backup),
            print::path(input)
        );
        print::stdout(&Page::of_line(line), &Inputs::new())?;
    }
    Ok(Outcome::Done)
}

/// What was asked for, as one list.
fn edits(args: &Args, inputs: &Inputs) -> Result<Vec<Edit>, Error> {
    let mut values = Vec::new();
    if let Some(name) = &args.name {
        values.push(("general.name".to_owned(), name.clone()));
    }
    if let Some(path) = &args.chat_template {
        let text = inputs.text(path, TextLimit::SETTINGS);
        let text = text.map_err(|source| Error::Read {
            path: path.clone(),
            source,
        })?;
        values.push(("tokenizer.chat_template".to_owned(), text));
    }
    values.extend(args.values.iter().cloned());
    let mut keys: Vec<&str> = values.iter().map(|(key, _)| key.as_str()).collect();
    if let Some((key, _)) = args.types.iter().find(|(key, _)| !keys.contains(&key.as_str())) {
        return Err(Error::Usage(format!(
            "--type {key} is given without a value; add {key}=VALUE"
        )));
    }
    keys.extend(args.remove.iter().map(String::as_str));
    keys.sort_unstable();
    if let Some([key, ..]) = keys.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Error::Usage(format!("key {key} is given twice; give it once")));
    }
    if keys.is_empty() {
        let message = "nothing is to change; give KEY=VALUE, --remove, --name or --chat-template";
        return Err(Error::Usage(message.to_owned()));
    }
    let set = values.into_iter().map(|(key, text)| {
        let ty = args.types.iter().find(|(of, _)| *of == key).map(|(_, ty)| *ty);
        Edit::Set { key, text, ty }
    });
    let removed = args.remove.iter().cloned().map(Edit::Remove);
    Ok(removed.chain(set).collect())
}

fn action(change: &Change) -> &'static str {
    match (&change.from, &change.to) {
        (None, _) => "add",
        (_, None) => "drop",
        _ => "change",
    }
}

fn text(args: &Args, input: &Path, changes: &[Change], done: &Done) -> Page {
    let mut page = Page::new();
    let side = |value: &Value| format!("{} {}", value.type_name(), print::value(value, false));
    let rows: Vec<Vec<String>> = changes
        .iter()
        .map(|change| {
            let sides: Vec<String> = [&change.from, &change.to]
                .into_iter()
                .flatten()
                .map(side)
                .collect();
            vec![action(change).to_owned(), change.key.clone(), sides.join(" → ")]
        })
        .collect();
    match rows.is_empty() {
        true => page.line("nothing to change: all values are there already"),
        false => page.rows(&rows),
    }
    match done {
        Done::Nothing if !changes.is_empty() && args.in_place => {
            page.line(format!(
                "the header of {} would be written anew, in place",
                print::path(input)
            ));
        }
        Done::Nothing => {}
        Done::Written(path, bytes) => page.line(format!(
            "wrote {}: {}, {} changed",
            print::output(path),
            HumanBytes(*bytes),
            print::many(changes.len(), "key")
        )),
        Done::InPlace(backup) => {
            page.line(format!(
                "changed {} in place; the old header is put back by: gguf-conv set {} --restore {}",
                print::path(input),
                print::word(input, "FILE"),
                print::word(backup, "BACKUP")
            ));
        }
    }
    page
}

/// The JSON report.
#[derive(Serialize)]
struct Report<'a> {
    dry_run: bool,
    /// The file that has the new metadata; absent when nothing was written.
    output: Option<String>,
    /// Where the old header is, if it was changed in place.
    backup: Option<String>,
    changes: Vec<ChangeReport<'a>>,
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct ChangeReport<'a> {
    /// `add`, `drop` or `change`.
    action: &'static str,
    key: &'a str,
    from: Option<Side<'a>>,
    to: Option<Side<'a>>,
}

#[derive(Serialize)]
struct Side<'a> {
    #[serde(rename = "type")]
    ty: String,
    value: Whole<'a>,
}

fn report<'a>(
    args: &Args,
    input: &Path,
    changes: &'a [Change],
    done: &Done,
    warnings: Vec<String>,
) -> Report<'a> {
    let side = |value: &'a Value| Side {
        ty: value.type_name(),
        value: Whole(value),
    };
    let output = match done {
        Done::Written(path, _) => Some(*path),
        Done::InPlace(_) => Some(input),
        Done::Nothing => args.restore.as_ref().map(|_| input),
    };
    let backup = match done {
        Done::InPlace(backup) => Some(backup.display().to_string()),
        _ => None,
    };
    let change = |change: &'a Change| ChangeReport {
        action: action(change),
        key: &change.key,
        from: change.from.as_ref().map(side),
        to: change.to.as_ref().map(side),
    };
    Report {
        dry_run: args.dry_run,
        output: output.map(|path| path.display().to_string()),
        backup,
        changes: changes.iter().map(change).collect(),
        warnings,
    }
}
