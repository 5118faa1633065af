//! What the system does to a process that a Rust program cannot answer with a `Result`, each made an error of one line
//! and exit code 4: a mapped file that shrinks, an output beyond `ulimit -f`, memory that is not to be had.
//!
//! Models are mapped, since a forward pass and a conversion read them at any place from any thread without a copy; reading
//! by `pread` instead would cost a buffer and a copy for each access. A page that is no longer in the file is then a
//! SIGBUS, which only a signal handler can name. That belongs to a program, not to a library, so it is armed by
//! [`arm`]. Outputs have no name yet at that moment, so nothing is left of them.
//!
//! An allocation that fails ends in `abort` with std's own handler, which cannot be replaced in stable Rust. Sizes that
//! files declare are checked against what the file holds, so what is left is a machine without memory: no caller could
//! go on, and the allocator itself tells and leaves.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;

/// The system's allocator, but a failure is told in a line and ends the program with exit code 4.
#[derive(Debug)]
pub struct Allocator;

// SAFETY: every call goes to the system's allocator as it is; on failure none returns.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are passed on.
        or_leave(unsafe { System.alloc(layout) }, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are passed on.
        or_leave(unsafe { System.alloc_zeroed(layout) }, layout.size())
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promises are passed on.
        or_leave(unsafe { System.realloc(block, layout, size) }, size)
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(block, layout) }
    }
}

/// A stream of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Output,
    /// Standard error.
    Error,
}

#[cfg(unix)]
pub(super) use unix::{Watched, watch};
#[cfg(unix)]
pub use unix::{arm, tell_as_document};

#[cfg(unix)]
fn or_leave(block: *mut u8, size: usize) -> *mut u8 {
    if block.is_null() {
        let mut digits = [0; 20];
        // Nothing in it needs to be escaped in JSON.
        unix::leave(
            &[
                b"memory is short: ",
                decimal(size, &mut digits),
                b" bytes could not be had; close other programs or raise the limit",
            ],
            None,
        );
    }
    block
}

#[cfg(not(unix))]
fn or_leave(block: *mut u8, _: usize) -> *mut u8 {
    block
}

/// A number's digits, without allocating.
#[cfg(unix)]
fn decimal(mut number: usize, digits: &mut [u8; 20]) -> &[u8] {
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &digits[start..];
        }
    }
}

#[cfg(unix)]
mod unix {
    use super::{Path, Stream};
    use crate::io::changed::ChangedInput;
    use crate::text::line;
    use std::ptr;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering::SeqCst};

    /// A mapped file, for the handler: a list that only grows, so that it can be walked at any moment.
    #[derive(Debug)]
    pub(in crate::io) struct Watched {
        start: usize,
        /// 0 once it is no longer mapped.
        len: AtomicUsize,
        /// What is told when the file has shrunk, and the same as a JSON string.
        message: Box<[u8]>,
        json: Box<[u8]>,
        next: *const Watched,
    }

    // SAFETY: `next` is only read, and what it leads to is never freed.
    unsafe impl Send for Watched {}
    // SAFETY: as above; `len` is atomic, the rest does not change.
    unsafe impl Sync for Watched {}

    static WATCHED: AtomicPtr<Watched> = AtomicPtr::new(ptr::null_mut());
    /// What answered SIGBUS before; set once the handler stands.
    static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();
    static DOCUMENT: OnceLock<Document> = OnceLock::new();
    /// Whether a thread is about to leave: several may meet the same fault at once.
    static LEAVES: AtomicBool = AtomicBool::new(false);

    /// A document in which only the message is open.
    struct Document {
        stream: libc::c_int,
        before: Box<[u8]>,
        after: Box<[u8]>,
    }

    impl Watched {
        /// The file is no longer mapped.
        pub(in crate::io) fn forget(&self) {
            self.len.store(0, SeqCst);
        }
    }

    /// Makes a shrunken input and an output beyond `ulimit -f` errors with exit code 4. For programs, once, before files
    /// are opened.
    pub fn arm() {
        // SAFETY: `sigaction` and `signal` get valid pointers and a handler that calls only what may be called there.
        unsafe {
            libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = on_bus_error as extern "C" fn(_, _, _) as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            let mut before: libc::sigaction = std::mem::zeroed();
            if libc::sigaction(libc::SIGBUS, &raw const action, &raw mut before) == 0 {
                let _ = BEFORE.set(before);
            }
        }
    }

    /// Has what is told suddenly written to a stream as well, as a JSON string between these texts. For programs, once.
    pub fn tell_as_document(stream: Stream, before: &str, after: &str) {
        let _ = DOCUMENT.set(Document {
            stream: match stream {
                Stream::Output => libc::STDOUT_FILENO,
                Stream::Error => libc::STDERR_FILENO,
            },
            before: before.as_bytes().into(),
            after: after.as_bytes().into(),
        });
    }

    /// Has the handler name this file if reading `bytes`, its map, fails.
    pub(in crate::io) fn watch(bytes: &[u8], path: &Path) -> Option<&'static Watched> {
        BEFORE.get()?;
        let changed = ChangedInput {
            path: path.to_owned(),
        };
        let message = line(&changed.to_string());
        let json = serde_json::Value::from(message.as_str()).to_string();
        let watched = Box::leak(Box::new(Watched {
            start: bytes.as_ptr().addr(),
            len: AtomicUsize::new(bytes.len()),
            message: message.into_bytes().into(),
            json: json.into_bytes().into(),
            next: ptr::null(),
        }));
        let mut first = WATCHED.load(SeqCst);
        loop {
            watched.next = first;
            match WATCHED.compare_exchange(first, watched, SeqCst, SeqCst) {
                Ok(_) => return Some(watched),
                Err(other) => first = other,
            }
        }
    }

    /// Runs in a signal handler: no allocation, no lock.
    extern "C" fn on_bus_error(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
        // SAFETY: the kernel hands a valid `info` to a handler of this kind; watched files are never freed.
        unsafe {
            let address = (*info).si_addr().addr();
            let mut at = WATCHED.load(SeqCst).cast_const();
            while let Some(file) = at.as_ref() {
                if address.wrapping_sub(file.start) < file.len.load(SeqCst) {
                    leave(&[&file.message], Some(&file.json));
                }
                at = file.next;
            }
            // Not ours: what answered before answers when the instruction is tried again.
            match BEFORE.get() {
                Some(before) => libc::sigaction(libc::SIGBUS, before, ptr::null_mut()),
                None => libc::abort(),
            };
        }
    }

    /// Tells on standard error and leaves with exit code 4. May run where nothing can be allocated. `json` is the message
    /// as a JSON string, where it is not just the message in quotes.
    pub(super) fn leave(message: &[&[u8]], json: Option<&[u8]>) -> ! {
        if LEAVES.swap(true, SeqCst) {
            // Another thread tells, whose end is this one's too.
            loop {
                // SAFETY: allowed in a signal handler.
                unsafe { libc::pause() };
            }
        }
        if let Some(document) = DOCUMENT.get() {
            write(document.stream, &document.before);
            match json {
                Some(json) => write(document.stream, json),
                None => {
                    write(document.stream, b"\"");
                    message.iter().for_each(|part| write(document.stream, part));
                    write(document.stream, b"\"");
                }
            }
            write(document.stream, &document.after);
        }
        write(libc::STDERR_FILENO, b"error: ");
        message.iter().for_each(|part| write(libc::STDERR_FILENO, part));
        write(libc::STDERR_FILENO, b"\n");
        // SAFETY: allowed in a signal handler.
        unsafe { libc::_exit(4) }
    }

    fn write(stream: libc::c_int, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            // SAFETY: the pointer is that of a live slice, and the call is allowed in a signal handler.
            let written = unsafe { libc::write(stream, bytes.as_ptr().cast(), bytes.len()) };
            match usize::try_from(written) {
                Ok(written) if written > 0 => bytes = bytes.get(written..).unwrap_or_default(),
                _ => return,
            }
        }
    }
}

/// Nothing is to be armed here.
#[cfg(not(unix))]
pub fn arm() {}

/// Nothing is told suddenly here.
#[cfg(not(unix))]
pub fn tell_as_document(_: Stream, _: &str, _: &str) {}

#[cfg(not(unix))]
#[derive(Debug)]
pub(super) struct Watched;

#[cfg(not(unix))]
impl Watched {
    pub(super) fn forget(&self) {}
}

#[cfg(not(unix))]
pub(super) fn watch(_: &[u8], _: &Path) -> Option<&'static Watched> {
    None
}
