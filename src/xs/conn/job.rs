//! The units of work of a dispatch.

use super::message::MessagePool;
use crate::engine::{CloseFrame, ControlPayload, Event, Notice, Opcode, Payload, ProtocolError};
use crate::xs::perl::buffer::PerlBuffer;
use crate::xs::perl::ffi::SV;
use std::ptr::null_mut;

/// A unit of work that is due. It owns a reference count of each of its values.
pub enum Job {
    /// Arm the nested-loop guard: from now on a callback that runs the event loop must not block the messages behind
    /// its own.
    ArmGuard,
    /// A message arrived.
    Message(*mut SV),
    /// A message that was queued for `receive` is delivered after all, unless the connection is paused; as a part of
    /// itself if messages are streamed.
    PutBack { message: *mut SV, is_streamed: bool },
    /// Call a next_message callback.
    NextMessage { callback: *mut SV, message: *mut SV },
    /// Queue the each_message callbacks; their list is read only now.
    QueueEachMessage { message: *mut SV },
    /// Call an each_message callback.
    EachMessage { callback: *mut SV, message: *mut SV },
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
            Self::NextMessage { callback, message } | Self::EachMessage { callback, message } => [callback, message],
            Self::Message(message)
            | Self::PutBack { message, .. }
            | Self::QueueEachMessage { message }
            | Self::Chunk { message, .. } => [message, null_mut()],
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
