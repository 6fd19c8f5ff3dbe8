//! Detects forks.

use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

/// Incremented in each child, so that it differs from the parent's.
static FORKS: AtomicU32 = AtomicU32::new(0);
static WATCH_FORKS: Once = Once::new();

/// Returns a number that differs between a process and its children.
pub fn generation() -> u32 {
    FORKS.load(Ordering::Relaxed)
}

/// Starts counting forks.
pub fn watch() {
    extern "C" fn in_child() {
        FORKS.fetch_add(1, Ordering::Relaxed);
    }
    WATCH_FORKS.call_once(|| {
        // SAFETY: the handler only changes an atomic, which is async-signal-safe.
        unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    });
}
