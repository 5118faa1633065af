//! What a user says, as the chat template of a target's GGUF puts it.
//!
//! Templates are written for Jinja2 as transformers sets it up: blocks take their line's space with them, `break` and
//! `continue` are known, values have Python's methods, and a template may raise an error of its own.

use super::VerifyError;
use super::tokenize::special;
use crate::gguf::{Gguf, KeyError};
use crate::text::escape;
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, ErrorKind, Value, context};

const KEY: &str = "tokenizer.chat_template";

/// A conversation of one message, to be answered, without the token that the tokenizer puts first by itself.
pub(super) fn render(gguf: &Gguf, message: &str) -> Result<String, VerifyError> {
    let fail = |message: String| VerifyError::Template {
        path: gguf.path().to_owned(),
        message,
    };
    let template = match gguf.metadata().string(KEY) {
        Err(KeyError::Missing(_)) => return Err(fail(format!("there is none ({KEY})"))),
        template => gguf.key(template)?,
    };
    let template = std::str::from_utf8(template).map_err(|_| fail("it is no valid UTF-8".to_owned()))?;
    let (bos, eos) = (text_of(gguf, "bos")?, text_of(gguf, "eos")?);
    let values = context! {
        messages => [context! { role => "user", content => message }],
        add_generation_prompt => true,
        bos_token => &bos,
        eos_token => eos,
    };
    let text = environment()
        .render_str(template, values)
        .map_err(|error| fail(escape(error.to_string().as_bytes())))?;
    Ok(text.strip_prefix(&bos).map(str::to_owned).unwrap_or(text))
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    if let Ok(syntax) = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build()
    {
        environment.set_syntax(syntax);
    }
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    // A template comes from a file: a loop in it ends.
    environment.set_fuel(Some(1 << 24));
    environment.add_function("raise_exception", |message: String| -> Result<Value, _> {
        Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
    });
    // What is verified does not depend on the day.
    environment.add_function("strftime_now", |_: String| "2026-01-01");
    environment
}

/// The text of a special token; empty where the file names none.
fn text_of(gguf: &Gguf, name: &str) -> Result<String, VerifyError> {
    let text = special(gguf, name)?.and_then(|(_, text)| text);
    Ok(text
        .map(|text| String::from_utf8_lossy(text).into_owned())
        .unwrap_or_default())
}
