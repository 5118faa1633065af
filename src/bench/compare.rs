//! Two runs, or logs of other programs, against each other.

use super::BenchError;
use super::analysis::kinds;
use super::record::{Condition, FORMAT, Header, Run};
use crate::io::Inputs;
use std::path::Path;

/// Puts the calls of two files together: the second's conditions are compared with those of the same name in the first, or
/// with its only one.
pub fn compare(inputs: &Inputs, paths: [&Path; 2], expected: &[String]) -> Result<Run, BenchError> {
    let [first, second] = [Run::read(inputs, paths[0])?, Run::read(inputs, paths[1])?];
    let names = file_names(paths);
    let labels = [&first, &second].map(|run| {
        let labels = run
            .header
            .conditions
            .iter()
            .map(|condition| condition.label.clone());
        labels.collect::<Vec<String>>()
    });
    let is_single = labels[0].len() == 1 && labels[1].len() == 1;
    let label = |file: usize, label: &str| match is_single {
        true => names[file].clone(),
        false => format!("{}: {label}", names[file]),
    };
    let same_kinds = kinds(&first) == kinds(&second) && first.header.files == second.header.files;
    let mut run = Run {
        header: Header {
            format: FORMAT,
            program: concat!("gguf-conv ", env!("CARGO_PKG_VERSION")).to_owned(),
            machine: first.header.machine.clone(),
            files: match same_kinds {
                true => first.header.files.clone(),
                false => Vec::new(),
            },
            protocol: first.header.protocol.clone(),
            ..Header::default()
        },
        calls: Vec::new(),
    };
    let mut offset = 0;
    for (file, part) in [first, second].into_iter().enumerate() {
        for condition in part.header.conditions {
            let base = match (file, labels[0].as_slice()) {
                (0, _) => None,
                (_, [only]) => Some(label(0, only)),
                (_, all) => all.contains(&condition.label).then(|| label(0, &condition.label)),
            };
            let name = label(file, &condition.label);
            run.header.conditions.push(Condition {
                drafts: condition.drafts || expected.contains(&name) || expected.contains(&condition.label),
                baseline: base,
                label: name,
                ..condition
            });
        }
        let last = part.calls.iter().map(|call| call.seq + 1).max().unwrap_or(0);
        run.calls.extend(part.calls.into_iter().map(|mut call| {
            call.condition = label(file, &call.condition);
            call.seq += offset;
            call.group += offset;
            call
        }));
        offset += last;
    }
    Ok(run)
}

/// What distinguishes two files: their names, or `A` and `B` where these are the same.
fn file_names(paths: [&Path; 2]) -> [String; 2] {
    let names = paths.map(|path| {
        path.file_stem()
            .unwrap_or(path.as_os_str())
            .to_string_lossy()
            .into_owned()
    });
    match names[0] == names[1] {
        true => ["A", "B"].map(str::to_owned),
        false => names,
    }
}
