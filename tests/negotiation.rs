//! Properties of the header Sec-WebSocket-Extensions and of what is negotiated with it, tested with random values.

use anyevent_websocket::engine::handshake::{
    DeflateTerms, EndTerms, Extension, Malformed, Parameter, has_only_offered, parse_extensions,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use std::borrow::Cow;

/// Failures are printed, not stored in files, because Miri has no files. Miri also takes a thousand times as long.
fn cases(count: u32) -> ProptestConfig {
    let cases = if cfg!(miri) { count / 64 } else { count };
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// Any compression that an end may want.
fn wanted() -> impl Strategy<Value = DeflateTerms> {
    let end = || {
        (any::<bool>(), 9..=15_u8)
            .prop_map(|(no_context_takeover, max_window_bits)| EndTerms { no_context_takeover, max_window_bits })
    };
    (end(), end()).prop_map(|(server, client)| DeflateTerms { server, client })
}

const TOKEN: &str = "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,8}";

/// A value as it is written, and as it is read.
fn value() -> impl Strategy<Value = (String, Vec<u8>)> {
    let quoted = vec((any::<bool>(), any::<char>()), 0..6).prop_map(|characters| {
        let mut written = String::from("\"");
        let mut read = String::new();
        for (is_escaped, character) in characters {
            if is_escaped || character == '"' || character == '\\' {
                written.push('\\');
            }
            written.push(character);
            read.push(character);
        }
        (written + "\"", read.into_bytes())
    });
    prop_oneof![TOKEN.prop_map(|token| (token.clone(), token.into_bytes())), quoted]
}

type NamedParameters = Vec<(String, Option<(String, Vec<u8>)>)>;

fn extension() -> impl Strategy<Value = (String, NamedParameters)> {
    (TOKEN, vec((TOKEN, prop::option::of(value())), 0..4))
}

/// White space, where it may be.
fn gap() -> impl Strategy<Value = &'static str> {
    select(vec!["", "", " ", "\t ", "\r\n "])
}

/// Text made of what such headers consist of, and a little of what they do not.
fn almost_header() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => select(vec![
            "permessage-deflate", "server_no_context_takeover", "client_no_context_takeover", "server_max_window_bits",
            "client_max_window_bits", "=8", "=9", "=15", "=\"1\\0\"", "; ", ";", ",", ", ", "=", "\"", "\\",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..3),
    ];
    vec(piece, 0..16).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn what_is_written_is_parsed(
        extensions in vec(extension(), 0..5), gap in gap(), comma in select(vec![",", ", ,", ",,"]),
    ) {
        let written = extensions.iter().map(|(name, parameters)| {
            let parameters = parameters.iter().map(|(name, value)| match value {
                Some((value, _)) => format!("{gap};{gap}{name}{gap}={gap}{value}"),
                None => format!("{gap};{gap}{name}"),
            });
            format!("{gap}{name}{}{gap}", parameters.collect::<String>())
        });
        let header = written.collect::<Vec<_>>().join(comma);
        let expected = extensions.iter().map(|(name, parameters)| {
            let parameters = parameters.iter().map(|(name, value)| Parameter {
                name,
                value: value.as_ref().map(|(_, value)| Cow::Borrowed(&value[..])),
            });
            Extension { name, parameters: parameters.collect() }
        });
        prop_assert_eq!(parse_extensions(header.as_bytes()), Ok(expected.collect()), "{:?}", header);
    }

    #[test]
    fn a_header_joined_from_two_has_the_extensions_of_both(first in almost_header(), second in almost_header()) {
        let joined = [&first[..], b",", &second].concat();
        match (parse_extensions(&first), parse_extensions(&second)) {
            (Ok(first), Ok(second)) => prop_assert_eq!(parse_extensions(&joined), Ok([first, second].concat())),
            (Ok(_), Err(_)) => prop_assert_eq!(parse_extensions(&joined), Err(Malformed)),
            // If the first ends inside a quoted string, the second may be the rest of it.
            (Err(_), _) => {}
        }
    }

    #[test]
    fn each_end_knows_what_the_other_does(client in wanted(), server in wanted()) {
        let offers = client.offer();
        let (response, by_server) = server.accept(offers.as_bytes()).expect("an offer that every server can accept");
        prop_assert!(has_only_offered(response.as_bytes(), offers.as_bytes()));
        let by_client = client.confirm(response.as_bytes()).expect("an answer to the offer").expect("not declined");
        prop_assert_eq!(by_client.server, by_server.server);
        // The client may compress with less memory than the server must be ready for.
        prop_assert!(by_client.client.max_window_bits <= by_server.client.max_window_bits);
        prop_assert!(by_client.client.no_context_takeover >= by_server.client.no_context_takeover);
    }

    #[test]
    fn each_end_gets_what_it_wants(client in wanted(), server in wanted()) {
        let (response, by_server) = server.accept(client.offer().as_bytes()).expect("acceptable");
        let by_client = client.confirm(response.as_bytes()).expect("an answer").expect("not declined");
        for agreed in [by_client, by_server] {
            for wanted in [client, server] {
                prop_assert!(agreed.server.max_window_bits <= wanted.server.max_window_bits);
                prop_assert!(agreed.server.no_context_takeover >= wanted.server.no_context_takeover);
            }
        }
        for wanted in [client, server] {
            prop_assert!(by_client.client.no_context_takeover >= wanted.client.no_context_takeover);
        }
        prop_assert!(by_client.client.max_window_bits <= client.client.max_window_bits);
        // An offer that limits only the server's window does not let the server limit the client's.
        if client.server.max_window_bits == 15 || client.client.max_window_bits < 15 {
            prop_assert!(by_server.client.max_window_bits <= server.client.max_window_bits);
        }
    }
}

proptest! {
    #![proptest_config(cases(2048))]

    #[test]
    fn whatever_the_peer_sends_what_is_agreed_on_can_be_done(
        header in almost_header(), wanted in wanted(), client in wanted(),
    ) {
        if let Some((response, agreed)) = wanted.accept(&header) {
            prop_assert!(has_only_offered(response.as_bytes(), &header));
            prop_assert!((9..=15).contains(&agreed.server.max_window_bits));
            prop_assert!((8..=15).contains(&agreed.client.max_window_bits));
            let client = DeflateTerms { server: EndTerms { no_context_takeover: false, ..client.server }, ..client };
            let confirmed = client.confirm(response.as_bytes()).expect("an answer").expect("not declined");
            prop_assert_eq!(confirmed.server, agreed.server);
        }
        if let Ok(Some(agreed)) = wanted.confirm(&header) {
            prop_assert!((8..=15).contains(&agreed.server.max_window_bits));
            prop_assert!((8..=wanted.client.max_window_bits).contains(&agreed.client.max_window_bits));
            prop_assert!(agreed.client.no_context_takeover >= wanted.client.no_context_takeover);
            prop_assert!(agreed.server.no_context_takeover >= wanted.server.no_context_takeover);
        }
    }
}
