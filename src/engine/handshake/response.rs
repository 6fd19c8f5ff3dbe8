//! Responses: writes a server's 101 (RFC 6455, 4.2.2), and takes status lines apart.

use super::accept_key::AcceptKey;
use super::http::Fields;
use super::request::put_line;
use bytes::BufMut;

/// A server's acceptance of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acceptance<'a> {
    /// The client's Sec-WebSocket-Key.
    pub key: &'a [u8],
    /// The chosen subprotocol.
    pub subprotocol: Option<&'a [u8]>,
    /// The value of Sec-WebSocket-Extensions.
    pub extensions: Option<&'a [u8]>,
}

impl Acceptance<'_> {
    /// Returns the response. Line ends in what it is made of are left out.
    pub fn encode(&self) -> Vec<u8> {
        let mut octets = Vec::with_capacity(256);
        octets.put_slice(b"HTTP/1.1 101 WebSocket Protocol Handshake\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n");
        put_line(&mut octets, &[b"Sec-WebSocket-Accept: ", AcceptKey::of(self.key).as_str().as_bytes()]);
        let more = [(b"Protocol".as_slice(), self.subprotocol), (b"Extensions".as_slice(), self.extensions)];
        for (name, value) in more {
            if let Some(value) = value {
                put_line(&mut octets, &[b"Sec-WebSocket-", name, b": ", value]);
            }
        }
        put_line(&mut octets, &[]);
        octets
    }
}

/// The status line of a response: the code, the text behind it, and whether the version is HTTP/1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StatusLine<'a> {
    pub is_http_1_1: bool,
    pub code: u16,
    pub reason: &'a [u8],
}

impl<'a> StatusLine<'a> {
    /// Parses a status line; the space behind the code may be missing.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let rest = line.strip_prefix(b"HTTP/1.")?;
        let [version, b' ', a, b, c, rest @ ..] = rest else { return None };
        let digits = [*a, *b, *c];
        if !digits.iter().all(u8::is_ascii_digit) || !version.is_ascii_digit() {
            return None;
        }
        let reason = match rest {
            [] => rest,
            [b' ', reason @ ..] => reason,
            _ => return None,
        };
        let code = digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
        Some(Self { is_http_1_1: *version == b'1', code, reason })
    }
}

/// The head of a response with which a server refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status code: 404.
    pub status: u16,
    /// The text behind the status code.
    pub reason: Vec<u8>,
    /// The header fields.
    pub fields: Fields,
    /// The number of bytes of the head, and of interim responses before it; the body follows.
    pub len: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acceptance_has_the_order_that_programs_know() {
        let plain = Acceptance { key: b"dGhlIHNhbXBsZSBub25jZQ==", subprotocol: None, extensions: None };
        let head = "HTTP/1.1 101 WebSocket Protocol Handshake\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\
                    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
        assert_eq!(String::from_utf8(plain.encode()).expect("ASCII"), format!("{head}\r\n"));
        let full = Acceptance { subprotocol: Some(b"a\r\nb"), extensions: Some(b"x"), ..plain };
        let more = "Sec-WebSocket-Protocol: ab\r\nSec-WebSocket-Extensions: x\r\n\r\n";
        assert_eq!(String::from_utf8(full.encode()).expect("ASCII"), format!("{head}{more}"));
    }

    #[test]
    fn status_lines() {
        let parsed = |line: &'static str| StatusLine::parse(line.as_bytes()).map(|line| (line.code, line.reason));
        assert_eq!(parsed("HTTP/1.1 404 Not Found"), Some((404, &b"Not Found"[..])));
        assert_eq!(parsed("HTTP/1.0 200"), Some((200, &b""[..])));
        for line in
            ["", "HTTP/2 200 OK", "HTTP/1.1 4045", "HTTP/1.1 4a4 x", "HTTP/1.1  404", "HTTP/1.x 404 x", "SSH-2.0"]
        {
            assert_eq!(parsed(line), None, "{line}");
        }
    }
}
