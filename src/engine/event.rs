//! Events: messages and control frames that have arrived (RFC 6455, 5.5).

use super::close_code::CloseCode;
use super::error::ProtocolError;
use super::frame::MAX_CONTROL_PAYLOAD;
use super::opcode::Opcode;

/// An event caused by one or more frames. Control frames are boxed: they are rare, and would make the events of all
/// messages several times larger.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a, B> {
    /// A whole message, text or binary.
    Message {
        /// [`Opcode::Text`] or [`Opcode::Binary`].
        opcode: Opcode,
        /// The message's payload.
        payload: Payload<'a, B>,
    },
    /// A part of a text or binary message, on a connection that [streams](super::Connection::set_streaming).
    Chunk {
        /// [`Opcode::Text`] or [`Opcode::Binary`].
        opcode: Opcode,
        /// The next part of the message's payload.
        payload: Payload<'a, B>,
        /// `true` for the last chunk of a message.
        is_final: bool,
    },
    /// A ping; answer it with a pong that has the same payload.
    Ping(Box<ControlPayload>),
    /// Something that needs no answer.
    Notice(Notice),
    /// The peer's Close frame. Answer it with [`close`](super::Connection::close), or with
    /// [`fail`](super::Connection::fail) if `error` is set.
    Close(Box<CloseFrame>),
}

/// An event that only has to be reported to the program.
#[derive(Debug, PartialEq, Eq)]
pub enum Notice {
    /// A ping, which is answered without the program.
    Ping(Box<ControlPayload>),
    /// A pong.
    Pong(Box<ControlPayload>),
}

impl Notice {
    /// Returns the name under which programs register callbacks for the event.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Ping(_) => "ping",
            Self::Pong(_) => "pong",
        }
    }

    /// Returns the data that callbacks are passed, if the event has any.
    pub fn payload(&self) -> Option<&[u8]> {
        match self {
            Self::Ping(payload) | Self::Pong(payload) => Some(payload.as_slice()),
        }
    }
}

/// The payload of a message.
#[derive(Debug, PartialEq, Eq)]
pub enum Payload<'a, B> {
    /// The payload arrived in one piece: a slice of the input.
    Borrowed(&'a [u8]),
    /// The payload was assembled or inflated in a buffer.
    Owned(B),
}

/// The payload of a control frame: at most 125 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlPayload {
    octets: [u8; MAX_CONTROL_PAYLOAD],
    len: u8,
}

impl Default for ControlPayload {
    fn default() -> Self {
        Self { octets: [0; MAX_CONTROL_PAYLOAD], len: 0 }
    }
}

impl ControlPayload {
    /// Returns the payload.
    pub fn as_slice(&self) -> &[u8] {
        &self.octets[..self.len.into()]
    }

    pub(super) fn append(&mut self, octets: &[u8]) {
        let start = usize::from(self.len);
        self.octets[start..start + octets.len()].copy_from_slice(octets);
        self.len += octets.len() as u8;
    }
}

/// A Close frame as received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseFrame {
    /// The status code: [`CloseCode::NO_STATUS`] if the body is empty, `None` if it is too short for a code.
    pub code: Option<CloseCode>,
    /// The rule that the frame breaks, if any.
    pub error: Option<ProtocolError>,
    body: ControlPayload,
}

impl CloseFrame {
    pub(super) fn parse(body: ControlPayload) -> Self {
        let (code, error) = match *body.as_slice() {
            [] => (Some(CloseCode::NO_STATUS), None),
            [_] => (None, Some(ProtocolError::TruncatedCloseCode)),
            [high, low, ref reason @ ..] => {
                let code = CloseCode::new(u16::from_be_bytes([high, low]));
                (Some(code), close_error(code, reason))
            }
        };
        Self { code, error, body }
    }

    /// Returns the reason, which should be UTF-8 but may not be.
    pub fn reason(&self) -> &[u8] {
        self.body.as_slice().get(2..).unwrap_or_default()
    }
}

fn close_error(code: CloseCode, reason: &[u8]) -> Option<ProtocolError> {
    if !code.is_allowed_on_the_wire() {
        return Some(ProtocolError::InvalidCloseCode(code));
    }
    simdutf8::basic::from_utf8(reason).is_err().then_some(ProtocolError::InvalidCloseReason)
}
