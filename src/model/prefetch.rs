//! Asking for memory before it is needed. Rows of weights are read in pieces, tile by tile, which the processor's own
//! foresight, ending at each page, does not follow: without this, decoding waits for memory more than half of its time.
#![allow(unsafe_code)]

/// Bytes a line of the cache.
const LINE: usize = 64;

/// Has the processor fetch these items while it goes on; does nothing where it cannot be asked.
#[inline(always)]
pub(super) fn prefetch<T>(items: &[T]) {
    for line in items.chunks(LINE / size_of::<T>()) {
        prefetch_line(line);
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn prefetch_line<T>(line: &[T]) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: a prefetch reads nothing that the program could see, and faults nowhere.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn prefetch_line<T>(_: &[T]) {}
