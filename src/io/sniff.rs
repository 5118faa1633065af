//! What a file is, from its first bytes.

/// For a file that is no model at all, or of a kind that is not read: what it is and what to do about it.
pub(crate) fn known_stranger(start: &[u8]) -> Option<&'static str> {
    const STRANGERS: &[(&[u8], &str)] = &[
        (
            b"vers",
            "this is a pointer of Git LFS; fetch the file itself with `git lfs pull`",
        ),
        (b"<!DO", WEB_PAGE),
        (b"<!do", WEB_PAGE),
        (b"<htm", WEB_PAGE),
        (
            b"PK\x03\x04",
            "this is a zip archive or a PyTorch checkpoint; get the safetensors version",
        ),
        (b"lmgg", BEFORE_GGUF),
        (b"fmgg", BEFORE_GGUF),
        (b"tjgg", BEFORE_GGUF),
    ];
    const WEB_PAGE: &str = "this is a web page; download the file itself";
    const BEFORE_GGUF: &str = "this is a model of before GGUF; convert the original again";
    STRANGERS
        .iter()
        .find(|(magic, _)| start.starts_with(magic))
        .map(|(_, what)| *what)
}
