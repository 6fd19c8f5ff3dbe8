//! Prefetches the memory that a message touches.
//!
//! A message touches some sixty cache lines that belong to its connection alone: slots of two hashes, the file handle, the
//! lists of callbacks, and the state here. With hundreds of connections hardly any of them is in a cache near the
//! processor, and as each is found through another one, the processor would wait for one after the other. So a connection
//! remembers their addresses, and prefetches all of them at once.
//!
//! A prefetch does not read memory, so an address that is out of date does no harm, and only costs a little time.

use crate::xs::perl::ffi::{self, FOOTPRINT};
use crate::xs::perl::places::{LINE, Places};
use std::ffi::c_void;

/// After this many dispatches the lines are looked up again.
const LASTS: u8 = 250;
/// The age of a new footprint. The first dispatches create slots, and many connections have no other dispatches.
const INITIAL_AGE: u8 = LASTS - 4;

/// The cache lines that a dispatch of one connection touches.
pub struct Footprint {
    /// The lines; `None` before they were looked up, which saves the memory of connections that are hardly used.
    lines: Option<Box<Lines>>,
    /// Number of dispatches since the lines were looked up.
    age: u8,
}

/// Distances of cache lines from this struct, in bytes. Unused ones are 0.
struct Lines([i32; FOOTPRINT]);

impl Default for Footprint {
    fn default() -> Self {
        Self { lines: None, age: INITIAL_AGE }
    }
}

impl Footprint {
    /// Prefetches all lines, and all of `state`.
    pub fn prefetch<T>(&self, state: *const T) {
        let Some(lines) = &self.lines else { return };
        // SAFETY: there are as many distances as `ws_prefetch` expects.
        unsafe { ffi::ws_prefetch(state.cast(), size_of::<T>(), lines.start(), lines.0.as_ptr()) };
    }

    /// Counts a dispatch. Returns `true` if the lines must be looked up again.
    pub fn note_dispatch(&mut self) -> bool {
        self.age = self.age.saturating_add(1);
        self.age > LASTS
    }

    /// Remembers the first of these places, as many as there is room for.
    #[cold]
    pub fn remember(&mut self, places: &Places) {
        self.lines.get_or_insert_with(|| Box::new(Lines([0; FOOTPRINT]))).remember(places);
        self.age = 0;
    }
}

impl Lines {
    fn remember(&mut self, places: &Places) {
        let start = self.start() as isize;
        let mut distances = Vec::with_capacity(FOOTPRINT);
        for address in places.iter() {
            let line = (address as usize / LINE * LINE) as isize;
            // An address too far away for a distance of 32 bits is not prefetched.
            let distance = i32::try_from(line.wrapping_sub(start)).unwrap_or(0);
            if distances.len() < FOOTPRINT && !distances.contains(&distance) {
                distances.push(distance);
            }
        }
        distances.resize(FOOTPRINT, 0);
        self.0.copy_from_slice(&distances);
    }

    /// Returns the address from which distances count.
    fn start(&self) -> *const c_void {
        (&raw const *self).cast()
    }
}
