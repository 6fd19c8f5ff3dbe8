//! The WebSocket protocol as bytes in, events out, bytes out (RFC 6455).
//!
//! Nothing here does I/O, reads a clock, draws random numbers or knows about Perl: time, randomness and buffers are
//! inputs, so every rule can be tested without a socket. [`handshake`] opens a connection, and [`Connection`] is what
//! follows; each of the other modules has one job.
#![forbid(unsafe_code)]

mod assembler;
mod close_code;
mod config;
mod connection;
mod control;
mod deflate;
mod error;
mod event;
mod frame;
pub mod handshake;
mod mask;
mod opcode;
mod state;
mod trace;
mod traffic;
mod utf8;

pub use assembler::MessageBuffer;
pub use close_code::CloseCode;
pub use config::Config;
pub use connection::Connection;
pub use deflate::{DeflateConfig, DeflatePool, Savings};
pub use error::{ProtocolError, UsageError};
pub use event::{CloseFrame, ControlPayload, Event, Notice, Payload};
pub use frame::{FrameHeader, MAX_CONTROL_PAYLOAD, MAX_HEADER_LEN, encode_frame, encode_header};
pub use mask::{MaskKey, apply_mask};
pub use opcode::Opcode;
pub use traffic::Traffic;
pub use utf8::{Utf8Validator, char_prefix};

/// A time in nanoseconds on a monotonic clock.
pub type Nanos = u64;
