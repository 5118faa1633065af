//! Clients of model servers, behind one trait.

mod http;
mod llama;
mod metrics;
mod ollama;
mod openai;

pub use http::Http;
pub use metrics::Counters;

use super::BenchError;
use super::record::Call;
use crate::prompts::Prompt;
use serde_json::Value;
use std::time::Duration;

/// How a server is talked to.
#[derive(Debug, Clone)]
pub struct Manner {
    /// Longest time for a call.
    pub timeout: Duration,
    /// Whether prompts go through the model's chat template, or are continued as they are.
    pub chat: bool,
    /// Name of the model, for servers that have several.
    pub model: Option<String>,
}

/// A model server.
pub trait Client: Send + Sync {
    /// `llama-server`, `openai` or `ollama`.
    fn name(&self) -> &'static str;

    /// Asks for an answer, greedy and of fixed length where the server knows that. Of the call everything is filled in
    /// that the server tells and the clock shows; its place in the run is not.
    fn call(&self, prompt: &Prompt) -> Result<Call, BenchError>;

    /// What the server counted so far, where it tells.
    fn counters(&self) -> Result<Option<Counters>, BenchError>;

    /// What the server says of itself.
    fn props(&self) -> &Value;

    /// Tokens that fit one call, where the server tells.
    fn context(&self) -> Option<usize> {
        None
    }

    /// Calls that it answers at the same time, where it tells.
    fn slots(&self) -> Option<u32> {
        None
    }

    /// Number of tokens of a text, where the server tells.
    fn count_tokens(&self, _text: &str) -> Result<Option<usize>, BenchError> {
        Ok(None)
    }

    /// Whether the chat template can be told to let the model think.
    fn can_think(&self) -> bool;
}

/// Finds out what listens at an address: llama-server, or any server of OpenAI's interface.
pub fn connect(url: &str, manner: &Manner) -> Result<Box<dyn Client>, BenchError> {
    let http = Http::new(url, manner.timeout)?;
    if let Some(client) = llama::Llama::connect(&http, manner)? {
        return Ok(Box::new(client));
    }
    Ok(Box::new(openai::OpenAi::connect(http, manner)?))
}

/// Talks to Ollama's own interface; `n_max` goes into each request.
pub fn ollama(url: &str, n_max: Option<u32>, manner: &Manner) -> Result<Box<dyn Client>, BenchError> {
    Ok(Box::new(ollama::Ollama::connect(url, n_max, manner)?))
}
