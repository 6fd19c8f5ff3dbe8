//! The two clocks: one that only goes forward, and the time of day as AnyEvent has it.

use crate::engine::Nanos;

/// The time on the clock that only goes forward.
pub fn monotonic() -> Nanos {
    let now = read(libc::CLOCK_MONOTONIC);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// The time of day, seconds since the epoch.
pub fn wall() -> f64 {
    let now = read(libc::CLOCK_REALTIME);
    now.tv_sec as f64 + now.tv_nsec as f64 * 1e-9
}

fn read(clock: libc::clockid_t) -> libc::timespec {
    // SAFETY: a struct of integers, which on some systems has more than the two; and a clock that every system has.
    unsafe {
        let mut now = std::mem::zeroed();
        libc::clock_gettime(clock, &raw mut now);
        now
    }
}
