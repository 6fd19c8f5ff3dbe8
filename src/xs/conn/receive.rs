//! From the transport to the engine.

use super::connection::{Connection, Shared};
use super::dispatch;
use super::inbox::{Inbox, READ_SIZE};
use super::interpreter::Interpreter;
use super::perl_subs;
use crate::xs::io::descriptor::{self, Read};
use crate::xs::io::handle::Handle;
use crate::xs::io::tls::Session;
use crate::xs::io::transport::Source;
use crate::xs::perl::ffi::{self, After, HV};
use crate::xs::perl::sv;
use std::ffi::CStr;
use std::os::fd::RawFd;

/// Number of missing payload bytes from which payload is read straight into its message.
const MIN_DIRECT_READ: u64 = 16 * 1024;
/// Maximum size, in bytes, of the memory that an empty read buffer keeps.
const KEEP_READ_BUFFER: usize = 4096;

/// The result of reading from the transport.
enum Arrival {
    Read(Read),
    /// Bytes were read, but the handle's methods must continue: the TLS session ended, has something to send, or may now
    /// take what waits.
    TlsEnd,
}

/// Reads from the descriptor, which is readable. The watcher in `$handle->{_rw}` calls this.
pub fn readable(shared: &Shared, after: &mut After) {
    shared.borrow().prefetch();
    let Some(source) = shared.borrow().source() else { return read_by_handle(shared, after) };
    let connection = &mut *shared.borrow_mut();
    // In a nested event loop the handle itself may have read these bytes.
    connection.take_unread(connection.handle);
    // Bytes left over from an interrupted dispatch precede whatever the kernel still holds.
    if !connection.inbox.unread().is_empty() {
        return connection.start_dispatch(shared, after);
    }
    match connection.read(source) {
        Arrival::Read(Read::Bytes(_)) => connection.deliver(shared, after),
        Arrival::TlsEnd => {
            connection.deliver(shared, after);
            after.calling(perl_subs::DRAIN_TLS, [connection.handle().reference()]);
        }
        Arrival::Read(Read::Nothing) => connection.clear_inbox(),
        Arrival::Read(Read::Eof) => {
            connection.clear_inbox();
            connection.hang_up(after);
        }
        Arrival::Read(Read::Failed(errno)) => {
            connection.clear_inbox();
            connection.report_read_error(errno, after);
        }
    }
}

/// Lets the handle read for itself, unless it was destroyed.
fn read_by_handle(shared: &Shared, after: &mut After) {
    let connection = shared.borrow();
    let handle = connection.handle();
    if !handle.is_destroyed() {
        after.calling(perl_subs::READ_BY_HANDLE, [handle.reference()]);
    }
}

/// Handles the `on_read` callback: the handle has read something. Delivers it if messages are delivered as they arrive.
pub fn on_read(shared: &Shared, handle: *mut HV, after: &mut After) {
    shared.borrow_mut().take_unread(handle);
    if shared.borrow().is_started {
        dispatch::start(shared, after);
        watch(shared, perl_subs::READ_NATIVELY, after);
    }
}

/// Returns `true` if the handle has read the end of file and everything before it was processed: it then calls
/// `on_eof`, and never again `on_read`.
pub fn is_at_eof(shared: &Shared, handle: *mut HV) -> bool {
    let connection = shared.borrow();
    let handle = Handle::new(connection.perl(), &connection.interpreter.handle_keys, handle);
    handle.is_eof() && handle.read_buffer().is_none_or(|buffer| sv::length(buffer) == 0)
}

/// Makes [`readable`] watch the descriptor, if the handle allows reading natively. `sub` is a Perl sub that does so.
fn watch(shared: &Shared, sub: &'static CStr, after: &mut After) {
    let connection = shared.borrow();
    if connection.source().is_some() && connection.handle().is_reading() {
        connection.handle().free_empty_read_buffer();
        let handle_callback = sv::new_reference(connection.perl(), connection.handle_callback);
        after.calling(sub, [connection.handle().reference(), handle_callback]);
    }
}

/// The handle has begun to read: makes [`readable`] watch the descriptor instead, if messages are delivered as they arrive.
pub fn read_again(shared: &Shared, after: &mut After) {
    if shared.borrow().is_started {
        watch(shared, perl_subs::WATCH, after);
    }
}

impl Connection {
    /// Returns the source of bytes, if they can be read natively and are this connection's alone.
    fn source(&self) -> Option<Source> {
        let handle = self.handle();
        let is_ours = self.has_stock_handle() && handle.reads_for(self.handle_callback);
        if is_ours { Source::of(handle) } else { None }
    }

    /// Ends the connection if both Close frames were exchanged and the peer has ended its stream, too. The end of the stream often
    /// arrives together with the peer's Close frame; to notice it here saves a turn of the event loop. If this dispatch has called
    /// the program for anything but that frame, the end waits for the next turn: `finish` must come after what callbacks have
    /// postponed.
    #[inline]
    pub fn look_for_eof(&self, after: &mut After) {
        let is_over = self.engine.is_draining() && self.failure.is_none() && self.turn.is_idle() && !self.has_rest();
        let handle = self.handle();
        if !is_over || self.last_dispatch.calls > 1 || !handle.is_reading() || handle.write_buffer_len() > 0 {
            return;
        }
        let Some(Source::Plain(fd)) = self.source() else { return };
        match descriptor::peek(fd) {
            Read::Bytes(_) | Read::Nothing => {}
            Read::Eof => self.hang_up(after),
            Read::Failed(errno) => self.report_read_error(errno, after),
        }
    }

    /// Reports the end of file.
    fn hang_up(&self, after: &mut After) {
        let handle = self.handle();
        if handle.has_only_on_eof(self.handle_callback) {
            after.calling(perl_subs::HUNG_UP, [self.reference(), handle.reference()]);
        } else {
            after.calling(perl_subs::READ_EOF, [handle.reference()]);
        }
    }

    fn report_read_error(&self, errno: i32, after: &mut After) {
        let errno = sv::new_number(self.perl(), errno.unsigned_abs().into());
        after.calling(perl_subs::READ_ERROR, [self.handle().reference(), errno]);
    }

    /// Moves all unprocessed bytes from a handle's buffers to the inbox.
    pub fn take_unread(&mut self, handle: *mut HV) {
        let Self { interpreter, inbox, .. } = self;
        for buffer in Handle::new(interpreter.perl, &interpreter.handle_keys, handle).read_buffers() {
            // SAFETY: `read_buffers` yields live scalars, and reserving makes one a string of bytes.
            unsafe {
                if !ffi::ws_reserve(interpreter.perl, buffer, 0).is_null() {
                    inbox.append(&interpreter.scratch, sv::plain_octets(buffer));
                    ffi::ws_empty(interpreter.perl, buffer, KEEP_READ_BUFFER);
                }
            }
        }
    }

    /// Dispatches the bytes just read.
    fn deliver(&mut self, shared: &Shared, after: &mut After) {
        self.handle().note_read();
        self.start_dispatch(shared, after);
    }

    /// Reads once, straight into the current message if much of that is missing, or else into the inbox.
    fn read(&mut self, source: Source) -> Arrival {
        let fd = match source {
            Source::Plain(fd) => fd,
            Source::Tls(fd, session) => return self.read_tls(&session, fd),
        };
        Arrival::Read(match self.engine.payload_space() {
            Some((_, missing)) if missing >= MIN_DIRECT_READ => self.read_payload(fd, missing),
            _ => self.inbox.read(&self.interpreter.scratch, fd),
        })
    }

    /// Reads once, into the current message.
    fn read_payload(&mut self, fd: RawFd, missing: u64) -> Read {
        let Some((buffer, _)) = self.engine.payload_space() else { return Read::Nothing };
        // The length in a header is only a claim, so memory is reserved as payload arrives.
        let ahead = (buffer.len() as u64).max(MIN_DIRECT_READ).min(missing) as usize;
        self.interpreter.messages.spares.reserve(buffer, ahead, usize::try_from(missing).unwrap_or(usize::MAX));
        let at_once = (buffer.len().max(READ_SIZE) as u64).min(missing) as usize;
        let (start, room) = buffer.spare();
        // SAFETY: this is the buffer's own spare memory.
        let read = unsafe { descriptor::read(fd, start, room.min(at_once)) };
        let Read::Bytes(count) = read else { return read };
        // SAFETY: read(2) has initialised these bytes.
        unsafe { buffer.add_len(count) };
        if let Some(event) = self.engine.payload_appended(count).transpose() {
            self.queue_event(event);
        }
        read
    }

    /// Reads once, and decrypts into the inbox.
    fn read_tls(&mut self, session: &Session, fd: RawFd) -> Arrival {
        let Interpreter { scratch, encrypted_scratch, .. } = &*self.interpreter;
        let mut encrypted = Inbox::default();
        let read = encrypted.read(encrypted_scratch, fd);
        let is_drained = match read {
            Read::Bytes(_) => {
                let is_all = self.inbox.decrypt_into(scratch, |plain| session.decrypt(encrypted.unread(), plain));
                is_all && !self.handle().has_unencrypted()
            }
            _ => true,
        };
        encrypted.clear(encrypted_scratch);
        if is_drained { Arrival::Read(read) } else { Arrival::TlsEnd }
    }
}
