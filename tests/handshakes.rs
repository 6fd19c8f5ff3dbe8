//! Properties that hold for every opening handshake, tested with random heads, in any pieces.

use anyevent_websocket::engine::handshake::{
    AcceptKey, Acceptance, ClientHandshake, Expected, HeadError, Limits, Opening, Request, RequestError, ResponseError,
    ServerHandshake, ServersAnswer, encode_key,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

const LIMITS: Limits = Limits { head: 65536, line: 20480 };
const KEY: &[u8] = b"dGhlIHNhbXBsZSBub25jZQ==";

/// As in the other tests of properties: Miri has no files. It takes some seconds for a head that arrives byte by byte.
fn cases(count: u32) -> ProptestConfig {
    let cases = if cfg!(miri) { count / 256 } else { count };
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// A field as it is sent, and the name and the value that are to be read.
#[derive(Clone, Debug)]
struct Field {
    sent: String,
    name: String,
    value: String,
}

fn space() -> impl Strategy<Value = &'static str> {
    select(vec!["", " ", "\t", " \t  "])
}

fn field() -> impl Strategy<Value = Field> {
    let value = "([!-~\u{a1}-\u{ff}]([ \t!-~\u{a1}-\u{ff}]{0,30}[!-~\u{a1}-\u{ff}])?)?";
    ("X-[a-zA-Z0-9!#$%&'*+.^_`|~-]{0,9}", space(), value, space()).prop_map(|(name, before, value, after)| Field {
        sent: format!("{name}:{before}{value}{after}"),
        name: name.to_ascii_lowercase(),
        value,
    })
}

/// A field whose value is continued on more lines, each of which begins with a space.
fn folded() -> impl Strategy<Value = Field> {
    (field(), vec("[ \t]{1,3}[!-~]{1,9}", 0..3), line_end()).prop_map(|(field, lines, end)| Field {
        sent: [&[field.sent.clone()][..], &lines].concat().join(end),
        value: (field.sent.split_once(':').expect("a colon").1.to_owned() + &lines.concat())
            .trim_matches([' ', '\t'])
            .to_owned(),
        ..field
    })
}

fn line_end() -> impl Strategy<Value = &'static str> {
    select(vec!["\r\n", "\n"])
}

/// The lines that a valid request must have, in any order and case, among others.
fn request_lines(others: Vec<String>) -> impl Strategy<Value = Vec<String>> {
    let own = [
        "Host: h".to_owned(),
        "UPGRADE: h2c,websocket".to_owned(),
        "connection: keep-alive, Upgrade".to_owned(),
        format!("Sec-WebSocket-Key: {}", String::from_utf8_lossy(KEY)),
        "Sec-Websocket-Version:13 ".to_owned(),
    ];
    Just([&own[..], &others].concat()).prop_shuffle()
}

/// The same for a valid response.
fn response_lines(others: Vec<String>) -> impl Strategy<Value = Vec<String>> {
    let own = [
        "Upgrade: WebSocket".to_owned(),
        "Connection:upgrade".to_owned(),
        format!("Sec-WebSocket-Accept:\t{}", AcceptKey::of(KEY).as_str()),
    ];
    Just([&own[..], &others].concat()).prop_shuffle()
}

fn head(lines: &[String], end: &str) -> Vec<u8> {
    let text = lines.iter().flat_map(|line| [&line[..], end]).collect::<String>() + end;
    // Characters up to U+00FF stand for bytes.
    text.chars().map(|character| u8::try_from(character).expect("a byte")).collect()
}

/// A head with a few bytes changed, so that most of its rules are broken at some time.
fn damaged(octets: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![select(b"\0\r\n\t :,\x7f\xffA".to_vec()), any::<u8>()];
    let change = (any::<prop::sample::Index>(), byte, any::<bool>());
    vec(change, 0..4).prop_map(move |changes| {
        let mut octets = octets.clone();
        for (at, octet, replaces) in changes {
            let at = at.index(octets.len());
            octets.splice(at..at + usize::from(replaces), [octet]);
        }
        octets
    })
}

fn request() -> impl Strategy<Value = (Vec<Field>, Vec<u8>)> {
    vec(field(), 0..6).prop_flat_map(|fields| {
        let others: Vec<String> = fields.iter().map(|field| field.sent.clone()).collect();
        (request_lines(others), line_end()).prop_map(move |(lines, end)| {
            let octets = head(&[&["GET /a?b HTTP/1.1".to_owned()][..], &lines].concat(), end);
            (fields.clone(), octets)
        })
    })
}

fn response() -> impl Strategy<Value = Vec<u8>> {
    let interim = (0..4_usize).prop_map(|count| "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n".repeat(count));
    (vec(folded(), 0..6), interim).prop_flat_map(|(fields, interim)| {
        let others = fields.into_iter().map(|field| field.sent).collect();
        (response_lines(others), line_end()).prop_map(move |(lines, end)| {
            let lines = [&["HTTP/1.1 101 Switching Protocols".to_owned()][..], &lines].concat();
            [interim.as_bytes(), &head(&lines, end)].concat()
        })
    })
}

fn limits() -> impl Strategy<Value = Limits> {
    prop_oneof![Just(LIMITS), (0..400_usize, 0..80_usize).prop_map(|(head, line)| Limits { head, line })]
}

fn server(limits: Limits, is_strict: bool) -> impl FnMut(&[u8]) -> Result<Option<Request>, RequestError> {
    let mut handshake = ServerHandshake::new(limits, is_strict);
    move |octets| handshake.receive(octets)
}

fn client(limits: Limits, is_strict: bool) -> impl FnMut(&[u8]) -> Result<Option<ServersAnswer>, ResponseError> {
    let expected = Expected { accept: Some(AcceptKey::of(KEY)), is_strict, ..Expected::default() };
    let mut handshake = ClientHandshake::new(limits, expected);
    move |octets| handshake.receive(octets)
}

/// Returns the first verdict on bytes that arrive in pieces whose sizes cycle through `sizes`, and how many had arrived.
fn verdict<T, E>(
    octets: &[u8],
    sizes: &[usize],
    mut receive: impl FnMut(&[u8]) -> Result<Option<T>, E>,
) -> (Option<Result<T, E>>, usize) {
    let (mut end, mut sizes) = (0, sizes.iter().cycle());
    loop {
        if let Some(verdict) = receive(&octets[..end]).transpose() {
            return (Some(verdict), end);
        }
        if end == octets.len() {
            return (None, end);
        }
        end = octets.len().min(end + sizes.next().expect("there are sizes"));
    }
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    vec(1..40_usize, 1..6)
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn a_request_has_all_its_fields_and_is_complete_with_its_last_byte((fields, octets) in request()) {
        let (request, needed) = verdict(&octets, &[1], server(LIMITS, false));
        let request = request.expect("complete").expect("valid");
        prop_assert_eq!((needed, request.len), (octets.len(), octets.len()));
        prop_assert_eq!(&request.target[..], b"/a?b");
        let mut found: Vec<(Vec<u8>, Vec<u8>)> =
            request.fields.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
        found.retain(|(name, _)| name.starts_with(b"x-"));
        let octets = |text: &str| text.chars().map(|character| character as u8).collect::<Vec<u8>>();
        let mut expected: Vec<_> =
            fields.iter().map(|field| (octets(&field.name), octets(&field.value))).collect();
        // The lines were shuffled.
        found.sort();
        expected.sort();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn a_response_is_complete_with_its_last_byte(octets in response()) {
        let (answer, needed) = verdict(&octets, &[1], client(LIMITS, false));
        prop_assert_eq!(answer.expect("complete").expect("valid").len, octets.len());
        prop_assert_eq!(needed, octets.len());
    }

    #[test]
    fn folds_are_spaces_for_a_client_and_errors_for_a_server(field in folded(), end in line_end()) {
        let lines = ["HTTP/1.1 404 x".to_owned(), field.sent.clone()];
        let octets = head(&lines, end);
        let mut handshake = ClientHandshake::new(LIMITS, Expected::default());
        let refusal = handshake.receive_refusal(&octets).expect("valid").expect("complete");
        let value: Vec<u8> = field.value.chars().map(|character| character as u8).collect();
        prop_assert_eq!(refusal.fields.iter().collect::<Vec<_>>(), vec![(field.name.as_bytes(), &value[..])]);

        let octets = head(&["GET / HTTP/1.1".to_owned(), field.sent.clone()], end);
        let error = if field.sent.contains('\n') { RequestError::Head(HeadError::InvalidField) } else { RequestError::NoUpgrade };
        prop_assert_eq!(server(LIMITS, false)(&octets), Err(error));
    }

    #[test]
    fn what_a_client_writes_a_server_takes_and_the_other_way_round(
        target in "/[!-~&&[^#]]{0,30}",
        values in vec("[!-~]([ -~]{0,20}[!-~])?", 3),
        nonce in any::<[u8; 16]>(),
        is_strict in any::<bool>(),
        more in vec(("X-[a-z]{1,5}", "[!-~]{0,20}"), 0..4),
    ) {
        let values: Vec<&[u8]> = values.iter().map(|value| value.as_bytes()).collect();
        let key = encode_key(nonce);
        let opening = Opening {
            target: target.as_bytes(),
            host: values[0],
            origin: values[1],
            subprotocols: Some(values[2]),
            key: key.as_bytes(),
            more: more.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect(),
            ..Opening::default()
        };
        prop_assume!(values[0] != b"0");
        let octets = opening.encode();
        let request = server(LIMITS, is_strict)(&octets).expect("valid").expect("complete");
        prop_assert_eq!((&request.target[..], request.key(), request.len), (opening.target, opening.key, octets.len()));
        prop_assert_eq!(request.fields.last("sec-websocket-protocol"), opening.subprotocols);
        prop_assert_eq!(request.fields.iter().count(), 7 + more.len());

        let acceptance = Acceptance { key: request.key(), subprotocol: opening.subprotocols, extensions: Some(b"x; y=1") };
        let octets = acceptance.encode();
        let expected = Expected {
            accept: Some(AcceptKey::of(opening.key)),
            extensions: b"x".to_vec(),
            subprotocols: Some(vec![values[2].to_vec()]),
            has_other_subprotocols: false,
            is_strict,
        };
        let answer = ClientHandshake::new(LIMITS, expected).receive(&octets).expect("valid").expect("complete");
        prop_assert_eq!(answer.subprotocol.as_deref(), Some(values[2]));
        prop_assert_eq!(answer.extensions.as_deref(), acceptance.extensions);
        prop_assert_eq!(answer.len, octets.len());
    }
}

proptest! {
    #![proptest_config(cases(1024))]

    #[test]
    fn a_request_in_any_pieces_has_the_same_verdict(
        octets in request().prop_flat_map(|(_, octets)| damaged(octets)),
        limits in limits(),
        is_strict in any::<bool>(),
        sizes in sizes(),
    ) {
        let (slowest, needed) = verdict(&octets, &[1], server(limits, is_strict));
        // With `strict`, bytes behind a request are an error only if they arrive together with its end.
        let octets = if is_strict { &octets[..needed] } else { &octets };
        let (in_pieces, taken) = verdict(octets, &sizes, server(limits, is_strict));
        prop_assert!(taken >= needed);
        prop_assert_eq!(&in_pieces, &slowest);
        if let Some(Ok(request)) = slowest {
            prop_assert!(request.len == needed && needed <= limits.head);
        }
    }

    #[test]
    fn a_response_in_any_pieces_has_the_same_verdict(
        octets in response().prop_flat_map(damaged),
        limits in limits(),
        is_strict in any::<bool>(),
        sizes in sizes(),
    ) {
        let (slowest, needed) = verdict(&octets, &[1], client(limits, is_strict));
        let (in_pieces, taken) = verdict(&octets, &sizes, client(limits, is_strict));
        prop_assert!(taken >= needed);
        prop_assert_eq!(&in_pieces, &slowest);
        if let Some(Ok(answer)) = slowest {
            prop_assert!(answer.len == needed && needed <= limits.head);
        }
    }
}
