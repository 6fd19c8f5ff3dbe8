//! The binding: perl on one side, the engine on the other. It knows no opcode's meaning and no rule of RFC 6455.
//!
//! * `glue.c`: perl's macros, every call that may run Perl code, every croak.
//! * [`ffi`]: what Rust sees of it. [`boot`]: the XSUBs perl sees of us.
//! * [`after`]: what an XSUB asks its trampoline to do once no Rust frame is left.
//! * [`sv`]: strings. [`buffer`]: the memory of bodies. [`keys`]: hash slots. [`message`]: message objects.
//!   [`mask_keys`]: random masking keys.
//! * [`handle`]: the AnyEvent::Handle, which stays the source of truth about the transport. [`descriptor`]: reading and
//!   writing on its descriptor. [`tls`]: its session.
//! * [`connection`]: one connection's state and where it hangs. [`receive`]: from the transport to the engine;
//!   [`dispatch`]: from the engine to callbacks; [`send`]: from the program to the transport.
//!
//! No borrow of a connection lives while Perl runs: after every callback the state is looked at anew, since the callback
//! may have closed, destroyed or re-entered the connection.

mod after;
mod broadcast;
mod buffer;
mod callbacks;
mod clock;
mod connection;
mod control_rate;
mod descriptor;
mod dispatch;
mod ffi;
mod handle;
mod handle_methods;
mod keys;
mod mask_keys;
mod message;
mod receive;
mod send;
mod sv;
mod tls;
mod turn;
mod xsubs;
