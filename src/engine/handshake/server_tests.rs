use super::*;

const LIMITS: Limits = Limits { head: 65536, line: 20480 };
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// Returns where pieces end: after each byte, or under Miri, which takes long, after some and the last.
fn ends(len: usize) -> impl Iterator<Item = usize> {
    (1..len).step_by(if cfg!(miri) { 17 } else { 1 }).chain([len])
}

/// A request whose fields can be replaced one by one.
fn head(line: &str, changes: &[(&str, Option<&str>)]) -> String {
    let usual = [
        ("Host", "localhost"),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", KEY),
        ("Sec-WebSocket-Version", "13"),
    ];
    let mut head = format!("{line}\r\n");
    for (name, value) in usual {
        let change = changes.iter().find(|(changed, _)| *changed == name).map(|(_, value)| *value);
        if let Some(value) = change.unwrap_or(Some(value)) {
            head += &format!("{name}: {value}\r\n");
        }
    }
    for (name, value) in changes.iter().filter(|(name, _)| usual.iter().all(|(usual, _)| usual != name)) {
        head += &format!("{name}: {}\r\n", value.unwrap_or_default());
    }
    head + "\r\n"
}

fn receive_as(is_strict: bool, octets: &[u8]) -> Result<Option<Request>, RequestError> {
    let whole = ServerHandshake::new(LIMITS, is_strict).receive(octets);
    let is_followed = matches!(&whole, Ok(Some(request)) if request.len < octets.len());
    // With `strict`, bytes behind a request are an error only if they arrive together with its end.
    if octets.len() < 2000 && !is_followed && whole != Err(RequestError::Leftovers) {
        let mut handshake = ServerHandshake::new(LIMITS, is_strict);
        let piecewise =
            ends(octets.len()).map(|end| handshake.receive(&octets[..end])).find(|result| *result != Ok(None));
        assert_eq!(piecewise.unwrap_or(Ok(None)), whole, "byte by byte");
    }
    whole
}

fn receive(octets: &str) -> Result<Request, RequestError> {
    receive_as(false, octets.as_bytes()).map(|request| request.expect("the request is complete"))
}

fn receive_strictly(octets: &str) -> Result<Request, RequestError> {
    receive_as(true, octets.as_bytes()).map(|request| request.expect("the request is complete"))
}

fn with(changes: &[(&str, Option<&str>)]) -> Result<Request, RequestError> {
    receive(&head("GET / HTTP/1.1", changes))
}

fn strictly_with(changes: &[(&str, Option<&str>)]) -> Result<Request, RequestError> {
    receive_strictly(&head("GET / HTTP/1.1", changes))
}

#[test]
fn a_valid_request() {
    let head = head("GET /chat?room=1 HTTP/1.1", &[]);
    let request = receive(&(head.clone() + "frames")).expect("valid");
    assert_eq!((&request.target[..], request.key(), request.len), (&b"/chat?room=1"[..], KEY.as_bytes(), head.len()));
    assert!(receive_strictly(&head).is_ok());
}

#[test]
fn the_beginning_of_a_request_asks_for_more() {
    let head = head("GET / HTTP/1.1", &[]);
    for len in 0..head.len() {
        assert_eq!(receive_as(false, &head.as_bytes()[..len]), Ok(None), "{len} bytes");
    }
}

#[test]
fn request_lines() {
    use RequestError::{HttpVersion, Method, RequestLine};
    for (line, expected) in [
        ("garbage", RequestLine),
        ("GET /", RequestLine),
        ("GET / HTTP/1.1 x", RequestLine),
        ("GET /\0 HTTP/1.1", RequestLine),
        ("GET /\rx HTTP/1.1", RequestLine),
        ("POST / HTTP/1.1", Method),
        ("get / HTTP/1.1", Method),
        ("PRI * HTTP/2.0", Method),
        ("GET / HTTP/1.0", HttpVersion),
        ("GET / HTTP/1.2", HttpVersion),
    ] {
        assert_eq!(receive_as(false, head(line, &[]).as_bytes()), Err(expected), "{line:?}");
        assert_eq!(receive_as(false, format!("{line}\r\n").as_bytes()), Err(expected), "{line:?} alone");
    }
    for line in ["GET\t/  HTTP/1.1 ", " GET / HTTP/1.1", "\r\nGET / HTTP/1.1", "GET * HTTP/1.1", "GET #f HTTP/1.1"] {
        assert!(receive(&head(line, &[])).is_ok(), "{line:?}");
        assert_eq!(receive_strictly(&head(line, &[])).is_ok(), line.starts_with("\r\n"), "{line:?}, strict");
    }
    let request = receive(&head("GET http://h/\u{fc} HTTP/1.1", &[])).expect("any bytes");
    assert_eq!(request.target, "http://h/\u{fc}".as_bytes());
    for target in ["http://h/", "HTTPS://h/", "/#f", "httpx", "http:h", "ws://h/", "/\u{fc}"] {
        let head = head(&format!("GET {target} HTTP/1.1"), &[]);
        assert!(receive(&head).is_ok(), "{target}");
        assert_eq!(receive_strictly(&head).is_ok(), target.contains("://h/") && !target.starts_with("ws"), "{target}");
    }
}

#[test]
fn what_cannot_become_a_request_is_refused_at_once() {
    for octets in
        [&b"\x16"[..], b"\x16\x03\x01\x02\x00", b"\r\n\xff", b"{", b"{ / HTTP/1.1\r\n", b"\x16\n", &[22; 21_000]]
    {
        for is_strict in [false, true] {
            assert_eq!(
                receive_as(is_strict, octets),
                Err(RequestError::RequestLine),
                "{octets:?}, strict: {is_strict}"
            );
        }
    }
    for octets in [&b""[..], b"\r", b"\r\r\r", b"GARBAGE", b" "] {
        assert_eq!(receive_as(false, octets), Ok(None), "{octets:?}");
    }
}

#[test]
fn an_error_stays() {
    let mut handshake = ServerHandshake::new(LIMITS, false);
    assert_eq!(handshake.receive(b"POST / HTTP/1.1\r\n"), Err(RequestError::Method));
    assert_eq!(handshake.receive(b"POST / HTTP/1.1\r\n\xff"), Err(RequestError::Method));
}

#[test]
fn the_upgrade() {
    for value in ["h2c, websocket", "WebSocket ", "websocket,"] {
        assert!(with(&[("Upgrade", Some(value))]).is_ok(), "{value}");
    }
    assert!(with(&[("Upgrade", Some("websocket\r\nUpgrade: h2c"))]).is_ok());
    assert!(with(&[("Connection", Some("Upgrade\r\nConnection: keep-alive"))]).is_ok());
    for changes in [
        [("Upgrade", None)],
        [("Upgrade", Some("websocket/13"))],
        [("Connection", None)],
        [("Connection", Some("keep-alive"))],
    ] {
        assert_eq!(with(&changes), Err(RequestError::NoUpgrade), "{changes:?}");
    }
}

#[test]
fn hosts() {
    for host in [None, Some(""), Some("0")] {
        assert_eq!(with(&[("Host", host)]), Err(RequestError::Invalid), "{host:?}");
    }
    let two = [("Host", Some("a\r\nHost: b"))];
    assert_eq!(with(&two).expect("the last counts").fields.last("host"), Some(&b"b"[..]));
    assert_eq!(strictly_with(&two), Err(RequestError::Invalid));
}

#[test]
fn versions() {
    for version in [None, Some("8"), Some("013"), Some("13, 8"), Some("13\r\nSec-WebSocket-Version: 8")] {
        assert_eq!(with(&[("Sec-WebSocket-Version", version)]), Err(RequestError::Version), "{version:?}");
    }
    let last = [("Sec-WebSocket-Version", Some("8\r\nSec-WebSocket-Version: 13"))];
    assert!(with(&last).is_ok());
    assert_eq!(strictly_with(&last), Err(RequestError::Invalid));
}

#[test]
fn keys() {
    for key in [None, Some(""), Some("0")] {
        assert_eq!(with(&[("Sec-WebSocket-Key", key)]), Err(RequestError::NoKey), "{key:?}");
    }
    let two = [("Sec-WebSocket-Key1", Some("1")), ("Sec-WebSocket-Key2", Some("2"))];
    assert_eq!(with(&two), Err(RequestError::TwoKeys));
    for key in
        ["abc", "AAAAAAAAAAAAAAAAAAAAAAA=", &"A".repeat(5000), "dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Key: abc"]
    {
        assert!(with(&[("Sec-WebSocket-Key", Some(key))]).is_ok(), "{key}");
        assert_eq!(strictly_with(&[("Sec-WebSocket-Key", Some(key))]), Err(RequestError::Invalid), "{key}");
    }
}

#[test]
fn bodies_and_what_follows() {
    for (name, value) in [("Content-Length", "5"), ("Transfer-Encoding", "chunked")] {
        assert_eq!(with(&[(name, Some(value))]), Err(RequestError::Leftovers), "{name}");
    }
    assert!(with(&[("Content-Length", Some("0"))]).is_ok());
    let followed = head("GET / HTTP/1.1", &[]) + "x";
    assert!(receive(&followed).is_ok());
    assert_eq!(receive_strictly(&followed), Err(RequestError::Leftovers));
}

#[test]
fn heads_that_are_too_large() {
    // Smaller than usual, because Miri takes long for many lines.
    let limits = Limits { head: 1000, line: 300 };
    for (value, is_too_large) in
        [("A: b\r\n".repeat(130), false), ("A: b\r\n".repeat(150), true), ("a".repeat(300), true)]
    {
        let octets = head("GET / HTTP/1.1", &[("X", Some(&value))]);
        let error = ServerHandshake::new(limits, false).receive(octets.as_bytes()).err();
        assert_eq!(error, is_too_large.then_some(RequestError::Head(HeadError::TooLong)), "{} bytes", octets.len());
    }
}

#[test]
fn a_status_for_each_error() {
    for (error, status) in [
        (RequestError::RequestLine, 400),
        (RequestError::Method, 405),
        (RequestError::HttpVersion, 505),
        (RequestError::Head(HeadError::InvalidField), 400),
        (RequestError::Head(HeadError::TooLong), 431),
        (RequestError::NoUpgrade, 426),
        (RequestError::Version, 426),
        (RequestError::NoKey, 400),
    ] {
        assert_eq!(error.status(), status, "{error:?}");
    }
}

#[test]
fn a_request_that_somebody_else_has_read() {
    let pairs: [(&[u8], &[u8]); 5] = [
        (b"host", b"h"),
        (b"upgrade", b"websocket"),
        (b"connection", b"upgrade"),
        (b"sec-websocket-key", b"k"),
        (b"sec-websocket-version", b"13"),
    ];
    assert!(Request::checked(b"/".to_vec(), Fields::new(pairs), false).is_ok());
    assert_eq!(Request::checked(b"/".to_vec(), Fields::new(pairs), true), Err(RequestError::Invalid));
    assert_eq!(Request::checked(b"/".to_vec(), Fields::new(pairs[..3].to_vec()), false), Err(RequestError::NoKey));
}
