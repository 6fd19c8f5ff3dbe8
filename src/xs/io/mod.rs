//! The transport, as an AnyEvent::Handle holds it. Nothing here knows frames.
//!
//! * [`handle`]: the handle's slots. [`methods`]: whether its methods are its own.
//! * [`descriptor`]: reading and writing. [`tls`]: its session. [`clock`]: the time.

pub mod clock;
pub mod descriptor;
pub mod handle;
pub mod methods;
pub mod tls;
