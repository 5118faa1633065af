//! Asking for memory before it is needed. Rows of weights are read in pieces, tile by tile, which the processor's own
//! foresight, ending at each page, does not follow: without this, decoding waits for memory more than half of its time.
#![allow(unsafe_code)]

/// Bytes a line of the cache.
pub(super) const LINE: usize = 64;

/// How near to the processor bytes are fetched. Of those that come only into the second-level cache more can be on their way.
#[derive(Clone, Copy)]
pub(super) enum Cache {
    First,
    Second,
}

/// Has the processor fetch these bytes while it goes on; does nothing where it cannot be asked.
#[inline(always)]
pub(super) fn prefetch(bytes: &[u8]) {
    for line in bytes.chunks(LINE) {
        prefetch_at(line.as_ptr(), Cache::First);
    }
}

/// Has the processor fetch the line at an address, of which it may make nothing.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(super) fn prefetch_at(address: *const u8, cache: Cache) {
    use std::arch::x86_64::{_MM_HINT_T0, _MM_HINT_T1, _mm_prefetch};
    // SAFETY: a prefetch reads nothing that the program could see, and faults nowhere.
    unsafe {
        match cache {
            Cache::First => _mm_prefetch::<_MM_HINT_T0>(address.cast()),
            Cache::Second => _mm_prefetch::<_MM_HINT_T1>(address.cast()),
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
pub(super) fn prefetch_at(_: *const u8, _: Cache) {}
