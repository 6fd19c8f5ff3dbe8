//! The native half of the Perl distribution AnyEvent-WebSocket-Native.
//!
//! * [`engine`]: the protocol, as bytes in, events out, bytes out; no unsafe code, no I/O, no Perl.
//! * `xs` (feature `xs`): the binding to perl, and the only place with unsafe code.
//!
//! Imports go downwards only: `perl/` calls `xs`, `xs` calls `engine`.

pub mod engine;
#[cfg(any(feature = "xs", test))]
pub mod xs;
