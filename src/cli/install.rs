//! `--install`: a drafter goes where a program looks for it. Nothing there is replaced.

use super::{print, write};
use crate::Error;
use crate::io::Inputs;
use crate::io::output::OutputError;
use crate::plan::WriteError;
use crate::source::{OllamaName, Places, Source, stored_models};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Tokens a draft where a program wants to be told.
const N_MAX: u32 = 3;
/// The folder of a publisher, which LM Studio wants above that of a model.
const PUBLISHER: &str = "gguf-conv";

/// A program that is to find the drafter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Install {
    /// Ollama, as a new model of this name made of target and drafter.
    Ollama(OllamaName),
    LmStudio,
    LlamaCpp,
}

impl Install {
    /// Reads `ollama:NAME[:TAG]`, `lmstudio` or `llama.cpp`.
    pub(super) fn parse(text: &str) -> Result<Install, String> {
        match text {
            "lmstudio" => Ok(Install::LmStudio),
            "llama.cpp" => Ok(Install::LlamaCpp),
            _ => {
                let source = text.starts_with("ollama:").then(|| Source::parse(text));
                let source = source.transpose().map_err(|error| error.to_string())?;
                let name = source.as_ref().and_then(Source::ollama_name).cloned();
                name.map(Install::Ollama)
                    .ok_or_else(|| "there are ollama:NAME, lmstudio and llama.cpp".to_owned())
            }
        }
    }

    /// The output where none was named, in the program's folder, which is made; `None` where it may lie anywhere.
    pub(super) fn output(&self, name: &Path) -> Result<Option<PathBuf>, Error> {
        let places = Places::of_environment();
        let folder = match self {
            Install::Ollama(_) => return Ok(None),
            Install::LmStudio => {
                let there = places.lm_studio.iter().find(|folder| folder.is_dir());
                let folder = there.or_else(|| places.lm_studio.first());
                folder.map(|folder| folder.join(PUBLISHER).join(name.with_extension("")))
            }
            Install::LlamaCpp => places.llama_cpp.first().cloned(),
        };
        let folder = folder
            .ok_or_else(|| Error::Usage("there is no home folder; set the variable HOME".to_owned()))?;
        std::fs::create_dir_all(&folder).map_err(|source| {
            let path = folder.clone();
            WriteError::Output(OutputError::Io { path, source })
        })?;
        Ok(Some(folder.join(name)))
    }

    /// Refuses what would replace something, or cannot be, before the work of a conversion.
    pub(super) fn check(&self, target: Option<&Path>, output: Option<&Path>) -> Result<(), Error> {
        let usage = |message: String| Err(Error::Usage(message));
        if output.is_some_and(print::is_stdout) {
            return usage("--install and standard output exclude each other; name a file with -o".to_owned());
        }
        let Install::Ollama(name) = self else {
            return match output {
                Some(_) => usage(
                    "--install chooses the folder of the output; leave out -o, or leave out --install"
                        .to_owned(),
                ),
                None => Ok(()),
            };
        };
        if target.is_none() {
            return usage(
                "--install ollama:NAME makes a model of target and drafter; give --target".to_owned(),
            );
        }
        let places = Places::of_environment();
        let stored = places.ollama.iter().flat_map(|store| stored_models(store));
        match stored.into_iter().any(|model| model.name.is(name)) {
            true => usage(format!("ollama:{name} exists already; name another")),
            false => Ok(()),
        }
    }

    /// Refuses what would be replaced beside the output.
    pub(super) fn check_beside(&self, output: &Path, inputs: &Inputs) -> Result<(), Error> {
        match self {
            Install::Ollama(_) => Ok(write::check(&modelfile(output), inputs, false)?),
            Install::LmStudio | Install::LlamaCpp => Ok(()),
        }
    }

    /// Does what is left once the output is written, and tells it.
    pub(super) fn finish(
        &self,
        output: &Path,
        given: Option<&Source>,
        target: Option<&Path>,
        inputs: &Inputs,
    ) -> Result<(), Error> {
        let Install::Ollama(name) = self else {
            print::tell(&format!("installed as {}", print::path(output)));
            return Ok(());
        };
        let absolute = |path: &Path| {
            std::path::absolute(path)
                .ok()
                .and_then(|path| path.into_os_string().into_string().ok())
                .filter(|path| !path.contains(char::is_control))
                .ok_or_else(|| {
                    Error::Usage(format!(
                        "{}: a Modelfile cannot name this path",
                        print::path(path)
                    ))
                })
        };
        let from = match (given.and_then(Source::ollama_name), target) {
            (Some(name), _) => name.to_string(),
            (None, Some(target)) if target.is_file() => absolute(target)?,
            _ => {
                return Err(Error::Usage(
                    "Ollama needs the whole target; get it with --download".to_owned(),
                ));
            }
        };
        let text = format!(
            "FROM {from}\nDRAFT {}\nPARAMETER draft_num_predict {N_MAX}\n",
            absolute(output)?
        );
        let path = modelfile(output);
        write::text(&path, &text, inputs, false).map_err(WriteError::from)?;
        print::tell(&format!("wrote {}", print::path(&path)));
        let command = format!("ollama create {name} -f {}", print::word(&path, "MODELFILE"));
        let mut ollama = Command::new("ollama");
        ollama.arg("create").arg(name.to_string()).arg("-f").arg(&path);
        // Its report is none of ours.
        match ollama.stdin(Stdio::null()).stdout(Stdio::null()).status() {
            Ok(status) if status.success() => {
                print::tell(&format!("made ollama:{name} with: {command}"));
                Ok(())
            }
            Ok(status) => Err(Error::Install(format!(
                "{command}: {status}; what it says stands above, and the Modelfile is kept"
            ))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                print::tell(&format!(
                    "ollama is not installed here; where it is, run: {command}"
                ));
                Ok(())
            }
            Err(error) => Err(Error::Install(format!(
                "{command}: {error}; the Modelfile is kept"
            ))),
        }
    }
}

/// The Modelfile beside an output.
fn modelfile(output: &Path) -> PathBuf {
    output.with_extension("Modelfile")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_named() {
        assert_eq!(Install::parse("lmstudio"), Ok(Install::LmStudio));
        assert!(matches!(Install::parse("ollama:mini:it"), Ok(Install::Ollama(_))));
        for wrong in ["ollama", "ollama:../x", "vllm", ""] {
            assert!(Install::parse(wrong).is_err(), "{wrong}");
        }
    }
}
