//! One connection.
//!
//! * [`connection`]: its state, and how Perl values hold it. [`turn`]: when messages are delivered and frames written.
//!   [`outbox`]: the frames not written yet.
//! * [`receive`]: from the transport to the engine, through the [`inbox`].
//! * [`dispatch`]: from the engine to [`callbacks`]. Events become [`job`]s, and [`prepare`] turns these into [`call`]s.
//!   [`burst_guard`]: continues in nested event loops. [`message`]: message objects. [`registration`]: the subs that
//!   unregister callbacks.
//! * [`interpreter`]: the state shared by all connections. [`footprint`]: prefetches the memory that a message touches.
//! * [`send`]: from the program to the transport, with [`flush`]. [`mask_keys`]: random masking keys. [`broadcast`]:
//!   one message to many connections.
//! * [`perl_subs`]: the Perl subs that the binding calls.
//!
//! Functions that run for every message are marked `#[inline]`. Otherwise unrelated code influences which of them the compiler
//! inlines, and a message can take 130 instructions more.

#[cfg(feature = "xs")]
pub mod broadcast;
#[cfg(feature = "xs")]
pub mod burst_guard;
#[cfg(feature = "xs")]
pub mod call;
#[cfg(feature = "xs")]
pub mod callbacks;
#[cfg(feature = "xs")]
pub mod connection;
#[cfg(feature = "xs")]
pub mod dispatch;
#[cfg(feature = "xs")]
pub mod flush;
#[cfg(feature = "xs")]
pub mod footprint;
#[cfg(feature = "xs")]
pub mod inbox;
#[cfg(feature = "xs")]
pub mod interpreter;
#[cfg(feature = "xs")]
pub mod job;
#[cfg(feature = "xs")]
pub mod mask_keys;
#[cfg(feature = "xs")]
pub mod message;
pub mod outbox;
#[cfg(feature = "xs")]
pub mod perl_subs;
#[cfg(feature = "xs")]
pub mod prepare;
#[cfg(feature = "xs")]
pub mod receive;
#[cfg(feature = "xs")]
pub mod registration;
#[cfg(feature = "xs")]
pub mod send;
pub mod turn;
