//! `bench` against simulated servers of known speed, faults of servers, and the numbers of published reports.

use crate::common::server::{Noise, Simulated, Speed};
use crate::common::{fixture, path_str, program, refuse, result, succeed};
use gguf_conv::bench::Interrupt;
use gguf_conv::bench::analysis::{Analysis, Decision, Guards, analyse};
use gguf_conv::bench::client::Manner;
use gguf_conv::bench::record::{Call, Condition, Header, Run};
use gguf_conv::bench::run::{Event, Plan, Source, run};
use gguf_conv::bench::stats::Ratio;
use gguf_conv::bench::verdict;
use gguf_conv::io::Inputs;
use gguf_conv::prompts;
use serde_json::{Value, json};
use std::time::Duration;

pub fn condition(label: &str, n_max: u32, baseline: Option<&str>) -> Condition {
    Condition {
        label: label.to_owned(),
        n_max: Some(n_max),
        parallel: 1,
        drafts: n_max > 0,
        baseline: baseline.map(str::to_owned),
        ..Condition::default()
    }
}

pub fn plan(servers: Vec<(Condition, &Simulated)>, seed: u64) -> Plan {
    Plan {
        conditions: servers
            .into_iter()
            .map(|(condition, server)| (condition, Source::Url(server.url.clone())))
            .collect(),
        kinds: prompts::built_in(64),
        contexts: Vec::new(),
        thinking: false,
        calls: 200,
        warmup: 1,
        predict: 64,
        seed,
        blocks: 0,
        or_blocks: None,
        manner: Manner {
            timeout: Duration::from_secs(300),
            chat: true,
            model: None,
        },
        files: Vec::new(),
    }
}

/// Measures two servers whose speeds have this ratio, with 5 % of noise and prompts of different speed.
fn experiment(ratio: f64, seed: u64) -> Analysis {
    let server = |speed: f64, seed: u64| {
        let mut noise = Noise::new(seed);
        Simulated::llama_with(false, move |request| {
            let easy = request["prompt"].as_str().map_or(0, str::len) % 7;
            Speed::plain(speed * (1.0 + easy as f64 / 5.0) * (0.05 * noise.draw()).exp())
        })
    };
    let (off, on) = (server(30.0, 2 * seed), server(30.0 * ratio, 2 * seed + 1));
    let silent = Condition {
        drafts: false,
        ..condition("on", 3, Some("off"))
    };
    let conditions = vec![(condition("off", 0, None), &off), (silent, &on)];
    let run = run(plan(conditions, seed), None, &Interrupt::default(), &mut |_| {
        Ok(())
    })
    .expect("it runs");
    analyse(&run, &Guards::default())
}

#[test]
fn intervals_cover_the_truth_and_five_percent_are_decided() {
    // Calls wait for each other's answers more than they compute, so that many experiments run at once.
    let all = |ratio: f64, first: u64| -> Vec<(Decision, Ratio)> {
        let of = |seed: u64| {
            let overall = &experiment(ratio, first + seed).conditions[1].overall;
            (
                overall.decision,
                overall.against_baseline.expect("there is a ratio"),
            )
        };
        std::thread::scope(|scope| {
            let part =
                |worker: u64| scope.spawn(move || (worker..100).step_by(20).map(of).collect::<Vec<_>>());
            let workers: Vec<_> = (0..20).map(part).collect();
            workers
                .into_iter()
                .flat_map(|worker| worker.join().expect("no worker panics"))
                .collect()
        })
    };
    let count = |all: &[(Decision, Ratio)], is: &dyn Fn(&(Decision, Ratio)) -> bool| {
        assert_eq!(all.len(), 100);
        all.iter().filter(|one| is(one)).count()
    };
    let five = all(1.05, 0);
    let covered = count(&five, &|(_, ratio)| ratio.low <= 1.05 && 1.05 <= ratio.high);
    let decided = count(&five, &|(decision, _)| *decision == Decision::Pays);
    let nothing = count(&all(1.0, 1000), &|(decision, _)| {
        *decision == Decision::NoDifference
    });
    assert!(covered >= 93, "{covered} of 100 intervals hold the true ratio");
    assert!(decided >= 93, "{decided} of 100 decide 5 %");
    assert!(nothing >= 93, "{nothing} of 100 call no difference nothing");
}

#[test]
fn the_smallest_effect_is_told_beside_every_verdict() {
    let analysis = experiment(1.05, 3);
    let sentences = verdict::sentences(&analysis).join("\n");
    let effect = analysis.conditions[1]
        .overall
        .against_baseline
        .expect("a ratio")
        .smallest_effect;
    // 3 standard errors of the ratio of medians of 216 calls with 5 % of noise: 3 · 1.25 · 0.05 · √(2 / 216).
    assert!((0.012..0.022).contains(&effect), "{effect}");
    assert!(sentences.contains(&verdict::percent(effect)), "{sentences}");
}

#[test]
fn noise_and_drift_leave_it_undecided_and_say_what_to_do() {
    let noisy = |sigma: f64, slope: f64| {
        let server = |seed: u64| {
            let (mut noise, mut calls) = (Noise::new(seed), 0);
            Simulated::llama(move |_| {
                calls += 1;
                Speed::plain(30.0 * (1.0 - slope * f64::from(calls)) * (sigma * noise.draw()).exp())
            })
        };
        let (off, on) = (server(1), server(2));
        let conditions = vec![
            (condition("off", 0, None), &off),
            (
                Condition {
                    drafts: false,
                    ..condition("on", 3, Some("off"))
                },
                &on,
            ),
        ];
        let run = run(plan(conditions, 1), None, &Interrupt::default(), &mut |_| Ok(())).expect("it runs");
        verdict::sentences(&analyse(&run, &Guards::default())).join("\n")
    };
    let text = noisy(0.2, 0.0);
    assert!(
        text.contains("best n-max: not decided") && text.contains("--max-variation"),
        "{text}"
    );
    let text = noisy(0.01, 0.0005);
    assert!(
        text.contains("not decided") && text.contains("changed by") && text.contains("--warmup"),
        "{text}"
    );
    let text = noisy(0.01, 0.0);
    assert!(!text.contains("not decided"), "{text}");
}

/// Runs bench on servers of the loopback interface.
fn bench(servers: &[(&str, &Simulated)], args: &[&str]) -> std::process::Output {
    let mut command = program();
    command.arg("bench");
    for (label, server) in servers {
        command.args(["--url", &format!("{label}={}", server.url)]);
    }
    command.args("--calls 24 --warmup 1 --predict 32 --context 0 --seed 3".split(' '));
    command.args(args).output().expect("the program starts")
}

/// Arguments of a benchmark of mini-dense on a server that is started for it, and further ones, word by word. The server has
/// one thread: several wait for each other by spinning, which takes minutes where other work fills the processors.
fn launched(server: &str, words: &str) -> Vec<String> {
    let (target, drafter) = (
        fixture("mini-dense/target-bf16.gguf"),
        fixture("mini-dense/drafter-q8_0.gguf"),
    );
    let (words, server_args) = words.split_once(" -- ").unwrap_or((words, ""));
    let words = format!("{words} -- --threads 1 {server_args}");
    let first = ["bench", "--llama-server", server];
    let pair = ["--target", path_str(&target), "--drafter", path_str(&drafter)];
    let words = words.split_whitespace();
    first
        .into_iter()
        .chain(pair)
        .chain(words)
        .map(str::to_owned)
        .collect()
}

fn strs(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}

fn stdout(output: &std::process::Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("output is UTF-8")
}

#[test]
fn a_server_that_should_draft_and_does_not_is_found_before_anything_is_measured() {
    // As llama.cpp b11434 answers where --spec-type is missing: no draft_n, counters at 0.
    let off = Simulated::llama(|_| Speed::plain(30.0));
    let on = Simulated::llama(|_| Speed::plain(30.0));
    let output = bench(&[("off", &off), ("on", &on)], &["--expect-drafting", "on"]);
    assert_eq!(output.status.code(), Some(1));
    let text = stdout(&output);
    assert!(
        text.contains("on: drafting was asked for and nothing was drafted"),
        "{text}"
    );
    assert!(text.contains("--spec-type draft-mtp"), "{text}");
}

#[test]
fn a_run_that_was_interrupted_goes_on_where_it_stopped() {
    let folder = tempfile::tempdir().expect("a folder");
    let jsonl = folder.path().join("run.jsonl");
    let calls = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let server = |limit: usize| {
        let calls = calls.clone();
        Simulated::llama(move |_| {
            let made = calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            assert!(made < limit, "the server dies");
            Speed::plain(30.0 + (made % 5) as f64 / 10.0)
        })
    };
    let first = server(20);
    let output = bench(&[("a", &first)], &["--jsonl", path_str(&jsonl)]);
    assert_eq!(
        output.status.code(),
        Some(4),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    // A line that was cut off in the middle.
    let mut text = std::fs::read_to_string(&jsonl).expect("the calls are kept");
    text.push_str("{\"record\":\"call\",\"cond");
    std::fs::write(&jsonl, text).expect("written");
    let second = server(usize::MAX);
    let output = bench(
        &[("a", &second)],
        &["--jsonl", path_str(&jsonl), "--resume", "--json"],
    );
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let run = Run::read(&Inputs::new(), &jsonl).expect("the file is whole");
    let counted: Vec<&Call> = run
        .calls
        .iter()
        .filter(|call| !call.warmup && call.error.is_none())
        .collect();
    let mut places: Vec<usize> = counted.iter().map(|call| call.seq).collect();
    places.sort_unstable();
    assert_eq!(places, (0..24).collect::<Vec<_>>());
    // The server was asked for the missing calls only: 20, a probe and a warm-up, and the rest.
    assert!(calls.load(std::sync::atomic::Ordering::Relaxed) < 35);

    let refused = bench(
        &[("a", &second)],
        &["--jsonl", path_str(&jsonl), "--resume", "--warmup", "7"],
    );
    assert_eq!(refused.status.code(), Some(2));
    let refused = bench(&[("a", &second)], &["--jsonl", path_str(&jsonl)]);
    assert_eq!(refused.status.code(), Some(2), "the file is not replaced");
}

#[test]
fn servers_that_are_none_are_told_in_one_line_with_the_way_out() {
    let html = Simulated::new(|_| Some((200, "text/html", "<html>Welcome</html>".to_owned())));
    let gateway = Simulated::new(|_| Some((502, "text/html", "<html>Bad Gateway</html>".to_owned())));
    let closing = Simulated::new(|_| None);
    let too_long = Simulated::llama_that_answers(
        400,
        json!({ "error": {
        "message": "request (5000 tokens) exceeds the available context size (4096 tokens)" } }),
    );
    let broken = Simulated::llama_that_answers(200, json!({ "content": "a", "stop": false }));
    for (server, code, words) in [
        (&html, 3, ["HTML", "a proxy or another program"]),
        (&gateway, 3, ["502", "proxy"]),
        (&closing, 4, ["broke off", "log"]),
        (&too_long, 3, ["longer than the context", "--context"]),
        (&broken, 4, ["ended before", "log"]),
    ] {
        refuse(
            code,
            &words,
            &["bench", "--url", &server.url, "--calls", "6", "--context", "0"],
        );
    }
    refuse(
        4,
        &["cannot be reached", "start the server"],
        &["bench", "--url", "http://127.0.0.1:9"],
    );
    refuse(
        2,
        &["only http", "tunnel"],
        &["bench", "--url", "https://127.0.0.1:9"],
    );
    refuse(2, &["is no address"], &["bench", "--url", "localhost:8080"]);
    let server = Simulated::llama(|_| Speed::plain(30.0));
    refuse(
        2,
        &["--expect-drafting other", "label"],
        &["bench", "--url", &server.url, "--expect-drafting", "other"],
    );
    refuse(
        2,
        &["no kind of prompts", "translation"],
        &["bench", "--url", &server.url, "--kinds", "poems"],
    );
}

#[test]
fn a_server_that_hangs_is_given_up() {
    let server = Simulated::llama(|_| {
        std::thread::sleep(Duration::from_secs(30));
        Speed::plain(1.0)
    });
    refuse(
        4,
        &["within 1 s", "--timeout"],
        &["bench", "--url", &server.url, "--timeout", "1", "--context", "0"],
    );
}

#[test]
fn a_server_without_metrics_still_tells_what_it_drafted() {
    let mut inner = 0_u64;
    let on = Simulated::new(move |request| {
        let text = |value: Value| value.to_string();
        match request.path.as_str() {
            "/props" => Some((
                200,
                "application/json",
                text(json!({ "default_generation_settings": {} })),
            )),
            "/completion" => {
                inner += 1;
                let timings = json!({ "prompt_n": 4, "prompt_ms": 1.0, "predicted_n": 32,
                    "predicted_ms": 1000.0 + (inner % 3) as f64, "draft_n": 30, "draft_n_accepted": 20 });
                let event = json!({ "content": "a", "stop": true, "timings": timings });
                Some((200, "text/event-stream", format!("data: {event}\n\n")))
            }
            _ => Some((
                501,
                "application/json",
                text(json!({ "error": { "message": "not supported" } })),
            )),
        }
    });
    let output = bench(&[("on", &on)], &["--expect-drafting", "on", "--json"]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let report: Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    let text = report.to_string();
    assert!(
        text.contains("\"mean_length\":2.66"),
        "32 tokens in 12 passes: {text}"
    );
}

#[test]
fn servers_of_openais_interface_are_timed_by_the_clock() {
    let server = Simulated::new(|request| {
        let text = |value: Value| value.to_string();
        match request.path.as_str() {
            "/v1/models" => Some((
                200,
                "application/json",
                text(json!({ "data": [{ "id": "gemma" }] })),
            )),
            "/v1/chat/completions" => {
                assert_eq!(request.body["model"], "gemma");
                assert_eq!(request.body["temperature"], 0);
                let piece = json!({ "choices": [{ "delta": { "content": "a" } }] });
                let usage =
                    json!({ "choices": [], "usage": { "prompt_tokens": 9, "completion_tokens": 32 } });
                Some((
                    200,
                    "text/event-stream",
                    format!("data: {piece}\n\n: ping\n\ndata: {piece}\n\ndata: {usage}\n\ndata: [DONE]\n\n"),
                ))
            }
            _ => Some((404, "text/plain", "no".to_owned())),
        }
    });
    let folder = tempfile::tempdir().expect("a folder");
    let jsonl = folder.path().join("run.jsonl");
    let output = bench(
        &[("a", &server)],
        &["--jsonl", path_str(&jsonl), "--max-variation", "1000"],
    );
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let run = Run::read(&Inputs::new(), &jsonl).expect("a run");
    assert_eq!(run.header.conditions[0].server, "openai");
    assert!(
        run.calls
            .iter()
            .all(|call| call.eval_count == 32 && call.drafted.is_none())
    );
    refuse(
        2,
        &["no model \"other\"", "gemma"],
        &["bench", "--url", &server.url, "--model", "other"],
    );
}

#[test]
fn ollama_is_read_from_recorded_answers_of_its_documented_interface() {
    let server = Simulated::new(|request| {
        let json = |value: Value| Some((200, "application/json", value.to_string()));
        match request.path.as_str() {
            "/api/version" => json(json!({ "version": "0.24.0" })),
            "/api/show" if request.body["model"] == "gemma4:e4b" => {
                json(json!({ "modelfile": "FROM x", "capabilities": ["completion"] }))
            }
            "/api/generate" => {
                let drafting = request.body["options"]["draft_num_predict"]
                    .as_u64()
                    .expect("sent with each call")
                    > 0;
                let duration = if drafting {
                    2_600_000_000_u64
                } else {
                    2_580_000_000
                };
                let piece = json!({ "model": "gemma4:e4b", "response": "Once", "done": false });
                let last = json!({ "model": "gemma4:e4b", "response": "", "done": true, "done_reason": "length",
                    "total_duration": 2_900_000_000_u64, "load_duration": 4_000_000, "prompt_eval_count": 26,
                    "prompt_eval_duration": 130_079_000, "eval_count": 80, "eval_duration": duration });
                Some((200, "application/x-ndjson", format!("{piece}\n{last}\n")))
            }
            _ => Some((
                404,
                "application/json",
                json!({ "error": "model 'other' not found" }).to_string(),
            )),
        }
    });
    let words = format!(
        "bench --ollama {} --model gemma4:e4b --calls 24 --context 0 --seed 1",
        server.url
    );
    let (text, _) = succeed(&words.split(' ').collect::<Vec<_>>());
    assert!(text.contains("n-max 4: costs 0.8 %"), "{text}");
    assert!(text.contains("Ollama does not tell what was accepted"), "{text}");
    refuse(
        3,
        &["404", "not found", "--model"],
        &["bench", "--ollama", &server.url, "--model", "other"],
    );
    refuse(2, &["--model gemma4:e4b"], &["bench", "--ollama", &server.url]);
}

// What four published reports measured must come out as what they found. None of them publishes its calls: these are made
// up around the medians or ratios that it tells, and each test's name says from which.

/// A run of conditions with these median speeds; its 20 calls each, 2 % from the slowest to the fastest, are made up.
fn reported(conditions: &[(Condition, &str, f64)]) -> Run {
    let mut header = Header::default();
    let mut calls = Vec::new();
    for (condition, kind, speed) in conditions {
        if !header.conditions.iter().any(|c| c.label == condition.label) {
            header.conditions.push(condition.clone());
        }
        for i in 0..20_i32 {
            let seq = calls.len();
            let speed = speed * (1.0 + f64::from(i - 10) / 1000.0);
            calls.push(Call {
                condition: condition.label.clone(),
                kind: (*kind).to_owned(),
                seq,
                group: seq,
                eval_count: 192,
                eval_duration: (192.0 / speed * 1e9) as u64,
                wall_ns: (200.0 / speed * 1e9) as u64,
                ..Call::default()
            });
        }
    }
    Run { header, calls }
}

fn findings(run: &Run) -> String {
    verdict::sentences(&analyse(run, &Guards::default())).join("\n")
}

#[test]
fn report_1_from_its_medians_shows_no_effect_on_ollama_and_why() {
    // alphaonedev/ai-memory-mcp, docs of v0.7.0, mtp-bench-2026-05-17: gemma4:e4b on an M4, 80 tokens, 31 tokens/s and
    // a median of 2.9 s with and without OLLAMA_MLX_MTP_MAX_DRAFT_TOKENS=4. Its JSONL has these three fields; these lines
    // are made up around its medians.
    let folder = tempfile::tempdir().expect("a folder");
    let log = |name: &str, shift: u64| {
        let lines = (0..20_u64).map(|i| {
            let wobble = (i * 7 + shift) % 20 * 2_000_000;
            let (wall, eval) = (2_900_000_000 + wobble, 2_580_000_000 + wobble);
            json!({ "wall_ns": wall, "eval_count": 80, "eval_duration": eval }).to_string() + "\n"
        });
        let path = folder.path().join(name);
        std::fs::write(&path, lines.collect::<String>()).expect("written");
        path
    };
    let (off, on) = (log("mtp-off.jsonl", 0), log("mtp-on.jsonl", 3));
    let args = [
        "bench",
        "--compare",
        path_str(&off),
        path_str(&on),
        "--expect-drafting",
        "mtp-on",
    ];
    let (text, _) = succeed(&args);
    for words in [
        "mtp-on: no difference",
        "1.00×",
        "environment variable",
        "DRAFT ./drafter.gguf",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn report_2_from_a_ratio_pays_at_one_slot_and_costs_at_four() {
    // megamote.com, "Gemma 4 MTP on a 4090" of 2026-06-07: 1.85 times at one slot, slower than without at --parallel 4. The
    // ratio of one slot is the report's; all speeds are made up, and so is the size of the loss, which it does not tell.
    let at = |n: u32, parallel: u32| Condition {
        parallel,
        ..condition(
            &format!("n-max {n}, parallel {parallel}"),
            n,
            (n > 0)
                .then(|| format!("n-max 0, parallel {parallel}"))
                .as_deref(),
        )
    };
    let text = findings(&reported(&[
        (at(0, 1), "chat", 100.0),
        (at(3, 1), "chat", 185.0),
        (at(0, 4), "chat", 70.0),
        (at(3, 4), "chat", 55.0),
    ]));
    for words in [
        "parallel trap: n-max 3 pays for one call at a time, 1.85×",
        "costs 21 % with 4 calls",
        "best n-max with 4 calls at the same time: 0",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn servers_of_an_address_have_their_traps_too() {
    let at = |label: &str, parallel: u32| Condition {
        label: format!("{label}, parallel {parallel}"),
        parallel,
        drafts: label == "on",
        baseline: (label == "on").then(|| format!("off, parallel {parallel}")),
        url: Some(format!("http://{label}")),
        ..Condition::default()
    };
    let text = findings(&reported(&[
        (at("off", 1), "chat", 100.0),
        (at("on", 1), "chat", 140.0),
        (at("off", 4), "chat", 70.0),
        (at("on", 4), "chat", 60.0),
    ]));
    assert!(
        text.contains("parallel trap: on, parallel 1 pays for one call at a time, 1.40×"),
        "{text}"
    );
}

#[test]
fn as_many_calls_at_the_same_time_as_the_servers_answer_are_conditions_of_their_own() {
    let (off, on) = (
        Simulated::llama(|_| Speed::plain(30.0)),
        Simulated::llama(|_| Speed::plain(36.0)),
    );
    let output = bench(&[("off", &off), ("on", &on)], &["--parallel", "1,4", "--json"]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let result = result(&stdout(&output));
    let conditions = result["conditions"].as_array().expect("conditions");
    let told: Vec<(&str, &Value, u64)> = conditions
        .iter()
        .map(|c| {
            (
                c["label"].as_str().expect("a label"),
                &c["baseline"],
                c["parallel"].as_u64().expect("a number"),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("off, parallel 1", &Value::Null, 1),
            ("on, parallel 1", &json!("off, parallel 1"), 1),
            ("off, parallel 4", &Value::Null, 4),
            ("on, parallel 4", &json!("off, parallel 4"), 4),
        ]
    );
    let more = ["bench", "--url", &off.url, "--parallel", "1,8"];
    refuse(
        2,
        &[
            "answers 4 at the same time",
            "of 8 calls some would wait",
            "--parallel 8",
        ],
        &more,
    );
}

#[test]
fn one_call_decides_nothing() {
    let (off, on) = (
        Simulated::llama(|_| Speed::plain(30.0)),
        Simulated::llama(|_| Speed::plain(60.0)),
    );
    let output = bench(&[("off", &off), ("on", &on)], &["--kinds", "code", "--json"]);
    let enough = result(&stdout(&output));
    assert_eq!(enough["conditions"][1]["overall"]["decision"], "pays");
    let mut command = program();
    command.arg("bench");
    for server in [format!("off={}", off.url), format!("on={}", on.url)] {
        command.args(["--url", &server]);
    }
    let output = command
        .args("--calls 1 --kinds code --context 0 --json".split(' '))
        .output();
    let one = result(&stdout(&output.expect("the program starts")));
    assert_eq!(
        one["conditions"][1]["overall"]["decision"], "not_decided",
        "{one}"
    );
    assert!(
        one["verdict"].to_string().contains("make more with --calls"),
        "{one}"
    );
}

#[test]
fn report_3_from_its_speeds_pays_for_long_contexts_at_8_bit() {
    // SharpAI/SwiftLM, pull request 109: gemma-4-26b-a4b-it-8bit on an M5 Pro, tokens/s without and with a drafter.
    let off = || condition("off", 0, None);
    let on = || condition("on", 2, Some("off"));
    // These six speeds are the report's.
    let text = findings(&reported(&[
        (off(), "context 512", 53.7),
        (off(), "context 40K", 32.4),
        (off(), "context 100K", 14.9),
        (on(), "context 512", 47.1),
        (on(), "context 40K", 38.8),
        (on(), "context 100K", 22.5),
    ]));
    for words in [
        "pays for context 40K, 1.20×",
        "pays for context 100K, 1.51×",
        "costs 12 % for context 512",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    // Of 4 bit it says that there is no difference, without speeds: these are made up.
    let text = findings(&reported(&[
        (off(), "context 40K", 50.0),
        (on(), "context 40K", 50.0),
    ]));
    assert!(text.contains("no difference for context 40K"), "{text}");
}

#[test]
fn report_4_from_its_ratios_gains_and_loses_by_model() {
    // lilting.ch, "Gemma 4 MTP drafter on M1 Max 64GB": code at block size 4. The ratios are the report's, the speeds are
    // made up.
    for (model, ratio, words) in [
        ("E4B", 0.61, "costs 39 % for code"),
        ("26B-A4B", 1.13, "pays for code, 1.13×"),
        ("31B", 0.94, "costs 6.0 % for code"),
    ] {
        let text = findings(&reported(&[
            (condition("off", 0, None), "code", 50.0),
            (condition("on", 3, Some("off")), "code", 50.0 * ratio),
        ]));
        assert!(text.contains(words), "{model}: {text}");
    }
}

// A real llama.cpp server.

/// The program named by GGUF_CONV_LLAMA_SERVER, or the stand-in where the wheel is installed; else the test says that it
/// does nothing.
pub fn llama_server() -> Option<String> {
    if let Ok(program) = std::env::var("GGUF_CONV_LLAMA_SERVER") {
        return Some(program);
    }
    let has_wheel = std::process::Command::new("python3")
        .args(["-c", "import xllamacpp"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !has_wheel {
        eprintln!("skipped: no llama-server; pip install xllamacpp, or set GGUF_CONV_LLAMA_SERVER");
        return None;
    }
    Some(path_str(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/llama_server.py")).to_owned())
}

/// Python code that mini-dense was trained on the like of.
const CODE: &str = "import os\nimport sys\n\ndef read_file(path):\n    \"\"\"Return the lines of a file, without the empty ones.\"\"\"\n    with open(path) as file:\n        lines = [line.strip() for line in file]\n    return [line for line in lines if line]\n\n\nclass Config:\n    \"\"\"Settings of a program, read from a file and from the environment.\"\"\"\n\n    def __init__(self, name, values=None):\n        self.name = name\n        self.values = values or {}\n\n    def update(self, other):\n        for key in sorted(other):\n            if key not in self.values:\n                raise KeyError(key)\n";

#[test]
fn a_real_server_accepts_what_verify_says_and_ends_with_the_run() {
    let Some(server) = llama_server() else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let (prompt, jsonl) = (folder.path().join("code.txt"), folder.path().join("run.jsonl"));
    std::fs::write(&prompt, CODE).expect("written");
    let words = "--n-max 0,3 --calls 4 --warmup 1 --predict 128 --raw --seed 1 --json";
    let files = format!("--prompts {} --jsonl {}", path_str(&prompt), path_str(&jsonl));
    let (report, _) = succeed(&strs(&launched(&server, &format!("{words} {files}"))));
    let ours = positions(&serde_json::from_str(&report).expect("JSON"));

    let (target, drafter) = (
        fixture("mini-dense/target-bf16.gguf"),
        fixture("mini-dense/drafter-q8_0.gguf"),
    );
    let verify = [
        "verify",
        path_str(&drafter),
        "--target",
        path_str(&target),
        "--generate",
        "128",
        "--prompt-file",
        path_str(&prompt),
        "--json",
    ];
    let (report, _) = succeed(&verify);
    let theirs = positions(&serde_json::from_str(&report).expect("JSON"));
    assert_eq!(ours.len(), 3, "{ours:?}");
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert!((ours - theirs).abs() < 0.05, "{ours} against {theirs} of verify");
    }
    assert!(
        folder.path().join("run.n-max-3.log").is_file(),
        "the log lies beside the results"
    );
    let run = Run::read(&Inputs::new(), &jsonl).expect("a run");
    for condition in &run.header.conditions {
        let at = condition
            .command
            .iter()
            .position(|arg| arg == "--model")
            .expect("the command is kept");
        assert_eq!(condition.command[at + 1], path_str(&target));
        assert!(condition.props["default_generation_settings"].is_object());
    }
    assert_eq!(run.header.files.len(), 2);

    // Without --spec-type one version of llama.cpp drafts nothing and another aborts: both are told with the cause.
    let args = launched(
        &server,
        "--n-max 0,3 --calls 4 --raw --spec-type none --kinds code",
    );
    let output = program().args(&args).output().expect("the program starts");
    assert!(matches!(output.status.code(), Some(1 | 4)), "{output:?}");
    let told = stdout(&output) + &String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("without --spec-type draft-mtp"), "{told}");
}

/// Shares of drafts accepted up to each place, of the last report in a document.
fn positions(document: &Value) -> Vec<f64> {
    fn find(value: &Value, found: &mut Vec<f64>) {
        match value {
            Value::Object(map) => {
                if let Some(places) = map
                    .get("by_position")
                    .and_then(Value::as_array)
                    .filter(|p| !p.is_empty())
                {
                    *found = places.iter().filter_map(|place| place["rate"].as_f64()).collect();
                }
                map.values().for_each(|value| find(value, found));
            }
            Value::Array(list) => list.iter().for_each(|value| find(value, found)),
            _ => (),
        }
    }
    let mut found = Vec::new();
    find(document, &mut found);
    found
}

#[test]
fn a_server_that_cannot_start_is_told_with_what_it_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("server");
    std::fs::write(
        &script,
        "#!/bin/sh\necho 'error: failed to load the model' >&2\nexit 3\n",
    )
    .expect("written");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).expect("made executable");
    }
    let jsonl = folder.path().join("run.jsonl");
    let jsonl = format!("--force --jsonl {}", path_str(&jsonl));
    refuse(
        4,
        &[
            "n-max 0",
            "exit code 3",
            "failed to load the model",
            "run.n-max-0.log",
        ],
        &strs(&launched(path_str(&script), &jsonl)),
    );
    let args = launched("/nowhere/llama-server", &jsonl);
    refuse(2, &["cannot be started", "path of llama-server"], &strs(&args));
    let args = launched("/nowhere/llama-server", &format!("{jsonl} -- --port 8080"));
    refuse(2, &["--port is chosen here"], &strs(&args));
}

#[test]
fn events_are_told_in_order() {
    let server = Simulated::llama(|_| Speed::plain(30.0));
    let mut told = Vec::new();
    let mut plan = plan(vec![(condition("off", 0, None), &server)], 1);
    plan.calls = 12;
    run(plan, None, &Interrupt::default(), &mut |event| {
        told.push(match event {
            Event::Begin(_) => "begin".to_owned(),
            Event::Calls(count) => format!("calls {count}"),
            Event::Made(calls) => calls
                .iter()
                .map(|call| if call.warmup { 'w' } else { 'c' })
                .collect(),
            Event::Note(note) => note,
        });
        Ok(())
    })
    .expect("it runs");
    assert_eq!(told.join(" "), "begin w calls 12 w c c c c c c c c c c c c");
}

/// A program for `--llama-server`.
#[cfg(unix)]
fn script(folder: &std::path::Path, text: &str) -> String {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.join("server.sh");
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("made executable");
    path_str(&path).to_owned()
}

#[cfg(unix)]
#[test]
fn a_signal_ends_the_server_with_all_that_it_started() {
    let folder = tempfile::tempdir().expect("a folder");
    let pids = folder.path().join("pids");
    let server = script(
        folder.path(),
        &format!(
            "sleep 600 &\necho $! $$ > {}.new\nmv {0}.new {0}\nwait",
            path_str(&pids)
        ),
    );
    let jsonl = folder.path().join("run.jsonl");
    let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin("gguf-conv"))
        .args(launched(&server, &format!("--jsonl {}", path_str(&jsonl))))
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the program starts");
    let wait = |what: &str, done: &mut dyn FnMut() -> bool| {
        let start = std::time::Instant::now();
        while !done() {
            assert!(start.elapsed() < Duration::from_secs(300), "{what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    wait("the server starts", &mut || pids.exists());
    let started = std::fs::read_to_string(&pids).expect("its processes are told");
    let kill = std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(kill.is_ok_and(|status| status.success()));
    let mut status = None;
    wait("the program ends", &mut || {
        status = child.try_wait().expect("its status");
        status.is_some()
    });
    assert_eq!(status.and_then(|status| status.code()), Some(4));
    let mut told = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().expect("piped"), &mut told).expect("UTF-8");
    assert!(told.contains("--resume"), "{told}");
    for pid in started.split_whitespace() {
        wait("its processes end", &mut || {
            let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            state.is_empty() || state.contains(") Z")
        });
    }
}

#[cfg(unix)]
#[test]
fn a_real_server_that_is_killed_is_told_with_its_last_words_and_the_calls_are_kept() {
    let Some(server) = llama_server() else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let jsonl = folder.path().join("run.jsonl");
    let server = script(
        folder.path(),
        &format!(
            "'{server}' \"$@\" &\nwhile [ \"$(wc -l < {})\" -lt 12 ]; do sleep 0.1; done\nkill -9 $!\necho 'error: out of memory'\nexit 9",
            path_str(&jsonl)
        ),
    );
    let words = "--n-max 2 --raw --kinds code --calls 100000 --predict 16 --jsonl";
    let args = launched(&server, &format!("{words} {}", path_str(&jsonl)));
    refuse(
        4,
        &["\"n-max 2\" stopped", "out of memory", "run.n-max-2.log"],
        &strs(&args),
    );
    let run = Run::read(&Inputs::new(), &jsonl).expect("the file is whole");
    assert!(
        run.calls
            .iter()
            .filter(|call| call.error.is_none() && call.drafted > Some(0))
            .count()
            >= 8
    );
}

#[test]
fn a_real_server_without_metrics_tells_acceptance_but_not_by_place() {
    let Some(server) = llama_server().filter(|server| server.ends_with("llama_server.py")) else {
        return;
    };
    let words = "--n-max 2 --raw --kinds code --calls 4 --predict 24 --json -- --no-metrics";
    let (report, _) = succeed(&strs(&launched(&server, words)));
    let report: Value = serde_json::from_str(&report).expect("JSON");
    let acceptance = &report["results"][0]["conditions"][0]["overall"]["acceptance"];
    assert!(
        acceptance["mean_length"]
            .as_f64()
            .is_some_and(|length| length > 1.0),
        "{acceptance}"
    );
    assert_eq!(acceptance["by_position"], json!([]));
}
