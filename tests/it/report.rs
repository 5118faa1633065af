//! The pages of `--html`: whole, quiet, and saying what the JSON says.

use crate::common::server::{Simulated, Speed};
use crate::common::{fixture, misuse, path_str, program, refuse, succeed, write_gguf};
use gguf_conv::gguf::Metadata;
use gguf_conv::quant::GgmlType;
use serde_json::Value;
use std::path::Path;

const HOSTILE: &str = "</title></style><script>alert(1)</script>\"'&<b>";

/// The text of all cells of tables, row by row.
fn rows(page: &str) -> Vec<Vec<String>> {
    let unescape = |text: &str| {
        text.replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&quot;", "\"")
            .replace("&amp;", "&")
    };
    let cells = |row: &str| {
        let starts = ["<th scope=\"row\">", "<td>"];
        let mut cells = Vec::new();
        let mut rest = row;
        while let Some((at, start)) = starts.iter().filter_map(|s| Some((rest.find(s)?, s))).min() {
            rest = &rest[at + start.len()..];
            let (cell, after) = rest.split_once("</t").expect("a cell ends");
            cells.push(unescape(cell));
            rest = after;
        }
        cells
    };
    page.split("<tr>")
        .skip(1)
        .map(cells)
        .filter(|row| !row.is_empty())
        .collect()
}

/// Nothing is fetched, run or let out of its place.
fn check_whole(page: &str) {
    assert!(page.starts_with("<!DOCTYPE html>") && page.trim_end().ends_with("</html>"));
    for bad in [
        "<script", "http://", "https://", "src=", "href=", "url(", "@import", "NaN", "<b>",
    ] {
        assert!(!page.contains(bad), "{bad}");
    }
    assert_eq!(page.matches("</style>").count(), 1);
    let head = page.split("</head>").next().expect("a head");
    assert_eq!(head.matches("<title>").count(), 1);
}

/// Opens a page in a headless Chromium, where there is one, and expects that it says nothing on its console.
fn check_console(path: &Path) {
    for browser in ["chromium-headless-shell", "chromium", "google-chrome"] {
        let url = format!("file://{}", path_str(path));
        let output = std::process::Command::new(browser)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--enable-logging=stderr",
                "--dump-dom",
                &url,
            ])
            .output();
        if let Ok(output) = output {
            let told = String::from_utf8_lossy(&output.stderr);
            assert!(!told.contains("CONSOLE"), "{told}");
            assert!(
                String::from_utf8_lossy(&output.stdout).contains("</html>"),
                "the page is there"
            );
            return;
        }
    }
    eprintln!("skipped: no Chromium; the page was not opened");
}

#[test]
fn the_page_of_a_benchmark_says_what_its_json_says_and_injects_nothing() {
    let mut calls = 0_u64;
    let mut speed = move |tokens_per_second: f64| {
        calls += 1;
        Speed {
            tokens_per_second: tokens_per_second + (calls % 7) as f64 / 10.0,
            drafts: 10,
            drafted: 30,
            by_position: vec![8, 5, 2],
        }
    };
    let mut other = speed;
    let off = Simulated::llama(move |_| Speed {
        drafts: 0,
        drafted: 0,
        by_position: Vec::new(),
        ..other(30.0)
    });
    let on = Simulated::llama(move |_| speed(40.0));
    let folder = tempfile::tempdir().expect("a folder");
    let html = folder.path().join("report.html");
    let label = HOSTILE.replace('=', "");
    let servers = [format!("off={}", off.url), format!("{label}={}", on.url)];
    let output = program()
        .args([
            "bench",
            "--url",
            &servers[0],
            "--url",
            &servers[1],
            "--expect-drafting",
            &label,
        ])
        .args([
            "--calls",
            "36",
            "--context",
            "0",
            "--predict",
            "32",
            "--seed",
            "2",
            "--json",
            "--html",
            path_str(&html),
        ])
        .output()
        .expect("the program starts");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let document: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let page = std::fs::read_to_string(&html).expect("the page is there");
    // The command and the addresses stand in the page as text.
    check_whole(&page.replace("http://127.0.0.1", "127.0.0.1"));
    check_console(&html);
    let rows = rows(&page);
    let result = &document["results"][0];
    let mut compared = 0;
    for condition in result["conditions"].as_array().expect("conditions") {
        let cells = condition["kinds"]
            .as_array()
            .expect("kinds")
            .iter()
            .chain([&condition["overall"]]);
        for cell in cells {
            let is_row = |row: &&Vec<String>| {
                row.len() == 11
                    && Some(row[0].as_str()) == condition["label"].as_str()
                    && Some(row[1].as_str()) == cell["kind"].as_str()
            };
            let row = rows
                .iter()
                .find(is_row)
                .unwrap_or_else(|| panic!("no row for {cell}"));
            let shown = |value: &Value, digits: usize| {
                value.as_f64().map_or("–".to_owned(), |v| format!("{v:.digits$}"))
            };
            assert_eq!(row[2], cell["calls"].to_string());
            assert_eq!(row[3], shown(&cell["tokens_per_second"], 2));
            let ratio = &cell["against_baseline"];
            let interval = match ratio["ratio"].as_f64() {
                Some(_) => {
                    let [middle, low, high] = ["ratio", "low", "high"].map(|field| shown(&ratio[field], 2));
                    format!("{middle}× [{low}, {high}]")
                }
                None => "–".to_owned(),
            };
            assert_eq!(row[5], interval);
            assert_eq!(row[8], shown(&cell["wall_p95_ms"], 1));
            compared += 1;
        }
    }
    assert_eq!(compared, 14, "six kinds and all of them, of two conditions");
    for plot in [
        "Speed against the baseline",
        "Acceptance by place",
        "Milliseconds of each call",
    ] {
        assert!(page.contains(&format!("aria-label=\"{plot}")), "{plot}");
    }
    let verdict = result["verdict"][0].as_str().expect("a sentence");
    let first = page.find("class=\"verdict").expect("the verdict");
    assert!(
        page[first..]
            .find("<table")
            .is_some_and(|table| page[first..first + table].contains("best n-max") || !verdict.is_empty())
    );
}

#[test]
fn the_page_of_a_verification_and_of_an_advice_are_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let (target, drafter) = (
        fixture("mini-dense/target-bf16.gguf"),
        fixture("mini-dense/drafter-q8_0.gguf"),
    );
    let source = fixture("mini-dense/drafter");
    let page = |args: &[&str]| {
        let html = folder.path().join(format!("{}.html", args[0]));
        let mut args = args.to_vec();
        args.extend(["--html", path_str(&html)]);
        succeed(&args);
        let output = program().args(&args).output().expect("the program starts");
        assert_eq!(
            output.status.code(),
            Some(2),
            "no page is replaced without --force"
        );
        check_console(&html);
        let page = std::fs::read_to_string(&html).expect("the page is there");
        check_whole(&page);
        page
    };
    let verify = page(&[
        "verify",
        path_str(&drafter),
        "--target",
        path_str(&target),
        "--source",
        path_str(&source),
        "--generate",
        "32",
    ]);
    for part in [
        "Weights by layer and type",
        "Relative error of the tensors",
        "divergence by step",
        "Acceptance by place",
    ] {
        assert!(verify.contains(part), "{part}");
    }
    let advise = page(&[
        "advise",
        "--target",
        path_str(&target),
        "--drafter",
        path_str(&drafter),
    ]);
    for part in ["Memory by part", "llama-server --model", "Modelfile"] {
        assert!(advise.contains(part), "{part}");
    }
}

/// A file whose strings try to get out of their places, beside one whose numbers are read.
#[test]
fn the_page_of_a_file_shows_types_by_layer_and_injects_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let html = folder.path().join("page.html");
    let file = fixture("mini-dense/drafter-lq-q4_0.gguf");
    let args = ["inspect", "--stats", path_str(&file), "--html", path_str(&html)];
    let (out, _) = succeed(&args);
    assert_eq!(out, format!("wrote {}\n", path_str(&html)));
    refuse(2, &["--force"], &args);
    misuse(&["cannot be used with"], &[&args[..], &["--get", "x"]].concat());
    check_console(&html);
    let page = std::fs::read_to_string(&html).expect("the page is there");
    check_whole(&page.replace("https://", ""));
    let (report, _) = succeed(&["inspect", "--stats", "--json", path_str(&file)]);
    let report: Value = serde_json::from_str(&report).expect("it is JSON");
    let report = &report["results"][0];
    let rows = rows(&page);
    let is_row = |first: &str, second: &str| rows.iter().any(|row| row[0] == first && row[1] == second);
    let tensors = report["tensors"].as_array().expect("tensors");
    for tensor in tensors {
        let (name, ty) = (tensor["name"].as_str().unwrap(), tensor["type"].as_str().unwrap());
        assert!(is_row(name, ty), "{name}");
        // A mark in the picture says the same.
        assert!(page.contains(&format!("<title>{name}: {ty}, ")), "{name}");
    }
    let marks = page.matches("<title>").count() - 1;
    assert_eq!(marks, tensors.len());
    for share in report["summary"]["types"].as_array().expect("types") {
        assert!(is_row(
            share["type"].as_str().unwrap(),
            &share["tensors"].to_string()
        ));
    }
    for plot in [
        "Size by type",
        "Tensor types by layer",
        "Size by layer",
        "Root mean square",
    ] {
        assert!(page.contains(&format!("aria-label=\"{plot}")), "{plot}");
    }

    let hostile = folder.path().join("hostile.gguf");
    let mut metadata = Metadata::default();
    metadata.set("general.architecture", HOSTILE);
    metadata.set(HOSTILE, HOSTILE);
    let layers = [
        format!("blk.0.{HOSTILE}"),
        "blk.18446744073709551615.</svg><b>".to_owned(),
    ];
    let tensor = |name| (name, &[1_u64][..], GgmlType::F32, vec![0, 0, 192, 127]);
    let names = [HOSTILE, &layers[0], &layers[1], "\u{202e}.7.\u{1b}[2J"];
    write_gguf(&hostile, &metadata, &names.map(tensor));
    // To standard output there is the page and nothing else.
    for more in [&["--stats"][..], &["--no-tensors"], &[]] {
        let (page, _) = succeed(&[&["inspect", path_str(&hostile), "--html", "-"], more].concat());
        check_whole(&page);
        let hidden = |c: &char| *c != '\n' && gguf_conv::text::is_hidden(*c);
        assert_eq!(page.chars().find(hidden), None);
    }
    misuse(
        &["one FILE"],
        &["inspect", path_str(&file), path_str(&hostile), "--html", "-"],
    );
}
