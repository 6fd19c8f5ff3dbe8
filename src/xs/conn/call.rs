//! The calls that the dispatch loop makes.

use super::callbacks::Pair;
use super::perl_subs;
use crate::xs::perl::ffi::{Call, MAX_ARGS, Perl, SV};
use std::ffi::{CStr, c_int};
use std::ptr::{null, null_mut};

impl Call {
    pub const EMPTY: Self = Self {
        sub: null_mut(),
        method: null(),
        args: [null_mut(); MAX_ARGS],
        count: 0,
        has_message: false,
        is_burst: false,
        owned: [null_mut(); MAX_ARGS],
    };

    /// Creates a call of a method; its arguments are freed after the call. A method named by a sub's full name is that sub.
    pub fn method<const N: usize>(name: &'static CStr, args: [*mut SV; N]) -> Self {
        let mut padded = [null_mut(); MAX_ARGS];
        padded[..N].copy_from_slice(&args);
        Self { method: name.as_ptr(), args: padded, count: N as c_int, owned: padded, ..Self::EMPTY }
    }

    pub fn next_message(callback: *mut SV, message: *mut SV) -> Self {
        let args = [message, null_mut(), null_mut()];
        Self { sub: callback, args, count: 1, has_message: true, owned: [message, callback, null_mut()], ..Self::EMPTY }
    }

    /// Creates a call of an each_message callback; `entry` is the list element that refers to the pair, and its
    /// reference count is taken over.
    #[inline]
    pub fn each_message(perl: Perl, entry: *mut SV, pair: Pair, message: *mut SV, is_nested: bool) -> Self {
        // In a nested call the outer one may still use the scalar that it was passed.
        let (unregister, once) = match is_nested {
            false => (pair.unregister_argument(perl), null_mut()),
            true => {
                let once = pair.new_unregister_argument(perl);
                (once, once)
            }
        };
        let (args, owned) = ([message, unregister, null_mut()], [message, entry, once]);
        Self { sub: pair.callback, args, count: 2, has_message: true, owned, ..Self::EMPTY }
    }

    /// Returns `true` if the call runs code of the program, or may.
    pub fn may_run_program(&self) -> bool {
        match self.method.is_null() {
            true => self.has_message && !self.sub.is_null(),
            false => self.method != perl_subs::PAIR_UP.as_ptr(),
        }
    }

    /// Creates a call of nothing, which only frees its values.
    pub fn nothing(message: *mut SV, other: *mut SV) -> Self {
        Self { has_message: true, owned: [message, other, null_mut()], ..Self::EMPTY }
    }
}
