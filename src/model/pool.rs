//! The threads that products are taken on.

/// Does work of many products on one of the threads that share in them. Any other thread would hand each of them over, sleep,
/// and be woken: as long as a small product takes.
pub(super) fn in_pool<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    rayon::scope(|_| work())
}
