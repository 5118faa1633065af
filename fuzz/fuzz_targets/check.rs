//! Checks the input as a drafter and as a target. Whatever it holds, the answer is findings with a hint each, the same
//! ones every time.
#![no_main]

use gguf_conv::check::{Options, check};
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
    let alone = check(&ARCH, &gguf, None, Options::default(), &|_| ());
    assert_eq!(alone, check(&ARCH, &gguf, None, Options::default(), &|_| ()));
    let mut unread = Options::default();
    unread.data = false;
    let pairs = [
        // The target's data is the same for all inputs, the input's was read alone.
        check(&ARCH, &gguf, Some(&TARGET), unread, &|_| ()),
        check(&ARCH, &DRAFTER, Some(&gguf), Options::default(), &|_| ()),
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
