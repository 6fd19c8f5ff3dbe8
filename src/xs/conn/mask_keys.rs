//! Masking keys from the operating system's generator, drawn in bulk.

use crate::engine::MaskKey;
use crate::xs::perl::fork;
use std::cell::RefCell;

/// Number of keys drawn at a time.
const POOL_KEYS: usize = 256;

/// Keys drawn in advance.
struct Pool {
    keys: [MaskKey; POOL_KEYS],
    next: usize,
    /// The fork generation in which they were drawn: a child must not use the keys of its parent.
    forks: u32,
}

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { keys: [[0; 4]; POOL_KEYS], next: POOL_KEYS, forks: 0 }) };
}

/// Returns a masking key that is unpredictable and new.
///
/// # Errors
/// The operating system has no random bytes to give.
pub fn next_key() -> Result<MaskKey, getrandom::Error> {
    POOL.with_borrow_mut(|pool| {
        if pool.next == POOL_KEYS || pool.forks != fork::generation() {
            getrandom::fill(pool.keys.as_flattened_mut())?;
            pool.next = 0;
            pool.forks = fork::generation();
        }
        let key = pool.keys[pool.next];
        pool.next += 1;
        Ok(key)
    })
}
