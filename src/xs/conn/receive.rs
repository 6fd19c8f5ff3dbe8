//! From the transport to the engine.

use super::connection::{Connection, Shared};
use super::dispatch;
use super::inbox::{Inbox, READ_SIZE};
use super::shim;
use crate::xs::io::descriptor::{self, Read};
use crate::xs::io::handle::Handle;
use crate::xs::io::tls::Session;
use crate::xs::perl::ffi::{self, After, HV};
use crate::xs::perl::sv;
use std::os::fd::RawFd;

/// A payload of which so much is missing, bytes, is read straight into its message.
const MIN_DIRECT_READ: u64 = 16 * 1024;
/// A read buffer that has been emptied keeps at most this much memory, bytes.
const KEEP_READ_BUFFER: usize = 4096;

/// The descriptor is readable: called by the watcher in `$handle->{_rw}`.
pub fn readable(shared: &Shared, after: &mut After) {
    let fd = {
        let connection = shared.borrow();
        let handle = connection.handle();
        let Some(fd) = handle.fd() else { return };
        let is_ours = connection.has_usual_handle() && handle.reads_for(connection.hook);
        if !is_ours || handle.is_tls() && Session::of(handle).is_none() {
            return after.calling(shim::READ_BY_HANDLE, [handle.reference()]);
        }
        fd
    };
    // Read by the handle while a callback of this connection ran the event loop.
    let handle = shared.borrow().handle;
    take_over(shared, handle);
    // Left over if a callback of this connection runs the event loop: they come before what is still in the kernel.
    if !shared.borrow().inbox.rest().is_empty() {
        return dispatch::pump(shared, after);
    }
    match read(shared, fd) {
        Read::Bytes(_) => {
            shared.borrow().handle().note_read();
            dispatch::pump(shared, after);
        }
        Read::TlsEnd => {
            shared.borrow().handle().note_read();
            dispatch::pump(shared, after);
            after.calling(shim::DRAIN_TLS, [shared.borrow().handle().reference()]);
        }
        Read::Nothing => shared.borrow_mut().clear_inbox(),
        Read::Eof => {
            shared.borrow_mut().clear_inbox();
            after.calling(shim::READ_EOF, [shared.borrow().handle().reference()]);
        }
        Read::Failed(errno) => {
            shared.borrow_mut().clear_inbox();
            let errno = sv::new_number(shared.borrow().perl(), errno.unsigned_abs().into());
            after.calling(shim::READ_ERROR, [shared.borrow().handle().reference(), errno]);
        }
    }
}

/// Whether the handle has nothing more to offer: then it calls `on_eof`, and never `on_read`.
pub fn is_at_eof(shared: &Shared, handle: *mut HV) -> bool {
    let connection = shared.borrow();
    let handle = Handle::new(connection.perl(), &connection.interpreter.handle_keys, handle);
    handle.is_eof() && handle.read_buffer().is_none_or(|buffer| sv::length(buffer) == 0)
}

/// Reads once: into the message that is being received, if much of it is missing, else into the inbox.
fn read(shared: &Shared, fd: RawFd) -> Read {
    let connection = &mut *shared.borrow_mut();
    let session = Session::of(connection.handle());
    if let Some(session) = session {
        return read_tls(connection, &session, fd);
    }
    let Some((buffer, missing)) = connection.engine.payload_space().filter(|(_, m)| *m >= MIN_DIRECT_READ) else {
        return connection.inbox.read(&connection.interpreter.scratch, fd);
    };
    // A length in a header is a claim: memory is taken as the payload arrives.
    let ahead = (buffer.len() as u64).max(MIN_DIRECT_READ).min(missing) as usize;
    connection.interpreter.messages.spares.reserve(buffer, ahead, usize::try_from(missing).unwrap_or(usize::MAX));
    let at_once = (buffer.len().max(READ_SIZE) as u64).min(missing) as usize;
    let (start, room) = buffer.spare();
    // SAFETY: the buffer's own spare memory.
    let read = unsafe { descriptor::read(fd, start, room.min(at_once)) };
    let Read::Bytes(count) = read else { return read };
    // SAFETY: read(2) has initialised them.
    unsafe { buffer.add_len(count) };
    if let Some(event) = connection.engine.payload_appended(count).transpose() {
        connection.queue(event);
    }
    read
}

/// Reads once, and decrypts to the inbox.
fn read_tls(connection: &mut Connection, session: &Session, fd: RawFd) -> Read {
    let scratch = &connection.interpreter.scratch;
    let mut encrypted = Inbox::default();
    let read = encrypted.read(scratch, fd);
    connection.inbox.make_room(scratch);
    let goes_on = match read {
        Read::Bytes(_) => session.decrypt(encrypted.rest(), &mut connection.inbox.bytes),
        _ => true,
    };
    encrypted.clear(scratch);
    if goes_on { read } else { Read::TlsEnd }
}

/// The handle has read: the `on_read` callback.
pub fn on_read(shared: &Shared, handle: *mut HV, after: &mut After) {
    take_over(shared, handle);
    if shared.borrow().is_started {
        dispatch::pump(shared, after);
        read_natively(shared, after);
    }
}

/// Takes all that a handle has read.
pub fn take_over(shared: &Shared, handle: *mut HV) {
    let Connection { interpreter, inbox, .. } = &mut *shared.borrow_mut();
    for buffer in Handle::new(interpreter.perl, &interpreter.handle_keys, handle).read_buffers() {
        // SAFETY: `buffer` is live; reserving makes it a string of octets.
        unsafe {
            if !ffi::ws_reserve(interpreter.perl, buffer, 0).is_null() {
                inbox.append(&interpreter.scratch, sv::plain_octets(buffer));
                ffi::ws_empty(interpreter.perl, buffer, KEEP_READ_BUFFER);
            }
        }
    }
}

/// Has the descriptor watched by [`readable`], if that will do for this handle.
fn read_natively(shared: &Shared, after: &mut After) {
    let connection = shared.borrow();
    let handle = connection.handle();
    let is_readable = !handle.is_tls() || Session::of(handle).is_some();
    if is_readable
        && connection.has_usual_handle()
        && handle.fd().is_some()
        && handle.is_reading()
        && handle.reads_for(connection.hook)
    {
        let hook = sv::new_reference(connection.perl(), connection.hook);
        after.calling(shim::READ_NATIVELY, [handle.reference(), hook]);
    }
}
