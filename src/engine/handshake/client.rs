//! The client's side: reads and checks a server's response (RFC 6455, 4.1).

use super::accept_key::AcceptKey;
use super::extensions::has_only_offered;
use super::http::{Dialect, Fields, HeadError, HeadReader, Limits};
use super::response::{Refusal, StatusLine};
use thiserror::Error;

/// Maximum number of interim responses before the final one.
const MAX_INTERIM: u8 = 8;

/// The reason why a response is no acceptance. The texts are those of AnyEvent::WebSocket::Client. In them, each
/// character up to U+00FF stands for a byte.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ResponseError {
    /// The server does not switch protocols.
    #[error("handshake error: Wrong response line. Got [[{}]], expected [[HTTP/1.1 101 ]]", shortened(.0))]
    StatusLine(Vec<u8>),
    /// The head is malformed or too large.
    #[error("handshake error: {0}")]
    Head(#[from] HeadError),
    /// The server has not understood the request, or accepts something that was not offered.
    #[error("handshake error: Not a valid response")]
    Invalid,
    /// The server has chosen a subprotocol that was not asked for.
    #[error("subprotocol mismatch, requested: {}, got: {}", listed(.requested), characters(.got))]
    SubprotocolMismatch {
        /// The subprotocols that were asked for.
        requested: Vec<Vec<u8>>,
        /// The server's choice.
        got: Vec<u8>,
    },
    /// The server has chosen none of the subprotocols that were asked for.
    #[error("no subprotocol in response")]
    NoSubprotocol,
}

/// Returns one character for each byte.
fn characters(octets: &[u8]) -> String {
    octets.iter().map(|&octet| char::from(octet)).collect()
}

fn shortened(line: &[u8]) -> String {
    if line.len() > 80 { characters(&line[..77]) + "..." } else { characters(line) }
}

fn listed(subprotocols: &[Vec<u8>]) -> String {
    subprotocols.iter().map(|one| characters(one)).collect::<Vec<_>>().join(", ")
}

/// The request's side of what the response must match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// The answer to the client's key; `None` if the request has other keys too, which a server may have joined.
    pub accept: Option<AcceptKey>,
    /// The value of Sec-WebSocket-Extensions in the request; empty if there was none.
    pub extensions: Vec<u8>,
    /// The subprotocols that were asked for; `None` if there was no question.
    pub subprotocols: Option<Vec<Vec<u8>>>,
    /// The request asks for subprotocols that are not in `subprotocols`.
    pub has_other_subprotocols: bool,
    /// Enforce rules that servers in use break without harm.
    pub is_strict: bool,
}

/// A server's acceptance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServersAnswer {
    /// The subprotocol that the server has chosen among those that were asked for.
    pub subprotocol: Option<Vec<u8>>,
    /// The value of Sec-WebSocket-Extensions.
    pub extensions: Option<Vec<u8>>,
    /// The number of bytes of the response. What follows are frames.
    pub len: usize,
}

/// A handshake on the client's side.
#[derive(Debug)]
pub struct ClientHandshake {
    limits: Limits,
    expected: Expected,
    reader: HeadReader,
    /// The number of interim responses (RFC 9110, 15.2), and their length.
    interim: (u8, usize),
}

impl ClientHandshake {
    /// Creates a handshake.
    pub fn new(limits: Limits, expected: Expected) -> Self {
        let reader = reader(limits, &expected);
        Self { limits, expected, reader, interim: (0, 0) }
    }

    /// Reads the response. `octets` is everything that has arrived so far; `None` asks for more.
    ///
    /// # Errors
    /// The reason why it is no acceptance, as soon as it is known.
    pub fn receive(&mut self, octets: &[u8]) -> Result<Option<ServersAnswer>, ResponseError> {
        loop {
            let octets = &octets[self.interim.1..];
            let Some(line) = self.reader.first_line(octets)? else { return Ok(None) };
            let code = StatusLine::parse(line).filter(|line| line.is_http_1_1).map(|line| line.code);
            match code {
                Some(101) => {
                    let Some((fields, len)) = self.reader.fields(octets)? else { return Ok(None) };
                    let answer = self.expected.check(&fields, self.interim.1 + len)?;
                    return Ok(Some(answer));
                }
                Some(100..200) => {
                    let Some((_, len)) = self.reader.fields(octets)? else { return Ok(None) };
                    self.skip(len)?;
                }
                _ => return Err(ResponseError::StatusLine(line.to_vec())),
            }
        }
    }

    /// Reads the head of a final response that may be anything, for a program that wants to know why it is no acceptance.
    /// `octets` is everything that has arrived so far; `None` asks for more.
    ///
    /// # Errors
    /// It is no head of an HTTP response, or it is too large.
    pub fn receive_refusal(&mut self, octets: &[u8]) -> Result<Option<Refusal>, HeadError> {
        loop {
            let octets = &octets[self.interim.1..];
            let Some(line) = self.reader.first_line(octets)? else { return Ok(None) };
            let StatusLine { code: status, reason, .. } = StatusLine::parse(line).ok_or(HeadError::InvalidField)?;
            let Some((fields, len)) = self.reader.fields(octets)? else { return Ok(None) };
            if status == 101 || !(100..200).contains(&status) {
                return Ok(Some(Refusal { status, reason: reason.to_vec(), fields, len: self.interim.1 + len }));
            }
            self.skip(len)?;
        }
    }

    /// Skips an interim response.
    fn skip(&mut self, len: usize) -> Result<(), HeadError> {
        let (count, total) = self.interim;
        if count == MAX_INTERIM {
            return Err(HeadError::TooLong);
        }
        self.interim = (count + 1, total + len);
        let limits = Limits { head: self.limits.head - self.interim.1, ..self.limits };
        self.reader = reader(limits, &self.expected);
        Ok(())
    }
}

fn reader(limits: Limits, expected: &Expected) -> HeadReader {
    HeadReader::new(limits, if expected.is_strict { Dialect::Strict } else { Dialect::Response })
}

impl Expected {
    fn check(&self, fields: &Fields, len: usize) -> Result<ServersAnswer, ResponseError> {
        let is_upgrade = fields.list_has("upgrade", "websocket") && fields.list_has("connection", "upgrade");
        if !is_upgrade || !self.is_proof(fields.last("sec-websocket-accept")) {
            return Err(ResponseError::Invalid);
        }
        let singletons = ["sec-websocket-accept", "sec-websocket-protocol"];
        if self.is_strict && singletons.iter().any(|name| fields.is_repeated(name)) {
            return Err(ResponseError::Invalid);
        }
        let extensions = fields.joined("sec-websocket-extensions");
        if !has_only_offered(extensions.as_deref().unwrap_or_default(), &self.extensions) {
            return Err(ResponseError::Invalid);
        }
        let subprotocol = self.check_subprotocol(fields.last("sec-websocket-protocol"))?;
        Ok(ServersAnswer { subprotocol, extensions, len })
    }

    /// Returns `true` if a value of Sec-WebSocket-Accept proves that the server has read the request.
    fn is_proof(&self, value: Option<&[u8]>) -> bool {
        match (value, &self.accept) {
            (None | Some(b"" | b"0"), _) => false,
            (Some(value), Some(accept)) => value == accept.as_str().as_bytes(),
            (Some(_), None) => true,
        }
    }

    fn check_subprotocol(&self, chosen: Option<&[u8]>) -> Result<Option<Vec<u8>>, ResponseError> {
        match (&self.subprotocols, chosen) {
            (None, Some(_)) if self.is_strict && !self.has_other_subprotocols => Err(ResponseError::Invalid),
            (None, _) => Ok(None),
            (Some(_), None) => Err(ResponseError::NoSubprotocol),
            (Some(requested), Some(got)) if requested.iter().any(|one| one == got) => Ok(Some(got.to_vec())),
            (Some(requested), Some(got)) => {
                Err(ResponseError::SubprotocolMismatch { requested: requested.clone(), got: got.to_vec() })
            }
        }
    }
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
