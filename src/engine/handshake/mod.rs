//! The opening handshake (RFC 6455, 4) as bytes in, bytes out.
//!
//! [`ServerHandshake`] reads a client's request, [`ClientHandshake`] a server's response. Both take everything that has
//! arrived so far, and return `None` until that is enough. [`Opening`] writes the request, of whose URL [`PlainUrl`] reads the usual
//! ones, [`Acceptance`] the response.
//! [`DeflateTerms`] negotiates compression, through the values of one header.

mod accept_key;
mod client;
mod extensions;
mod http;
mod permessage_deflate;
mod request;
mod response;
mod server;
mod url;

pub use accept_key::{AcceptKey, encode_key};
pub use client::{ClientHandshake, Expected, ResponseError, ServersAnswer};
pub use extensions::{Extension, Malformed, Parameter, has_only_offered, parse_extensions};
pub use http::{Fields, HeadError, Limits};
pub use permessage_deflate::{DeflateTerms, EndTerms, NotAgreed};
pub use request::Opening;
pub use response::{Acceptance, Refusal};
pub use server::{Request, RequestError, ServerHandshake};
pub use url::PlainUrl;
