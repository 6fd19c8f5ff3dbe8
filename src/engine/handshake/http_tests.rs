use super::*;

const LIMITS: Limits = Limits { head: 200, line: 60 };

type Pairs = Vec<(String, String)>;

/// Reads a head in pieces of every size, asserts that all give the same result, and returns it. An error must come no
/// later than with the line that causes it.
fn read(dialect: Dialect, octets: &str) -> Result<Option<(Pairs, usize)>, HeadError> {
    let whole = HeadReader::new(LIMITS, dialect).fields(octets.as_bytes());
    for size in 1..octets.len() {
        let mut reader = HeadReader::new(LIMITS, dialect);
        let ends = (size..octets.len()).step_by(size).chain([octets.len()]);
        let result = ends.map(|end| reader.fields(&octets.as_bytes()[..end])).find(|result| *result != Ok(None));
        assert_eq!(result.unwrap_or(Ok(None)), whole, "in pieces of {size}");
    }
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    Ok(whole?.map(|(fields, len)| (fields.iter().map(|(name, value)| (text(name), text(value))).collect(), len)))
}

fn fields(dialect: Dialect, lines: &str) -> Result<Pairs, HeadError> {
    let head = format!("GET / HTTP/1.1\r\n{lines}\r\n");
    let (fields, len) = read(dialect, &head)?.expect("the head is complete");
    assert_eq!(len, head.len());
    Ok(fields)
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.into(), value.into())
}

#[test]
fn fields_have_names_in_lower_case_and_values_without_space_around_them() {
    for dialect in [Dialect::Request, Dialect::Response, Dialect::Strict] {
        let found = fields(dialect, "Host: a\r\nX-Two:b c\t \r\nEmpty:\r\nHOST:\t d:e\r\nHigh: \u{fc}\r\n");
        let pairs = [("host", "a"), ("x-two", "b c"), ("empty", ""), ("host", "d:e"), ("high", "\u{fc}")];
        assert_eq!(found, Ok(pairs.map(|(name, value)| pair(name, value)).into()), "{dialect:?}");
    }
}

#[test]
fn no_fields() {
    assert_eq!(fields(Dialect::Request, ""), Ok(vec![]));
}

#[test]
fn lines_may_end_in_a_line_feed_alone_unless_strict() {
    assert_eq!(read(Dialect::Request, "GET / HTTP/1.1\nA: b\n\n"), Ok(Some((vec![pair("a", "b")], 21))));
    for head in ["GET / HTTP/1.1\nA: b\r\n\r\n", "GET / HTTP/1.1\r\nA: b\n\r\n", "GET / HTTP/1.1\r\nA: b\r\n\n"] {
        assert_eq!(read(Dialect::Strict, head), Err(HeadError::InvalidField), "{head}");
    }
}

#[test]
fn lines_that_are_no_fields() {
    for line in ["no colon", ": no name", "A: \0", "A: b\rc"] {
        for dialect in [Dialect::Request, Dialect::Response, Dialect::Strict] {
            assert_eq!(fields(dialect, &format!("{line}\r\n")), Err(HeadError::InvalidField), "{line:?} {dialect:?}");
        }
    }
}

#[test]
fn a_request_reports_a_wrong_line_before_its_head_is_complete() {
    let mut reader = HeadReader::new(LIMITS, Dialect::Request);
    assert_eq!(reader.fields(b"GET / HTTP/1.1\r\nno colon"), Ok(None));
    assert_eq!(reader.fields(b"GET / HTTP/1.1\r\nno colon\r\n"), Err(HeadError::InvalidField));
}

#[test]
fn responses_may_have_continued_lines_and_odd_names() {
    assert_eq!(
        fields(Dialect::Response, "A: b\r\n c\r\n\td: e\r\nF: g\r\n"),
        Ok(vec![pair("a", "b c\td: e"), pair("f", "g")])
    );
    assert_eq!(fields(Dialect::Response, "A : b\r\nX Y: z\r\nF: g\r\n"), Ok(vec![pair("f", "g")]));
    assert_eq!(fields(Dialect::Response, " A: b\r\nF: g\r\n"), Ok(vec![pair("f", "g")]));
    for line in ["A: b\r\n c\r\n", "A : b\r\n", "X Y: z\r\n", " A: b\r\n"] {
        assert_eq!(fields(Dialect::Request, line), Err(HeadError::InvalidField), "{line}");
    }
}

#[test]
fn empty_lines_before_a_head_can_be_skipped() {
    let octets = b"\r\n\nGET\r\n";
    for (dialect, rest) in [(Dialect::Request, &b"GET\r\n"[..]), (Dialect::Strict, b"\nGET\r\n")] {
        assert_eq!(HeadReader::new(LIMITS, dialect).skip_empty_lines(octets), rest, "{dialect:?}");
    }
    let mut reader = HeadReader::new(LIMITS, Dialect::Request);
    assert_eq!(reader.skip_empty_lines(b"\r\n\r"), b"\r");
    assert_eq!(reader.skip_empty_lines(octets), b"GET\r\n");
    assert_eq!(reader.first_line(octets), Ok(Some(&b"GET"[..])));
    let mut reader = HeadReader::new(LIMITS, Dialect::Strict);
    assert_eq!(reader.first_line(b"\r\nHTTP\r\n"), Ok(Some(&b""[..])));
}

#[test]
fn empty_lines_count_toward_the_limit() {
    for end in ["\n", "\r\n"] {
        let octets = end.repeat(LIMITS.head / end.len()) + "G";
        let mut reader = HeadReader::new(LIMITS, Dialect::Request);
        assert_eq!(reader.skip_empty_lines(octets.as_bytes()), b"G");
        assert_eq!(reader.first_line(&octets.as_bytes()[..LIMITS.head]), Ok(None));
        assert_eq!(reader.first_line(octets.as_bytes()), Err(HeadError::TooLong));
    }
}

#[test]
fn no_limit_is_too_large() {
    let limits = Limits { head: usize::MAX, line: usize::MAX };
    let octets = b"GET / HTTP/1.1\r\nA: b\r\n\r\n";
    assert!(matches!(HeadReader::new(limits, Dialect::Request).fields(octets), Ok(Some((_, 24)))));
}

#[test]
fn an_error_stays() {
    for line in ["no colon\r\n", &"x".repeat(61)] {
        let head = format!("GET / HTTP/1.1\r\n{line}");
        let mut reader = HeadReader::new(LIMITS, Dialect::Request);
        let error = reader.fields(head.as_bytes());
        assert!(error.is_err(), "{line}");
        assert_eq!(reader.fields((head + "\r\n\r\n").as_bytes()), error, "{line}");
    }
}

/// A peer may send one byte at a time: then the length of a head, and not its square, is the work.
#[test]
fn no_byte_is_searched_twice_for_the_end_of_its_line() {
    let octets = [&b"GET / HTTP/1.1\r\nA: "[..], &[b'x'; 30]].concat();
    let mut reader = HeadReader::new(LIMITS, Dialect::Request);
    for end in 0..=octets.len() {
        assert_eq!(reader.fields(&octets[..end]), Ok(None));
        assert_eq!(reader.searched, end);
    }
}

#[test]
fn limits() {
    let line = |len: usize| format!("A: {}\r\n", "x".repeat(len - 5));
    assert!(fields(Dialect::Request, &line(60)).is_ok());
    assert_eq!(fields(Dialect::Request, &line(61)), Err(HeadError::TooLong));
    assert_eq!(read(Dialect::Request, &"x".repeat(60)), Ok(None));
    assert_eq!(read(Dialect::Request, &"x".repeat(61)), Err(HeadError::TooLong));
    // The first line and the empty line take 18 bytes.
    assert!(fields(Dialect::Request, &line(60).repeat(3)).is_ok());
    assert_eq!(fields(Dialect::Request, &(line(60).repeat(3) + "X:\r\n")), Err(HeadError::TooLong));
}

fn of(pairs: &[(&str, &str)]) -> Fields {
    Fields::new(pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())))
}

#[test]
fn lists_may_be_in_several_fields() {
    let fields = of(&[("Upgrade", "h2c, WebSocket "), ("Connection", "keep-alive"), ("connection", "x ,upgrade")]);
    assert!(fields.list_has("upgrade", "websocket") && fields.list_has("connection", "upgrade"));
    assert!(!fields.list_has("connection", "up"));
    assert_eq!(fields.joined("connection"), Some(b"keep-alive, x ,upgrade".to_vec()));
    assert_eq!(fields.last("connection"), Some(&b"x ,upgrade"[..]));
    assert_eq!(fields.joined("host"), None);
    assert!(fields.is_repeated("connection") && !fields.is_repeated("upgrade"));
}

#[test]
fn bodies_are_announced_by_length_or_encoding() {
    for (name, value, is_announced) in [
        ("content-length", "0", false),
        ("content-length", "5", true),
        ("transfer-encoding", "chunked", true),
        ("x", "5", false),
    ] {
        assert_eq!(of(&[(name, value)]).announce_body(), is_announced, "{name}: {value}");
    }
}
