//! What an XSUB does after Rust has returned: the outermost act, when nothing is left that an exception could skip.

use super::ffi::{CV, SV};
use super::message::Messages;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::{null, null_mut};

/// The shim's subs that an XSUB may end in.
pub mod shim {
    use std::ffi::CStr;

    /// `(connection)`: something may wait for the peer to read, and the program wants to know of that.
    pub const BACKLOGGED: &CStr = c"AnyEvent::WebSocket::Connection::_backlogged";
    /// `(connection)`: control is back in the event loop.
    pub const BEGIN: &CStr = c"AnyEvent::WebSocket::Connection::_begin";
    /// `(handle)`: forget what it has read.
    pub const DISCARD: &CStr = c"AnyEvent::WebSocket::Native::Handle::discard";
    /// `(handle)`: write what is queued, the handle's own way.
    pub const DRAIN: &CStr = c"AnyEvent::WebSocket::Native::Handle::drain";
    /// `(handle)`: encrypt and write what is queued.
    pub const DRAIN_TLS: &CStr = c"AnyEvent::WebSocket::Native::Handle::drain_tls";
    /// `(handle, octets)`: queue and write.
    pub const PUSH_WRITE: &CStr = c"AnyEvent::WebSocket::Native::Handle::push_write";
    /// `(handle)`: the peer's end of file was read.
    pub const READ_EOF: &CStr = c"AnyEvent::WebSocket::Native::Handle::read_eof";
    /// `(handle, errno)`: read(2) failed.
    pub const READ_ERROR: &CStr = c"AnyEvent::WebSocket::Native::Handle::read_error";
    /// `(handle, errno)`: write(2) failed.
    pub const WRITE_ERROR: &CStr = c"AnyEvent::WebSocket::Native::Handle::write_error";
    /// `(handle)`: let the handle read for itself.
    pub const READ_BY_HANDLE: &CStr = c"AnyEvent::WebSocket::Native::Handle::read_by_handle";
    /// `(handle, callback)`: read natively, unless reading is stopped.
    pub const READ_NATIVELY: &CStr = c"AnyEvent::WebSocket::Native::Handle::read_natively";
    /// `(connection)`: a dispatch with more than one frame is over.
    pub const FORGET_RECURSION: &CStr = c"AnyEvent::WebSocket::Connection::_forget_recursion";
    /// `(connection)`: memory is kept for what was sent.
    pub const EXPECT_IDLENESS: &CStr = c"AnyEvent::WebSocket::Connection::_expect_idleness";
    /// `(connection)`: a dispatch has left something to the loop's next turn; the timer against recursion goes on with it.
    pub const GO_ON_LATER: &CStr = c"AnyEvent::WebSocket::Connection::_go_on_later";
    /// `(connection, error or undef)`: the transport is gone.
    pub const FINISH: &CStr = c"AnyEvent::WebSocket::Connection::_finish";
    /// `(connection, text or exception, is_exception)`: it is going down, for this reason.
    pub const FAILING: &CStr = c"AnyEvent::WebSocket::Connection::_failing";
    /// `(connection, lines)`: log what frames have come and gone.
    pub const TRACE: &CStr = c"AnyEvent::WebSocket::Connection::_trace";
    /// `(connection)`: it is down; tell the program.
    pub const FAILED: &CStr = c"AnyEvent::WebSocket::Connection::_failed";
    /// `(connection, message or bytes)`: a send whose argument takes Perl code to read.
    pub const SEND_ANYTHING: &CStr = c"AnyEvent::WebSocket::Connection::_send_anything";
}

const MAX_CALLS: usize = 8;
const MAX_ARGS: usize = 3;

#[repr(C)]
struct SubCall {
    sub: *const c_char,
    args: [*mut SV; MAX_ARGS],
}

/// Filled in by Rust, carried out by the trampoline in `glue.c`, where the same struct stands.
#[repr(C)]
pub struct After {
    dispatch: *mut SV,
    connection: *const c_void,
    dispatch_loop: *mut CV,
    error: *mut SV,
    topic: *mut SV,
    returns: *mut SV,
    croak: *mut SV,
    needs_fetch: c_int,
    exiting: c_int,
    calls: c_int,
    call: [SubCall; MAX_CALLS],
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
            needs_fetch: 0,
            exiting: 0,
            calls: 0,
            call: [NO_CALL; MAX_CALLS],
        }
    }
}

impl After {
    /// Calls what the connection that hangs on `object` has to be called, before all else; the object's reference count is
    /// handed over. The loop hands `connection` back to [`super::boot`] for as long as it holds the object.
    pub fn dispatching(&mut self, object: *mut SV, connection: *const c_void, messages: &Messages) {
        self.dispatch = object;
        self.connection = connection;
        self.dispatch_loop = messages.dispatch_loop;
        self.error = messages.error;
        self.topic = messages.topic;
    }

    /// Fetches what tied arguments hold, and calls the XSUB again. Nothing must have been done yet.
    pub fn fetching(&mut self) {
        self.needs_fetch = 1;
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
        self.exiting = 1;
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
