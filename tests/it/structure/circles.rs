//! Files of a folder form no circle either. A module and those inside it may use each other: the inner one is a part of
//! the outer. What a module lends from an inner one counts as the inner one's.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A module by its names, from the crate's root.
type Module = Vec<String>;

/// The modules of the crate and their texts, without tests and comments.
struct Tree {
    texts: BTreeMap<Module, String>,
    /// Names that a module lends, and from where.
    lent: BTreeMap<(Module, String), Module>,
}

impl Tree {
    fn of(texts: BTreeMap<Module, String>) -> Tree {
        let mut tree = Tree {
            texts,
            lent: BTreeMap::new(),
        };
        let mut lent = BTreeMap::new();
        for (module, text) in &tree.texts {
            for path in uses(text).0 {
                if let Some((from, Some(name))) = tree.resolve(module, &path)
                    && from.len() > module.len()
                    && from.starts_with(module)
                {
                    lent.insert((module.clone(), name), from);
                }
            }
        }
        tree.lent = lent;
        tree
    }

    /// The module that a path leads to, and the first name behind it.
    fn resolve(&self, from: &Module, path: &str) -> Option<(Module, Option<String>)> {
        let mut names = path.split("::").map(str::trim).peekable();
        let mut at = match *names.peek()? {
            "crate" => Module::new(),
            "super" | "self" => from.clone(),
            child if self.texts.contains_key(&inside(from, child)) => from.clone(),
            _ => return None,
        };
        while let Some(word) = names.next_if(|name| ["crate", "super", "self"].contains(name)) {
            if word == "super" {
                at.pop()?;
            }
        }
        while let Some(name) = names.next_if(|name| self.texts.contains_key(&inside(&at, name))) {
            at.push(name.to_owned());
        }
        Some((at, names.next().map(str::to_owned)))
    }

    /// What each module uses of its own folder, those that it is inside of and those inside it left out.
    fn edges(&self) -> BTreeMap<Module, BTreeSet<Module>> {
        let edges = self.texts.iter().map(|(module, text)| {
            let (mut paths, rest) = uses(text);
            paths.extend(in_code(&rest));
            let used = paths.iter().filter_map(|path| {
                let (mut at, name) = self.resolve(module, path)?;
                let mut name = name.map(|name| (at.clone(), name));
                while let Some(from) = name.take().and_then(|key| self.lent.get(&key)) {
                    at = from.clone();
                }
                let is_near = at.first() == module.first();
                (is_near && !at.starts_with(module) && !module.starts_with(&at)).then_some(at)
            });
            (module.clone(), used.collect())
        });
        edges.collect()
    }

    /// The way of a circle, if there is one.
    fn circle(&self) -> Option<Vec<String>> {
        let mut left = self.edges();
        loop {
            // Who uses nothing that is left is in no circle.
            let free: Vec<Module> = left
                .iter()
                .filter(|(_, used)| !used.iter().any(|module| left.contains_key(module)))
                .map(|(module, _)| module.clone())
                .collect();
            if free.is_empty() {
                break;
            }
            free.iter().for_each(|module| drop(left.remove(module)));
        }
        let mut way = vec![left.keys().next()?];
        loop {
            let last = way.last()?;
            let next = left[*last].iter().find(|module| left.contains_key(*module))?;
            if let Some(start) = way.iter().position(|module| *module == next) {
                return Some(way[start..].iter().map(|module| module.join("/")).collect());
            }
            way.push(next);
        }
    }
}

fn inside(module: &Module, name: &str) -> Module {
    [module.as_slice(), &[name.to_owned()]].concat()
}

/// The paths of all `use` items, and the text without them.
fn uses(text: &str) -> (Vec<String>, String) {
    let mut paths = Vec::new();
    let mut rest = String::new();
    let mut left = text;
    while let Some(at) = left.find("use ") {
        let (before, item) = left.split_at(at);
        rest.push_str(before);
        let is_item = before.chars().next_back().is_none_or(|c| c.is_whitespace());
        let end = item.find(';').unwrap_or(item.len());
        if is_item {
            expand("", &item["use ".len()..end], &mut paths);
        }
        left = &item[if is_item { end } else { "use ".len() }..];
    }
    rest.push_str(left);
    (paths, rest)
}

/// Each path of a tree like `a::{b, c::{d, e}}`.
fn expand(prefix: &str, tree: &str, paths: &mut Vec<String>) {
    let Some((head, list)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or_default().trim();
        paths.push(format!("{prefix}{path}"));
        return;
    };
    let prefix = format!("{prefix}{}", head.trim());
    let (mut depth, mut start) = (0, 0);
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                if !list[start..at].trim().is_empty() {
                    expand(&prefix, &list[start..at], paths);
                }
                start = at + 1;
            }
            _ => {}
        }
    }
}

/// Paths in code that begin at the crate or a module above.
fn in_code(text: &str) -> Vec<String> {
    let is_path = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let words = text.split(|c| !is_path(c));
    let paths = words.filter(|word| word.starts_with("super::") || word.starts_with("crate::"));
    paths.map(str::to_owned).collect()
}

fn read(folder: &Path, module: &Module, texts: &mut BTreeMap<Module, String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        if path.is_dir() {
            read(&path, &inside(module, name), texts);
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && !["lib", "main", "tests"].contains(&name)
        {
            let source = std::fs::read_to_string(&path).unwrap();
            let code = source.split("#[cfg(test)]\nmod tests {").next().unwrap();
            let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
            let text: Vec<&str> = lines.collect();
            let module = if name == "mod" {
                module.clone()
            } else {
                inside(module, name)
            };
            texts.insert(module, text.join("\n"));
        }
    }
}

#[test]
fn files_form_no_circle() {
    let mut texts = BTreeMap::new();
    read(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &Module::new(),
        &mut texts,
    );
    let tree = Tree::of(texts);
    let count: usize = tree.edges().values().map(BTreeSet::len).sum();
    assert!(count > 200, "{count} uses were found");
    assert_eq!(tree.circle(), None);
}

#[test]
fn circles_are_found_through_names_that_a_module_lends() {
    let tree = |files: &[(&str, &str)]| {
        let texts = files.iter().map(|(module, text)| {
            let names = module.split('/').map(str::to_owned).collect();
            (names, (*text).to_owned())
        });
        Tree::of(texts.collect())
    };
    let lending = ("f", "mod a; mod b;\npub use a::{A, Other};\npub use b::B;");
    let mut files = [lending, ("f/a", "use super::B;"), ("f/b", "fn f(a: super::A) {}")];
    assert_eq!(tree(&files).circle().unwrap().len(), 2);
    // What is the outer module's own makes no circle.
    files[2].1 = "use super::{Own, f};";
    assert_eq!(tree(&files).circle(), None);
    files[2].1 = "use crate::f::{g, a::{A}};";
    assert!(tree(&files).circle().is_some());
}
