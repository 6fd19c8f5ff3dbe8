//! What frames bring: messages, and control frames (RFC 6455, 5.5).

use super::close_code::CloseCode;
use super::error::ProtocolError;
use super::frame::MAX_CONTROL_PAYLOAD;
use super::opcode::Opcode;

/// What a frame brought. Control frames are boxed: they are rare, and would make every message's event eight times as
/// large.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a, B> {
    /// A whole message, text or binary.
    Message {
        /// [`Opcode::Text`] or [`Opcode::Binary`].
        opcode: Opcode,
        /// Its octets.
        payload: Payload<'a, B>,
    },
    /// A part of a message, text or binary, of a connection that [streams](super::Connection::set_streaming).
    Chunk {
        /// [`Opcode::Text`] or [`Opcode::Binary`].
        opcode: Opcode,
        /// The next of its octets.
        payload: Payload<'a, B>,
        /// These are the last.
        is_final: bool,
    },
    /// A ping; answer it with a pong of the same payload.
    Ping(Box<ControlPayload>),
    /// A pong.
    Pong(Box<ControlPayload>),
    /// The peer's Close frame. Unless `error` is set, answer it with [`close`](super::Connection::close); if it is, with
    /// [`fail`](super::Connection::fail).
    Close(Box<CloseFrame>),
}

/// The octets of a message.
#[derive(Debug, PartialEq, Eq)]
pub enum Payload<'a, B> {
    /// It came in one piece: a part of the input.
    Borrowed(&'a [u8]),
    /// It was put together.
    Owned(B),
}

/// The payload of a control frame: at most 125 octets.
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
    /// The octets.
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
    /// [`CloseCode::NO_STATUS`] for an empty body, `None` for a body too short to hold a code.
    pub code: Option<CloseCode>,
    /// The rule it breaks.
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

    /// The reason, as octets that should be UTF-8.
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
