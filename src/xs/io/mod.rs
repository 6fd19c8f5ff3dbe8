//! The transport: an AnyEvent::Handle and what belongs to it. Nothing here knows about frames.
//!
//! * [`handle`]: the handle's slots. [`methods`]: checks that nobody has replaced its methods.
//! * [`descriptor`]: system calls. [`tls`]: the handle's session. [`transport`]: the path that bytes take.
//! * [`clock`]: the time.

pub mod clock;
pub mod descriptor;
pub mod handle;
pub mod methods;
pub mod tls;
pub mod transport;
