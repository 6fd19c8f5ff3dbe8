//! From the program to the transport.

use super::after::{After, shim};
use super::connection::{Cork, Shared};
use super::ffi::{self, Perl};
use super::handle::Route;
use super::mask_keys;
use super::sv::{self, Appender};
use crate::engine::{CloseCode, MAX_CONTROL_PAYLOAD, MAX_HEADER_LEN, MaskKey, ProtocolError, UsageError};
use libperl_rs::SV;
use std::borrow::Cow;
use thiserror::Error;

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

type Engine = crate::engine::Connection<sv::PerlBuffer>;

/// Sends one frame, if the connection still sends.
pub fn send(perl: Perl, shared: &Shared, opcode: u8, payload: &[u8], after: &mut After) -> Result<(), SendError> {
    if !shared.borrow().engine.can_send(opcode) {
        return Ok(());
    }
    write(perl, shared, payload, after, |engine, payload, mask, out| Ok(engine.send(opcode, payload, mask, out)?))?;
    Ok(())
}

/// As [`send`], but the frame is written at the end of this dispatch.
pub fn send_later(perl: Perl, shared: &Shared, opcode: u8, payload: &[u8]) -> Result<(), SendError> {
    if shared.borrow().engine.can_send(opcode) {
        append(perl, shared, payload, |engine, payload, mask, out| Ok(engine.send(opcode, payload, mask, out)?))?;
    }
    Ok(())
}

/// Sends a Close frame, if one is due; says whether.
pub fn close(
    perl: Perl,
    shared: &Shared,
    code: Option<CloseCode>,
    reason: &str,
    after: &mut After,
) -> Result<bool, SendError> {
    // The engine cuts the reason; so much of it is enough to see where.
    let reason = &reason[..reason.floor_char_boundary(MAX_CONTROL_PAYLOAD)];
    write(perl, shared, reason.as_bytes(), after, |engine, _, mask, out| Ok(engine.close(code, reason, mask, out)))
}

/// Answers a violation with a Close frame, if one is due.
pub fn fail(perl: Perl, shared: &Shared, error: ProtocolError, after: &mut After) -> Result<bool, SendError> {
    write(perl, shared, &[0; 2], after, |engine, _, mask, out| Ok(engine.fail(error, mask, out)))
}

/// What has the engine append a frame: it gets the payload, a masking key if one is needed, and where to append.
trait Encode: FnOnce(&mut Engine, &[u8], Option<MaskKey>, &mut Appender) -> Result<bool, SendError> {}
impl<F: FnOnce(&mut Engine, &[u8], Option<MaskKey>, &mut Appender) -> Result<bool, SendError>> Encode for F {}

/// Queues a frame, and writes it unless it may wait; says whether the engine had one.
fn write(
    perl: Perl,
    shared: &Shared,
    payload: &[u8],
    after: &mut After,
    encode: impl Encode,
) -> Result<bool, SendError> {
    let (is_sent, elsewhere) = append(perl, shared, payload, encode)?;
    if let Some(frame) = elsewhere {
        after.calling(shim::PUSH_WRITE, [shared.borrow().handle(perl).reference(), frame]);
    } else if !shared.borrow().may_cork() {
        flush(perl, shared, after);
    }
    Ok(is_sent)
}

/// Queues a frame in the handle's buffer; where there is no such buffer, it comes back as a string.
fn append(
    perl: Perl,
    shared: &Shared,
    payload: &[u8],
    encode: impl Encode,
) -> Result<(bool, Option<*mut SV>), SendError> {
    let mut connection = shared.borrow_mut();
    let mask = if connection.engine.is_masked() { Some(mask_keys::next_key()?) } else { None };
    let route = connection.route(perl);
    let buffer = match route {
        Route::Native { buffer, .. } | Route::Tls { buffer } => buffer,
        Route::PushWrite => sv::new_string(perl, b""),
    };
    let mark = sv::length(buffer);
    // Growing the buffer would pull a payload that lies in it from under our feet.
    let is_inside = sv::plain_octets(perl, buffer).as_ptr_range().contains(&payload.as_ptr());
    let payload = if is_inside { Cow::Owned(payload.to_vec()) } else { Cow::Borrowed(payload) };
    let mut out = Appender::new(perl, buffer, payload.len() + MAX_HEADER_LEN).ok_or(SendError::Buffer)?;
    let is_sent = encode(&mut connection.engine, &payload, mask, &mut out);
    out.finish();
    if let Route::PushWrite = route {
        return Ok((is_sent?, Some(buffer)));
    }
    connection.cork.get_or_insert(Cork { mark, forks: mask_keys::fork_generation() });
    Ok((is_sent?, None))
}

/// Writes what is queued in the handle's buffer, as far as the kernel takes it; the handle sees to the rest.
pub fn flush(perl: Perl, shared: &Shared, after: &mut After) {
    if flush_natively(perl, shared) {
        return;
    }
    let connection = shared.borrow();
    let drain = if connection.handle(perl).is_tls() { shim::DRAIN_TLS } else { shim::DRAIN };
    after.calling(drain, [connection.handle(perl).reference()]);
}

/// As [`flush`], but says `false` where Perl code would have to go on.
pub fn flush_natively(perl: Perl, shared: &Shared) -> bool {
    let mut connection = shared.borrow_mut();
    let cork = connection.cork.take();
    match connection.route(perl) {
        Route::Native { buffer, .. } | Route::Tls { buffer } if is_inherited(&cork) => {
            forget_inherited(perl, buffer, &cork);
            true
        }
        Route::Native { fd, buffer } => connection.handle(perl).write_queued(fd, buffer),
        Route::Tls { buffer } => sv::length(buffer) == 0,
        Route::PushWrite => true,
    }
}

fn is_inherited(cork: &Option<Cork>) -> bool {
    cork.as_ref().is_some_and(|cork| cork.forks != mask_keys::fork_generation())
}

/// Frames that were waiting when this process was forked off are its parent's to write.
fn forget_inherited(perl: Perl, buffer: *mut SV, cork: &Option<Cork>) {
    let mark = cork.as_ref().map_or(0, |cork| cork.mark);
    if mark < sv::length(buffer) {
        // SAFETY: a plain string, made shorter.
        unsafe {
            ffi::ws_reserve(perl, buffer, 0);
            ffi::ws_set_length(buffer, mark);
        }
    }
}
