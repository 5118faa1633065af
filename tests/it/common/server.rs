//! A model server that is not one: it answers as llama-server does, with timings made up by a rule.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A request as the rule sees it.
pub struct Request {
    pub path: String,
    pub body: Value,
}

/// What is answered: status, content type, body; `None` closes the connection.
pub type Answer = Option<(u16, &'static str, String)>;

/// A server on a port of the loopback interface, as long as the test runs.
pub struct Simulated {
    pub url: String,
}

impl Simulated {
    pub fn new(rule: impl FnMut(&Request) -> Answer + Send + 'static) -> Simulated {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let rule = Arc::new(Mutex::new(rule));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let rule = rule.clone();
                std::thread::spawn(move || {
                    serve(stream, |request| (rule.lock().expect("no rule panics"))(request))
                });
            }
        });
        Simulated { url }
    }

    /// A llama-server that gives the same answer to every call.
    pub fn llama_that_answers(status: u16, answer: Value) -> Simulated {
        Simulated::new(move |request| match request.path.as_str() {
            "/props" => Some((
                200,
                "application/json",
                json!({ "default_generation_settings": {} }).to_string(),
            )),
            "/completion" => Some((status, "application/json", answer.to_string())),
            _ => Some((404, "application/json", "{}".to_owned())),
        })
    }

    /// A llama-server whose calls take what `call` says: tokens a second, and drafts as
    /// `(drafts, drafted, accepted by position)`.
    pub fn llama(call: impl FnMut(&Value) -> Speed + Send + 'static) -> Simulated {
        Simulated::llama_with(true, call)
    }

    /// The same, with or without `/metrics`.
    pub fn llama_with(metrics: bool, mut call: impl FnMut(&Value) -> Speed + Send + 'static) -> Simulated {
        let mut totals = Speed::default();
        Simulated::new(move |request| {
            let json = |value: Value| Some((200, "application/json", value.to_string()));
            match request.path.as_str() {
                "/props" => json(json!({
                    "default_generation_settings": { "n_ctx": 8192 },
                    "total_slots": 4,
                    "chat_template": "",
                })),
                "/tokenize" => json(
                    json!({ "tokens": vec![1; request.body["content"].as_str().map_or(0, str::len) / 4] }),
                ),
                "/metrics" if metrics => {
                    let mut text = format!(
                        "llamacpp:spec_decode_num_drafts_total {}\nllamacpp:spec_decode_num_draft_tokens_total {}\n",
                        totals.drafts, totals.drafted
                    );
                    for (i, n) in totals.by_position.iter().enumerate() {
                        text += &format!(
                            "llamacpp:spec_decode_num_accepted_tokens_per_pos_total{{position=\"{i}\"}} {n}\n"
                        );
                    }
                    Some((200, "text/plain", text))
                }
                "/completion" => {
                    let speed = call(&request.body);
                    let tokens = request.body["n_predict"].as_u64().expect("a length");
                    let accepted: u64 = speed.by_position.iter().sum();
                    totals.drafts += speed.drafts;
                    totals.drafted += speed.drafted;
                    totals
                        .by_position
                        .resize(totals.by_position.len().max(speed.by_position.len()), 0);
                    totals
                        .by_position
                        .iter_mut()
                        .zip(&speed.by_position)
                        .for_each(|(a, b)| *a += b);
                    let mut timings = json!({
                        "cache_n": 0, "prompt_n": 20, "prompt_ms": 10.0,
                        "predicted_n": tokens, "predicted_ms": tokens as f64 / speed.tokens_per_second * 1e3,
                    });
                    if speed.drafted > 0 {
                        timings["draft_n"] = json!(speed.drafted);
                        timings["draft_n_accepted"] = json!(accepted);
                    }
                    let last = json!({ "content": "", "stop": true, "timings": timings });
                    let first = json!({ "content": "a", "stop": false });
                    Some((
                        200,
                        "text/event-stream",
                        format!("data: {first}\n\ndata: {last}\n\n"),
                    ))
                }
                _ => Some((
                    404,
                    "application/json",
                    json!({ "error": { "message": "File Not Found" } }).to_string(),
                )),
            }
        })
    }
}

/// What a call took, and drafted.
#[derive(Clone, Debug, Default)]
pub struct Speed {
    pub tokens_per_second: f64,
    pub drafts: u64,
    pub drafted: u64,
    pub by_position: Vec<u64>,
}

impl Speed {
    pub fn plain(tokens_per_second: f64) -> Speed {
        Speed {
            tokens_per_second,
            ..Speed::default()
        }
    }
}

/// A model of a target and its drafter: what a round of a server costs, and what the target accepts.
#[derive(Clone)]
pub struct Rounds {
    /// Most tokens a draft.
    pub n_max: u32,
    /// Shares of drafts accepted up to each place.
    pub chances: Vec<f64>,
    /// Seconds of a round with drafts of each length.
    pub seconds: Vec<f64>,
    /// Standard deviation of the noise of a call, as a share.
    pub noise: f64,
}

impl Rounds {
    /// Generates so many tokens, round by round.
    pub fn generate(&self, tokens: u64, rng: &mut fastrand::Rng) -> Speed {
        let mut speed = Speed {
            by_position: vec![0; self.n_max as usize],
            ..Speed::default()
        };
        let (mut left, mut seconds) = (tokens, 0.0);
        while left > 0 {
            // The last of the tokens is the target's own, so that no more need be drafted than lie before it.
            let drafted = u64::from(self.n_max).min(left - 1) as usize;
            let draw = rng.f64();
            let accepted = self.chances[..drafted]
                .iter()
                .take_while(|chance| draw < **chance)
                .count();
            seconds += self.seconds[drafted];
            speed.drafts += u64::from(drafted > 0);
            speed.drafted += drafted as u64;
            speed.by_position[..accepted]
                .iter_mut()
                .for_each(|count| *count += 1);
            left -= accepted as u64 + 1;
        }
        let noise: f64 = (0..12).map(|_| rng.f64()).sum::<f64>() - 6.0;
        speed.tokens_per_second = tokens as f64 / seconds * (self.noise * noise).exp();
        speed
    }

    /// A llama-server that generates so.
    pub fn server(self, seed: u64) -> Simulated {
        let mut rng = stream(seed);
        Simulated::llama(move |request| {
            let tokens = request["n_predict"].as_u64().expect("a length");
            self.generate(tokens, &mut rng)
        })
    }
}

fn serve(stream: TcpStream, mut rule: impl FnMut(&Request) -> Answer) {
    let _ = stream.set_nodelay(true);
    let mut reader = BufReader::new(stream.try_clone().expect("a stream can be cloned"));
    let mut stream = stream;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let path = line.split(' ').nth(1).unwrap_or("").to_owned();
        let mut length = 0;
        loop {
            line.clear();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if line.trim().is_empty() {
                break;
            }
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
        }
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let Some((status, kind, text)) = rule(&Request { path, body }) else {
            return;
        };
        let head = format!(
            "HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
            text.len()
        );
        if stream.write_all((head + &text).as_bytes()).is_err() {
            return;
        }
    }
}

/// Random numbers, the same for the same seed. Seeds are spread out first: streams of neighbouring ones are correlated, which
/// made the noise of two servers depend on each other.
pub fn stream(seed: u64) -> fastrand::Rng {
    fastrand::Rng::with_seed(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

/// Noise of standard deviation 1, the same for the same seed.
pub struct Noise(fastrand::Rng);

impl Noise {
    pub fn new(seed: u64) -> Noise {
        Noise(stream(seed))
    }

    pub fn draw(&mut self) -> f64 {
        (0..12).map(|_| self.0.f64()).sum::<f64>() - 6.0
    }
}
