//! A handshake on the server's side.

use super::{new_fields, new_object, new_text, with_state};
use crate::engine::handshake::{Acceptance, Fields, Limits, Request, RequestError, ServerHandshake};
use crate::xs::perl::ffi::{Perl, SV};
use crate::xs::perl::magic::Kind;
use crate::xs::perl::sv;
use std::cell::RefCell;

/// The state that hangs on the Perl value.
pub type State = RefCell<Server>;

/// A handshake, and the request once that is complete.
pub struct Server {
    handshake: ServerHandshake,
    is_strict: bool,
    request: Option<Request>,
}

impl Server {
    /// Creates the Perl value.
    pub fn create(perl: Perl, limits: Limits, is_strict: bool) -> *mut SV {
        let handshake = ServerHandshake::new(limits, is_strict);
        new_object(perl, Kind::ServerHandshake, Self { handshake, is_strict, request: None })
    }

    /// Runs `body` with the handshake that the Perl value holds; `None` if it holds none.
    pub fn with<R>(perl: Perl, object: *mut SV, body: impl FnOnce(&mut Self) -> R) -> Option<R> {
        // SAFETY: `create` makes this type for this kind.
        unsafe { with_state(perl, object, Kind::ServerHandshake, body) }
    }

    /// Reads the request: `[length]`, or `[undef, text, status]`.
    pub fn read(&mut self, perl: Perl, octets: &[u8]) -> Option<*mut SV> {
        let result = self.handshake.receive(octets).transpose()?;
        Some(self.keep(perl, result))
    }

    /// Takes a request that somebody else has read; returns the same.
    pub fn take(&mut self, perl: Perl, target: &[u8], pairs: Vec<(&[u8], &[u8])>) -> *mut SV {
        let result = Request::checked(target.to_vec(), Fields::new(pairs), self.is_strict);
        self.keep(perl, result)
    }

    fn keep(&mut self, perl: Perl, result: Result<Request, RequestError>) -> *mut SV {
        match result {
            Ok(request) => {
                let len = request.len as u64;
                self.request = Some(request);
                sv::new_array(perl, [sv::new_number(perl, len)])
            }
            Err(error) => {
                let status = sv::new_number(perl, error.status().into());
                sv::new_array(perl, [sv::new_undef(perl), new_text(perl, &error.to_string()), status])
            }
        }
    }

    /// Returns `[target, [name, value, ...]]` of the request that was read.
    pub fn request(&self, perl: Perl) -> Option<*mut SV> {
        let request = self.request.as_ref()?;
        let target = sv::new_string(perl, &request.target);
        Some(sv::new_array(perl, [target, new_fields(perl, &request.fields)]))
    }

    /// Returns the response that accepts the request that was read.
    pub fn acceptance(&self, perl: Perl, subprotocol: Option<&[u8]>, extensions: Option<&[u8]>) -> Option<*mut SV> {
        let key = self.request.as_ref()?.key();
        Some(sv::new_string(perl, &Acceptance { key, subprotocol, extensions }.encode()))
    }

    /// Returns the values of the fields with this name, joined by commas.
    pub fn joined(&self, perl: Perl, name: &str) -> Option<*mut SV> {
        Some(sv::new_string(perl, &self.request.as_ref()?.fields.joined(name)?))
    }
}

/// Returns the response that accepts a request. Returns `None` if the bytes are not a complete and valid request alone.
pub fn response(octets: &[u8], limits: Limits, is_strict: bool) -> Option<Vec<u8>> {
    let request = ServerHandshake::new(limits, is_strict).receive(octets).ok()??;
    let response = || Acceptance { key: request.key(), subprotocol: None, extensions: None }.encode();
    (request.len == octets.len()).then(response)
}
