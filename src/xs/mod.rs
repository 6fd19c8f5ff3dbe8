//! The binding: it connects perl and the engine.
//!
//! It has four parts, with the table of XSUBs on top. Each imports only from those above it.
//!
//! * [`perl`]: Perl's values, and what an XSUB does after Rust has returned.
//! * [`io`]: the AnyEvent::Handle, which stays the source of truth about the transport.
//! * [`conn`]: one connection, from the transport to callbacks and from the program to the transport.
//! * [`handshake`]: opening handshakes.
//! * [`codec`]: one connection whose bytes somebody else moves.
//! * [`xsubs`]: the subs that Perl calls.
//!
//! `glue/` is the C half: perl's macros, every call that may run Perl code, and every croak.
//!
//! No borrow of a connection lives while Perl code runs. After every callback its state is read again, because the
//! callback may have closed, destroyed or re-entered the connection.
//!
//! Modules that need no perl are also built without the feature `xs`, so that `cargo test` tests them.

#![cfg_attr(not(feature = "xs"), allow(dead_code))]

#[cfg(feature = "xs")]
mod codec;
mod conn;
#[cfg(feature = "xs")]
mod handshake;
#[cfg(feature = "xs")]
mod io;
#[cfg(feature = "xs")]
mod perl;
#[cfg(feature = "xs")]
mod xsubs;
