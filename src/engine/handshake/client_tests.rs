use super::*;

const LIMITS: Limits = Limits { head: 65536, line: 20480 };
const KEY: &[u8] = b"dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Returns where pieces end: after each byte, or under Miri, which takes long, after some and the last.
fn ends(len: usize) -> impl Iterator<Item = usize> {
    (1..len).step_by(if cfg!(miri) { 17 } else { 1 }).chain([len])
}

fn expected() -> Expected {
    Expected { accept: Some(AcceptKey::of(KEY)), ..Expected::default() }
}

fn strict() -> Expected {
    Expected { is_strict: true, ..expected() }
}

fn asking_for(subprotocols: &[&str]) -> Expected {
    Expected { subprotocols: Some(subprotocols.iter().map(|one| one.as_bytes().to_vec()).collect()), ..expected() }
}

fn receive(expected: &Expected, octets: &str) -> Result<Option<ServersAnswer>, ResponseError> {
    let octets = octets.as_bytes();
    let whole = ClientHandshake::new(LIMITS, expected.clone()).receive(octets);
    if octets.len() < 2000 {
        let mut handshake = ClientHandshake::new(LIMITS, expected.clone());
        let piecewise =
            ends(octets.len()).map(|end| handshake.receive(&octets[..end])).find(|result| *result != Ok(None));
        assert_eq!(piecewise.unwrap_or(Ok(None)), whole, "byte by byte");
    }
    whole
}

fn head(more: &str) -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {ACCEPT}\r\n{more}\r\n"
    )
}

fn answer(expected: &Expected, octets: &str) -> Result<ServersAnswer, ResponseError> {
    receive(expected, octets).map(|answer| answer.expect("the response is complete"))
}

fn chosen(expected: &Expected, more: &str) -> Result<Option<String>, String> {
    let answer = answer(expected, &head(more)).map_err(|error| error.to_string())?;
    Ok(answer.subprotocol.map(|one| String::from_utf8(one).expect("ASCII")))
}

#[test]
fn an_acceptance() {
    let found = answer(&expected(), &(head("") + "frames"));
    assert_eq!(found, Ok(ServersAnswer { subprotocol: None, extensions: None, len: head("").len() }));
    assert!(answer(&strict(), &head("")).is_ok());
}

#[test]
fn the_beginning_of_a_response_asks_for_more() {
    for len in 0..head("").len() {
        assert_eq!(receive(&expected(), &head("")[..len]), Ok(None), "{len} bytes");
    }
}

#[test]
fn status_lines() {
    for line in
        ["", " HTTP/1.1 101 x", "HTTP/1.1 200 OK", "HTTP/1.1 404 Not Found", "HTTP/1.0 101 x", "HTTP/1.1 1019 x"]
    {
        let text = format!("handshake error: Wrong response line. Got [[{line}]], expected [[HTTP/1.1 101 ]]");
        for expected in [expected(), strict()] {
            let found = receive(&expected, &format!("{line}\r\n")).map_err(|error| error.to_string());
            assert_eq!(found, Err(text.clone()), "{line}, {expected:?}");
        }
    }
    assert!(answer(&expected(), &head("").replace(" Switching Protocols", "")).is_ok());
}

#[test]
fn a_long_status_line_is_shortened() {
    let text = |len: usize| {
        let found = receive(&expected(), &format!("{}\r\n", "x".repeat(len)));
        found.expect_err("no status line").to_string()
    };
    assert!(text(80).contains(&format!("[[{}]]", "x".repeat(80))));
    assert!(text(81).contains(&format!("[[{}...]]", "x".repeat(77))));
}

#[test]
fn each_byte_of_a_status_line_becomes_a_character() {
    assert!(ResponseError::StatusLine(b"\xfc".to_vec()).to_string().contains("[[\u{fc}]]"));
}

#[test]
fn interim_responses_are_skipped() {
    let interim = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n";
    let found = answer(&expected(), &(interim.repeat(8) + &head("") + "frames")).expect("eight are allowed");
    assert_eq!(found.len, interim.len() * 8 + head("").len());
    let too_long = Err(ResponseError::Head(HeadError::TooLong));
    assert_eq!(receive(&expected(), &(interim.repeat(9) + &head(""))), too_long);
    let large = format!("HTTP/1.1 100 Continue\r\nX: {}\r\n\r\n", "x".repeat(20_000));
    assert_eq!(receive(&expected(), &(large.repeat(4) + &head(""))), too_long);
    assert!(receive(&expected(), &(interim.to_owned() + "HTTP/1.1 404 Not Found\r\n")).is_err());
}

#[test]
fn the_proof() {
    let with = |accept: &str| head("").replace(&format!("Sec-WebSocket-Accept: {ACCEPT}\r\n"), accept);
    for accept in ["", "Sec-WebSocket-Accept:\r\n", "Sec-WebSocket-Accept: 0\r\n", "Sec-WebSocket-Accept: wrong\r\n"] {
        assert_eq!(answer(&expected(), &with(accept)), Err(ResponseError::Invalid), "{accept}");
    }
    let spaced = format!("Sec-WebSocket-Accept : {ACCEPT}\r\n");
    assert_eq!(answer(&expected(), &with(&spaced)), Err(ResponseError::Invalid));
    let two = format!("Sec-WebSocket-Accept: wrong\r\nSec-WebSocket-Accept: {ACCEPT}\r\n");
    assert!(answer(&expected(), &with(&two)).is_ok());
    assert_eq!(answer(&strict(), &with(&two)), Err(ResponseError::Invalid));
    let other_keys = Expected { accept: None, ..expected() };
    assert!(answer(&other_keys, &with("Sec-WebSocket-Accept: wrong\r\n")).is_ok());
    assert_eq!(answer(&other_keys, &with("")), Err(ResponseError::Invalid));
}

#[test]
fn the_upgrade() {
    for (from, to) in [
        ("Upgrade: websocket\r\n", ""),
        ("websocket", "h2c"),
        ("Connection: Upgrade\r\n", ""),
        ("Connection: Upgrade", "Connection: close"),
    ] {
        assert_eq!(answer(&expected(), &head("").replace(from, to)), Err(ResponseError::Invalid), "{from} -> {to}");
    }
}

#[test]
fn extensions_must_have_been_offered() {
    let offering = Expected { extensions: b"x-other; a=1, permessage-deflate".to_vec(), ..expected() };
    let header = "Sec-WebSocket-Extensions: Permessage-Deflate; x=\"a,b\"\r\n";
    let found = answer(&offering, &head(header)).expect("it was offered");
    assert_eq!(found.extensions, Some(b"Permessage-Deflate; x=\"a,b\"".to_vec()));
    assert_eq!(answer(&expected(), &head(header)), Err(ResponseError::Invalid));
    let two = "Sec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Extensions: x\r\n";
    assert_eq!(answer(&offering, &head(two)), Err(ResponseError::Invalid));
    let malformed = "Sec-WebSocket-Extensions: permessage-deflate;\r\n";
    assert_eq!(answer(&offering, &head(malformed)), Err(ResponseError::Invalid));
    assert!(answer(&expected(), &head("Sec-WebSocket-Extensions:\r\n")).is_ok());
}

#[test]
fn subprotocols() {
    let asking = asking_for(&["foo", "bar"]);
    let mismatch = |got: &str| Err(format!("subprotocol mismatch, requested: foo, bar, got: {got}"));
    assert_eq!(chosen(&asking, "Sec-WebSocket-Protocol: bar\r\n"), Ok(Some("bar".into())));
    assert_eq!(chosen(&asking, "Sec-WebSocket-Protocol: foo \r\n"), Ok(Some("foo".into())));
    assert_eq!(chosen(&asking, "Sec-WebSocket-Protocol: FOO\r\n"), mismatch("FOO"));
    assert_eq!(chosen(&asking, "Sec-WebSocket-Protocol: foo, bar\r\n"), mismatch("foo, bar"));
    assert_eq!(chosen(&asking, "Sec-WebSocket-Protocol:\r\n"), mismatch(""));
    assert_eq!(chosen(&asking, ""), Err("no subprotocol in response".into()));
    let two = "Sec-WebSocket-Protocol: foo\r\nSec-WebSocket-Protocol: bar\r\n";
    assert_eq!(chosen(&asking, two), Ok(Some("bar".into())));
    assert!(chosen(&Expected { is_strict: true, ..asking }, two).is_err());
}

#[test]
fn a_subprotocol_that_nobody_asked_for() {
    let header = "Sec-WebSocket-Protocol: foo\r\n";
    assert_eq!(chosen(&expected(), header), Ok(None));
    assert!(chosen(&strict(), header).is_err());
    assert_eq!(chosen(&Expected { has_other_subprotocols: true, ..strict() }, header), Ok(None));
}

#[test]
fn no_list_of_subprotocols_matches_an_empty_one() {
    assert_eq!(chosen(&asking_for(&[]), ""), Err("no subprotocol in response".into()));
    assert_eq!(chosen(&asking_for(&[""]), "Sec-WebSocket-Protocol:\r\n"), Ok(Some(String::new())));
}

#[test]
fn malformed_heads() {
    for line in ["no colon\r\n", ": x\r\n", "A: \0\r\n", "A: b\rc\r\n"] {
        assert_eq!(answer(&expected(), &head(line)), Err(ResponseError::Head(HeadError::InvalidField)), "{line:?}");
    }
    assert!(answer(&expected(), &head("A: b\r\n c\r\n").replace("\r\n", "\n")).is_ok());
    assert!(answer(&strict(), &head("").replace("\r\n", "\n")).is_err());
}

fn receive_refusal(octets: &str) -> Result<Option<Refusal>, HeadError> {
    let limits = Limits { head: 1000, line: 100 };
    let octets = octets.as_bytes();
    let whole = ClientHandshake::new(limits, expected()).receive_refusal(octets);
    let mut handshake = ClientHandshake::new(limits, expected());
    let mut piecewise = ends(octets.len()).map(|end| handshake.receive_refusal(&octets[..end]));
    assert_eq!(piecewise.find(|result| *result != Ok(None)).unwrap_or(Ok(None)), whole, "byte by byte");
    whole
}

#[test]
fn the_head_of_a_refusal() {
    let head = "HTTP/1.1 404 Not Found\r\nRetry-After: 3\r\n\r\n";
    let found = receive_refusal(&(head.to_owned() + "body")).expect("a head").expect("all of it");
    assert_eq!((found.status, &found.reason[..], found.len), (404, &b"Not Found"[..], head.len()));
    assert_eq!(found.fields.last("retry-after"), Some(&b"3"[..]));
    assert_eq!(receive_refusal(&head[..head.len() - 1]), Ok(None));
    for (octets, error) in [("SSH-2.0\r\n", HeadError::InvalidField), (&"x".repeat(101), HeadError::TooLong)] {
        assert_eq!(receive_refusal(octets), Err(error));
    }
}

#[test]
fn a_refusal_may_follow_interim_responses() {
    let head = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.0 404 Not Found\r\n\r\n";
    let found = receive_refusal(head).expect("a head").expect("all of it");
    assert_eq!((found.status, found.len), (404, head.len()));
    assert_eq!(receive_refusal("HTTP/1.1 101 x\r\n\r\n").expect("a head").map(|found| found.status), Some(101));
    assert_eq!(receive_refusal(&"HTTP/1.1 100 x\r\n\r\n".repeat(9)), Err(HeadError::TooLong));
}
