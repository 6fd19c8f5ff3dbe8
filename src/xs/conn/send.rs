//! Sends frames.

use super::connection::{Connection, Engine};
use super::mask_keys;
use super::outbox::Place;
use super::perl_subs;
use crate::engine::{
    CloseCode, MAX_CONTROL_PAYLOAD, MAX_HEADER_LEN, MaskKey, Opcode, ProtocolError, UsageError, char_prefix,
};
use crate::xs::io::descriptor::{self, WriteError};
use crate::xs::io::handle::Written;
use crate::xs::io::tls::Session;
use crate::xs::io::transport::Route;
use crate::xs::perl::ffi::{After, SV};
use crate::xs::perl::fork;
use crate::xs::perl::sv::{self, Appender};
use std::borrow::Cow;
use thiserror::Error;

/// Minimum size, in bytes, of a payload that is written without copying it to the handle's buffer.
const MIN_UNCOPIED: usize = 4096;

/// A frame waits only if fewer bytes than this are queued.
const MAX_WAITING: usize = 64 * 1024;

/// The reason why a frame was not sent: a mistake of the program, or a failure of the machine.
#[derive(Debug, Error)]
pub enum SendError {
    #[error(transparent)]
    Usage(#[from] UsageError),
    #[error("no random bytes for a masking key: {0}")]
    Random(#[from] getrandom::Error),
    #[error("the handle's write buffer is not a string of octets")]
    Buffer,
}

/// How far closing a connection has come. `Closing.pm` compares the numbers.
#[derive(Clone, Copy, Debug)]
pub enum CloseProgress {
    Nothing = 0,
    /// The Close frame was sent.
    Sent = 1,
    /// It was sent and written, and the socket's write side was shut down.
    ShutDown = 2,
}

/// The result of queuing a frame.
struct Appended {
    /// `Ok(true)` if the engine appended a frame.
    result: Result<bool, SendError>,
    /// A pong that was owed was queued before it.
    has_pong: bool,
}

/// A frame in two parts.
struct Frame<'a> {
    header: &'a [u8],
    payload: &'a [u8],
}

/// How a large frame is sent without copying its payload.
enum Shortcut {
    Write { fh: *mut SV, buffer: *mut SV },
    Encrypt { session: Session, fh: *mut SV, buffers: Buffers },
}

/// The handle's buffers of bytes to be sent, both changeable.
struct Buffers {
    unencrypted: *mut SV,
    encrypted: *mut SV,
}

/// A closure that asks the engine to append one frame to `out`, and returns `true` if it did.
trait Encode: FnOnce(&mut Engine, &[u8], Option<MaskKey>, &mut Appender) -> Result<bool, SendError> {}
impl<F: FnOnce(&mut Engine, &[u8], Option<MaskKey>, &mut Appender) -> Result<bool, SendError>> Encode for F {}

impl Connection {
    /// Sends one frame, if the connection still sends.
    pub fn send(&mut self, opcode: u8, payload: &[u8], after: &mut After) -> Result<(), SendError> {
        if !self.engine.can_send(opcode) {
            return Ok(());
        }
        let is_large = payload.len() >= MIN_UNCOPIED && !self.engine.compresses(opcode, payload.len());
        if is_large && self.send_uncopied(opcode, payload, after)? {
            self.trace(after);
            return Ok(());
        }
        self.write(payload, after, |engine, payload, mask, out| Ok(engine.send(opcode, payload, mask, out)?))?;
        if self.engine.has_window() && !self.is_window_watched() {
            after.calling(perl_subs::EXPECT_IDLENESS, [self.reference()]);
        }
        Ok(())
    }

    /// Sends the next frame of a message, if the connection still sends.
    pub fn send_fragment(
        &mut self,
        opcode: Opcode,
        is_final: bool,
        payload: &[u8],
        after: &mut After,
    ) -> Result<(), SendError> {
        if self.engine.can_send(opcode as u8) {
            self.write(payload, after, |engine, payload, mask, out| {
                Ok(engine.send_fragment(opcode, is_final, payload, mask, out)?)
            })?;
        }
        Ok(())
    }

    /// Like [`Self::send`], but the frame is written at the end of the dispatch. Must not be used with
    /// [`Route::PushWrite`], which would lose it.
    pub fn send_later(&mut self, opcode: u8, payload: &[u8]) -> Result<(), SendError> {
        if self.engine.can_send(opcode) {
            let route = self.route();
            let place = self.prepare_waiting_place(route);
            self.append(route, place, payload, |engine, payload, mask, out| {
                Ok(engine.send(opcode, payload, mask, out)?)
            })?
            .result?;
            if place.is_none() && matches!(route, Route::Tls { .. }) {
                self.encrypt_waiting();
                self.encrypt_queued();
            }
        }
        Ok(())
    }

    /// Sends a Close frame, if one is due. Returns `true` if one was sent.
    pub fn send_close(&mut self, code: Option<CloseCode>, reason: &str, after: &mut After) -> Result<bool, SendError> {
        // The engine truncates the reason; it needs only this much.
        let reason = char_prefix(reason, MAX_CONTROL_PAYLOAD);
        self.write(reason.as_bytes(), after, |engine, _, mask, out| Ok(engine.close(code, reason, mask, out)))
    }

    /// Sends a Close frame without the methods of the object and its handle, and then ends the stream to the peer. Does nothing if
    /// it cannot: something waits to be written, or the program has replaced a method.
    pub fn close_at_once(
        &mut self,
        code: Option<CloseCode>,
        reason: &str,
        after: &mut After,
    ) -> Result<CloseProgress, SendError> {
        let is_free = self.outbox.is_empty() && self.has_stock_shutdown() && self.handle().writes_freely();
        let Some(fd) = self.handle().fd() else { return Ok(CloseProgress::Nothing) };
        let can_close = self.engine.can_send(Opcode::Close as u8) && self.interpreter.sends_natively(self.object);
        if !is_free || !can_close {
            return Ok(CloseProgress::Nothing);
        }
        descriptor::hold_packets(fd, true);
        let result = self.send_close(code, reason, after);
        self.flush(after);
        if result.is_ok() && self.handle().write_buffer_len() == 0 {
            descriptor::shut_down(fd);
            return Ok(CloseProgress::ShutDown);
        }
        descriptor::hold_packets(fd, false);
        result.map(|_| CloseProgress::Sent)
    }

    /// Answers a violation with a Close frame, if one is due. Returns `true` if one was sent.
    pub fn fail(&mut self, error: ProtocolError, after: &mut After) -> Result<bool, SendError> {
        self.write(&[0; 2], after, |engine, _, mask, out| Ok(engine.fail(error, mask, out)))
    }

    /// Logs the recorded frames; a dispatch logs its own, in order.
    #[inline]
    pub fn trace(&mut self, after: &mut After) {
        if self.turn.is_idle() && self.engine.has_trace() {
            after.calling(perl_subs::TRACE, [self.reference(), self.trace_lines()]);
        }
    }

    /// Queues a frame, and writes it unless it may wait. Returns `true` if the engine had one.
    fn write(&mut self, payload: &[u8], after: &mut After, encode: impl Encode) -> Result<bool, SendError> {
        let route = self.route();
        let may_wait = sv::length(route.buffer()) < MAX_WAITING && self.may_batch();
        let place = if may_wait { self.prepare_waiting_place(route) } else { None };
        let Appended { result, has_pong } = self.append(route, place, payload, encode)?;
        if (has_pong || matches!(result, Ok(true))) && place.is_none() {
            self.flush_route(route, after);
        }
        self.trace(after);
        result
    }

    /// Queues a frame in the buffer of the route it will take. If it has no place to wait in, it is encrypted at once.
    fn append(
        &mut self,
        route: Route,
        place: Option<Place>,
        payload: &[u8],
        encode: impl Encode,
    ) -> Result<Appended, SendError> {
        let mask = self.next_mask()?;
        self.forget_inherited(route);
        let buffer = route.buffer();
        let mark = sv::length(buffer);
        // Growing the buffer would move a payload that lies in it.
        let is_inside = sv::plain_octets(buffer).as_ptr_range().contains(&payload.as_ptr());
        let payload = if is_inside { Cow::Owned(payload.to_vec()) } else { Cow::Borrowed(payload) };
        let has_pong = self.engine.owes_pong();
        let room_for_pong = if has_pong { MAX_CONTROL_PAYLOAD + MAX_HEADER_LEN } else { 0 };
        let room = payload.len() + MAX_HEADER_LEN + room_for_pong;
        let mut out = Appender::new(self.perl(), buffer, room).ok_or(SendError::Buffer)?;
        if has_pong {
            let mask = self.next_mask()?;
            self.engine.send_owed_pong(mask, &mut out)?;
        }
        let result = encode(&mut self.engine, &payload, mask, &mut out);
        out.finish();
        if sv::length(buffer) == mark {
            return Ok(Appended { result, has_pong });
        }
        match (route, place) {
            (Route::PushWrite { .. }, _) => {}
            (_, Some(place)) => self.outbox.queue(place, mark, fork::generation()),
            (Route::Native { .. }, None) => self.outbox.queue(Place::WriteBuffer, mark, fork::generation()),
            (Route::Tls { .. }, None) => self.outbox.queue(Place::Unencrypted, mark, fork::generation()),
        }
        Ok(Appended { result, has_pong })
    }

    /// Returns a key for the next frame, if frames are masked.
    fn next_mask(&self) -> Result<Option<MaskKey>, SendError> {
        Ok(if self.engine.is_masked() { Some(mask_keys::next_key()?) } else { None })
    }

    /// Sends a large frame from where its payload is, if nothing is queued before it; what the kernel does not take is
    /// queued. Returns `false`, and does nothing, if it cannot be done.
    fn send_uncopied(&mut self, opcode: u8, payload: &[u8], after: &mut After) -> Result<bool, SendError> {
        if self.engine.is_masked() || self.engine.owes_pong() || self.may_batch() {
            return Ok(false);
        }
        let Some(shortcut) = self.shortcut() else { return Ok(false) };
        let mut header = Vec::with_capacity(MAX_HEADER_LEN);
        if !self.engine.send_header(opcode, payload, &mut header)? {
            return Ok(true);
        }
        let frame = Frame { header: &header, payload };
        let result = match shortcut {
            Shortcut::Write { fh, buffer } => self.write_uncopied(fh, buffer, &frame),
            Shortcut::Encrypt { session, fh, buffers } => self.encrypt_uncopied(&session, fh, buffers, &frame),
        };
        match result {
            Ok(Written::All) => {}
            Ok(Written::Later) => self.report_backlog(after),
            Ok(Written::ByHandle) => {
                let drain = if self.handle().is_tls() { perl_subs::DRAIN_TLS } else { perl_subs::DRAIN };
                after.calling(drain, [self.handle().reference()]);
                self.report_backlog(after);
            }
            Err(error) => self.fail_writing(error, after),
        }
        Ok(true)
    }

    /// Returns the shortcut for a frame, if nothing is queued before it. Bytes that are not accepted at once wait in the
    /// handle's buffers, so these must be changeable.
    fn shortcut(&self) -> Option<Shortcut> {
        let handle = self.handle();
        let changeable = |buffer| Some(buffer).filter(|&buffer| sv::make_changeable(self.perl(), buffer));
        match self.route() {
            Route::Native { fh, buffer } => {
                let buffer = handle.is_idle(buffer).then_some(buffer).and_then(changeable)?;
                Some(Shortcut::Write { fh, buffer })
            }
            Route::Tls { fh, buffer } => {
                let is_free = self.outbox.is_empty() && sv::length(buffer) == 0;
                let unencrypted = is_free.then_some(buffer).and_then(changeable)?;
                let buffers = Buffers { unencrypted, encrypted: handle.changeable_write_buffer()? };
                Some(Shortcut::Encrypt { session: Session::of(handle)?, fh, buffers })
            }
            Route::PushWrite { .. } => None,
        }
    }

    /// Writes a frame from where its payload is.
    fn write_uncopied(&self, fh: *mut SV, buffer: *mut SV, frame: &Frame<'_>) -> Result<Written, WriteError> {
        let written = self.handle().write_both(fh, frame.header, frame.payload)?;
        Ok(if self.queue_rest(frame, written, buffer) { Written::ByHandle } else { Written::All })
    }

    /// Encrypts a frame from where its payload is, and writes it.
    fn encrypt_uncopied(
        &self,
        session: &Session,
        fh: *mut SV,
        buffers: Buffers,
        frame: &Frame<'_>,
    ) -> Result<Written, WriteError> {
        self.interpreter.encrypted_scratch.lend(|encrypted| {
            let done = session.encrypt_both(frame.header, frame.payload, encrypted);
            let has_rest = self.queue_rest(frame, done, buffers.unencrypted);
            let written = self.handle().write_behind(fh, buffers.encrypted, encrypted)?;
            Ok(if has_rest { Written::ByHandle } else { written })
        })
    }

    /// Queues what is left of a frame after its first `done` bytes in a changeable buffer. Returns `true` if something is.
    fn queue_rest(&self, frame: &Frame<'_>, done: usize, buffer: *mut SV) -> bool {
        let Frame { header, payload } = frame;
        self.handle().queue(buffer, &header[done.min(header.len())..]);
        self.handle().queue(buffer, &payload[done.saturating_sub(header.len())..]);
        done < header.len() + payload.len()
    }
}
