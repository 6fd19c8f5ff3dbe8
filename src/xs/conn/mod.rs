//! One connection.
//!
//! * [`connection`]: its state, and how Perl values hold it. [`turn`]: when messages are delivered, and frames
//!   written. [`outbox`]: those that are not yet.
//! * [`receive`]: from the transport to the engine, through the [`inbox`].
//! * [`dispatch`]: from the engine to [`callbacks`], by way of [`job`]s, which [`prepare`] makes calls.
//!   [`message`]: message objects.
//! * [`interpreter`]: what all connections share.
//! * [`send`]: from the program to the transport, with [`flush`]. [`mask_keys`]: random masking keys. [`broadcast`]: to many at once.
//! * [`shim`]: the Perl subs that all this ends in.

#[cfg(feature = "xs")]
pub mod broadcast;
#[cfg(feature = "xs")]
pub mod callbacks;
#[cfg(feature = "xs")]
pub mod connection;
#[cfg(feature = "xs")]
pub mod dispatch;
#[cfg(feature = "xs")]
pub mod flush;
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
pub mod prepare;
#[cfg(feature = "xs")]
pub mod receive;
#[cfg(feature = "xs")]
pub mod send;
#[cfg(feature = "xs")]
pub mod shim;
pub mod turn;
