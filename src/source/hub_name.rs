//! Names of models on the Hugging Face Hub.

use super::error::NameError;
use std::fmt;
use std::path::{Component, Path};

/// The revision that is meant where none is named.
const MAIN: &str = "main";
/// What the name of a local file ends in, and that of a repository does not.
const FILE_ENDINGS: [&str; 9] = [
    ".gguf",
    ".safetensors",
    ".json",
    ".jsonl",
    ".bin",
    ".toml",
    ".jinja",
    ".txt",
    ".dat",
];
/// Where the Hub's pages stand.
const ADDRESSES: [&str; 4] = [
    "https://huggingface.co/",
    "https://hf.co/",
    "huggingface.co/",
    "hf.co/",
];

/// A repository, a revision and what of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubName {
    org: String,
    name: String,
    revision: Option<String>,
    file: Option<HubFile>,
}

/// What of a repository is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HubFile {
    /// The file at this path.
    Path(String),
    /// The GGUF in this type: `Q4_K_M`.
    Quantization(String),
}

impl HubName {
    /// `ORG/NAME[@REV][:FILE or quantization]`.
    pub(super) fn parse(text: &str) -> Result<HubName, NameError> {
        let wrong = |what| NameError::Hub {
            typed: text.to_owned(),
            what,
        };
        let (front, file) = match text.split_once(':') {
            Some((front, file)) => (front, Some(file)),
            None => (text, None),
        };
        let (repository, revision) = match front.split_once('@') {
            Some((repository, revision)) => (repository, Some(revision)),
            None => (front, None),
        };
        let (org, name) = repository
            .split_once('/')
            .filter(|(org, name)| is_part(org) && is_part(name))
            .ok_or_else(|| wrong("has no ORG/NAME"))?;
        if revision.is_some_and(|revision| !is_inner_path(revision)) {
            return Err(wrong("has a wrong revision"));
        }
        let is_path = |file: &&str| file.contains('/') || FILE_ENDINGS.iter().any(|end| file.ends_with(end));
        let file = match file {
            Some(file) if !is_inner_path(file) => return Err(wrong("names a file outside the repository")),
            Some(file) if is_path(&file) => Some(HubFile::Path(file.to_owned())),
            Some(tag) => Some(HubFile::Quantization(tag.to_owned())),
            None => None,
        };
        Ok(HubName {
            org: org.to_owned(),
            name: name.to_owned(),
            revision: revision.map(str::to_owned),
            file,
        })
    }

    /// The same without `hf:`, where the words can hardly be a path: no file's ending, one slash.
    pub(super) fn bare(text: &str) -> Option<HubName> {
        let is_file = FILE_ENDINGS.iter().any(|ending| text.ends_with(ending));
        let name = HubName::parse(text).ok().filter(|_| !is_file)?;
        name.file.is_none().then_some(name)
    }

    /// An address as a browser shows it: of a repository, a revision (`/tree/REV`) or a file (`/blob/REV/FILE`).
    pub(super) fn of_address(text: &str) -> Option<Result<HubName, NameError>> {
        let rest = ADDRESSES.iter().find_map(|front| text.strip_prefix(front))?;
        let rest = rest
            .split(['?', '#'])
            .next()
            .unwrap_or_default()
            .trim_end_matches('/');
        let parts: Vec<&str> = rest.splitn(5, '/').collect();
        let name = match parts.as_slice() {
            [org, name, "tree", revision] => format!("{org}/{name}@{revision}"),
            [org, name, "blob" | "resolve", revision, file] => format!("{org}/{name}@{revision}:{file}"),
            _ => rest.to_owned(),
        };
        Some(HubName::parse(&name))
    }

    /// A repository at a commit, as the Hub names them.
    pub(super) fn of_repository(repository: &str, commit: &str) -> HubName {
        let (org, name) = repository.split_once('/').unwrap_or((repository, ""));
        HubName {
            org: org.to_owned(),
            name: name.to_owned(),
            revision: Some(commit.to_owned()),
            file: None,
        }
    }

    /// `ORG/NAME`.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.org, self.name)
    }

    /// The revision that is meant: what was named, or `main`.
    pub fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or(MAIN)
    }

    /// What of the repository was named.
    pub fn file(&self) -> Option<&HubFile> {
        self.file.as_ref()
    }

    /// What its folder in the cache is called.
    pub fn folder(&self) -> String {
        format!("models--{}--{}", self.org, self.name)
    }
}

/// As it can be typed: `hf:ORG/NAME@REV:FILE`.
impl fmt::Display for HubName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hf:{}/{}", self.org, self.name)?;
        if let Some(revision) = &self.revision {
            write!(f, "@{revision}")?;
        }
        match &self.file {
            Some(HubFile::Path(file) | HubFile::Quantization(file)) => write!(f, ":{file}"),
            None => Ok(()),
        }
    }
}

/// Whether this can be the name of an organisation or a repository: the Hub's rule.
fn is_part(text: &str) -> bool {
    let is_edge = |c: char| c == '-' || c == '.';
    (1..=96).contains(&text.len())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || ['-', '_', '.'].contains(&c))
        && !text.starts_with(is_edge)
        && !text.ends_with(is_edge)
        && !text.contains("--")
        && !text.contains("..")
}

/// Whether a path that others wrote stays in the folder that it is taken relative to, on any system.
pub(super) fn is_inner_path(text: &str) -> bool {
    let mut components = Path::new(text).components();
    !text.is_empty()
        && text.len() <= 1024
        && !text.contains(['\\', ':'])
        && !text.contains(char::is_control)
        && text.split('/').all(|part| !part.is_empty() && part != ".")
        && components.all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_its_parts() {
        let name = HubName::parse("google/gemma-4@refs/pr/1:q/a-Q4_K_M.gguf").unwrap();
        assert_eq!(name.repository(), "google/gemma-4");
        assert_eq!(name.revision(), "refs/pr/1");
        assert_eq!(name.file(), Some(&HubFile::Path("q/a-Q4_K_M.gguf".to_owned())));
        assert_eq!(name.folder(), "models--google--gemma-4");
        assert_eq!(name.to_string(), "hf:google/gemma-4@refs/pr/1:q/a-Q4_K_M.gguf");
        let name = HubName::parse("a/b:Q4_K_M").unwrap();
        assert_eq!(name.revision(), "main");
        assert_eq!(name.file(), Some(&HubFile::Quantization("Q4_K_M".to_owned())));
    }

    #[test]
    fn addresses_of_pages_are_names() {
        let name = |text| HubName::of_address(text).unwrap().unwrap().to_string();
        assert_eq!(name("https://huggingface.co/a/b/"), "hf:a/b");
        assert_eq!(name("https://huggingface.co/a/b/tree/v1"), "hf:a/b@v1");
        assert_eq!(
            name("https://hf.co/a/b/blob/main/q/x.gguf?download=true"),
            "hf:a/b@main:q/x.gguf"
        );
        assert!(HubName::of_address("hf.co/a").unwrap().is_err());
        assert!(HubName::of_address("http://localhost/a/b").is_none());
    }

    #[test]
    fn only_inner_paths_are_followed() {
        for good in ["a", "a/b.gguf", "..a", "a..b"] {
            assert!(is_inner_path(good), "{good}");
        }
        for bad in [
            "", "/a", "..", "a/../b", "./a", "a//b", "a/", "a\\b", "C:a", "a\nb", "a/./b",
        ] {
            assert!(!is_inner_path(bad), "{bad}");
        }
    }
}
