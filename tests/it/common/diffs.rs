//! What the tests of `diff` share: running it, and changed copies of the fixtures.

use super::parts::Parts;
use super::*;
use serde_json::Value as Json;

pub const Q8_0: &str = "mini-dense/drafter-q8_0.gguf";

/// Runs diff, expects this exit code, and returns standard output.
#[track_caller]
pub fn run_diff(code: i32, args: &[&str]) -> String {
    let output = program().arg("diff").args(args).output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {err}");
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
pub fn diff_json(code: i32, args: &[&str]) -> Json {
    result(&run_diff(code, &[&["--json"], args].concat()))
}

/// A folder for changed files.
pub struct Bench(pub tempfile::TempDir);

impl Bench {
    pub fn new() -> Bench {
        Bench(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A fixture, changed.
    pub fn changed(&self, name: &str, fixture_name: &str, change: impl FnOnce(&mut Parts)) -> String {
        let mut parts = Parts::read(&fixture(fixture_name));
        change(&mut parts);
        parts.write(&self.path(name));
        path_str(&self.path(name)).to_owned()
    }
}

pub fn fixture_str(name: &str) -> String {
    path_str(&fixture(name)).to_owned()
}

/// The entry of this name in a list of the report.
#[track_caller]
pub fn entry<'j>(report: &'j Json, list: &str, name: &str) -> &'j Json {
    let field = if list == "keys" { "key" } else { "name" };
    let mut entries = report[list].as_array().unwrap().iter();
    entries
        .find(|entry| entry[field] == name)
        .unwrap_or_else(|| panic!("{name} is not in {report:#}"))
}

pub fn names<'j>(report: &'j Json, list: &str) -> Vec<&'j str> {
    let field = if list == "keys" { "key" } else { "name" };
    let entries = report[list].as_array().unwrap().iter();
    entries.map(|entry| entry[field].as_str().unwrap()).collect()
}

pub fn is_near(found: &Json, expected: f64) -> bool {
    (found.as_f64().unwrap() - expected).abs() <= expected.abs() * 1e-9
}
