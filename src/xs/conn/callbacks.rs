//! The lists of callbacks that the Perl half keeps, as the dispatcher reads them. They are plain arrays, unless a program
//! has replaced them.

use crate::xs::perl::ffi::{AV, SV};
use crate::xs::perl::sv::{self, slots};

/// Returns the elements of an array, and takes a reference count of each.
pub fn elements(array: *mut AV) -> Vec<*mut SV> {
    // SAFETY: the array is live, and no Perl code runs.
    unsafe { slots(array) }.iter().filter(|element| !element.is_null()).map(|&element| sv::retain(element)).collect()
}
