//! Masking keys from the operating system's generator, drawn in bulk.

use crate::engine::MaskKey;
use std::cell::RefCell;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

const POOL_KEYS: usize = 256;

/// Counts forks: a child has another number than its parent, and so uses nothing that was drawn before it was born.
static FORKS: AtomicU32 = AtomicU32::new(0);
static WATCH_FORKS: Once = Once::new();

struct Pool {
    keys: [MaskKey; POOL_KEYS],
    next: usize,
    forks: u32,
}

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { keys: [[0; 4]; POOL_KEYS], next: POOL_KEYS, forks: 0 }) };
}

/// A number that differs between a process and its children.
pub fn fork_generation() -> u32 {
    FORKS.load(Ordering::Relaxed)
}

/// Starts counting forks.
pub fn watch_forks() {
    extern "C" fn in_child() {
        FORKS.fetch_add(1, Ordering::Relaxed);
    }
    WATCH_FORKS.call_once(|| {
        // SAFETY: the handler only touches an atomic, which is allowed in a child of any process.
        unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    });
}

/// A key nobody can predict, never used before.
///
/// # Errors
/// If the operating system has no random bytes to give.
pub fn next_key() -> Result<MaskKey, getrandom::Error> {
    POOL.with_borrow_mut(|pool| {
        if pool.next == POOL_KEYS || pool.forks != fork_generation() {
            getrandom::fill(pool.keys.as_flattened_mut())?;
            pool.next = 0;
            pool.forks = fork_generation();
        }
        let key = pool.keys[pool.next];
        pool.next += 1;
        Ok(key)
    })
}
