//! The transport: an AnyEvent::Handle and what belongs to it. Nothing here knows about frames.
//!
//! * [`handle`]: the handle's slots. [`methods`]: checks that nobody has replaced its methods.
//! * [`descriptor`]: system calls. [`tls`]: the handle's session, driven with the functions of [`openssl`] and through
//!   the memory of [`bio`]. [`transport`]: the path that bytes take.
//! * [`scratch`]: buffers that connections share. [`clock`]: the time.

pub mod bio;
pub mod clock;
pub mod descriptor;
pub mod handle;
pub mod methods;
pub mod openssl;
pub mod scratch;
pub mod tls;
pub mod transport;
