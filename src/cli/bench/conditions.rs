//! Which servers are measured, as the arguments ask.

use super::{Args, Pair};
use crate::advise::recipe;
use crate::bench::BenchError;
use crate::bench::record::{Condition, Machine, ModelFile};
use crate::bench::run::Source;
use crate::bench::server::Launch;
use crate::gguf::Gguf;
use crate::io::Inputs;
use crate::io::kind::Wanted;
use crate::{Error, hash};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Blocks a condition where servers cannot stand side by side.
pub(super) const BLOCKS: usize = 4;
/// Least context of a server.
const LEAST_CONTEXT: usize = 4096;

/// The conditions, and the number of blocks that suits them.
pub(super) fn conditions(
    inputs: &Inputs,
    args: &Args,
    pair: &Pair,
    folder: &Path,
    prefix: &str,
) -> Result<(Vec<(Condition, Source)>, usize), Error> {
    let servers = &args.servers;
    let (conditions, blocks) = if let Some(program) = &servers.llama_server {
        launched(inputs, args, pair, program, folder, prefix)?
    } else if let Some(url) = &servers.ollama {
        let n_max = match args.launch.n_max.is_empty() {
            true => vec![0, 4],
            false => args.launch.n_max.clone(),
        };
        let conditions = by_n_max(&n_max, &args.launch.parallel, |_, _, condition| {
            condition.url = Some(url.clone());
            Source::Ollama(url.clone())
        });
        (conditions, 0)
    } else {
        (running(args)?, 0)
    };
    let mut labels: Vec<&str> = conditions
        .iter()
        .map(|(condition, _)| condition.label.as_str())
        .collect();
    labels.sort_unstable();
    if let Some(pair) = labels.windows(2).find(|pair| pair[0] == pair[1]) {
        let message = format!(
            "two servers are called {:?}; give each a label: --url LABEL=URL",
            pair[0]
        );
        return Err(BenchError::Usage(message).into());
    }
    Ok((conditions, blocks))
}

fn unique(list: &[u32]) -> Vec<u32> {
    let mut list = list.to_vec();
    list.sort_unstable();
    list.dedup();
    list
}

/// A condition for each number of tokens a draft and of calls at the same time, compared with the one that does not draft.
fn by_n_max(
    n_max: &[u32],
    parallel: &[u32],
    mut source: impl FnMut(u32, u32, &mut Condition) -> Source,
) -> Vec<(Condition, Source)> {
    let (n_max, parallel) = (unique(n_max), unique(parallel));
    let mut conditions = Vec::new();
    for &parallel_calls in &parallel {
        let label = |n: u32| match parallel.len() {
            1 => format!("n-max {n}"),
            _ => format!("n-max {n}, parallel {parallel_calls}"),
        };
        for &n in &n_max {
            let mut condition = Condition {
                label: label(n),
                n_max: Some(n),
                parallel: parallel_calls,
                drafts: n > 0,
                baseline: (n > 0 && n_max.contains(&0)).then(|| label(0)),
                ..Condition::default()
            };
            let source = source(n, parallel_calls, &mut condition);
            conditions.push((condition, source));
        }
    }
    conditions
}

fn launched(
    inputs: &Inputs,
    args: &Args,
    pair: &Pair,
    program: &Path,
    folder: &Path,
    prefix: &str,
) -> Result<(Vec<(Condition, Source)>, usize), Error> {
    let launch = &args.launch;
    let (Some(target), Some(drafter)) = (&pair.target, &pair.drafter) else {
        return Err(BenchError::Usage("--llama-server needs --target and --drafter".to_owned()).into());
    };
    if let Some(arg) = launch
        .server_args
        .iter()
        .find(|arg| ["--port", "--host"].contains(&arg.as_str()))
    {
        let message = format!(
            "{arg} is chosen here, on a free port of the loopback interface; for a server of your own give --url"
        );
        return Err(BenchError::Usage(message).into());
    }
    let (target_file, drafter_file) = (Gguf::open(inputs, target)?, Gguf::open(inputs, drafter)?);
    target_file.expect_model(Wanted::Target)?;
    drafter_file.expect_model(Wanted::Drafter)?;
    let spec_type = match launch.spec_type.as_str() {
        "none" => None,
        "auto" => Some(spec_type(&drafter_file)?),
        named => Some(named.to_owned()),
    };
    let context = context(args, &target_file);
    let n_max = match launch.n_max.is_empty() {
        true => vec![0, 1, 2, 3, 4, 6],
        false => launch.n_max.clone(),
    };
    let conditions = by_n_max(&n_max, &launch.parallel, |n, parallel, condition| {
        let mut arguments = vec!["--model".to_owned(), target.display().to_string()];
        let mut add = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
        if n > 0 {
            add("--model-draft", drafter.display().to_string());
            if let Some(spec_type) = &spec_type {
                add("--spec-type", spec_type.clone());
            }
            add("--spec-draft-n-max", n.to_string());
        }
        add("--parallel", parallel.to_string());
        let names = ["-c", "--ctx-size"];
        if !launch.server_args.iter().any(|arg| names.contains(&arg.as_str())) {
            add("--ctx-size", (context * parallel as usize).to_string());
        }
        arguments.push("--metrics".to_owned());
        arguments.extend(launch.server_args.iter().cloned());
        condition.command = std::iter::once(program.display().to_string())
            .chain(arguments.iter().cloned())
            .collect();
        Source::Launch(Launch {
            program: program.to_owned(),
            args: arguments,
            log: log(folder, prefix, &condition.label),
            timeout: Duration::from_secs(launch.start_timeout),
        })
    });
    let bytes: u64 = [&target_file, &drafter_file]
        .into_iter()
        .flat_map(|gguf| gguf.parts())
        .map(|part| part.file_len())
        .sum();
    // Half as much again for keys, values and buffers.
    let needed = (bytes + bytes / 2 + (1 << 28)).saturating_mul(conditions.len() as u64);
    let fits = Machine::free_memory().is_some_and(|free| needed < free / 2);
    Ok((conditions, if fits { 0 } else { BLOCKS }))
}

fn log(folder: &Path, prefix: &str, label: &str) -> PathBuf {
    let name: String = label
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    folder.join(format!("{prefix}{}.log", name.replace("--", "-")))
}

/// How llama.cpp drafts with this file.
fn spec_type(drafter: &Gguf) -> Result<String, Error> {
    let architecture = drafter.key(drafter.metadata().string("general.architecture"))?;
    let has_markov_head = drafter.info("markov_w1.weight").is_some();
    Ok(recipe::spec_type(&architecture.to_string(), has_markov_head).to_owned())
}

/// Tokens that a call may take: the longest prompt with its answer, as far as the model goes.
fn context(args: &Args, target: &Gguf) -> usize {
    let longest = match args.protocol.prompts.is_some() || !super::wants(&args.protocol, "context") {
        true => 0,
        false => args.protocol.context.iter().copied().max().unwrap_or(0),
    };
    let trained = target
        .metadata()
        .string("general.architecture")
        .ok()
        .and_then(|architecture| {
            let context = target
                .metadata()
                .uint(&format!("{architecture}.context_length"))
                .ok()?;
            usize::try_from(context).ok()
        });
    (longest + args.protocol.predict + 256)
        .max(LEAST_CONTEXT)
        .min(trained.unwrap_or(usize::MAX))
        .max(1)
}

/// Servers that run already.
fn running(args: &Args) -> Result<Vec<(Condition, Source)>, BenchError> {
    let split = |given: &String| match given.split_once('=') {
        Some((label, url)) if !label.contains("://") => (label.to_owned(), url.to_owned()),
        _ => (given.clone(), given.clone()),
    };
    let servers: Vec<(String, String)> = args.servers.url.iter().map(split).collect();
    let should_draft = |label: &str, url: &str| {
        args.expect_drafting
            .iter()
            .any(|name| name == label || name == url)
    };
    let known = |name: &&String| servers.iter().any(|(label, url)| label == *name || url == *name);
    if let Some(unknown) = args.expect_drafting.iter().find(|name| !known(name)) {
        let message = format!(
            "--expect-drafting {unknown}: no --url is called so; give it a label: --url {unknown}=URL"
        );
        return Err(BenchError::Usage(message));
    }
    let baseline = servers.iter().find(|(label, url)| !should_draft(label, url));
    let widths = unique(&args.launch.parallel);
    let named = |label: &str, width: u32| match widths.len() {
        1 => label.to_owned(),
        _ => format!("{label}, parallel {width}"),
    };
    let condition = |width: u32, (label, url): &(String, String)| {
        let compared = baseline.filter(|(baseline, _)| baseline != label);
        let condition = Condition {
            label: named(label, width),
            parallel: width,
            drafts: should_draft(label, url),
            baseline: compared.map(|(baseline, _)| named(baseline, width)),
            url: Some(url.clone()),
            ..Condition::default()
        };
        (condition, Source::Url(url.clone()))
    };
    let of_width = |width: &u32| {
        servers
            .iter()
            .map(|server| condition(*width, server))
            .collect::<Vec<_>>()
    };
    Ok(widths.iter().flat_map(of_width).collect())
}

/// The model files with their checksums.
pub(super) fn files(inputs: &Inputs, args: &Args, pair: &Pair) -> Result<Vec<ModelFile>, Error> {
    let mut files = Vec::new();
    for (role, path) in [("target", &pair.target), ("drafter", &pair.drafter)] {
        let Some(path) = path.as_ref().filter(|_| args.servers.llama_server.is_some()) else {
            continue;
        };
        for part in Gguf::open(inputs, path)?.parts() {
            files.push(ModelFile {
                role: role.to_owned(),
                path: part.path.clone(),
                bytes: part.file_len(),
                sha256: hash::sum(part.bytes()?, &|_| ()).to_string(),
            });
        }
    }
    Ok(files)
}
