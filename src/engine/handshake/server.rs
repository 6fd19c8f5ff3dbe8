//! The server's side: reads and checks a client's request (RFC 6455, 4.2.1).

use super::accept_key::is_well_formed;
use super::http::{Dialect, Fields, HeadError, HeadReader, Limits, is_token};
use thiserror::Error;

/// The reason why a request is refused. The texts are those of AnyEvent::WebSocket::Server.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum RequestError {
    /// The request line is not three words, or is not text.
    #[error("Wrong request line")]
    RequestLine,
    /// The method is not GET.
    #[error("Wrong method or http version")]
    Method,
    /// The version is not HTTP/1.1.
    #[error("Wrong method or http version")]
    HttpVersion,
    /// The head is malformed or too large.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// Something follows that belongs to the request.
    #[error("Leftovers")]
    Leftovers,
    /// The request does not ask for an upgrade to WebSocket.
    #[error("Not a valid request")]
    NoUpgrade,
    /// The request lacks a Host, or breaks a rule that only `strict` enforces.
    #[error("Not a valid request")]
    Invalid,
    /// The version of the WebSocket protocol is not 13. Drafts before 13 had no version header that anybody used.
    #[error("unsupported WebSocket protocol version draft-ietf-hybi-10")]
    Version,
    /// There is no key, as in the drafts before the first with a key.
    #[error("unsupported WebSocket protocol version draft-hixie-75")]
    NoKey,
    /// There are two keys, as in a draft.
    #[error("unsupported WebSocket protocol version draft-ietf-hybi-00")]
    TwoKeys,
}

impl RequestError {
    /// Returns the HTTP status that tells the client why (RFC 9110, 15.5).
    pub const fn status(self) -> u16 {
        match self {
            Self::Method => 405,
            Self::NoUpgrade | Self::Version => 426,
            Self::Head(HeadError::TooLong) => 431,
            Self::HttpVersion => 505,
            _ => 400,
        }
    }
}

/// A valid request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The request target as it was sent: `/path?query`.
    pub target: Vec<u8>,
    /// The header fields.
    pub fields: Fields,
    /// The number of bytes of the request. What follows are frames.
    pub len: usize,
}

impl Request {
    /// Returns the client's Sec-WebSocket-Key.
    pub fn key(&self) -> &[u8] {
        self.fields.last("sec-websocket-key").unwrap_or_default()
    }

    /// Checks a request that somebody else has read, for instance a PSGI server.
    ///
    /// # Errors
    /// The reason to refuse it.
    pub fn checked(target: Vec<u8>, fields: Fields, is_strict: bool) -> Result<Self, RequestError> {
        let request = Self { target, fields, len: 0 };
        request.check(is_strict)?;
        Ok(request)
    }

    fn check(&self, is_strict: bool) -> Result<(), RequestError> {
        let fields = &self.fields;
        if !fields.list_has("upgrade", "websocket") || !fields.list_has("connection", "upgrade") {
            return Err(RequestError::NoUpgrade);
        }
        if !is_true(fields.last("host")) {
            return Err(RequestError::Invalid);
        }
        if is_true(fields.last("sec-websocket-key1")) && is_true(fields.last("sec-websocket-key2")) {
            return Err(RequestError::TwoKeys);
        }
        if !is_true(fields.last("sec-websocket-key")) {
            return Err(RequestError::NoKey);
        }
        if fields.last("sec-websocket-version") != Some(b"13") {
            return Err(RequestError::Version);
        }
        let singletons = ["host", "sec-websocket-key", "sec-websocket-version"];
        let is_odd = singletons.iter().any(|name| fields.is_repeated(name)) || !is_well_formed(self.key());
        if is_strict && is_odd { Err(RequestError::Invalid) } else { Ok(()) }
    }
}

/// Perl's idea of a header that is there.
fn is_true(value: Option<&[u8]>) -> bool {
    !matches!(value, None | Some(b"" | b"0"))
}

/// A handshake on the server's side.
#[derive(Debug)]
pub struct ServerHandshake {
    reader: HeadReader,
    is_strict: bool,
    target: Option<Vec<u8>>,
}

impl ServerHandshake {
    /// Creates a handshake. `is_strict` also enforces rules that clients in use break without harm.
    pub fn new(limits: Limits, is_strict: bool) -> Self {
        let dialect = if is_strict { Dialect::Strict } else { Dialect::Request };
        Self { reader: HeadReader::new(limits, dialect), is_strict, target: None }
    }

    /// Reads the request. `octets` is everything that has arrived so far; `None` asks for more.
    ///
    /// # Errors
    /// The reason to refuse the request, as soon as it is known.
    pub fn receive(&mut self, octets: &[u8]) -> Result<Option<Request>, RequestError> {
        if self.target.is_none() {
            if is_hopeless(self.reader.skip_empty_lines(octets)) {
                return Err(RequestError::RequestLine);
            }
            let Some(line) = self.reader.first_line(octets)? else { return Ok(None) };
            self.target = Some(target_of(line, self.is_strict)?.to_vec());
        }
        let Some((fields, len)) = self.reader.fields(octets)? else { return Ok(None) };
        if fields.announce_body() || self.is_strict && octets.len() > len {
            return Err(RequestError::Leftovers);
        }
        let request = Request { target: self.target.clone().unwrap_or_default(), fields, len };
        request.check(self.is_strict)?;
        Ok(Some(request))
    }
}

/// Returns `true` if no request line begins with these bytes, for instance those of a TLS handshake.
fn is_hopeless(octets: &[u8]) -> bool {
    octets.first().is_some_and(|&octet| !is_token(octet) && !matches!(octet, b'\r' | b'\n' | b' ' | b'\t'))
}

/// Returns the target of a request line.
fn target_of(line: &[u8], is_strict: bool) -> Result<&[u8], RequestError> {
    let is_space = |octet: &u8| matches!(octet, b' ' | b'\t');
    let mut words = line.split(is_space).filter(|word| !word.is_empty());
    let (Some(method), Some(target), Some(version), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(RequestError::RequestLine);
    };
    let single_spaces = [method, target, version].join(&b' ');
    if line.iter().any(|octet| matches!(octet, 0 | b'\r')) || is_strict && (line != single_spaces || !is_usual(target))
    {
        return Err(RequestError::RequestLine);
    }
    match (method, version) {
        (b"GET", b"HTTP/1.1") => Ok(target),
        (b"GET", _) => Err(RequestError::HttpVersion),
        _ => Err(RequestError::Method),
    }
}

/// Returns `true` for a target that RFC 6455, 4.1 allows: a path, or an HTTP URI, without fragment.
fn is_usual(target: &[u8]) -> bool {
    let begins_with = |start: &[u8]| target.get(..start.len()).is_some_and(|own| own.eq_ignore_ascii_case(start));
    [&b"/"[..], b"http://", b"https://"].into_iter().any(begins_with)
        && target.iter().all(|octet| octet.is_ascii_graphic() && *octet != b'#')
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
