//! The native half of the Perl distribution AnyEvent-WebSocket-Native.
//!
//! * [`engine`]: the protocol, as bytes in, events out, bytes out. It has no unsafe code, does no I/O and knows nothing
//!   of Perl.
//! * `xs` (feature `xs`): the binding to perl, and the only place with unsafe code.
//!
//! Dependencies point downwards only: `perl/` calls `xs`, and `xs` calls `engine`.

pub mod engine;
#[cfg(any(feature = "xs", test))]
pub mod xs;
