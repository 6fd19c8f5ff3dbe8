//! One connection.
//!
//! * [`connection`]: its state, and how Perl values hold it. [`turn`]: when messages are delivered, and frames written.
//! * [`receive`]: from the transport to the engine, through the [`inbox`].
//! * [`dispatch`]: from the engine to [`callbacks`], by way of [`job`]s. [`message`]: message objects.
//! * [`interpreter`]: what all connections share.
//! * [`send`]: from the program to the transport. [`mask_keys`]: random masking keys. [`broadcast`]: to many at once.
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
pub mod inbox;
#[cfg(feature = "xs")]
pub mod interpreter;
#[cfg(feature = "xs")]
pub mod job;
#[cfg(feature = "xs")]
pub mod mask_keys;
#[cfg(feature = "xs")]
pub mod message;
#[cfg(feature = "xs")]
pub mod receive;
#[cfg(feature = "xs")]
pub mod send;
#[cfg(feature = "xs")]
pub mod shim;
pub mod turn;
