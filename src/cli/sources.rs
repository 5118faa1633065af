//! Models as they are named on the command line: the parser of the arguments, and where the models lie; here, or on the Hub
//! where that is asked for.

use super::print;
use crate::Error;
use crate::io::Inputs;
use crate::io::kind::Wanted;
use crate::source::hub::{Access, Event, Hub, HubError, RepoFile, Repository};
use crate::source::{HubName, Places, Source};
use clap::builder::{OsStringValueParser, TypedValueParser};
use indicatif::HumanBytes;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Reads the name of a model.
pub(super) fn source() -> impl TypedValueParser<Value = Source> {
    OsStringValueParser::new().try_map(Source::parse)
}

/// Whether models may travel.
#[derive(Debug, clap::Args)]
pub(super) struct SourceArgs {
    /// Get models of the Hugging Face Hub that are not here (hf:ORG/NAME, ORG/NAME) into its cache
    #[arg(long)]
    pub(super) download: bool,
}

/// How much of a model a command reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Headers, the texts beside them, and no more of the tensors than it asks for one by one: `hf:` reads that from the Hub.
    Parts,
    /// The same, and no more travels of what `hf:` names even where a download is asked for: that is for another model.
    NoMoreThanParts,
    /// All of it.
    Whole,
}

/// Finds models.
pub(super) struct Finder<'a> {
    inputs: &'a Inputs,
    places: Places,
    download: bool,
}

impl<'a> Finder<'a> {
    /// Looks where this process's environment says.
    pub(super) fn new(inputs: &'a Inputs, download: bool) -> Finder<'a> {
        Finder {
            inputs,
            places: Places::of_environment(),
            download,
        }
    }

    /// Where a model lies, as what is wanted of it. A connection is opened only for what is not here, and only where the
    /// words begin with `hf:` or a download is asked for.
    pub(super) fn find(&self, source: &Source, wanted: Wanted, reach: Reach) -> Result<PathBuf, Error> {
        let (path, why) = self.place(source, wanted, reach)?;
        let typed = print::path(source.typed());
        print::detail(&format!("{typed} is {}, {why}", print::path(&path)));
        Ok(path)
    }

    /// Where a model lies, and why there.
    fn place(&self, source: &Source, wanted: Wanted, reach: Reach) -> Result<(PathBuf, &'static str), Error> {
        let missing = match source.find(self.inputs, &self.places, wanted) {
            Err(error) if error.is_missing_here() => error,
            found => {
                let path = found?;
                let why = match (source.ollama_name(), path == source.typed()) {
                    (Some(_), _) => "in the store of Ollama",
                    (None, true) => "a path",
                    (None, false) => "in the cache of Hugging Face",
                };
                return Ok((path, why));
            }
        };
        let Some(name) = source.hub_name() else {
            return Err(missing.into());
        };
        let in_parts = source.asks_the_hub() && reach != Reach::Whole;
        let attach = || Ok((self.attach(name, wanted)?, "read by ranges from the Hub"));
        let download = |ask| {
            let path = self.download(source, name, wanted, ask)?;
            Ok((path, "fetched from the Hub into its cache"))
        };
        match (self.download, in_parts) {
            (true, true) if reach == Reach::NoMoreThanParts => attach(),
            (true, _) => download(false),
            (false, true) => attach(),
            (false, false) if io::stdin().is_terminal() && io::stderr().is_terminal() => download(true),
            (false, false) => Err(missing.into()),
        }
    }

    /// The same for what need not be given.
    pub(super) fn find_if(
        &self,
        source: Option<&Source>,
        wanted: Wanted,
        reach: Reach,
    ) -> Result<Option<PathBuf>, Error> {
        source.map(|source| self.find(source, wanted, reach)).transpose()
    }

    fn hub(&self) -> Result<Hub, HubError> {
        Hub::new(&Access::of_environment(self.inputs)?)
    }

    /// Has the files of a GGUF, or those of a checkpoint, stand for paths; the first of them, or the folder.
    fn attach(&self, name: &HubName, wanted: Wanted) -> Result<PathBuf, Error> {
        let hub = self.hub()?;
        let repository = hub.repository(name)?;
        let files = repository.needed(name, wanted)?;
        let is_gguf = files.iter().all(|file| file.path.ends_with(".gguf"));
        let folder = PathBuf::from(format!("hf:{}", repository.name));
        let path = |file: &RepoFile| match is_gguf {
            true => PathBuf::from(format!("hf:{}:{}", repository.name, file.path)),
            false => folder.join(&file.path),
        };
        // Beside a checkpoint's weights lie settings and tokenizer, and whoever reads the one looks for the others.
        let beside = match is_gguf {
            true => files.clone(),
            false => repository.files.iter().collect(),
        };
        for file in beside {
            self.inputs
                .attach(&path(file), Arc::new(hub.file(&repository, file)));
        }
        Ok(match files.as_slice() {
            [first, ..] if is_gguf => path(first),
            [only] => path(only),
            _ => folder,
        })
    }

    fn download(&self, source: &Source, name: &HubName, wanted: Wanted, ask: bool) -> Result<PathBuf, Error> {
        let cache = self.places.hub.as_ref().ok_or(HubError::NoCache)?;
        let hub = self.hub()?;
        let repository = hub.repository(name)?;
        let files = repository.needed(name, wanted)?;
        if ask && !agreed(&repository, &files, cache)? {
            let message = format!("{} is not here and was not fetched", repository.name);
            return Err(Error::Usage(message));
        }
        let bar = print::progress_bar(0, print::BYTES_BAR);
        let done = hub.download(name, &repository, &files, cache, &|event| match event {
            Event::Total(bytes) => bar.inc_length(bytes),
            Event::Here(bytes) => bar.inc(bytes),
            Event::Waiting(file) => bar.suspend(|| {
                print::tell(&format!("another program fetches {file}; waiting for it"));
            }),
        });
        bar.finish_and_clear();
        let folder = done?;
        let bytes: u64 = files.iter().map(|file| file.size).sum();
        print::tell(&format!(
            "fetched {} ({}) into {}",
            repository.name,
            HumanBytes(bytes),
            folder.display()
        ));
        Ok(source.find(self.inputs, &self.places, wanted)?)
    }
}

/// Asks at the terminal.
fn agreed(repository: &Repository, files: &[&RepoFile], cache: &Path) -> Result<bool, Error> {
    let bytes: u64 = files.iter().map(|file| file.size).sum();
    let question = format!(
        "{} is not here; fetch {} in {} into {}? [y/N] ",
        repository.name,
        HumanBytes(bytes),
        print::many(files.len(), "file"),
        print::path(cache)
    );
    let mut err = io::stderr().lock();
    err.write_all(question.as_bytes())
        .and_then(|()| err.flush())
        .map_err(Error::Stdout)?;
    let mut answer = String::new();
    let _ = io::stdin().lock().read_line(&mut answer);
    Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}
