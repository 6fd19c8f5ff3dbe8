//! The jobs that a dispatch has to do, and the calls that they need.

use super::callbacks::Pair;
use super::message::MessagePool;
use super::shim;
use crate::engine::{CloseFrame, ControlPayload, Event, Notice, Opcode, Payload, ProtocolError};
use crate::xs::perl::buffer::PerlBuffer;
use crate::xs::perl::ffi::{Call, MAX_ARGS, Perl, SV};
use std::ffi::{CStr, c_int};
use std::ptr::{null, null_mut};

impl Call {
    pub const EMPTY: Self = Self {
        sub: null_mut(),
        method: null(),
        args: [null_mut(); MAX_ARGS],
        count: 0,
        has_message: false,
        is_burst: false,
        owned: [null_mut(); MAX_ARGS],
    };

    /// Creates a call of a method; its arguments are freed after the call. A method named by a sub's full name is that sub.
    pub fn method<const N: usize>(name: &'static CStr, args: [*mut SV; N]) -> Self {
        let mut padded = [null_mut(); MAX_ARGS];
        padded[..N].copy_from_slice(&args);
        Self { method: name.as_ptr(), args: padded, count: N as c_int, owned: padded, ..Self::EMPTY }
    }

    pub fn next_message(callback: *mut SV, message: *mut SV) -> Self {
        let args = [message, null_mut(), null_mut()];
        Self { sub: callback, args, count: 1, has_message: true, owned: [message, callback, null_mut()], ..Self::EMPTY }
    }

    /// Creates a call of an each_message callback; `entry` is the list element that refers to the pair, and its
    /// reference count is taken over.
    #[inline]
    pub fn each_message(perl: Perl, entry: *mut SV, pair: Pair, message: *mut SV, is_nested: bool) -> Self {
        // In a nested call the outer one may still use the scalar that it was passed.
        let (unregister, once) = match is_nested {
            false => (pair.hand_out(perl), null_mut()),
            true => {
                let once = pair.hand_out_once(perl);
                (once, once)
            }
        };
        let (args, owned) = ([message, unregister, null_mut()], [message, entry, once]);
        Self { sub: pair.callback, args, count: 2, has_message: true, owned, ..Self::EMPTY }
    }

    /// Returns `true` if the call runs code of the program, or may.
    pub fn may_run_program(&self) -> bool {
        match self.method.is_null() {
            true => self.has_message && !self.sub.is_null(),
            false => self.method != shim::PAIR_UP.as_ptr(),
        }
    }

    /// Creates a call of nothing, which only frees its values.
    pub fn nothing(message: *mut SV, other: *mut SV) -> Self {
        Self { has_message: true, owned: [message, other, null_mut()], ..Self::EMPTY }
    }
}

/// A job that is due. It owns a reference count of each of its values.
pub enum Job {
    /// Arm the nested-loop guard: from now on a callback that runs the event loop must not block the messages behind
    /// its own.
    ArmGuard,
    /// A message arrived.
    Message(*mut SV),
    /// Call a next_message callback.
    Next { callback: *mut SV, message: *mut SV },
    /// Queue the each_message callbacks; their list is read only now.
    EachList { message: *mut SV },
    /// Call an each_message callback; `entry` is its list element.
    Each { entry: *mut SV, message: *mut SV },
    /// A chunk of a streamed message arrived.
    Chunk { message: *mut SV, is_final: bool },
    /// A ping arrived.
    Ping(Box<ControlPayload>),
    /// Answer a ping.
    AnswerPing(Box<ControlPayload>),
    /// A pong arrived.
    Pong(Notice),
    /// Call the callbacks for an event.
    Notify(Notice),
    /// Answer the peer's Close frame.
    Close(Box<CloseFrame>),
    /// Fail the connection.
    Fail(ProtocolError),
}

impl Job {
    /// Creates the job for an event, copying its payload out of the input.
    pub fn of(event: Result<Event<'_, PerlBuffer>, ProtocolError>, messages: &MessagePool) -> Self {
        match event {
            Ok(Event::Message { opcode, payload }) => Self::Message(message_of(opcode, payload, messages)),
            Ok(Event::Chunk { opcode, payload, is_final }) => {
                Self::Chunk { message: message_of(opcode, payload, messages), is_final }
            }
            Ok(Event::Ping(payload)) => Self::Ping(payload),
            Ok(Event::Notice(notice @ Notice::Pong(_))) => Self::Pong(notice),
            Ok(Event::Notice(notice)) => Self::Notify(notice),
            Ok(Event::Close(frame)) => Self::Close(frame),
            Err(error) => Self::Fail(error),
        }
    }

    /// Returns the values of which the job owns a reference count.
    pub fn values(&self) -> impl Iterator<Item = *mut SV> {
        let values = match *self {
            Self::Next { callback, message } => [callback, message],
            Self::Each { entry, message } => [entry, message],
            Self::Message(message) | Self::EachList { message } | Self::Chunk { message, .. } => [message, null_mut()],
            _ => [null_mut(); 2],
        };
        values.into_iter().filter(|value| !value.is_null())
    }
}

fn message_of(opcode: Opcode, payload: Payload<'_, PerlBuffer>, messages: &MessagePool) -> *mut SV {
    match payload {
        Payload::Borrowed(octets) => messages.message(opcode as u8, octets),
        Payload::Owned(buffer) => messages.with_buffer(opcode as u8, buffer),
    }
}
