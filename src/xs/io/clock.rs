//! The monotonic clock and the time of day.

use crate::engine::Nanos;

/// Returns the time of the monotonic clock.
pub fn monotonic() -> Nanos {
    let now = read(libc::CLOCK_MONOTONIC);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Returns the time of day, in seconds since the epoch, as AnyEvent does.
pub fn wall() -> f64 {
    let now = read(libc::CLOCK_REALTIME);
    now.tv_sec as f64 + now.tv_nsec as f64 * 1e-9
}

fn read(clock: libc::clockid_t) -> libc::timespec {
    // SAFETY: `timespec` consists of integers, so zero is a valid value; `now` is valid for writing.
    unsafe {
        let mut now = std::mem::zeroed();
        libc::clock_gettime(clock, &raw mut now);
        now
    }
}
