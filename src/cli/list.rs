//! `gguf-conv list`: the models on this machine, and which drafter fits which target.

use super::page::Page;
use super::shared::{ArchArgs, FormatArgs};
use super::{Outcome, json, print};
use crate::Error;
use crate::inspect::Role;
use crate::io::Inputs;
use crate::list::{self, Content, Listed, Place};
use crate::source::Places;
use crate::text;
use indicatif::HumanBytes;
use serde::Serialize;

const ABOUT: &str = "\
Looks into the cache of the Hugging Face Hub (HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME), the store of Ollama \
(OLLAMA_MODELS, ~/.ollama/models, the service's folder on Linux), and the folders of LM Studio and llama.cpp \
(LLAMA_CACHE). Reads headers only, and the vocabularies of what may make a pair. The first column is what every command \
takes the model by.";

/// Arguments of list.
#[derive(Debug, clap::Args)]
#[command(after_long_help = ABOUT)]
pub(super) struct Args {
    /// Only drafters and targets
    #[arg(long)]
    pairs: bool,
    #[command(flatten)]
    pub(super) format: FormatArgs,
    #[command(flatten)]
    arch: ArchArgs,
}

/// Lists what is here.
pub(super) fn run(args: &Args, inputs: &Inputs) -> Result<Outcome, Error> {
    let registry = args.arch.registry(inputs)?;
    let places = Places::of_environment();
    let mut models = list::list(inputs, &places, &registry);
    print::detail(&format!("looked at {}", print::many(models.len(), "model")));
    let is_of_pair = |model: &Listed| matches!(&model.content, Ok(content) if content.role != Role::Other);
    models.retain(|model| !args.pairs || is_of_pair(model));
    // What changes meanwhile, as a model that is being fetched does, is listed as it was found.
    if args.format.json {
        let reports: Vec<Report> = models.iter().map(Report::of).collect();
        json::write(&Inputs::new(), "list", &reports, &[])?;
    } else {
        print::stdout(&text(&models, &places), &Inputs::new())?;
    }
    Ok(Outcome::Done)
}

fn text(models: &[Listed], places: &Places) -> Page {
    let mut page = Page::new();
    for place in [Place::Hub, Place::Ollama, Place::LmStudio, Place::LlamaCpp] {
        let rows: Vec<Vec<String>> = models
            .iter()
            .filter(|model| model.place == place)
            .map(row)
            .collect();
        page.section(place.name(), &rows);
    }
    if models.is_empty() {
        page.line("no models; looked into:");
        for folder in places.all() {
            page.line(format!("  {}", print::path(folder)));
        }
        return page;
    }
    let mut pairs = Vec::new();
    for model in models {
        if let Ok(content) = &model.content
            && content.role == Role::Target
        {
            let pair = |drafter: &String| vec![shown(&model.name), shown(drafter)];
            pairs.extend(content.fits.iter().map(pair));
        }
    }
    if !pairs.is_empty() {
        pairs.insert(0, vec!["target".to_owned(), "drafter".to_owned()]);
    }
    page.section("pairs", &pairs);
    page
}

fn shown(name: &str) -> String {
    text::name(name.as_bytes())
}

fn row(model: &Listed) -> Vec<String> {
    let (architecture, ty, what) = match &model.content {
        Ok(content) => (
            content.architecture.clone().unwrap_or_default(),
            content.ty.clone().unwrap_or_default(),
            what(content),
        ),
        Err(error) => (String::new(), String::new(), text::line(error)),
    };
    vec![
        shown(&model.name),
        architecture,
        ty,
        HumanBytes(model.bytes).to_string(),
        what,
    ]
}

/// What a model is in speculative decoding, in a word or two.
fn what(content: &Content) -> String {
    let role = match (content.role, content.is_checkpoint) {
        (Role::Drafter, false) => "drafter",
        (Role::Drafter, true) => "drafter's checkpoint, to be converted",
        (Role::Target, _) => "target",
        (Role::Other, _) => "",
    };
    match &content.kind {
        Some(kind) if role.is_empty() => kind.to_string(),
        Some(kind) => format!("{role}: {kind}"),
        None => role.to_owned(),
    }
}

/// The JSON report of a model.
#[derive(Serialize)]
struct Report<'a> {
    name: &'a str,
    path: String,
    place: &'static str,
    size_bytes: u64,
    container: Option<&'static str>,
    architecture: Option<&'a str>,
    #[serde(rename = "type")]
    ty: Option<&'a str>,
    role: Option<&'static str>,
    kind: Option<String>,
    fits: &'a [String],
    error: Option<&'a str>,
}

impl Report<'_> {
    fn of(model: &Listed) -> Report<'_> {
        let content = model.content.as_ref().ok();
        let container = |content: &Content| match content.is_checkpoint {
            true => "safetensors",
            false => "gguf",
        };
        let role = |content: &Content| match content.role {
            Role::Drafter => "drafter",
            Role::Target => "target",
            Role::Other => "other",
        };
        Report {
            name: &model.name,
            path: model.path.display().to_string(),
            place: model.place.name(),
            size_bytes: model.bytes,
            container: content.map(container),
            architecture: content.and_then(|content| content.architecture.as_deref()),
            ty: content.and_then(|content| content.ty.as_deref()),
            role: content.map(role),
            kind: content.and_then(|content| Some(content.kind.as_ref()?.to_string())),
            fits: content.map_or(&[], |content| &content.fits),
            error: model.content.as_ref().err().map(String::as_str),
        }
    }
}
