//! Checks the input as a drafter and as a target. Whatever it holds, the answer is findings with a hint each, the same
//! ones every time.
#![no_main]

use gguf_conv::check::check;
use gguf_conv::gguf::Gguf;
use gguf_conv::io::Inputs;
use libfuzzer_sys::fuzz_target;
use models::{ARCH, DRAFTER, TARGET};

#[path = "models.rs"]
mod models;
#[path = "scratch.rs"]
mod scratch;

fuzz_target!(|data: &[u8]| {
    let path = scratch::gguf(data);
    let Ok(gguf) = Gguf::look(&Inputs::new(), &path) else {
        return;
    };
    let alone = check(&ARCH, &gguf, None, &|_| ());
    assert_eq!(alone, check(&ARCH, &gguf, None, &|_| ()));
    let pairs = [
        check(&ARCH, &gguf, Some(&TARGET), &|_| ()),
        check(&ARCH, &DRAFTER, Some(&gguf), &|_| ()),
    ];
    for finding in pairs
        .iter()
        .flatten()
        .chain(&alone)
        .filter(|finding| finding.is_error())
    {
        assert!(
            finding.hint.as_ref().is_some_and(|hint| !hint.is_empty()),
            "{finding:?}"
        );
    }
});
