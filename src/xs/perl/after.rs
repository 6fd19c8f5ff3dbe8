//! What an XSUB does after Rust has returned: the outermost act, when nothing is left that an exception could skip.

use super::ffi::{After, CV, MAX_ARGS, MAX_CALLS, Perl, SV, SubCall};
use super::sv;
use std::ffi::{CStr, c_void};
use std::ptr::{null, null_mut};

/// What calling callbacks takes, of one interpreter.
#[derive(Clone, Copy)]
pub struct DispatchLoop {
    /// The XSUB that calls callbacks.
    sub: *mut CV,
    /// What `$@` is while it does.
    error: *mut SV,
    /// What `$_` is while it does.
    topic: *mut SV,
}

impl DispatchLoop {
    /// The loop in `sub`.
    pub fn new(perl: Perl, sub: *mut CV) -> Self {
        Self { sub, error: sv::new_string(perl, b""), topic: sv::new_undef(perl) }
    }
}

impl Default for After {
    fn default() -> Self {
        const NO_CALL: SubCall = SubCall { sub: std::ptr::null(), args: [null_mut(); MAX_ARGS] };
        Self {
            dispatch: null_mut(),
            connection: null(),
            dispatch_loop: null_mut(),
            error: null_mut(),
            topic: null_mut(),
            returns: null_mut(),
            croak: null_mut(),
            needs_fetch: false,
            exiting: false,
            calls: 0,
            call: [NO_CALL; MAX_CALLS],
        }
    }
}

impl After {
    /// Calls what the connection that hangs on `object` has to be called, before all else; the object's reference count is
    /// handed over. The loop hands `connection` back for as long as it holds the object.
    pub fn dispatching(&mut self, object: *mut SV, connection: *const c_void, dispatch_loop: DispatchLoop) {
        self.dispatch = object;
        self.connection = connection;
        self.dispatch_loop = dispatch_loop.sub;
        self.error = dispatch_loop.error;
        self.topic = dispatch_loop.topic;
    }

    /// Fetches what tied arguments hold, and calls the XSUB again. Nothing must have been done yet.
    pub fn fetching(&mut self) {
        self.needs_fetch = true;
    }

    /// Returns `value`, whose reference count is handed over.
    pub fn returning(&mut self, value: *mut SV) {
        self.returns = value;
    }

    /// Dies with `message`, whose reference count is handed over.
    pub fn croaking(&mut self, message: *mut SV) {
        self.croak = message;
    }

    /// Goes on with an `exit` that a callback called.
    pub fn exiting(&mut self) {
        self.exiting = true;
    }

    /// Calls a Perl sub, after those named before; the arguments' reference counts are handed over.
    pub fn calling<const N: usize>(&mut self, sub: &'static CStr, args: [*mut SV; N]) {
        let mut padded = [null_mut(); MAX_ARGS];
        padded[..N].copy_from_slice(&args);
        self.call[self.calls as usize] = SubCall { sub: sub.as_ptr(), args: padded };
        self.calls += 1;
    }

    /// Calls none of the subs named so far; what their arguments hold is not freed any more.
    pub fn forget_calls(&mut self) {
        self.calls = 0;
    }

    /// As [`Self::calling`], but before those named before.
    pub fn calling_first<const N: usize>(&mut self, sub: &'static CStr, args: [*mut SV; N]) {
        self.calling(sub, args);
        self.call[..self.calls as usize].rotate_right(1);
    }
}
