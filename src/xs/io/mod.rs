//! The transport, as an AnyEvent::Handle holds it. Nothing here knows frames.
//!
//! * [`handle`]: the handle's slots. [`methods`]: whether its methods are its own.
//! * [`descriptor`]: reading and writing. [`tls`]: its session. [`transport`]: the way through them.
//! * [`clock`]: the time.

pub mod clock;
pub mod descriptor;
pub mod handle;
pub mod methods;
pub mod tls;
pub mod transport;
