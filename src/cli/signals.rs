//! Ctrl-C and the like.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Lets Ctrl-C and the like set `flag`, so that the run ends in order; a second one ends the program at once.
pub(super) fn watch(flag: &Arc<AtomicBool>) {
    #[cfg(unix)]
    for signal in [
        signal_hook::consts::SIGINT,
        signal_hook::consts::SIGTERM,
        signal_hook::consts::SIGHUP,
    ] {
        // Without them a signal ends the program, as it would have anyway.
        let _ = signal_hook::flag::register_conditional_shutdown(signal, 130, flag.clone());
        let _ = signal_hook::flag::register(signal, flag.clone());
    }
    #[cfg(not(unix))]
    let _ = flag;
}
