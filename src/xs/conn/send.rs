//! From the program to the transport.

use super::connection::{Attempt, Connection, Cork, Shared};
use super::mask_keys;
use super::shim;
use crate::engine::{
    CloseCode, MAX_CONTROL_PAYLOAD, MAX_HEADER_LEN, MaskKey, Opcode, ProtocolError, UsageError, char_prefix,
};
use crate::xs::io::clock;
use crate::xs::io::descriptor::WriteError;
use crate::xs::io::handle::Route;
use crate::xs::io::tls;
use crate::xs::perl::buffer::PerlBuffer;
use crate::xs::perl::ffi::{self, After, SV};
use crate::xs::perl::fork;
use crate::xs::perl::sv::{self, Appender};
use bytes::BufMut;
use std::borrow::Cow;
use thiserror::Error;

/// Payloads from this size on, bytes, are not copied to the handle's buffer if the kernel can take them at once.
const MIN_UNCOPIED: usize = 4096;

/// Why nothing was sent; the program's mistake, or its machine's.
#[derive(Debug, Error)]
pub enum SendError {
    #[error(transparent)]
    Usage(#[from] UsageError),
    #[error("no random bytes for a masking key: {0}")]
    Random(#[from] getrandom::Error),
    #[error("the handle's write buffer is not a string of octets")]
    Buffer,
}

/// The engine, with messages that grow in perl's memory.
pub type Engine = crate::engine::Connection<PerlBuffer>;

/// Sends one frame, if the connection still sends.
pub fn send(shared: &Shared, opcode: u8, payload: &[u8], after: &mut After) -> Result<(), SendError> {
    let connection = &mut *shared.borrow_mut();
    if !connection.engine.can_send(opcode) {
        return Ok(());
    }
    let is_large = payload.len() >= MIN_UNCOPIED && !connection.engine.compresses(opcode, payload.len());
    if is_large && send_uncopied(connection, opcode, payload, after)? {
        trace(connection, after);
        return Ok(());
    }
    write(connection, payload, after, |engine, payload, mask, out| Ok(engine.send(opcode, payload, mask, out)?))?;
    if connection.engine.has_window() && !connection.expects_idleness {
        connection.expects_idleness = true;
        after.calling(shim::EXPECT_IDLENESS, [connection.reference()]);
    }
    Ok(())
}

/// Sends the next frame of a message, if the connection still sends.
pub fn send_fragment(
    shared: &Shared,
    opcode: Opcode,
    is_final: bool,
    payload: &[u8],
    after: &mut After,
) -> Result<(), SendError> {
    let connection = &mut *shared.borrow_mut();
    if connection.engine.can_send(opcode as u8) {
        write(connection, payload, after, |engine, payload, mask, out| {
            Ok(engine.send_fragment(opcode, is_final, payload, mask, out)?)
        })?;
    }
    Ok(())
}

/// As [`send`], but the frame is written at the end of this dispatch. Not for handles that only push_write.
pub fn send_later(connection: &mut Connection, opcode: u8, payload: &[u8]) -> Result<(), SendError> {
    if connection.engine.can_send(opcode) {
        append(connection, payload, |engine, payload, mask, out| Ok(engine.send(opcode, payload, mask, out)?))?;
    }
    Ok(())
}

/// Sends a Close frame, if one is due; says whether.
pub fn close(shared: &Shared, code: Option<CloseCode>, reason: &str, after: &mut After) -> Result<bool, SendError> {
    let connection = &mut *shared.borrow_mut();
    // The engine cuts the reason; so much of it is enough to see where.
    let reason = char_prefix(reason, MAX_CONTROL_PAYLOAD);
    write(connection, reason.as_bytes(), after, |engine, _, mask, out| Ok(engine.close(code, reason, mask, out)))
}

/// Answers a violation with a Close frame, if one is due.
pub fn fail(connection: &mut Connection, error: ProtocolError, after: &mut After) -> Result<bool, SendError> {
    write(connection, &[0; 2], after, |engine, _, mask, out| Ok(engine.fail(error, mask, out)))
}

/// Writes the frames that wait in the handle's buffer, as far as the kernel takes them; the handle sees to the rest. In a
/// forked child all else there, and in a TLS session, is its parent's.
pub fn flush(connection: &mut Connection, after: &mut After) {
    if connection.cork.is_none() {
        return;
    }
    let route = connection.route();
    forget_inherited(connection, &route);
    if connection.cork.is_some() {
        flush_route(connection, &route, after);
    }
}

/// As [`flush`], but where Perl code would have to go on, it waits for that.
pub fn flush_natively(connection: &mut Connection) {
    if connection.cork.as_ref().is_some_and(|cork| cork.attempt != Attempt::None) {
        return;
    }
    let route = connection.route();
    let attempt = match write_out(connection, &route) {
        Ok(true) => return,
        Ok(false) => Attempt::Unfinished,
        Err(error) => Attempt::Failed(error),
    };
    connection.cork = Some(Cork { mark: 0, forks: fork::generation(), attempt });
}

/// Has what there is to log be logged; in a dispatch that is done by the dispatch, in order.
#[inline]
pub fn trace(connection: &mut Connection, after: &mut After) {
    if connection.turn.is_idle() && connection.engine.has_trace() {
        after.calling(shim::TRACE, [connection.reference(), connection.trace_lines()]);
    }
}

/// What has the engine append a frame: it gets the payload, a masking key if one is needed, and where to append.
trait Encode: FnOnce(&mut Engine, &[u8], Option<MaskKey>, &mut Appender) -> Result<bool, SendError> {}
impl<F: FnOnce(&mut Engine, &[u8], Option<MaskKey>, &mut Appender) -> Result<bool, SendError>> Encode for F {}

/// Queues a frame, and writes it unless it may wait; says whether the engine had one.
fn write(
    connection: &mut Connection,
    payload: &[u8],
    after: &mut After,
    encode: impl Encode,
) -> Result<bool, SendError> {
    let (is_sent, route) = append(connection, payload, encode)?;
    let is_queued = match route {
        Route::Native { .. } => true,
        Route::Tls { buffer, .. } => sv::length(buffer) == 0,
        Route::PushWrite { .. } => false,
    };
    if is_sent && !(is_queued && connection.may_cork()) {
        flush_route(connection, &route, after);
    }
    trace(connection, after);
    Ok(is_sent)
}

/// Queues a frame in the buffer of the route it will take; says whether the engine had one.
fn append(connection: &mut Connection, payload: &[u8], encode: impl Encode) -> Result<(bool, Route), SendError> {
    let mask = next_mask(connection)?;
    let route = connection.route();
    forget_inherited(connection, &route);
    let (buffer, mark) = match route {
        Route::Native { buffer, .. } => (buffer, sv::length(buffer)),
        Route::Tls { buffer, .. } => (buffer, connection.handle().backlog()),
        Route::PushWrite { frame } => (frame, 0),
    };
    // Growing the buffer would pull a payload that lies in it from under our feet.
    let is_inside = sv::plain_octets(buffer).as_ptr_range().contains(&payload.as_ptr());
    let payload = if is_inside { Cow::Owned(payload.to_vec()) } else { Cow::Borrowed(payload) };
    let pong = if connection.engine.owes_pong() { MAX_CONTROL_PAYLOAD + MAX_HEADER_LEN } else { 0 };
    let room = payload.len() + MAX_HEADER_LEN + pong;
    let mut out = Appender::new(connection.perl(), buffer, room).ok_or(SendError::Buffer)?;
    if connection.engine.owes_pong() {
        let mask = next_mask(connection)?;
        connection.engine.send_owed_pong(mask, &mut out)?;
    }
    let is_sent = encode(&mut connection.engine, &payload, mask, &mut out);
    out.finish();
    if let Route::Tls { buffer, .. } = route {
        // At once, since what is not encrypted is lost if the handle is destroyed.
        tls::encrypt_queued(connection.handle(), buffer);
    }
    if !matches!(route, Route::PushWrite { .. }) {
        let forks = fork::generation();
        connection.cork.get_or_insert(Cork { mark, forks, attempt: Attempt::None });
    }
    Ok((is_sent?, route))
}

/// A key for the next frame, if it needs one.
fn next_mask(connection: &Connection) -> Result<Option<MaskKey>, SendError> {
    Ok(if connection.engine.is_masked() { Some(mask_keys::next_key()?) } else { None })
}

/// Writes a large frame from where its payload is, if nothing is queued before it; what the kernel does not take is
/// queued. Says `false` if it cannot be done.
fn send_uncopied(
    connection: &mut Connection,
    opcode: u8,
    payload: &[u8],
    after: &mut After,
) -> Result<bool, SendError> {
    let Route::Native { fh, buffer } = connection.route() else { return Ok(false) };
    let is_direct = !connection.engine.is_masked() && !connection.engine.owes_pong() && !connection.may_cork();
    if !is_direct || !connection.handle().is_idle(buffer) {
        return Ok(false);
    }
    let mut header = Vec::with_capacity(MAX_HEADER_LEN);
    if !connection.engine.send_header(opcode, payload, &mut header)? {
        return Ok(true);
    }
    let written = match connection.handle().write_both(fh, &header, payload) {
        Ok(written) => written,
        Err(error) => {
            fail_writing(connection, error, after);
            return Ok(true);
        }
    };
    let rest_of_header = &header[written.min(header.len())..];
    let rest_of_payload = &payload[written.saturating_sub(header.len())..];
    if !rest_of_payload.is_empty() {
        let mut out = Appender::new(connection.perl(), buffer, rest_of_header.len() + rest_of_payload.len())
            .ok_or(SendError::Buffer)?;
        out.put_slice(rest_of_header);
        out.put_slice(rest_of_payload);
        out.finish();
        after.calling(shim::DRAIN, [connection.handle().reference()]);
        if connection.watches_backlog {
            after.calling(shim::BACKLOGGED, [connection.reference()]);
        }
    }
    Ok(true)
}

/// Writes what is queued.
fn flush_route(connection: &mut Connection, route: &Route, after: &mut After) {
    let outcome = match connection.cork.as_ref().map(|cork| cork.attempt) {
        Some(Attempt::Failed(error)) => Err(error),
        _ => write_out(connection, route),
    };
    let handle = || connection.handle().reference();
    match (outcome, route) {
        (Ok(true), _) => {}
        (Err(error), _) => return fail_writing(connection, error, after),
        (Ok(false), Route::Native { .. }) => after.calling(shim::DRAIN, [handle()]),
        (Ok(false), Route::Tls { .. }) => after.calling(shim::DRAIN_TLS, [handle()]),
        (Ok(false), &Route::PushWrite { frame }) if sv::length(frame) == 0 => after.calling(shim::DRAIN, [handle()]),
        (Ok(false), &Route::PushWrite { frame }) => after.calling(shim::PUSH_WRITE, [handle(), sv::retain(frame)]),
    }
    if connection.watches_backlog && (outcome == Ok(false) || connection.handle().backlog() > 0) {
        after.calling(shim::BACKLOGGED, [connection.reference()]);
    }
}

/// Has the handle report that writing has failed: that is the end of the connection.
fn fail_writing(connection: &mut Connection, WriteError(errno): WriteError, after: &mut After) {
    connection.cork = None;
    let errno = sv::new_number(connection.perl(), errno.unsigned_abs().into());
    after.calling(shim::WRITE_ERROR, [connection.handle().reference(), errno]);
}

/// Writes what is queued, as far as that takes no Perl code. Returns whether that was all there is to do.
fn write_out(connection: &mut Connection, route: &Route) -> Result<bool, WriteError> {
    forget_inherited(connection, route);
    let waits = connection.cork.take().is_some();
    connection.turn.note_flush(clock::monotonic);
    let handle = connection.handle();
    match *route {
        Route::Native { fh, buffer } => handle.write_queued(fh, buffer),
        Route::Tls { fh, buffer } => {
            let is_encrypted = tls::encrypt_queued(handle, buffer);
            let is_written = handle.write_buffer().map_or(Ok(true), |buffer| handle.write_queued(fh, buffer))?;
            Ok(is_encrypted && is_written)
        }
        // What waits since the handle could be written to natively is in its buffer.
        Route::PushWrite { frame } => Ok(sv::length(frame) == 0 && !waits),
    }
}

/// Frames that were waiting when this process was forked off are its parent's to write.
fn forget_inherited(connection: &mut Connection, route: &Route) {
    if let Route::PushWrite { .. } = route {
        return;
    }
    let Some(cork) = connection.cork.take_if(|cork| cork.forks != fork::generation()) else { return };
    let buffer = connection.handle().write_buffer();
    let is_longer =
        |&buffer: &*mut SV| cork.mark < sv::length(buffer) && sv::make_changeable(connection.perl(), buffer);
    if let Some(buffer) = buffer.filter(is_longer) {
        // SAFETY: a changeable string, made shorter.
        unsafe { ffi::ws_set_length(connection.perl(), buffer, cork.mark) };
    }
}
