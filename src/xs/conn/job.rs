//! What is due, and how it is called.

use super::callbacks::Pair;
use super::message::MessagePool;
use crate::engine::{CloseFrame, ControlPayload, Event, Opcode, Payload, ProtocolError};
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
        are_many: false,
        owned: [null_mut(); MAX_ARGS],
    };

    /// A method with arguments that are freed after the call.
    pub fn method<const N: usize>(name: &'static CStr, args: [*mut SV; N]) -> Self {
        let mut padded = [null_mut(); MAX_ARGS];
        padded[..N].copy_from_slice(&args);
        Self { method: name.as_ptr(), args: padded, count: N as c_int, owned: padded, ..Self::EMPTY }
    }

    pub fn next_message(callback: *mut SV, message: *mut SV) -> Self {
        let args = [message, null_mut(), null_mut()];
        Self { sub: callback, args, count: 1, has_message: true, owned: [message, callback, null_mut()], ..Self::EMPTY }
    }

    /// `entry` is the element that refers to the pair; its reference count is handed over.
    #[inline]
    pub fn each_message(perl: Perl, entry: *mut SV, pair: Pair, message: *mut SV, is_nested: bool) -> Self {
        // An outer call of the callback may still have what was handed out last.
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

    /// Calls nothing; what the job has is freed.
    pub fn nothing(message: *mut SV, other: *mut SV) -> Self {
        Self { has_message: true, owned: [message, other, null_mut()], ..Self::EMPTY }
    }
}

/// Something that is due; all values' reference counts are the job's.
pub enum Job {
    /// A callback may run the event loop from now on, and must not keep the messages behind it from being delivered.
    ExpectRecursion,
    /// A message nobody has seen.
    Message(*mut SV),
    /// A next_message callback.
    Next { callback: *mut SV, message: *mut SV },
    /// The each_message callbacks, of which the list is looked at only now.
    EachList { message: *mut SV },
    /// An element of the list of each_message callbacks.
    Each { entry: *mut SV, message: *mut SV },
    /// A part of a message nobody has seen.
    Chunk { message: *mut SV, is_final: bool },
    /// A ping nobody has seen.
    Ping(Box<ControlPayload>),
    /// A ping is to be answered.
    AnswerPing(Box<ControlPayload>),
    /// The callbacks for pings are to be called.
    TellPing(Box<ControlPayload>),
    /// The callbacks for pongs are to be called.
    TellPong(Box<ControlPayload>),
    /// The peer's Close frame is to be answered.
    Close(Box<CloseFrame>),
    /// The connection is to be failed.
    Fail(ProtocolError),
}

impl Job {
    /// Takes an event out of the buffers it may lie in.
    pub fn of(event: Result<Event<'_, PerlBuffer>, ProtocolError>, messages: &MessagePool) -> Self {
        match event {
            Ok(Event::Message { opcode, payload }) => Self::Message(message_of(opcode, payload, messages)),
            Ok(Event::Chunk { opcode, payload, is_final }) => {
                Self::Chunk { message: message_of(opcode, payload, messages), is_final }
            }
            Ok(Event::Ping(payload)) => Self::Ping(payload),
            Ok(Event::Pong(payload)) => Self::TellPong(payload),
            Ok(Event::Close(frame)) => Self::Close(frame),
            Err(error) => Self::Fail(error),
        }
    }

    /// The values whose reference counts are the job's.
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
