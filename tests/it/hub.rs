//! What travels from the Hub, and what does not: held to a server that speaks its paths.

use crate::common::home::Home;
use crate::common::hub::{COMMIT, FakeHub, etag};
use crate::common::*;
use gguf_conv::gguf::{Array, Value};
use std::path::{Path, PathBuf};

const ASSISTANT: &str = "google/mini-it-assistant";
const GGUF: &str = "ggml-org/mini-it-GGUF";
const TOKEN: &str = "hf_SecretSecretSecret";

struct Setting {
    hub: FakeHub,
    home: Home,
}

fn dense(name: &str) -> PathBuf {
    fixture("mini-dense").join(name)
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

impl Setting {
    fn new() -> Setting {
        let hub = FakeHub::new();
        let files = std::fs::read_dir(dense("drafter")).unwrap().map(|entry| {
            let path = entry.unwrap().path();
            (
                path.file_name().unwrap().to_str().unwrap().to_owned(),
                read(&path),
            )
        });
        hub.add(ASSISTANT, files);
        hub.add(ASSISTANT, [("pytorch_model.bin".to_owned(), vec![7; 5000])]);
        let ggufs = [
            ("mini-it-BF16.gguf".to_owned(), read(&dense("target-bf16.gguf"))),
            (
                "mtp-mini-it-Q8_0.gguf".to_owned(),
                read(&dense("drafter-q8_0.gguf")),
            ),
        ];
        hub.add(GGUF, ggufs);
        Setting {
            hub,
            home: Home::new(),
        }
    }

    fn program(&self) -> assert_cmd::Command {
        let mut program = self.home.program();
        program
            .env_remove("HF_HUB_OFFLINE")
            .env("HF_ENDPOINT", &self.hub.url);
        program
    }

    /// Runs the program, expects this code, and returns what it wrote. A token or a signature is never in there.
    #[track_caller]
    fn run(&self, code: i32, args: &[&str]) -> (String, String) {
        self.run_as(self.program(), code, args)
    }

    #[track_caller]
    fn run_as(&self, mut program: assert_cmd::Command, code: i32, args: &[&str]) -> (String, String) {
        let output = program.args(args).output().unwrap();
        let (out, err) = (
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        );
        assert_eq!(output.status.code(), Some(code), "{args:?}: {out}{err}");
        for secret in [TOKEN, "s3cret"] {
            assert!(!out.contains(secret) && !err.contains(secret), "{out}{err}");
        }
        (out, err)
    }

    /// One line of error with these words.
    #[track_caller]
    fn refuse(&self, code: i32, words: &[&str], args: &[&str]) {
        let (_, err) = self.run(code, args);
        assert_eq!(err.lines().count(), 1, "{err}");
        for word in words {
            assert!(err.contains(word), "{word:?} is not in: {err}");
        }
    }

    fn cache(&self, repository: &str) -> PathBuf {
        let folder = format!("hf/hub/models--{}", repository.replace('/', "--"));
        self.home.path(&folder)
    }

    /// The files under a folder that are no links, by their path in it.
    fn files(&self, folder: &Path) -> Vec<String> {
        let mut files = Vec::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(at) = folders.pop() {
            for entry in std::fs::read_dir(at).into_iter().flatten().flatten() {
                let path = entry.path();
                match entry.file_type().unwrap().is_dir() {
                    true => folders.push(path),
                    false => files.push(path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned()),
                }
            }
        }
        files.sort();
        files
    }
}

#[test]
fn a_checkpoint_is_fetched_into_the_cache_in_its_own_layout() {
    let it = Setting::new();
    let out = it.home.path("d.gguf");
    let args = [
        ASSISTANT,
        "--target",
        "hf:ggml-org/mini-it-GGUF:BF16",
        "--outtype",
        "q8_0",
        "-o",
        path_str(&out),
        "--download",
    ];
    let (_, err) = it.run(0, &args);
    assert!(err.contains("fetched google/mini-it-assistant"), "{err}");
    let cache = it.cache(ASSISTANT);
    assert_eq!(read(&cache.join("refs/main")), COMMIT.as_bytes());
    let snapshot = cache.join("snapshots").join(COMMIT);
    for entry in std::fs::read_dir(dense("drafter")).unwrap() {
        let source = entry.unwrap().path();
        let there = snapshot.join(source.file_name().unwrap());
        let bytes = read(&source);
        assert_eq!(read(&there), bytes);
        #[cfg(unix)]
        assert_eq!(
            there.read_link().unwrap(),
            Path::new("../../blobs").join(etag(&bytes))
        );
    }
    assert!(
        !snapshot.join("pytorch_model.bin").exists(),
        "only what is read travels"
    );
    let unfinished = |name: &String| name.contains("gguf-conv");
    assert!(!it.files(&cache).iter().any(unfinished));
    // Now it is here, and nothing is asked any more.
    it.hub.seen();
    it.run(0, &["inspect", ASSISTANT, "--download"]);
    assert!(it.hub.seen().is_empty());
}

#[test]
fn nothing_connects_without_being_asked_to() {
    let it = Setting::new();
    it.refuse(3, &["--download"], &["inspect", GGUF]);
    it.refuse(3, &["--download"], &["convert", ASSISTANT]);
    it.refuse(3, &["--download"], &["convert", "hf:google/mini-it-assistant"]);
    // What needs all of a file does not read it in parts.
    it.refuse(3, &["--download"], &["hash", "hf:ggml-org/mini-it-GGUF"]);
    it.refuse(
        3,
        &["--download"],
        &["inspect", "--stats", "hf:ggml-org/mini-it-GGUF"],
    );
    it.run(0, &["list"]);
    it.run(
        0,
        &["inspect", path_str(&dense("target-bf16.gguf")), "--download"],
    );
    let offline = |args: &[&str]| {
        let mut program = it.program();
        program.env("HF_HUB_OFFLINE", "1");
        let (_, err) = it.run_as(program, 3, args);
        assert!(err.contains("HF_HUB_OFFLINE"), "{err}");
    };
    offline(&["inspect", "hf:ggml-org/mini-it-GGUF"]);
    offline(&["inspect", GGUF, "--download"]);
    assert!(it.hub.seen().is_empty());
    assert!(it.files(&it.home.path("hf")).is_empty());
}

#[test]
fn a_cut_at_any_byte_is_taken_up() {
    let it = Setting::new();
    let len = read(&dense("target-bf16.gguf")).len();
    let cuts = [0, 1, 0, 17, len / 3, 0, 4096, len / 2, 1];
    it.hub.trouble().cuts = cuts.to_vec();
    it.run(0, &["hash", "hf:ggml-org/mini-it-GGUF:BF16", "--download"]);
    assert!(it.hub.trouble().cuts.is_empty(), "all cuts were made");
    let blob = it
        .cache(GGUF)
        .join("blobs")
        .join(sha256(&dense("target-bf16.gguf")));
    assert_eq!(sha256(&blob), sha256(&dense("target-bf16.gguf")));
    // Ranges that are read without a download go on too.
    let it = Setting::new();
    it.hub.trouble().cuts = vec![0, 5, 1000, 0];
    let (out, _) = it.run(0, &["inspect", "hf:ggml-org/mini-it-GGUF:BF16"]);
    assert!(out.contains("token_embd.weight"), "{out}");
}

#[test]
fn a_download_that_was_given_up_goes_on_in_the_next_run() {
    let it = Setting::new();
    // Longer than two pieces, so that whole ones are left of the first run.
    let bytes: Vec<u8> = (0..40 << 20)
        .map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    it.hub
        .add("a/large", [("model.safetensors".to_owned(), bytes.clone())]);
    let cache = it.cache("a/large");
    it.hub.trouble().cuts = vec![usize::MAX];
    it.hub.trouble().cut_always = Some(0);
    it.refuse(
        4,
        &["goes on where it stopped"],
        &["inspect", "a/large", "--download"],
    );
    let left = it.files(&cache);
    assert!(
        left.iter().all(|name| name.contains(".gguf-conv")),
        "nothing has its final name: {left:?}"
    );
    it.hub.trouble().cut_always = None;
    it.hub.sent();
    // It is no model, but it is there whole.
    it.run(3, &["inspect", "a/large", "--download"]);
    assert!(it.hub.sent() < (33 << 20), "what was whole does not travel again");
    let blob = cache.join("blobs").join(etag(&bytes));
    assert!(read(&blob) == bytes);
    // From a server that sends whole files only it comes whole.
    it.hub
        .add("a/whole", [("model.safetensors".to_owned(), bytes.clone())]);
    it.hub.trouble().no_ranges = true;
    it.hub.trouble().cuts = vec![usize::MAX, 1 << 20];
    it.run(3, &["inspect", "a/whole", "--download"]);
    assert!(read(&it.cache("a/whole").join("blobs").join(etag(&bytes))) == bytes);
}

#[test]
fn what_has_a_wrong_checksum_is_not_kept() {
    for wrong in ["large", "small"] {
        let it = Setting::new();
        let (bytes, name) = match wrong {
            "large" => (vec![1; 3000], "model.safetensors"),
            _ => (vec![1; 30], "model.safetensors"),
        };
        it.hub.add("a/b", [(name.to_owned(), bytes)]);
        it.hub.trouble().wrong_bytes = true;
        it.refuse(4, &["checksum", "removed"], &["inspect", "a/b", "--download"]);
        assert!(it.files(&it.cache("a/b")).is_empty());
        it.hub.trouble().wrong_bytes = false;
        it.hub.trouble().wrong_etag = true;
        if wrong == "large" {
            it.refuse(4, &["is not the one"], &["inspect", "a/b", "--download"]);
        }
    }
}

#[test]
fn what_the_hub_refuses_is_told_with_the_way_out() {
    let it = Setting::new();
    let args = ["inspect", "hf:ggml-org/mini-it-GGUF:BF16"];
    let with = |status: u16, headers: &[(&'static str, &str)], code: i32, words: &[&str]| {
        let headers = headers
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect();
        it.hub.trouble().status = Some((status, headers));
        it.refuse(code, words, &args);
        it.hub.trouble().status = None;
    };
    with(401, &[], 3, &["hf auth login", "HF_TOKEN"]);
    with(
        401,
        &[("X-Error-Code", "GatedRepo")],
        3,
        &["accept its terms", "ggml-org/mini-it-GGUF"],
    );
    with(403, &[("X-Error-Code", "GatedRepo")], 3, &["accept its terms"]);
    with(
        429,
        &[("Retry-After", "17")],
        4,
        &["too many requests", "17 s", "HF_TOKEN"],
    );
    with(503, &[], 4, &["503", "try again later"]);
    it.refuse(
        3,
        &["is not there, or not for everyone"],
        &["inspect", "hf:a/none"],
    );
    it.refuse(
        3,
        &["no revision v9"],
        &["inspect", "hf:ggml-org/mini-it-GGUF@v9"],
    );
    it.refuse(
        3,
        &["Q2_K", "mini-it-BF16.gguf"],
        &["inspect", "hf:ggml-org/mini-it-GGUF:Q2_K"],
    );
    it.refuse(
        3,
        &["--download"],
        &["inspect", "--stats", "hf:google/mini-it-assistant"],
    );
    let mut program = it.program();
    program.env("HF_ENDPOINT", "http://127.0.0.1:1");
    let (_, err) = it.run_as(program, 4, &args);
    assert!(
        err.contains("cannot be reached") && err.lines().count() == 1,
        "{err}"
    );
    let mut program = it.program();
    program.env("HF_ENDPOINT", "ftp://x");
    it.run_as(program, 3, &args);
}

#[test]
fn a_token_goes_to_the_hub_alone() {
    let it = Setting::new();
    std::fs::create_dir_all(it.home.path("hf")).unwrap();
    std::fs::write(it.home.path("hf/token"), format!("{TOKEN}\n")).unwrap();
    it.run(0, &["inspect", "hf:ggml-org/mini-it-GGUF:BF16"]);
    it.run(0, &["hash", "ggml-org/mini-it-GGUF", "--download"]);
    let seen = it.hub.seen();
    assert!(seen.iter().any(|seen| seen.elsewhere) && seen.iter().any(|seen| !seen.elsewhere));
    for seen in seen {
        let expected = (!seen.elsewhere).then(|| format!("Bearer {TOKEN}"));
        assert_eq!(seen.token, expected, "{}", seen.path);
    }
    let it = Setting::new();
    let mut program = it.program();
    program.env("HF_TOKEN", TOKEN);
    it.hub.trouble().status = Some((401, Vec::new()));
    let (_, err) = it.run_as(program, 3, &["inspect", "hf:ggml-org/mini-it-GGUF:BF16"]);
    assert!(err.contains("not accepted"), "{err}");
    // Where a redirect leads to a place that is none, nothing follows it.
    it.hub.trouble().status = None;
    for to in ["file:///etc/passwd", "ftp://a/b", "//elsewhere/x", "x"] {
        it.hub.trouble().redirect = Some(to.to_owned());
        it.refuse(3, &["redirects"], &["inspect", "hf:ggml-org/mini-it-GGUF:BF16"]);
    }
    it.hub.trouble().redirect = Some(format!("/{GGUF}/resolve/{COMMIT}/mini-it-BF16.gguf"));
    it.refuse(3, &["circle"], &["inspect", "hf:ggml-org/mini-it-GGUF:BF16"]);
}

#[test]
fn no_path_of_a_repository_leaves_its_folder() {
    for path in [
        "../evil.json",
        "/tmp/evil.json",
        "a/../../evil.json",
        "a\\..\\evil.json",
        "C:evil.json",
        "a//b.json",
        "x\n.json",
    ] {
        let it = Setting::new();
        it.hub.trouble().listed = Some(path.to_owned());
        it.refuse(3, &["outside its folder"], &["inspect", ASSISTANT, "--download"]);
        assert!(it.files(&it.home.path("hf")).is_empty());
    }
    #[cfg(unix)]
    {
        // A folder of the snapshot that someone has made a link to elsewhere.
        let it = Setting::new();
        it.hub
            .add("a/b", [("q/m.gguf".to_owned(), read(&dense("target-bf16.gguf")))]);
        let (snapshot, elsewhere) = (
            it.cache("a/b").join("snapshots").join(COMMIT),
            it.home.path("elsewhere"),
        );
        std::fs::create_dir_all(&snapshot).unwrap();
        std::fs::create_dir_all(&elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, snapshot.join("q")).unwrap();
        it.refuse(
            3,
            &["outside its folder"],
            &["inspect", "hf:a/b:q/m.gguf", "--download"],
        );
        assert!(it.files(&elsewhere).is_empty());
    }
}

#[test]
fn only_what_is_needed_travels() {
    let it = Setting::new();
    let target = "hf:ggml-org/mini-it-GGUF:BF16";
    let (drafter, local) = (dense("drafter-q8_0.gguf"), dense("target-bf16.gguf"));
    let size = local.metadata().unwrap().len();
    let travelled = |args: &[&str]| {
        it.hub.sent();
        let (out, err) = it.run(0, args);
        assert!(it.files(&it.home.path("hf")).is_empty(), "nothing is kept");
        (it.hub.sent(), out, err)
    };
    let (bytes, remote, _) = travelled(&["inspect", target]);
    assert!(bytes < size / 2, "{bytes} of {size}");
    let (_, here, _) = travelled(&["inspect", path_str(&local)]);
    let tensors = |text: &str| {
        text.lines()
            .filter(|line| line.contains(".weight"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(tensors(&remote), tensors(&here));
    let (bytes, _, err) = travelled(&["check", path_str(&drafter), "--target", target]);
    assert!(
        bytes < size / 2 && err.contains("not its numbers"),
        "{bytes} of {size}: {err}"
    );
    let (bytes, out, _) = travelled(&["diff", target, path_str(&local)]);
    assert!(
        bytes < size / 2 && out.contains("only headers"),
        "{bytes} of {size}: {out}"
    );
    let out = it.home.path("d.gguf");
    let checkpoint = dense("drafter");
    let args = [
        path_str(&checkpoint),
        "--target",
        target,
        "--outtype",
        "q8_0",
        "-o",
        path_str(&out),
    ];
    let (bytes, ..) = travelled(&args);
    assert!(bytes < size / 2, "{bytes} of {size}");
    assert_eq!(sha256(&out), sha256(&dense("drafter-q8_0.gguf")));
    it.hub.trouble().no_ranges = true;
    it.refuse(3, &["whole files only", "--download"], &["inspect", target]);
    // A download does without.
    it.run(0, &["inspect", target, "--download"]);
}

/// A checkpoint in two shards of 4 MB: config, index, and tensors that hold no zeros.
fn sharded(it: &Setting) -> PathBuf {
    const LEN: usize = 1 << 21;
    let folder = it.home.path("model");
    std::fs::create_dir_all(&folder).unwrap();
    let shard = |names: [&str; 2]| {
        let entry = |(at, name): (usize, &&str)| {
            let range = [at * LEN, (at + 1) * LEN];
            format!(r#""{name}":{{"dtype":"F32","shape":[512,1024],"data_offsets":{range:?}}}"#)
        };
        let header = names.iter().enumerate().map(entry).collect::<Vec<_>>().join(",");
        let header = format!("{{{header}}}");
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        let numbers = (0..2 * LEN / 4).flat_map(|n| (n as f32 + 1.0).to_le_bytes());
        bytes.extend(numbers);
        bytes
    };
    let shards = [["a.weight", "b.weight"], ["c.weight", "d.weight"]];
    let mut map = serde_json::Map::new();
    for (at, names) in shards.into_iter().enumerate() {
        let name = format!("model-{:05}-of-00002.safetensors", at + 1);
        std::fs::write(folder.join(&name), shard(names)).unwrap();
        for tensor in names {
            map.insert(tensor.to_owned(), name.clone().into());
        }
    }
    let index = serde_json::json!({ "weight_map": map }).to_string();
    std::fs::write(folder.join("model.safetensors.index.json"), index).unwrap();
    let config = r#"{"model_type": "other", "num_hidden_layers": 7, "hidden_size": 1024}"#;
    std::fs::write(folder.join("config.json"), config).unwrap();
    let files = it.files(&folder).into_iter();
    it.hub.add(
        "a/model",
        files.map(|name| (name.clone(), read(&folder.join(&name)))),
    );
    folder
}

#[test]
fn of_a_checkpoint_headers_travel_and_no_zeros_stand_for_the_rest() {
    let it = Setting::new();
    let folder = sharded(&it);
    let travelled = |code: i32, args: &[&str]| {
        it.hub.sent();
        let (out, err) = it.run(code, args);
        assert!(it.files(&it.home.path("hf")).is_empty(), "nothing is kept");
        let sent = it.hub.sent();
        // Of 8 MB the fronts of two files.
        assert!(sent < 200_000, "{args:?}: {sent}");
        (out, err)
    };
    let (_, told) = travelled(0, &["-v", "inspect", "hf:a/model"]);
    for words in [
        "hf:a/model is hf:a/model, read by ranges from the Hub",
        "read 65536 bytes of hf:a/model/model-00001-of-00002.safetensors, 64.00 KiB of 4.00 MiB",
        "of hf:a/model/config.json",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    let (remote, _) = travelled(0, &["inspect", "hf:a/model"]);
    let (here, _) = travelled(0, &["inspect", path_str(&folder)]);
    let lines = |text: &str| text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(lines(&remote), lines(&here));
    assert!(here.contains("d.weight") && here.contains("7 layers"), "{here}");
    // Numbers that are asked for are fetched.
    let asked = ["inspect", "--get", "d.weight[3..6]", "hf:a/model"];
    let first = (1 << 19) + 4;
    let numbers = format!("{first}\n{}\n{}\n", first + 1, first + 2);
    assert_eq!(travelled(0, &asked).0, numbers);
    // One shard by its name stands for all of them.
    let (shard, _) = travelled(0, &["inspect", "hf:a/model:model-00002-of-00002.safetensors"]);
    assert!(shard.contains("a.weight"), "{shard}");
    let (out, _) = travelled(0, &["diff", "hf:a/model", path_str(&folder)]);
    assert!(out.contains("only headers"), "{out}");
    // What needs all of it says so, and asks the server for nothing.
    for args in [
        &["hash", "hf:a/model"][..],
        &["inspect", "--stats", "hf:a/model"],
        &["convert", "hf:a/model", "-o", "x.gguf"],
    ] {
        it.hub.seen();
        it.refuse(3, &["hf:a/model", "--download"], args);
        assert!(it.hub.seen().is_empty(), "{args:?}");
    }
    it.hub.trouble().no_ranges = true;
    it.refuse(3, &["whole files only", "--download"], &["inspect", "hf:a/model"]);
}

#[test]
fn a_conversion_of_what_lies_on_the_hub_can_be_looked_at() {
    let it = Setting::new();
    let (name, folder) = (format!("hf:{ASSISTANT}"), dense("drafter"));
    let size = folder.join("model.safetensors").metadata().unwrap().len();
    let plan = |drafter: &str| {
        it.hub.sent();
        let (out, _) = it.run(0, &[drafter, "--dry-run", "--outtype", "q8_0"]);
        let tensors = out.lines().filter(|line| line.contains(" from "));
        (tensors.map(str::to_owned).collect::<Vec<_>>(), it.hub.sent())
    };
    let (remote, sent) = plan(&name);
    assert!(sent < size / 2, "{sent} of {size}");
    assert_eq!(remote, plan(path_str(&folder)).0);
    assert!(remote.len() > 20, "{remote:?}");
    assert!(it.files(&it.home.path("hf")).is_empty());
    let (out, _) = it.run(1, &["diff", &name, path_str(&dense("drafter-q8_0.gguf"))]);
    assert!(
        out.contains("only headers") && out.contains("general.name") && !out.contains("blk."),
        "{out}"
    );
}

#[test]
fn the_header_of_a_large_target_is_its_vocabulary() {
    let it = Setting::new();
    // As long as those of Gemma 4: 262144 tokens, 514906 merges.
    let tokens: Vec<String> = (0..262_144).map(|n| format!("{n:07}")).collect();
    let tokens: Vec<&str> = tokens.iter().map(String::as_str).collect();
    let mut meta = target_metadata(64, [32, 64], 1, &tokens);
    let merges: Vec<String> = (0..514_906).map(|n| format!("{n:06} abc")).collect();
    meta.set(
        "tokenizer.ggml.scores",
        Value::Array(Array::F32(vec![-1000.0; 262_144])),
    );
    meta.set(
        "tokenizer.ggml.token_type",
        Value::Array(Array::I32(vec![1; 262_144])),
    );
    meta.set(
        "tokenizer.ggml.merges",
        Value::Array(Array::String(merges.iter().collect())),
    );
    let path = it.home.path("big.gguf");
    let data = vec![0; 64 << 20];
    write_gguf(
        &path,
        &meta,
        &[(
            "token_embd.weight",
            &[64, 262_144],
            gguf_conv::quant::GgmlType::F32,
            data,
        )],
    );
    it.hub
        .add("big/target-GGUF", [("big.gguf".to_owned(), read(&path))]);
    let (out, _) = it.run(0, &["inspect", "hf:big/target-GGUF"]);
    assert!(out.contains("token_embd.weight"), "{out}");
    let sent = it.hub.sent();
    assert!((14_000_000..16_000_000).contains(&sent), "{sent}");
    // Of a tensor of 64 MB no more than what is asked for.
    let asked = [
        "inspect",
        "--get",
        "token_embd.weight[4000000..4000004]",
        "hf:big/target-GGUF",
    ];
    assert_eq!(it.run(0, &asked).0, "0\n0\n0\n0\n");
    let sent = it.hub.sent();
    assert!((14_000_000..16_000_000).contains(&sent), "{sent}");
}
