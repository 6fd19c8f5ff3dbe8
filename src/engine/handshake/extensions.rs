//! The header Sec-WebSocket-Extensions (RFC 6455, 9.1): a list of extensions with their parameters.

use std::borrow::Cow;
use thiserror::Error;

/// An extension that a client offers, or that a server has accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension<'a> {
    /// The name, as written.
    pub name: &'a str,
    /// The parameters, in the order of the header. A name may occur more than once.
    pub parameters: Vec<Parameter<'a>>,
}

impl Extension<'_> {
    /// Returns `true` if this is the extension called `name`. RFC 6455 does not say whether case matters; here it does
    /// not.
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }
}

/// A parameter of an extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter<'a> {
    /// The name, as written.
    pub name: &'a str,
    /// The value without quotes and backslashes, if there is one. 9.1 requires a token also between quotes. This is not
    /// checked, so that an extension that we do not know cannot spoil those beside it.
    pub value: Option<Cow<'a, [u8]>>,
}

/// The header breaks the grammar of 9.1.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("malformed Sec-WebSocket-Extensions")]
pub struct Malformed;

/// Parses the value of a Sec-WebSocket-Extensions header. If a message has several of these headers, join their values
/// with commas first (9.1). Elements of the list may be empty (RFC 9110, 5.6.1). Line ends count as white space, because
/// programs that find the header with a regular expression often leave a CR at its end.
///
/// # Errors
/// [`Malformed`] if any part of the value breaks the grammar: then none of it can be trusted.
pub fn parse_extensions(value: &[u8]) -> Result<Vec<Extension<'_>>, Malformed> {
    let mut scanner = Scanner { rest: value };
    let mut extensions = Vec::new();
    loop {
        scanner.take_while(|octet| octet == b',' || octet.is_ascii_whitespace());
        if scanner.rest.is_empty() {
            return Ok(extensions);
        }
        extensions.push(scanner.extension()?);
        if !scanner.skip(b',') && !scanner.rest.is_empty() {
            return Err(Malformed);
        }
    }
}

/// Returns `true` if a response names only extensions that the request has offered; otherwise the client must fail the
/// connection (RFC 6455, 4.1). Both arguments are values of Sec-WebSocket-Extensions. Parameters are not compared: what
/// they may be, the extension says. A malformed response is refused (9.1), and a malformed request offers nothing.
pub fn has_only_offered(response: &[u8], request: &[u8]) -> bool {
    let Ok(accepted) = parse_extensions(response) else { return false };
    let offered = parse_extensions(request).unwrap_or_default();
    accepted.iter().all(|extension| offered.iter().any(|offer| offer.is(extension.name)))
}

/// A cursor in a header.
struct Scanner<'a> {
    rest: &'a [u8],
}

impl<'a> Scanner<'a> {
    fn take_while(&mut self, is_wanted: impl Fn(u8) -> bool) -> &'a [u8] {
        let len = self.rest.iter().position(|&octet| !is_wanted(octet)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(len);
        self.rest = rest;
        taken
    }

    fn skip_whitespace(&mut self) {
        self.take_while(|octet| octet.is_ascii_whitespace());
    }

    /// Skips white space, and then `octet` and the white space behind it. Returns `true` if `octet` was there.
    fn skip(&mut self, octet: u8) -> bool {
        self.skip_whitespace();
        let Some(rest) = self.rest.strip_prefix(&[octet]) else { return false };
        self.rest = rest;
        self.skip_whitespace();
        true
    }

    fn extension(&mut self) -> Result<Extension<'a>, Malformed> {
        let name = self.token()?;
        let mut parameters = Vec::new();
        while self.skip(b';') {
            let name = self.token()?;
            let value = if self.skip(b'=') { Some(self.value()?) } else { None };
            parameters.push(Parameter { name, value });
        }
        Ok(Extension { name, parameters })
    }

    fn token(&mut self) -> Result<&'a str, Malformed> {
        let token = self.take_while(is_token_octet);
        std::str::from_utf8(token).ok().filter(|token| !token.is_empty()).ok_or(Malformed)
    }

    fn value(&mut self) -> Result<Cow<'a, [u8]>, Malformed> {
        if let Some(rest) = self.rest.strip_prefix(b"\"") {
            self.rest = rest;
            return self.quoted();
        }
        Ok(Cow::Borrowed(self.token()?.as_bytes()))
    }

    /// Reads the rest of a quoted string (RFC 9110, 5.6.4), whose first quote has been read.
    fn quoted(&mut self) -> Result<Cow<'a, [u8]>, Malformed> {
        let mut value = Cow::Borrowed(self.take_while(|octet| octet != b'"' && octet != b'\\'));
        loop {
            match self.rest {
                [b'"', rest @ ..] => {
                    self.rest = rest;
                    return Ok(value);
                }
                [b'\\', escaped, rest @ ..] => {
                    self.rest = rest;
                    let value = value.to_mut();
                    value.push(*escaped);
                    value.extend(self.take_while(|octet| octet != b'"' && octet != b'\\'));
                }
                _ => return Err(Malformed),
            }
        }
    }
}

/// RFC 9110, 5.6.2.
fn is_token_octet(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&octet)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns what was parsed, as `name;parameter=<value> | name`.
    fn parsed(value: &str) -> Result<String, Malformed> {
        let written = |extension: &Extension<'_>| {
            let mut text = extension.name.to_owned();
            for Parameter { name, value } in &extension.parameters {
                let value = value.as_ref().map(|value| format!("=<{}>", String::from_utf8_lossy(value)));
                text += &format!(";{name}{}", value.unwrap_or_default());
            }
            text
        };
        Ok(parse_extensions(value.as_bytes())?.iter().map(written).collect::<Vec<_>>().join(" | "))
    }

    #[test]
    fn names_parameters_and_values_are_found() {
        let vectors = [
            ("", ""),
            (" , ,", ""),
            ("foo", "foo"),
            ("foo, bar; baz=2", "foo | bar;baz=<2>"),
            ("foo;a;b=1 ;\tc = 2,foo", "foo;a;b=<1>;c=<2> | foo"),
            (",, foo ,, Bar , ", "foo | Bar"),
            ("foo\r\n", "foo"),
            ("foo; a=\"10\"", "foo;a=<10>"),
            ("foo; a=\"\"; b=\"x, y; z\", bar", "foo;a=<>;b=<x, y; z> | bar"),
            (r#"foo; a="1\0"; b="\"\\""#, "foo;a=<10>;b=<\"\\>"),
            ("foo; a=\"\u{e9}\"", "foo;a=<\u{e9}>"),
            ("!#$%&'*+-.^_`|~09AZaz", "!#$%&'*+-.^_`|~09AZaz"),
        ];
        for (value, extensions) in vectors {
            assert_eq!(parsed(value).as_deref(), Ok(extensions), "{value:?}");
        }
    }

    #[test]
    fn anything_malformed_spoils_the_whole_header() {
        let vectors = [
            "foo bar",
            "foo;",
            "foo; ;a",
            "foo; =1",
            "foo; a=",
            "foo; a= ;b",
            "foo; a=1 2",
            "foo=1",
            ";a",
            "=",
            "\"foo\"",
            "foo; a=\"",
            "foo; a=\"x\\",
            "foo; a=\"x\\\"",
            "foo; a=\"x\"y",
            "foo; \"a\"",
            "foo/1",
            "f\u{e9}",
            "foo, (bar)",
            "foo\0",
        ];
        for value in vectors {
            assert_eq!(parsed(value), Err(Malformed), "{value:?}");
            assert_eq!(parsed(&format!("first, {value}")), Err(Malformed), "{value:?} behind another");
        }
    }

    #[test]
    fn a_response_may_name_only_what_was_offered() {
        let offers = "foo; a=1, permessage-deflate; client_max_window_bits, permessage-deflate";
        for response in ["", "foo", "foo; b=2", "FOO, Permessage-Deflate", "foo, foo", ","] {
            assert!(has_only_offered(response.as_bytes(), offers.as_bytes()), "{response:?}");
        }
        for response in ["bar", "foo, bar", "a", "fo", "foo;", "permessage-deflate; a=\""] {
            assert!(!has_only_offered(response.as_bytes(), offers.as_bytes()), "{response:?}");
        }
        assert!(has_only_offered(b"", b""));
        assert!(!has_only_offered(b"foo", b""));
        assert!(!has_only_offered(b"foo", b"foo;"), "a malformed request offers nothing");
    }
}
