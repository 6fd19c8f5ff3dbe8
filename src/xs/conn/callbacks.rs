//! The shim's lists of callbacks, as the dispatcher reads them: plain arrays, unless a program has put something else there.

use crate::xs::perl::ffi::{self, AV, Perl, SV};
use crate::xs::perl::sv::{self, slots};

/// The elements of an array that are there, each kept alive for the caller.
pub fn elements(array: *mut AV) -> Vec<*mut SV> {
    // SAFETY: a live array, and no Perl code runs.
    unsafe { slots(array) }.iter().filter(|element| !element.is_null()).map(|&element| sv::retain(element)).collect()
}

/// Whether the shim has yet to make pairs of callbacks: those alone take less memory.
pub fn has_unpaired(list: *mut AV) -> bool {
    // SAFETY: a live array, and no Perl code runs.
    let mut entries = unsafe { slots(list) }.iter().filter(|entry| !entry.is_null());
    entries.any(|&entry| !sv::referent(entry).is_some_and(sv::is_plain_array))
}

/// What an element of the list of each_message callbacks refers to once it has been paired: an array of the callback, the sub
/// that unregisters it, and perhaps the scalar in which that sub was handed out last.
#[derive(Clone, Copy)]
pub struct Pair {
    pub callback: *mut SV,
    array: *mut AV,
    /// The sub itself.
    unregister: *mut SV,
    handed_out: *mut SV,
}

impl Pair {
    /// The pair of an element; `None` if it is none, or none yet.
    #[inline]
    pub fn of(entry: *mut SV) -> Option<Self> {
        if entry.is_null() {
            return None;
        }
        let array = sv::referent(entry).filter(|&array| sv::is_plain_array(array))?.cast();
        // SAFETY: a live array, and no Perl code runs.
        match *unsafe { slots(array) } {
            [callback, unregister, ref rest @ ..] if !callback.is_null() && !unregister.is_null() => Some(Self {
                callback,
                array,
                unregister: sv::referent(unregister)?,
                handed_out: rest.first().copied().unwrap_or(std::ptr::null_mut()),
            }),
            _ => None,
        }
    }

    /// A reference to the sub that unregisters the callback, in a scalar that is the callback's own: the one that was handed
    /// out last, unless it has been changed or kept.
    #[inline]
    pub fn hand_out(self, perl: Perl) -> *mut SV {
        if !self.handed_out.is_null() && sv::is_sole_reference_to(self.handed_out, self.unregister) {
            return self.handed_out;
        }
        let new = self.hand_out_once(perl);
        // SAFETY: a live array.
        unsafe { ffi::ws_replace_element(perl, self.array, 2, new) };
        new
    }

    /// As [`Self::hand_out`], but in a scalar whose reference count is handed over.
    pub fn hand_out_once(self, perl: Perl) -> *mut SV {
        sv::new_reference(perl, self.unregister)
    }
}
