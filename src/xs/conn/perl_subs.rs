//! The Perl subs that an XSUB may call after Rust has returned, or the dispatch loop, with their arguments. None is in the
//! class of connections, where a program's subclass may have a sub of the same name.

use std::ffi::CStr;

/// `(connection)`: a send left bytes queued, and the program wants to know the backlog.
pub const BACKLOGGED: &CStr = c"AnyEvent::WebSocket::Native::Backpressure::backlogged";
/// `(connection)`: control has returned to the event loop.
pub const BEGIN: &CStr = c"AnyEvent::WebSocket::Native::Loop::begin";
/// `(handle)`: discard the bytes that the handle has read.
pub const DISCARD: &CStr = c"AnyEvent::WebSocket::Native::Handle::discard";
/// `(handle)`: write what is queued, by the handle's own method.
pub const DRAIN: &CStr = c"AnyEvent::WebSocket::Native::Handle::drain";
/// `(handle)`: let the handle's TLS session proceed, then write what is queued.
pub const DRAIN_TLS: &CStr = c"AnyEvent::WebSocket::Native::Handle::drain_tls";
/// `(handle, bytes)`: queue the bytes and write.
pub const PUSH_WRITE: &CStr = c"AnyEvent::WebSocket::Native::Handle::push_write";
/// `(handle)`: the peer closed its end.
pub const READ_EOF: &CStr = c"AnyEvent::WebSocket::Native::Handle::read_eof";
/// `(handle, errno)`: read(2) failed.
pub const READ_ERROR: &CStr = c"AnyEvent::WebSocket::Native::Handle::read_error";
/// `(handle, errno)`: write(2) failed.
pub const WRITE_ERROR: &CStr = c"AnyEvent::WebSocket::Native::Handle::write_error";
/// `(handle)`: let the handle read for itself.
pub const READ_BY_HANDLE: &CStr = c"AnyEvent::WebSocket::Native::Handle::read_by_handle";
/// `(handle, callback)`: read natively, unless the program has destroyed the handle or stopped reading.
pub const READ_NATIVELY: &CStr = c"AnyEvent::WebSocket::Native::Handle::read_natively";
/// `(handle, callback)`: read natively.
pub const WATCH: &CStr = c"AnyEvent::WebSocket::Native::Handle::watch";
/// `(connection)`: arm the nested-loop guard, because a burst begins.
pub const BEGIN_BURST: &CStr = c"AnyEvent::WebSocket::Native::Loop::begin_burst";
/// `(connection)`: disarm the nested-loop guard, unless it is shared, because the burst is over.
pub const DISARM_GUARD: &CStr = c"AnyEvent::WebSocket::Native::Loop::disarm_guard";
/// `(connection)`: start the timer that frees the compression window of sent messages when it is idle.
pub const EXPECT_IDLENESS: &CStr = c"AnyEvent::WebSocket::Native::Compression::expect_idleness";
/// `(connection)`: resume the dispatch in the loop's next iteration, by the timer of the nested-loop guard, unless that is shared.
pub const YIELD_TO_LOOP: &CStr = c"AnyEvent::WebSocket::Native::Loop::yield_to_loop";
/// `(connection, handle)`: the peer closed its end, which the handle only has to note.
pub const HUNG_UP: &CStr = c"AnyEvent::WebSocket::Native::Closing::hung_up";
/// `(connection, error or undef)`: the transport is closed.
pub const FINISH: &CStr = c"AnyEvent::WebSocket::Native::Closing::finish";
/// `(connection, lines)`: log the recorded frames.
pub const TRACE: &CStr = c"AnyEvent::WebSocket::Native::Inspection::trace";
/// `(connection)`: the connection has failed; call the program's callbacks.
pub const FAILED: &CStr = c"AnyEvent::WebSocket::Native::Closing::failed";
/// `(connection, message or string)`: send something that only Perl code can read.
pub const SEND_ANYTHING: &CStr = c"AnyEvent::WebSocket::Native::Formats::send_anything";
/// `(connection, address)`: unregister the each_message callback at that address.
pub const UNREGISTER_EACH: &CStr = c"AnyEvent::WebSocket::Native::Events::unregister_each";
/// `(connection, message, is_final)`: call the callbacks for a part of a message.
pub const CHUNK_RECEIVED: &CStr = c"AnyEvent::WebSocket::Native::Streaming::chunk_received";
/// `(connection, event, payload if it has one)`: call the callbacks for an event.
pub const CALL_BACK: &CStr = c"AnyEvent::WebSocket::Native::Events::call_back";
/// `(connection)`: answer the last ping once the peer reads.
pub const EXPECT_DRAIN: &CStr = c"AnyEvent::WebSocket::Native::Backpressure::expect_drain";
/// `(connection, code or undef, reason, is_valid)`: set the attributes and, if the Close frame is valid, answer it.
pub const CLOSE_RECEIVED: &CStr = c"AnyEvent::WebSocket::Native::Closing::close_received";
