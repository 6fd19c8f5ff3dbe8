//! Errors, named by who is to blame.

use super::close_code::CloseCode;
use thiserror::Error;

/// The peer broke a rule or a limit. The text is what `parse_error` callbacks receive.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ProtocolError {
    /// RFC 6455, 5.2: RSV bits "MUST be 0 unless an extension is negotiated".
    #[error("Protocol error: reserved bits are set without a negotiated extension")]
    ReservedBits,
    /// RFC 7692, 6: RSV1 marks a compressed message, which an endpoint sends only if the handshake has agreed on it.
    #[error(
        "Protocol error: reserved bits are set without a negotiated extension: RSV1 marks a compressed message, which takes \
         AnyEvent::WebSocket::Deflate in the handshake"
    )]
    UnexpectedCompression,
    /// RFC 6455, 5.2: "If an unknown opcode is received, the receiving endpoint MUST fail" the connection.
    #[error("Protocol error: reserved opcode {0}")]
    ReservedOpcode(u8),
    /// RFC 6455, 5.5: control frames "MUST NOT be fragmented".
    #[error("Protocol error: fragmented control frame")]
    FragmentedControl,
    /// RFC 6455, 5.5: control frames "MUST have a payload length of 125 bytes or less".
    #[error("Protocol error: control frame with more than 125 bytes of payload")]
    OversizedControl,
    /// RFC 6455, 5.2: "the minimal number of bytes MUST be used to encode the length".
    #[error("Protocol error: payload length is not encoded in the fewest bytes")]
    NonMinimalLength,
    /// RFC 6455, 5.2: of a 64-bit length "the most significant bit MUST be 0".
    #[error("Protocol error: most significant bit of a 64-bit payload length is set")]
    LengthTopBit,
    /// RFC 6455, 5.4: a continuation frame continues a message.
    #[error("Protocol error: continuation frame without a message to continue")]
    UnexpectedContinuation,
    /// RFC 6455, 5.4: "The fragments of one message MUST NOT be interleaved".
    #[error("Protocol error: new message inside a fragmented one")]
    InterleavedMessage,
    /// RFC 6455, 5.1: "a server MUST close the connection upon receiving a frame that is not masked".
    #[error("Protocol error: the client sent an unmasked frame")]
    UnmaskedFrame,
    /// RFC 6455, 5.1: "a client MUST close a connection if it detects a masked frame".
    #[error("Protocol error: the server sent a masked frame")]
    MaskedFrame,
    /// RFC 6455, 5.5.1: a Close body starts with a 2-byte code.
    #[error("Protocol error: Close frame with a 1-byte body")]
    TruncatedCloseCode,
    /// RFC 6455, 7.4: only some codes may be sent.
    #[error("Protocol error: Close frame with code {0}, which may not be sent")]
    InvalidCloseCode(CloseCode),
    /// RFC 6455, 5.5.1: the reason is UTF-8.
    #[error("Invalid UTF-8 in the reason of a Close frame")]
    InvalidCloseReason,
    /// RFC 6455, 8.1: text that is not UTF-8 fails the connection (`strict` only).
    #[error("Invalid UTF-8 in a text message")]
    InvalidUtf8,
    /// A frame announces more payload than `max_payload_size`.
    #[error("Payload is too big. The frame announces {announced} bytes, max_payload_size is {limit}")]
    PayloadTooBig {
        /// Payload length in the frame header, in bytes.
        announced: u64,
        /// The limit, in bytes.
        limit: u64,
    },
    /// RFC 7692, 6: RSV1 marks the first frame of a compressed message, and no other.
    #[error("Protocol error: RSV1, which marks a compressed message, is set on another frame than its first")]
    MisplacedRsv1,
    /// RFC 7692, 7.2.2: the payload cannot be inflated.
    #[error("Invalid data in a compressed message")]
    CorruptDeflate,
    /// A compressed message inflates to more than its frames could have carried uncompressed.
    #[error(
        "Payload is too big. The compressed message inflates to more than {limit} bytes, max_payload_size for each frame"
    )]
    InflatedTooBig {
        /// The limit, in bytes.
        limit: u64,
    },
    /// A message has more frames than `max_fragments` allows.
    #[error("Too many fragments. max_fragments is {limit}")]
    TooManyFragments {
        /// The limit.
        limit: u64,
    },
    /// The frames of a message announce, or inflate to, more payload than `max_message_size` allows.
    #[error("Message is too big. It has {size} bytes so far, max_message_size is {limit}")]
    MessageTooBig {
        /// Payload length announced by the frame headers or inflated so far, in bytes.
        size: u64,
        /// The limit, in bytes.
        limit: u64,
    },
    /// The peer sent more pings and pongs within a second than `max_control_rate` allows.
    #[error("Too many control frames. max_control_rate is {limit} a second")]
    TooManyControls {
        /// The limit.
        limit: u64,
    },
}

impl ProtocolError {
    /// Returns the code of the Close frame that answers this error. No other place decides it.
    pub const fn close_code(self) -> CloseCode {
        match self {
            Self::InvalidUtf8 | Self::InvalidCloseReason | Self::CorruptDeflate => CloseCode::INVALID_PAYLOAD,
            Self::PayloadTooBig { .. } | Self::InflatedTooBig { .. } => CloseCode::TOO_BIG,
            Self::TooManyFragments { .. } | Self::MessageTooBig { .. } => CloseCode::TOO_BIG,
            Self::TooManyControls { .. } => CloseCode::POLICY_VIOLATION,
            _ => CloseCode::PROTOCOL_ERROR,
        }
    }
}

/// The caller asked for a frame that must not exist.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum UsageError {
    /// An opcode has four bits.
    #[error("the opcode must be a whole number from 0 to 15")]
    OpcodeOutOfRange,
    /// RFC 6455, 5.4: frames of one message must not be interleaved with those of another.
    #[error("a message is being sent in fragments, and has to be ended first")]
    MessageInProgress,
    /// RFC 6455, 5.5: a control frame carries at most 125 bytes.
    #[error("a control frame carries at most 125 bytes, not {0}")]
    OversizedControl(usize),
}
