//! Perl as the binding sees it. Nothing here knows about WebSockets or AnyEvent.
//!
//! * [`ffi`]: perl's types, the functions of `glue/`, and the structs that both languages use.
//! * [`sv`]: values, mostly strings. [`keys`]: hash slots. [`places`]: the addresses of values, for
//!   prefetching them. [`buffer`]: the memory of long strings.
//! * [`magic`]: Rust state on Perl values. [`bound_sub`]: anonymous subs with a state.
//! * [`after`]: what an XSUB asks its trampoline to do once no Rust frame is left.
//! * [`fork`]: fork detection.

pub mod after;
pub mod bound_sub;
pub mod buffer;
pub mod ffi;
pub mod fork;
pub mod keys;
pub mod magic;
pub mod places;
pub mod sv;
