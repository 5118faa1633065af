//! A home folder with the places where programs keep their models, laid out by the formats that those programs document.

use super::{program, sha256};
use assert_cmd::Command;
use serde_json::json;
use std::path::{Path, PathBuf};

pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

pub struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    pub fn new() -> Home {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Home { folder }
    }

    pub fn path(&self, inner: &str) -> PathBuf {
        self.folder.path().join(inner)
    }

    /// The program, at home here.
    pub fn program(&self) -> Command {
        let mut command = program();
        command
            .env("HOME", self.folder.path())
            .env("HF_HOME", self.path("hf"))
            .env("OLLAMA_MODELS", self.path("ollama"));
        command
    }

    /// Runs the program, expects this code, and returns standard output and standard error.
    #[track_caller]
    pub fn run(&self, code: i32, args: &[&str]) -> (String, String) {
        let output = self.program().args(args).output().expect("the program starts");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("output is UTF-8");
        let (out, err) = (text(output.stdout), text(output.stderr));
        assert_eq!(output.status.code(), Some(code), "{args:?}: {out}{err}");
        (out, err)
    }

    /// A snapshot in the Hub's cache: each file a link to its blob, `refs/main` the commit.
    pub fn hub(&self, repository: &str, files: &[(&str, &Path)]) -> PathBuf {
        let model = self
            .path("hf/hub")
            .join(format!("models--{}", repository.replace('/', "--")));
        let snapshot = model.join("snapshots").join(COMMIT);
        for folder in [model.join("refs"), model.join("blobs"), snapshot.clone()] {
            std::fs::create_dir_all(folder).expect("folders are made");
        }
        std::fs::write(model.join("refs/main"), COMMIT).expect("written");
        for (name, source) in files {
            let blob = model.join("blobs").join(sha256(source));
            std::fs::copy(source, &blob).expect("copied");
            let path = snapshot.join(name);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("folders are made");
            let up = "../".repeat(2 + name.matches('/').count());
            link(&format!("{up}blobs/{}", sha256(source)), &blob, &path);
        }
        snapshot
    }

    /// A model in Ollama's store: `HOST/NAMESPACE/MODEL/TAG`, with layers by the last word of their media type.
    pub fn ollama(&self, place: &str, layers: &[(&str, &Path)]) {
        let store = self.path("ollama");
        let layers: Vec<serde_json::Value> = layers
            .iter()
            .map(|(kind, source)| {
                let digest = sha256(source);
                std::fs::create_dir_all(store.join("blobs")).expect("folders are made");
                std::fs::copy(source, store.join(format!("blobs/sha256-{digest}"))).expect("copied");
                json!({
                    "mediaType": format!("application/vnd.ollama.image.{kind}"),
                    "digest": format!("sha256:{digest}"),
                    "size": std::fs::metadata(source).expect("a file").len(),
                })
            })
            .collect();
        self.ollama_manifest(
            place,
            &json!({ "schemaVersion": 2, "layers": layers }).to_string(),
        );
    }

    pub fn ollama_manifest(&self, place: &str, text: &str) {
        let path = self.path("ollama/manifests").join(place);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("folders are made");
        std::fs::write(path, text).expect("written");
    }
}

/// A link as the Hub's cache has it; a copy where there are none.
fn link(to: &str, blob: &Path, path: &Path) {
    #[cfg(unix)]
    let made = {
        let _ = blob;
        std::os::unix::fs::symlink(to, path)
    };
    #[cfg(not(unix))]
    let made = {
        let _ = to;
        std::fs::copy(blob, path).map(drop)
    };
    made.expect("linked");
}
