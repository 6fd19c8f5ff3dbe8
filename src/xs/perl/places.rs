//! The addresses of Perl values, for prefetching them.

use super::ffi::{SV, SVf_POK, SVf_ROK, svtype, xpv, xpvav};
use super::sv;
use std::ffi::c_void;

/// Number of references that are followed: from a slot to a list, and from there to a pair.
const MAX_DEPTH: u32 = 2;
/// Number of elements of an array that are added.
const MAX_ELEMENTS: usize = 3;
/// Number of bytes of a string's memory that are added.
const MAX_BYTES: usize = 192;
/// Size of a cache line, in bytes. If it is larger, lines are only added twice.
pub const LINE: usize = 64;

/// Addresses, at least one in each cache line that was added. Nothing is read from them.
#[derive(Default)]
pub struct Places(Vec<*const c_void>);

impl Places {
    /// Adds a struct, which may lie in two lines.
    pub fn add<T>(&mut self, start: *const T) {
        if !start.is_null() {
            self.0.extend([start.cast(), start.wrapping_byte_add(size_of::<T>() - 1).cast()]);
        }
    }

    /// Adds a live value, and values that it refers to.
    pub fn add_value(&mut self, sv: *mut SV) {
        self.add_to_depth(sv, MAX_DEPTH);
    }

    fn add_to_depth(&mut self, sv: *mut SV, depth: u32) {
        self.add(sv);
        // SAFETY: the value is live; its type and flags show which members can be read.
        unsafe {
            let flags = (*sv).sv_flags;
            if sv::is_array(sv) {
                self.add((*sv).sv_any.cast::<xpvav>());
                self.add((*sv).sv_u.svu_array);
                let elements = sv::slots(sv.cast()).iter().filter(|element| !element.is_null());
                elements.take(MAX_ELEMENTS).for_each(|&element| self.add_to_depth(element, depth));
            } else if flags & sv::TYPE_MASK > svtype::SVt_PVMG as u32 {
                // Globs, subs and the like: only the head.
            } else if flags & SVf_ROK != 0 && depth > 0 {
                self.add_to_depth((*sv).sv_u.svu_rv, depth - 1);
            } else if flags & SVf_POK != 0 {
                self.add((*sv).sv_any.cast::<xpv>());
                let octets = (*sv).sv_u.svu_pv.cast_const();
                let offsets = (0..sv::capacity(sv).min(MAX_BYTES)).step_by(LINE);
                self.extend(offsets.map(|offset| octets.wrapping_add(offset).cast()));
            }
        }
    }

    /// Adds addresses.
    pub fn extend(&mut self, addresses: impl IntoIterator<Item = *const c_void>) {
        self.0.extend(addresses);
    }

    /// Returns the addresses in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = *const c_void> {
        self.0.iter().copied()
    }
}
