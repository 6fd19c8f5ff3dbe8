//! The shim's subs that an XSUB may end in, with what they are called with.

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
/// `(connection, lines)`: log what frames have come and gone.
pub const TRACE: &CStr = c"AnyEvent::WebSocket::Connection::_trace";
/// `(connection)`: it is down; tell the program.
pub const FAILED: &CStr = c"AnyEvent::WebSocket::Connection::_failed";
/// `(connection, message or bytes)`: a send whose argument takes Perl code to read.
pub const SEND_ANYTHING: &CStr = c"AnyEvent::WebSocket::Connection::_send_anything";
