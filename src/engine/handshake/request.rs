//! Writes a client's request (RFC 6455, 4.1).

use bytes::BufMut;

/// A client's request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opening<'a> {
    /// The request target: `/path?query`.
    pub target: &'a [u8],
    /// The value of Host.
    pub host: &'a [u8],
    /// The value of Origin.
    pub origin: &'a [u8],
    /// The value of Sec-WebSocket-Protocol, if it is sent.
    pub subprotocols: Option<&'a [u8]>,
    /// The value of Sec-WebSocket-Key.
    pub key: &'a [u8],
    /// Follow the draft before the RFC: its version is 8, and it calls Origin Sec-WebSocket-Origin.
    pub is_draft: bool,
    /// More fields, in order.
    pub more: Vec<(&'a [u8], &'a [u8])>,
    /// Leave out a field of which `more` has one.
    pub replaces: bool,
}

impl Opening<'_> {
    /// Returns the request. Line ends in what it is made of are left out.
    pub fn encode(&self) -> Vec<u8> {
        let mut octets = Vec::with_capacity(512);
        octets.put_slice(b"GET ");
        put_line(&mut octets, &[self.target, b" HTTP/1.1"]);
        let origin: &[u8] = if self.is_draft { b"Sec-WebSocket-Origin" } else { b"Origin" };
        let version: &[u8] = if self.is_draft { b"8" } else { b"13" };
        let fields: [(&[u8], Option<&[u8]>); 7] = [
            (b"Upgrade", Some(b"WebSocket")),
            (b"Connection", Some(b"Upgrade")),
            (b"Host", Some(self.host)),
            (origin, Some(self.origin)),
            (b"Sec-WebSocket-Protocol", self.subprotocols),
            (b"Sec-WebSocket-Key", Some(self.key)),
            (b"Sec-WebSocket-Version", Some(version)),
        ];
        for (name, value) in fields {
            if let Some(value) = value.filter(|_| !self.is_replaced(name)) {
                put_line(&mut octets, &[name, b": ", value]);
            }
        }
        for (name, value) in &self.more {
            put_line(&mut octets, &[name, b": ", value]);
        }
        put_line(&mut octets, &[]);
        octets
    }

    fn is_replaced(&self, name: &[u8]) -> bool {
        self.replaces && self.more.iter().any(|(own, _)| own.eq_ignore_ascii_case(name))
    }
}

/// Appends a line, without any line ends in it.
pub(super) fn put_line(octets: &mut Vec<u8>, parts: &[&[u8]]) {
    for part in parts {
        octets.extend(part.iter().filter(|octet| !matches!(octet, b'\r' | b'\n')));
    }
    octets.put_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opening() -> Opening<'static> {
        Opening {
            target: b"/chat?x",
            host: b"h:81",
            origin: b"http://h:81",
            subprotocols: Some(b"a,b"),
            key: b"KEY",
            more: vec![(b"X-One", b"1"), (b"host", b"other")],
            ..Opening::default()
        }
    }

    fn text(opening: &Opening<'_>) -> String {
        String::from_utf8(opening.encode()).expect("ASCII")
    }

    #[test]
    fn fields_have_the_order_that_programs_know() {
        assert_eq!(
            text(&opening()),
            "GET /chat?x HTTP/1.1\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\nHost: h:81\r\nOrigin: http://h:81\r\n\
             Sec-WebSocket-Protocol: a,b\r\nSec-WebSocket-Key: KEY\r\nSec-WebSocket-Version: 13\r\nX-One: 1\r\n\
             host: other\r\n\r\n"
        );
    }

    #[test]
    fn the_draft_has_another_version_and_origin() {
        let text = text(&Opening { is_draft: true, ..opening() });
        assert!(text.contains("\r\nSec-WebSocket-Version: 8\r\n"));
        assert!(text.contains("\r\nSec-WebSocket-Origin: http://h:81\r\n"));
    }

    #[test]
    fn a_field_of_the_program_can_replace_ours() {
        let text = text(&Opening { replaces: true, ..opening() });
        assert!(!text.contains("Host: h:81"));
        assert!(text.contains("\r\nhost: other\r\n"));
    }

    #[test]
    fn line_ends_cannot_be_smuggled_in() {
        let more: Vec<(&[u8], &[u8])> = vec![(b"A\r\nB", b"1\r\n2")];
        let text = text(&Opening { target: b"/\r\nX: y", more, subprotocols: Some(b"a\nb"), ..opening() });
        assert!(text.starts_with("GET /X: y HTTP/1.1\r\n"));
        assert!(text.contains("\r\nAB: 12\r\n"));
        assert!(text.contains("Sec-WebSocket-Protocol: ab\r\n"));
    }
}
