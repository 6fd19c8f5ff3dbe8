//! Fuzzes the header Sec-WebSocket-Extensions: whatever a peer sends, what is agreed on can be done; and both ends agree
//! on what the client offers.
#![no_main]

use anyevent_websocket::engine::handshake::{DeflateTerms, EndTerms, has_only_offered, parse_extensions};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input {
    client: Terms,
    server: Terms,
    header: Vec<Piece>,
}

/// The compression that one end wants.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct Terms {
    no_context_takeover: [bool; 2],
    max_window_bits: [u8; 2],
}

impl From<Terms> for DeflateTerms {
    fn from(terms: Terms) -> Self {
        let [server, client] = [0, 1].map(|end| EndTerms {
            no_context_takeover: terms.no_context_takeover[end],
            max_window_bits: 9 + terms.max_window_bits[end] % 7,
        });
        Self { server, client }
    }
}

/// A part of a header; mostly a word, so that the fuzzer need not discover those.
#[derive(Arbitrary, Debug)]
enum Piece {
    Raw(Vec<u8>),
    Deflate,
    ServerNoContextTakeover,
    ClientNoContextTakeover,
    ServerMaxWindowBits(u8),
    ClientMaxWindowBits(Option<u8>),
    Quoted(Vec<u8>),
}

impl Piece {
    fn append_to(self, header: &mut Vec<u8>) {
        match self {
            Self::Raw(octets) => header.extend(octets),
            Self::Deflate => header.extend(b", permessage-deflate"),
            Self::ServerNoContextTakeover => header.extend(b"; server_no_context_takeover"),
            Self::ClientNoContextTakeover => header.extend(b"; client_no_context_takeover"),
            Self::ServerMaxWindowBits(bits) => header.extend(format!("; server_max_window_bits={}", bits % 18).bytes()),
            Self::ClientMaxWindowBits(Some(bits)) => {
                header.extend(format!("; client_max_window_bits={}", bits % 18).bytes());
            }
            Self::ClientMaxWindowBits(None) => header.extend(b"; client_max_window_bits"),
            Self::Quoted(octets) => header.extend([b"; x=\"", &octets[..], b"\""].concat()),
        }
    }
}

fuzz_target!(|input: Input| {
    let [client, server] = [input.client, input.server].map(DeflateTerms::from);
    let mut header = Vec::new();
    input.header.into_iter().for_each(|piece| piece.append_to(&mut header));
    check_parsing(&header);
    check_strangers(client, server, &header);
    check_own(client, server);
});

/// White space around the parts of a header must not change the result.
fn check_parsing(header: &[u8]) {
    let parsed = parse_extensions(header);
    assert_eq!(parse_extensions(&[b"\t,", header, b" "].concat()), parsed);
    assert_eq!(has_only_offered(header, header), parsed.is_ok());
}

fn check_strangers(client: DeflateTerms, server: DeflateTerms, header: &[u8]) {
    if let Some((response, agreed)) = server.accept(header) {
        assert!(has_only_offered(response.as_bytes(), header));
        assert!((9..=server.server.max_window_bits).contains(&agreed.server.max_window_bits));
        assert!((8..=15).contains(&agreed.client.max_window_bits));
        // The stranger takes the answer, unless it wanted what it has not offered.
        let mut stranger = client;
        stranger.server.no_context_takeover &= agreed.server.no_context_takeover;
        check_agreement(stranger, agreed, &response);
    }
    if let Ok(Some(agreed)) = client.confirm(header) {
        assert!((8..=15).contains(&agreed.server.max_window_bits));
        assert!((8..=client.client.max_window_bits).contains(&agreed.client.max_window_bits));
        assert!(agreed.server.no_context_takeover >= client.server.no_context_takeover);
    }
}

fn check_own(client: DeflateTerms, server: DeflateTerms) {
    let offers = client.offer();
    let (response, agreed) = server.accept(offers.as_bytes()).expect("an offer that every server can accept");
    assert!(has_only_offered(response.as_bytes(), offers.as_bytes()));
    assert!(agreed.server.no_context_takeover >= client.server.no_context_takeover);
    assert!(agreed.server.max_window_bits <= client.server.max_window_bits.min(server.server.max_window_bits));
    check_agreement(client, agreed, &response);
}

/// Checks that the client takes the response, and that each end is ready for what the other will send.
fn check_agreement(client: DeflateTerms, by_server: DeflateTerms, response: &str) {
    let by_client = client.confirm(response.as_bytes()).expect("an answer to the offer").expect("not declined");
    assert_eq!(by_client.server, by_server.server);
    assert!(by_client.client.max_window_bits <= by_server.client.max_window_bits);
    assert!(by_client.client.no_context_takeover >= by_server.client.no_context_takeover);
    assert!(by_client.client.no_context_takeover >= client.client.no_context_takeover);
}
