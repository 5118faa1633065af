//! Servers of OpenAI's interface (vLLM, mlx-vlm, SwiftLM, LM Studio, and llama-server too): `/v1/chat/completions` and
//! `/v1/completions`, streaming.
//!
//! Such servers tell no durations. The time for generating is that from the first piece of text to the last, set up from
//! `n - 1` tokens to `n`; the time for reading the prompt is that to the first piece.

use super::http::{Flow, Http};
use super::llama::Timings;
use super::{Client, Counters, Manner};
use crate::bench::BenchError;
use crate::bench::record::Call;
use crate::prompts::Prompt;
use serde::Deserialize;
use serde_json::{Value, json};

/// A server of OpenAI's interface.
#[derive(Debug)]
pub(super) struct OpenAi {
    http: Http,
    chat: bool,
    model: String,
    models: Value,
    /// Whether it knows `ignore_eos`, which others may refuse.
    is_vllm: bool,
}

impl OpenAi {
    pub(super) fn connect(http: Http, manner: &Manner) -> Result<OpenAi, BenchError> {
        const PATH: &str = "/v1/models";
        let answer = http.get(PATH)?;
        if answer.status != 200 {
            return Err(http.refused(PATH, answer.status, &answer.body));
        }
        let models = http.json(PATH, &answer.body)?;
        let list = models.get("data").and_then(Value::as_array);
        let list = list.ok_or_else(|| http.not_a_model_server(PATH, &answer.body))?;
        let ids: Vec<&str> = list
            .iter()
            .filter_map(|model| model.get("id")?.as_str())
            .collect();
        let owner = |model: &Value| model.get("owned_by").and_then(Value::as_str) == Some("vllm");
        let model = match (&manner.model, ids.first()) {
            (Some(name), _) if ids.is_empty() || ids.contains(&name.as_str()) => name.clone(),
            (Some(name), _) => {
                let message = format!("{}: no model {name:?}; it has {}", http.url(PATH), ids.join(", "));
                return Err(BenchError::Usage(message));
            }
            (None, Some(first)) => (*first).to_owned(),
            (None, None) => {
                let message = format!("{} lists no model; name one with --model", http.url(PATH));
                return Err(BenchError::Usage(message));
            }
        };
        Ok(OpenAi {
            chat: manner.chat,
            model,
            is_vllm: list.iter().any(owner),
            models,
            http,
        })
    }
}

#[derive(Debug, Deserialize)]
struct Event {
    #[serde(default)]
    choices: Vec<Choice>,
    usage: Option<Usage>,
    timings: Option<Timings>,
}

#[derive(Debug, Deserialize)]
struct Choice {
    text: Option<String>,
    delta: Option<Delta>,
}

#[derive(Debug, Deserialize)]
struct Delta {
    content: Option<String>,
    #[serde(alias = "reasoning")]
    reasoning_content: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Usage {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
}

impl Client for OpenAi {
    fn name(&self) -> &'static str {
        "openai"
    }

    fn call(&self, prompt: &Prompt) -> Result<Call, BenchError> {
        let mut request = json!({
            "model": self.model,
            "max_tokens": prompt.predict,
            "temperature": 0,
            "stream": true,
            "stream_options": { "include_usage": true },
        });
        let path = match self.chat {
            true => {
                request["messages"] = json!([{ "role": "user", "content": prompt.text }]);
                if let Some(thinking) = prompt.thinking {
                    request["chat_template_kwargs"] = json!({ "enable_thinking": thinking });
                }
                "/v1/chat/completions"
            }
            false => {
                request["prompt"] = json!(prompt.text);
                "/v1/completions"
            }
        };
        if self.is_vllm {
            request["ignore_eos"] = json!(true);
        }
        let mut call = Call::default();
        let (mut usage, mut timings) = (None, None);
        let watch = self.http.stream(path, &request, |event: Event, watch| {
            let is_text = event.choices.iter().any(|choice| {
                let delta = choice.delta.as_ref();
                let texts = [
                    choice.text.as_deref(),
                    delta.and_then(|delta| delta.content.as_deref()),
                    delta.and_then(|delta| delta.reasoning_content.as_deref()),
                ];
                texts.into_iter().flatten().any(|text| !text.is_empty())
            });
            if is_text {
                watch.piece();
                call.wall_ns = watch.wall_ns();
            }
            usage = event.usage.or(usage.take());
            timings = event.timings.or(timings.take());
            // Usage is asked for, and told behind the last piece; some servers say [DONE] after it.
            match usage {
                Some(_) => Flow::Whole,
                None => Flow::More,
            }
        })?;
        call.ttft_ns = watch.first_ns();
        if let Some(timings) = timings {
            timings.fill(&mut call);
            return Ok(call);
        }
        call.prompt_eval_count = usage.as_ref().and_then(|usage| usage.prompt_tokens);
        call.prompt_eval_duration = call.ttft_ns;
        call.eval_count = usage
            .and_then(|usage| usage.completion_tokens)
            .unwrap_or(watch.pieces);
        if call.eval_count > 1 {
            let tokens = call.eval_count as f64;
            call.eval_duration = (watch.between_ns() as f64 * tokens / (tokens - 1.0)) as u64;
        }
        Ok(call)
    }

    fn counters(&self) -> Result<Option<Counters>, BenchError> {
        Counters::fetch(&self.http)
    }

    fn props(&self) -> &Value {
        &self.models
    }

    fn context(&self) -> Option<usize> {
        let model = self
            .models
            .get("data")?
            .as_array()?
            .iter()
            .find(|model| model.get("id").and_then(Value::as_str) == Some(&self.model))?;
        usize::try_from(model.get("max_model_len")?.as_u64()?).ok()
    }

    fn can_think(&self) -> bool {
        false
    }
}
