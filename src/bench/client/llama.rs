//! llama.cpp's server: `/completion` with its timings, `/metrics`, `/props` (`tools/server/README.md` of llama.cpp).

use super::http::{Answer, Flow, Http};
use super::{Client, Counters, Manner};
use crate::bench::BenchError;
use crate::bench::record::Call;
use crate::prompts::Prompt;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// A llama-server.
#[derive(Debug)]
pub(super) struct Llama {
    http: Http,
    chat: bool,
    props: Value,
    has_metrics: bool,
    /// Prompts as the chat template puts them.
    templated: Mutex<HashMap<(String, Option<bool>), String>>,
}

/// `timings` of an answer.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Timings {
    cache_n: Option<u64>,
    prompt_n: Option<u64>,
    prompt_ms: f64,
    predicted_n: u64,
    predicted_ms: f64,
    /// Absent where nothing was drafted.
    draft_n: u64,
    draft_n_accepted: u64,
}

impl Timings {
    /// Takes over what an answer says.
    pub(super) fn fill(&self, call: &mut Call) {
        let ns = |ms: f64| (ms * 1e6) as u64;
        call.prompt_eval_count = self.prompt_n;
        call.prompt_eval_duration = Some(ns(self.prompt_ms));
        call.cached = self.cache_n;
        call.eval_count = self.predicted_n;
        call.eval_duration = ns(self.predicted_ms);
        call.drafted = Some(self.draft_n);
        call.accepted = Some(self.draft_n_accepted);
    }
}

impl Llama {
    /// `None` where something else answers.
    pub(super) fn connect(http: &Http, manner: &Manner) -> Result<Option<Llama>, BenchError> {
        let Answer { status, body } = http.get("/props")?;
        if status == 503 {
            return Err(http.refused("/props", status, &body));
        }
        let Ok(mut props) = serde_json::from_str::<Value>(&body) else {
            return Ok(None);
        };
        if status != 200 || props.get("default_generation_settings").is_none() {
            return Ok(None);
        }
        // A marker that is drawn anew at each start, which would make two runs of the same server differ.
        props.as_object_mut().map(|props| props.remove("media_marker"));
        Ok(Some(Llama {
            has_metrics: http.get("/metrics")?.status == 200,
            http: http.clone(),
            chat: manner.chat,
            props,
            templated: Mutex::default(),
        }))
    }

    fn template(&self) -> &str {
        self.props
            .get("chat_template")
            .and_then(Value::as_str)
            .unwrap_or("")
    }

    /// The prompt as the model is to continue it.
    fn prompt(&self, prompt: &Prompt) -> Result<String, BenchError> {
        if !self.chat || self.template().is_empty() {
            return Ok(prompt.text.clone());
        }
        let key = (prompt.text.clone(), prompt.thinking);
        let known = self
            .templated
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&key)
            .cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let mut request = json!({ "messages": [{ "role": "user", "content": prompt.text }] });
        if let Some(thinking) = prompt.thinking {
            request["chat_template_kwargs"] = json!({ "enable_thinking": thinking });
        }
        let answer = self.http.post_for_json("/apply-template", &request)?;
        let text = answer.get("prompt").and_then(Value::as_str);
        let text = text.ok_or_else(|| {
            self.http
                .not_a_model_server("/apply-template", &answer.to_string())
        })?;
        let mut templated = self.templated.lock().unwrap_or_else(PoisonError::into_inner);
        templated.insert(key, text.to_owned());
        Ok(text.to_owned())
    }
}

/// A line of a stream, or a whole answer.
#[derive(Debug, Deserialize)]
struct Event {
    #[serde(default)]
    content: String,
    #[serde(default)]
    stop: bool,
    timings: Option<Timings>,
}

impl Client for Llama {
    fn name(&self) -> &'static str {
        "llama-server"
    }

    fn call(&self, prompt: &Prompt) -> Result<Call, BenchError> {
        const PATH: &str = "/completion";
        let request = json!({
            "prompt": self.prompt(prompt)?,
            "n_predict": prompt.predict,
            "temperature": 0,
            "ignore_eos": true,
            "cache_prompt": false,
            "stream": true,
        });
        let mut call = Call::default();
        let watch = self.http.stream(PATH, &request, |event: Event, watch| {
            if !event.content.is_empty() {
                watch.piece();
            }
            if !event.stop {
                return Flow::More;
            }
            event.timings.unwrap_or_default().fill(&mut call);
            call.wall_ns = watch.wall_ns();
            Flow::Done
        })?;
        call.ttft_ns = watch.first_ns();
        Ok(call)
    }

    fn counters(&self) -> Result<Option<Counters>, BenchError> {
        match self.has_metrics {
            true => Counters::fetch(&self.http),
            false => Ok(None),
        }
    }

    fn props(&self) -> &Value {
        &self.props
    }

    fn context(&self) -> Option<usize> {
        let context = self
            .props
            .get("default_generation_settings")?
            .get("n_ctx")?
            .as_u64()?;
        usize::try_from(context).ok()
    }

    fn slots(&self) -> Option<u32> {
        u32::try_from(self.props.get("total_slots")?.as_u64()?).ok()
    }

    fn count_tokens(&self, text: &str) -> Result<Option<usize>, BenchError> {
        let answer = self
            .http
            .post_for_json("/tokenize", &json!({ "content": text }))?;
        Ok(answer.get("tokens").and_then(Value::as_array).map(Vec::len))
    }

    fn can_think(&self) -> bool {
        self.chat && self.template().contains("enable_thinking")
    }
}
