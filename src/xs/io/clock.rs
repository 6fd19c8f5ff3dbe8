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
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a struct of ours, for a clock that every system has.
    unsafe { libc::clock_gettime(clock, &raw mut now) };
    now
}
