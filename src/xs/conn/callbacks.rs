//! The lists of callbacks that the Perl half keeps, as the dispatcher reads them. They are plain arrays, unless a program
//! has replaced them.

use crate::xs::perl::ffi::{self, AV, Perl, SV};
use crate::xs::perl::sv::{self, slots};

/// Returns the elements of an array, and takes a reference count of each.
pub fn elements(array: *mut AV) -> Vec<*mut SV> {
    // SAFETY: the array is live, and no Perl code runs.
    unsafe { slots(array) }.iter().filter(|element| !element.is_null()).map(|&element| sv::retain(element)).collect()
}

/// Returns `true` if the Perl half has yet to pair callbacks with their unregister subs. It does so late, because pairs take
/// more memory.
pub fn has_unpaired(list: *mut AV) -> bool {
    // SAFETY: the array is live, and no Perl code runs.
    let mut entries = unsafe { slots(list) }.iter().filter(|entry| !entry.is_null());
    entries.any(|&entry| !sv::referent(entry).is_some_and(sv::is_plain_array))
}

/// A paired each_message callback: an array of the callback, the sub that unregisters it, and perhaps the scalar with
/// which that sub was last passed to the callback.
#[derive(Clone, Copy)]
pub struct Pair {
    pub callback: *mut SV,
    array: *mut AV,
    /// The sub itself, not a reference to it.
    unregister: *mut SV,
    last_argument: *mut SV,
}

impl Pair {
    /// Returns the pair of a list element; `None` if the element is not paired.
    #[inline]
    pub fn of(entry: *mut SV) -> Option<Self> {
        if entry.is_null() {
            return None;
        }
        let array = sv::referent(entry).filter(|&array| sv::is_plain_array(array))?.cast();
        // SAFETY: the array is live, and no Perl code runs.
        match *unsafe { slots(array) } {
            [callback, unregister, ref rest @ ..] if !callback.is_null() && !unregister.is_null() => Some(Self {
                callback,
                array,
                unregister: sv::referent(unregister)?,
                last_argument: rest.first().copied().unwrap_or(std::ptr::null_mut()),
            }),
            _ => None,
        }
    }

    /// Returns a reference to the unregister sub, as a scalar that belongs to the callback. It reuses the last one,
    /// unless that has been changed or kept.
    #[inline]
    pub fn unregister_argument(self, perl: Perl) -> *mut SV {
        if !self.last_argument.is_null() && sv::is_sole_reference_to(self.last_argument, self.unregister) {
            return self.last_argument;
        }
        let new = self.new_unregister_argument(perl);
        // SAFETY: the array is live.
        unsafe { ffi::ws_replace_element(perl, self.array, 2, new) };
        new
    }

    /// Returns a reference to the unregister sub in a new scalar, whose reference count the caller owns.
    pub fn new_unregister_argument(self, perl: Perl) -> *mut SV {
        sv::new_reference(perl, self.unregister)
    }
}
