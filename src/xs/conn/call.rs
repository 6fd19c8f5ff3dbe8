//! The calls that the dispatch loop makes.

use crate::xs::perl::ffi::{Call, CallKind, MAX_ARGS, SV};
use std::ffi::{CStr, c_int};
use std::ptr::{null, null_mut};

impl Call {
    const NOTHING: Self = Self {
        kind: CallKind::WS_NOTHING,
        sub: null_mut(),
        name: null(),
        args: [null_mut(); MAX_ARGS],
        count: 0,
        owned: [null_mut(); MAX_ARGS],
    };

    /// Creates a call of nothing, which only frees its values.
    pub fn nothing(message: *mut SV, other: *mut SV) -> Self {
        Self { owned: [message, other, null_mut()], ..Self::NOTHING }
    }

    /// Creates a call of the connection's method with this name; its arguments are freed after the call.
    pub fn method<const N: usize>(name: &'static CStr, args: [*mut SV; N]) -> Self {
        Self { kind: CallKind::WS_METHOD, ..Self::perl_sub(name, args) }
    }

    /// Creates a call of the sub of the Perl half with this name; its arguments are freed after the call.
    pub fn perl_sub<const N: usize>(name: &'static CStr, args: [*mut SV; N]) -> Self {
        let mut padded = [null_mut(); MAX_ARGS];
        padded[..N].copy_from_slice(&args);
        Self {
            kind: CallKind::WS_PERL_SUB,
            name: name.as_ptr(),
            args: padded,
            count: N as c_int,
            owned: padded,
            ..Self::NOTHING
        }
    }

    /// Creates the call that begins a burst: the sub, if there is one, arms the guard against nested event loops. Takes over the
    /// reference count of its argument.
    pub fn begin_burst(arm_guard: Option<(*mut SV, *mut SV)>) -> Self {
        let (sub, argument) = arm_guard.unwrap_or((null_mut(), null_mut()));
        let args = [argument, null_mut(), null_mut()];
        Self { kind: CallKind::WS_BEGIN_BURST, sub, args, count: 1, owned: args, ..Self::NOTHING }
    }

    /// Creates a call of a next_message callback; takes over the reference counts of both.
    pub fn next_message(callback: *mut SV, message: *mut SV) -> Self {
        let args = [message, null_mut(), null_mut()];
        let owned = [message, callback, null_mut()];
        Self { kind: CallKind::WS_CALLBACK, sub: callback, args, count: 1, owned, ..Self::NOTHING }
    }

    /// Creates a call of an each_message callback with a reference to the sub that unregisters it; takes over the reference
    /// counts of all three.
    #[inline]
    pub fn each_message(callback: *mut SV, message: *mut SV, unregister: *mut SV) -> Self {
        let args = [message, unregister, null_mut()];
        let owned = [message, callback, unregister];
        Self { kind: CallKind::WS_CALLBACK, sub: callback, args, count: 2, owned, ..Self::NOTHING }
    }

    /// Returns the message of the call, if it is about one.
    pub fn message(&self) -> Option<*mut SV> {
        let has_message = matches!(self.kind, CallKind::WS_NOTHING | CallKind::WS_CALLBACK);
        Some(self.owned[0]).filter(|message| has_message && !message.is_null())
    }

    /// Returns the reference to the sub that an each_message callback was passed.
    pub fn unregister_sub(&self) -> Option<*mut SV> {
        (self.kind == CallKind::WS_CALLBACK && self.count == 2).then_some(self.args[1])
    }

    /// Returns `true` if the call runs code of the program, or may.
    pub fn may_run_program(&self) -> bool {
        match self.kind {
            CallKind::WS_NOTHING | CallKind::WS_BEGIN_BURST => false,
            CallKind::WS_CALLBACK | CallKind::WS_METHOD | CallKind::WS_PERL_SUB => true,
        }
    }
}
