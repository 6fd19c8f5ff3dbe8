//! The opening handshake (RFC 6455, 4) as bytes in, bytes out.
//!
//! [`ServerHandshake`] reads a client's request, [`ClientHandshake`] a server's response. Both take everything that has
//! arrived so far, and return `None` until that is enough. [`Opening`] writes the request, [`Acceptance`] the response.

mod accept_key;
mod client;
mod http;
mod request;
mod response;
mod server;

pub use accept_key::{AcceptKey, encode_key};
pub use client::{ClientHandshake, Expected, ResponseError, ServersAnswer, extension_names};
pub use http::{Fields, HeadError, Limits};
pub use request::Opening;
pub use response::{Acceptance, Refusal, read_refusal};
pub use server::{Request, RequestError, ServerHandshake};
