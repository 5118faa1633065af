//! Ollama: `/api/generate` (`docs/api.md` of Ollama). Durations are nanoseconds. It tells nothing of drafts.

use super::http::{Flow, Http};
use super::{Client, Counters, Manner};
use crate::bench::BenchError;
use crate::bench::record::Call;
use crate::prompts::Prompt;
use serde::Deserialize;
use serde_json::{Value, json};

/// An Ollama, asked for one model.
#[derive(Debug)]
pub(super) struct Ollama {
    http: Http,
    model: String,
    chat: bool,
    n_max: Option<u32>,
    props: Value,
}

impl Ollama {
    pub(super) fn connect(url: &str, n_max: Option<u32>, manner: &Manner) -> Result<Ollama, BenchError> {
        let http = Http::new(url, manner.timeout)?;
        let Some(model) = manner.model.clone() else {
            let message = "--ollama needs the model's name: --model gemma4:e4b".to_owned();
            return Err(BenchError::Usage(message));
        };
        let answer = http.get("/api/version")?;
        let version = http.json("/api/version", &answer.body)?;
        if version.get("version").is_none() {
            return Err(http.not_a_model_server("/api/version", &answer.body));
        }
        // Tells a wrong name before anything is measured.
        let show = http.post_for_json("/api/show", &json!({ "model": model }))?;
        let said = |key: &str| show.get(key).cloned().unwrap_or(Value::Null);
        Ok(Ollama {
            props: json!({
                "version": version["version"],
                "model": model,
                "modelfile": said("modelfile"),
                "parameters": said("parameters"),
                "details": said("details"),
                "capabilities": said("capabilities"),
            }),
            http,
            model,
            chat: manner.chat,
            n_max,
        })
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Event {
    response: String,
    thinking: String,
    done: bool,
    load_duration: Option<u64>,
    prompt_eval_count: Option<u64>,
    prompt_eval_duration: Option<u64>,
    eval_count: u64,
    eval_duration: u64,
}

impl Client for Ollama {
    fn name(&self) -> &'static str {
        "ollama"
    }

    fn call(&self, prompt: &Prompt) -> Result<Call, BenchError> {
        const PATH: &str = "/api/generate";
        let mut options = json!({ "temperature": 0, "seed": 0, "num_predict": prompt.predict });
        if let Some(n_max) = self.n_max {
            options["draft_num_predict"] = json!(n_max);
        }
        let mut request =
            json!({ "model": self.model, "prompt": prompt.text, "stream": true, "options": options });
        if !self.chat {
            request["raw"] = json!(true);
        }
        if let Some(thinking) = prompt.thinking {
            request["think"] = json!(thinking);
        }
        let mut call = Call::default();
        let watch = self.http.stream(PATH, &request, |event: Event, watch| {
            if !event.response.is_empty() || !event.thinking.is_empty() {
                watch.piece();
            }
            if !event.done {
                return Flow::More;
            }
            call.wall_ns = watch.wall_ns();
            call.load_duration = event.load_duration;
            call.prompt_eval_count = event.prompt_eval_count;
            call.prompt_eval_duration = event.prompt_eval_duration;
            call.eval_count = event.eval_count;
            call.eval_duration = event.eval_duration;
            Flow::Done
        })?;
        call.ttft_ns = watch.first_ns();
        Ok(call)
    }

    fn counters(&self) -> Result<Option<Counters>, BenchError> {
        Ok(None)
    }

    fn props(&self) -> &Value {
        &self.props
    }

    fn can_think(&self) -> bool {
        let capabilities = self.props.get("capabilities").and_then(Value::as_array);
        self.chat && capabilities.is_some_and(|list| list.iter().any(|c| c == "thinking"))
    }
}
