//! Where programs keep their models, by the variables that those programs go by.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Folders of models.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places {
    /// The cache of the Hugging Face Hub.
    pub hub: Option<PathBuf>,
    /// Stores of Ollama, in the order in which they are looked into.
    pub ollama: Vec<PathBuf>,
    /// LM Studio's.
    pub lm_studio: Vec<PathBuf>,
    /// llama.cpp's own, of before it took to the Hub's cache, or where it is told to look.
    pub llama_cpp: Vec<PathBuf>,
}

/// Where the service of Ollama keeps its models on Linux: the home of the user `ollama`.
const OLLAMA_SERVICE: &str = "/usr/share/ollama/.ollama/models";

impl Places {
    /// By this process's environment.
    pub fn of_environment() -> Places {
        Places::new(|name| std::env::var_os(name), std::env::home_dir())
    }

    /// By the variables of an environment, of which empty ones count as absent.
    pub fn new(variable: impl Fn(&str) -> Option<OsString>, home: Option<PathBuf>) -> Places {
        let home = home.filter(|home| !home.as_os_str().is_empty());
        let path = |name: &str| {
            let value = variable(name).filter(|value| !value.is_empty())?;
            let path = PathBuf::from(value);
            // As huggingface_hub does; a shell would have done it, a file of settings does not.
            match (path.strip_prefix("~"), &home) {
                (Ok(rest), Some(home)) => Some(home.join(rest)),
                _ => Some(path),
            }
        };
        let cache = path("XDG_CACHE_HOME").or_else(|| Some(home.as_ref()?.join(".cache")));
        let hub = path("HF_HUB_CACHE")
            .or_else(|| path("HUGGINGFACE_HUB_CACHE"))
            .or_else(|| Some(path("HF_HOME")?.join("hub")))
            .or_else(|| Some(cache.as_ref()?.join("huggingface/hub")));
        let at_home = |folder: &str| home.as_ref().map(|home| home.join(folder));
        let ollama = match path("OLLAMA_MODELS") {
            Some(path) => vec![path],
            None => {
                let service = cfg!(target_os = "linux").then(|| PathBuf::from(OLLAMA_SERVICE));
                at_home(".ollama/models").into_iter().chain(service).collect()
            }
        };
        let system_cache = if cfg!(target_os = "macos") {
            at_home("Library/Caches")
        } else if cfg!(windows) {
            path("LOCALAPPDATA")
        } else {
            cache
        };
        let llama_cpp = path("LLAMA_CACHE").or_else(|| Some(system_cache?.join("llama.cpp")));
        Places {
            hub,
            ollama,
            lm_studio: [".lmstudio/models", ".cache/lm-studio/models"]
                .into_iter()
                .filter_map(at_home)
                .collect(),
            llama_cpp: llama_cpp.into_iter().collect(),
        }
    }

    /// All of them, for a message.
    pub fn all(&self) -> impl Iterator<Item = &Path> {
        let folders = self.hub.iter().chain(&self.ollama);
        folders
            .chain(&self.lm_studio)
            .chain(&self.llama_cpp)
            .map(PathBuf::as_path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(variables: &[(&str, &str)]) -> Places {
        let find = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        };
        Places::new(find, Some(PathBuf::from("/home/me")))
    }

    #[test]
    fn the_nearest_variable_counts() {
        let hub = |variables| places(variables).hub.unwrap();
        let all = [
            ("HF_HUB_CACHE", "/a"),
            ("HF_HOME", "/b"),
            ("XDG_CACHE_HOME", "/c"),
        ];
        assert_eq!(hub(&all), Path::new("/a"));
        assert_eq!(hub(&all[1..]), Path::new("/b/hub"));
        assert_eq!(hub(&all[2..]), Path::new("/c/huggingface/hub"));
        assert_eq!(hub(&[]), Path::new("/home/me/.cache/huggingface/hub"));
        assert_eq!(
            hub(&[("HF_HOME", "~/hf"), ("HF_HUB_CACHE", "")]),
            Path::new("/home/me/hf/hub")
        );
    }

    #[test]
    fn a_store_that_was_named_is_the_only_one() {
        assert_eq!(places(&[("OLLAMA_MODELS", "/o")]).ollama, [PathBuf::from("/o")]);
        assert_eq!(places(&[]).ollama[0], Path::new("/home/me/.ollama/models"));
    }
}
