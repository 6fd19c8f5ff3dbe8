//! The URLs that most programs pass, and what a request needs of them.

use super::request::Opening;

/// A WebSocket URL in which nothing has to be escaped, changed to lower case or left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlainUrl<'a> {
    /// The scheme is `wss`, not `ws`.
    pub is_secure: bool,
    /// The host, a name or an IPv4 address.
    pub host: &'a str,
    /// The port, which may be larger than a port can be. If the URL has none, it is that of the scheme.
    pub port: u32,
    path: &'a str,
    query: &'a str,
}

impl<'a> PlainUrl<'a> {
    /// Takes a URL apart. Returns `None` for anything but a plain URL, also if it is valid.
    pub fn parse(url: &'a [u8]) -> Option<Self> {
        let url = std::str::from_utf8(url).ok()?;
        let (scheme, rest) = url.split_once("://")?;
        let is_secure = match scheme {
            "ws" => false,
            "wss" => true,
            _ => return None,
        };
        let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (path, query) = rest.split_at(rest.find('?').unwrap_or(rest.len()));
        if !rest.bytes().all(is_harmless) {
            return None;
        }
        let (host, port) = match authority.split_once(':') {
            Some((host, port)) => (host, parse_port(port)?),
            None => (authority, usual_port(is_secure)),
        };
        let is_plain = |octet| matches!(octet, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
        (!host.is_empty() && host.bytes().all(is_plain)).then_some(Self { is_secure, host, port, path, query })
    }

    /// Returns a request for this URL, with a key for Sec-WebSocket-Key and no other fields of the client's own.
    pub fn opening(&self, key: &str) -> Vec<u8> {
        let path = if self.path.is_empty() { "/" } else { self.path };
        let target = [path, self.query].concat();
        let is_usual = self.port == usual_port(self.is_secure);
        let host = if is_usual { self.host.to_owned() } else { format!("{}:{}", self.host, self.port) };
        let origin = [if self.is_secure { "https://" } else { "http://" }, &host].concat();
        Opening {
            target: target.as_bytes(),
            host: host.as_bytes(),
            origin: origin.as_bytes(),
            key: key.as_bytes(),
            ..Opening::default()
        }
        .encode()
    }
}

fn usual_port(is_secure: bool) -> u32 {
    if is_secure { 443 } else { 80 }
}

/// Takes up to five digits, the first of which is not 0.
fn parse_port(text: &str) -> Option<u32> {
    let is_port =
        matches!(text.len(), 1..=5) && !text.starts_with('0') && text.bytes().all(|octet| octet.is_ascii_digit());
    is_port.then(|| text.parse().ok()).flatten()
}

/// Returns `true` for characters that stand for themselves in a path or a query (RFC 3986, 3.3 and 3.4), and for `%`.
fn is_harmless(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@%/?".contains(&octet)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> Option<(bool, &str, u32)> {
        PlainUrl::parse(url.as_bytes()).map(|url| (url.is_secure, url.host, url.port))
    }

    fn request_to(url: &str) -> String {
        let octets = PlainUrl::parse(url.as_bytes()).expect("a plain URL").opening("KEY");
        String::from_utf8(octets).expect("ASCII")
    }

    #[test]
    fn plain_urls() {
        assert_eq!(parsed("ws://h"), Some((false, "h", 80)));
        assert_eq!(parsed("wss://h"), Some((true, "h", 443)));
        assert_eq!(parsed("ws://127.0.0.1:8080/a/b?c=d/e"), Some((false, "127.0.0.1", 8080)));
        assert_eq!(parsed("wss://a-b_c.example:1/%20"), Some((true, "a-b_c.example", 1)));
        assert_eq!(parsed("ws://h?q"), Some((false, "h", 80)));
        assert_eq!(parsed("ws://h:99999/"), Some((false, "h", 99999)));
    }

    #[test]
    fn urls_that_are_not_plain() {
        for url in [
            "",
            "ws",
            "ws:",
            "ws:h",
            "ws:/h/",
            "ws:///",
            "ws://",
            "ws://?",
            "ws://:80/",
            "WS://h/",
            "http://h/",
            "wsx://h/",
            " ws://h/",
            "ws://h/\n",
            "ws://h/ ",
            "ws://H/",
            "ws://u@h/",
            "ws://u:p@h/",
            "ws://[::1]/",
            "ws://h:/",
            "ws://h:0/",
            "ws://h:080/",
            "ws://h:123456/",
            "ws://h:+80/",
            "ws://h:8 /",
            "ws://h:80:80/",
            "ws://h/#f",
            "ws://h#f",
            "ws://h/a#b?c",
            "ws://h/<",
            "ws://h/\"",
            "ws://h/[",
            "ws://h/\\",
            "ws://h/^",
            "ws://h/`",
            "ws://h/{",
            "ws://h/|",
            "ws://h/\0",
            "ws://h\0/",
            "ws://h/\u{e9}",
            "ws://\u{e9}/",
            "ws://h%41/",
        ] {
            assert_eq!(parsed(url), None, "{url:?}");
        }
        assert_eq!(PlainUrl::parse(b"ws://h/\xff"), None);
    }

    #[test]
    fn every_octet_of_a_path_and_a_query() {
        for octet in 0..=0x7f_u8 {
            let is_harmless = octet.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:@%/?".contains(char::from(octet));
            for start in ["ws://h/", "ws://h?"] {
                let url = [start.as_bytes(), &[octet]].concat();
                assert_eq!(PlainUrl::parse(&url).is_some(), is_harmless, "{start}{octet}");
            }
        }
    }

    #[test]
    fn the_request_names_target_host_and_origin() {
        let request = request_to("ws://h:81/a?b");
        assert!(request.starts_with("GET /a?b HTTP/1.1\r\n"), "{request}");
        assert!(request.contains("\r\nHost: h:81\r\nOrigin: http://h:81\r\nSec-WebSocket-Key: KEY\r\n"), "{request}");
    }

    #[test]
    fn the_target_has_a_path() {
        assert!(request_to("ws://h").starts_with("GET / HTTP/1.1\r\n"));
        assert!(request_to("ws://h?q").starts_with("GET /?q HTTP/1.1\r\n"));
    }

    #[test]
    fn the_usual_port_is_left_out() {
        for (url, origin) in
            [("ws://h:80/", "http://h"), ("wss://h:443/", "https://h"), ("wss://h:80/", "https://h:80")]
        {
            assert!(request_to(url).contains(&format!("\r\nOrigin: {origin}\r\n")), "{url}");
        }
    }
}
