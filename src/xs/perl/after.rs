//! What an XSUB does after Rust has returned. Only then may it run Perl code or die: no Rust frame is left that an
//! exception could skip.

use super::ffi::{After, CV, MAX_ARGS, MAX_CALLS, Perl, SV, SubCall};
use super::sv;
use std::cell::Cell;
use std::ffi::{CStr, c_void};
use std::ptr::{null, null_mut};

/// One interpreter's loop that calls callbacks.
pub struct DispatchLoop {
    /// The XSUB that calls them.
    sub: *mut CV,
    /// The value that `$@` has meanwhile.
    error: *mut SV,
    /// The value that `$_` has meanwhile.
    topic: Cell<*mut SV>,
}

impl DispatchLoop {
    /// Creates a loop that is run by the XSUB `sub`.
    pub fn new(perl: Perl, sub: *mut CV) -> Self {
        Self { sub, error: sv::new_string(perl, b""), topic: Cell::new(sv::new_undef(perl)) }
    }
}

impl Default for After {
    fn default() -> Self {
        const NO_CALL: SubCall = SubCall { name: null(), sub: null_mut(), args: [null_mut(); MAX_ARGS] };
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
            first: NO_CALL,
            calls: 0,
            call: [NO_CALL; MAX_CALLS],
        }
    }
}

impl After {
    /// First runs the dispatch loop for `connection`, which hangs on `object`; takes over a reference count of the
    /// object. The loop may pass `connection` back for as long as it holds the object.
    pub fn dispatching(&mut self, object: *mut SV, connection: *const c_void, dispatch_loop: &DispatchLoop) {
        self.dispatch = object;
        self.connection = connection;
        self.dispatch_loop = dispatch_loop.sub;
        self.error = dispatch_loop.error;
        self.topic = dispatch_loop.topic.as_ptr();
    }

    /// Fetches the values of tied arguments and runs the XSUB's body again. It must have had no effect so far.
    pub fn fetching(&mut self) {
        self.needs_fetch = true;
    }

    /// Returns `value`, and takes over its reference count.
    pub fn returning(&mut self, value: *mut SV) {
        self.returns = value;
    }

    /// Dies with `message`, and takes over its reference count.
    pub fn croaking(&mut self, message: *mut SV) {
        self.croak = message;
    }

    /// Continues the `exit` that a callback has called.
    pub fn continue_exit(&mut self) {
        self.exiting = true;
    }

    /// Calls a Perl sub after those added before it, and takes over the arguments' reference counts.
    pub fn calling<const N: usize>(&mut self, name: &'static CStr, args: [*mut SV; N]) {
        self.call[self.calls as usize] = SubCall { name: name.as_ptr(), sub: null_mut(), args: padded(args) };
        self.calls += 1;
    }

    /// Removes all calls added so far, leaking their arguments: the process is about to exit.
    pub fn forget_calls(&mut self) {
        self.calls = 0;
    }

    /// Calls a Perl sub as soon as the dispatch has ended, and takes over the arguments' reference counts.
    pub fn calling_first<const N: usize>(&mut self, name: &'static CStr, args: [*mut SV; N]) {
        self.first = SubCall { name: name.as_ptr(), sub: null_mut(), args: padded(args) };
    }

    /// The same for a reference to a sub, which something else holds.
    pub fn calling_sub_first<const N: usize>(&mut self, sub: *mut SV, args: [*mut SV; N]) {
        self.first = SubCall { name: null(), sub, args: padded(args) };
    }
}

fn padded<const N: usize>(args: [*mut SV; N]) -> [*mut SV; MAX_ARGS] {
    let mut padded = [null_mut(); MAX_ARGS];
    padded[..N].copy_from_slice(&args);
    padded
}
