//! How the Hub is reached, by the variables of huggingface_hub.

use super::HubError;
use crate::io::{Inputs, ReadError, TextLimit};
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

const ENDPOINT: &str = "https://huggingface.co";

/// A key, which nothing prints.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Token {
    /// Takes a text without the blanks around it; `None` where nothing is left.
    fn new(text: &str) -> Result<Option<Token>, HubError> {
        let text = text.trim();
        // What else there is could end the line of the header that it is sent in.
        match text.chars().all(|c| c.is_ascii_graphic()) {
            true => Ok((!text.is_empty()).then(|| Token(text.to_owned()))),
            false => Err(HubError::Token),
        }
    }

    /// For the header of a request.
    pub(super) fn bearer(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

/// How the Hub is reached.
#[derive(Debug, Clone)]
pub struct Access {
    /// Its address, without a slash at the end.
    pub endpoint: String,
    /// Whom it is reached as.
    pub token: Option<Token>,
    /// Whether no connection is to be opened.
    pub offline: bool,
}

impl Access {
    /// By this process's environment: `HF_ENDPOINT`, `HF_TOKEN` or the file of the token (`HF_TOKEN_PATH`,
    /// `HF_HOME/token`), `HF_HUB_DISABLE_IMPLICIT_TOKEN`, `HF_HUB_OFFLINE`.
    pub fn of_environment(inputs: &Inputs) -> Result<Access, HubError> {
        Access::new(
            inputs,
            |name| std::env::var_os(name),
            std::env::home_dir().as_deref(),
        )
    }

    /// By the variables of an environment, of which empty ones count as absent.
    pub fn new(
        inputs: &Inputs,
        variable: impl Fn(&str) -> Option<OsString>,
        home: Option<&Path>,
    ) -> Result<Access, HubError> {
        let text = |name: &str| variable(name)?.into_string().ok().filter(|text| !text.is_empty());
        let is_set = |name: &str| {
            let on = ["1", "ON", "YES", "TRUE"];
            text(name).is_some_and(|text| on.contains(&text.to_uppercase().as_str()))
        };
        let path = |name: &str| variable(name).filter(|path| !path.is_empty()).map(PathBuf::from);
        let token = match text("HF_TOKEN").or_else(|| text("HUGGING_FACE_HUB_TOKEN")) {
            Some(token) => Token::new(&token)?,
            None if is_set("HF_HUB_DISABLE_IMPLICIT_TOKEN") => None,
            None => {
                let cache = || path("XDG_CACHE_HOME").or_else(|| Some(home?.join(".cache")));
                let folder = || path("HF_HOME").or_else(|| Some(cache()?.join("huggingface")));
                let file = path("HF_TOKEN_PATH").or_else(|| Some(folder()?.join("token")));
                file.map_or(Ok(None), |file| token_in(inputs, file))?
            }
        };
        let endpoint = text("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.to_owned());
        Ok(Access {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            token,
            offline: is_set("HF_HUB_OFFLINE") || is_set("TRANSFORMERS_OFFLINE"),
        })
    }
}

fn token_in(inputs: &Inputs, path: PathBuf) -> Result<Option<Token>, HubError> {
    match inputs.text(&path, TextLimit::SETTINGS) {
        Ok(text) => Token::new(&text),
        Err(ReadError::NotFound) => Ok(None),
        Err(source) => Err(HubError::Read { path, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_tells_endpoint_token_and_whether_to_connect() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), "hf_file\n").unwrap();
        let home = folder.path().to_str().unwrap().to_owned();
        let access = |variables: &[(&str, &str)]| {
            let find = |name: &str| {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| OsString::from(value))
            };
            Access::new(&Inputs::new(), find, None)
        };
        let token = |variables: &[(&str, &str)]| access(variables).unwrap().token.map(|token| token.0);
        let at_home = ("HF_HOME", home.as_str());
        assert_eq!(token(&[at_home]).as_deref(), Some("hf_file"));
        assert_eq!(token(&[at_home, ("HF_TOKEN", "hf_x")]).as_deref(), Some("hf_x"));
        assert_eq!(token(&[at_home, ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")]), None);
        assert!(matches!(
            access(&[("HF_TOKEN", "a\r\nHost: b")]),
            Err(HubError::Token)
        ));
        let mirror = access(&[("HF_ENDPOINT", "http://mirror/"), ("HF_HUB_OFFLINE", "yes")]).unwrap();
        assert_eq!(
            (mirror.endpoint.as_str(), mirror.offline),
            ("http://mirror", true)
        );
        let shown = format!("{:?}", access(&[("HF_TOKEN", "hf_secret")]).unwrap());
        assert!(!shown.contains("hf_secret"));
    }
}
