//! Fuzzes opening handshakes: in any pieces they must be read as the reference reads them, as early as possible, and
//! each end must take what the other writes.
//!
//! An input begins with three characters, so that people can write inputs. The first says what the rest is: 0 a request,
//! 1 a response, 2 a refusal, 3 what a client and a server write; 4 to 7 are the same, strictly. The second says the
//! length of the pieces and the limits, the third what a client has asked for.
#![no_main]

use anyevent_websocket::engine::handshake::{
    AcceptKey, Acceptance, ClientHandshake, Expected, Fields, Limits, Opening, ServerHandshake, parse_extensions,
};
use anyevent_websocket_fuzz::heads::{self, Pairs};
use libfuzzer_sys::fuzz_target;
use std::fmt::Debug;

const KEY: &[u8] = b"dGhlIHNhbXBsZSBub25jZQ==";

/// Maximum length of a stream, in bytes: the reference reads each beginning of it.
const LONGEST: usize = 2048;

fuzz_target!(|input: &[u8]| {
    let &[kind, sizes, terms, ref octets @ ..] = input else { return };
    let octets = &octets[..octets.len().min(LONGEST)];
    let limits = if sizes & 8 == 0 { Limits { head: 65536, line: 20480 } } else { Limits { head: 320, line: 80 } };
    let piece = [1, 2, 3, 5, 16, 64, 256, LONGEST][usize::from(sizes % 8)];
    let is_strict = kind & 4 != 0;
    match kind & 3 {
        0 => read_request(octets, limits, piece, is_strict),
        1 => read_response(octets, limits, piece, &expected(terms, is_strict)),
        2 => read_a_refusal(octets, limits, piece),
        _ => round_trip(octets, is_strict),
    }
});

fn expected(terms: u8, is_strict: bool) -> Expected {
    let subprotocols: Option<&[&str]> =
        [None, Some(&[][..]), Some(&["foo"]), Some(&["", "foo, bar", "bar"])][usize::from(terms % 4)];
    Expected {
        accept: (terms & 4 == 0).then(|| AcceptKey::of(KEY)),
        extensions: if terms & 8 == 0 { vec![] } else { b"permessage-deflate; a=\"b,\", X".to_vec() },
        subprotocols: subprotocols.map(|names| names.iter().map(|name| name.as_bytes().to_vec()).collect()),
        has_other_subprotocols: terms & 64 != 0,
        is_strict,
    }
}

/// Passes beginnings of `octets`, each longer than the last, to both readers until there is a verdict. An error must
/// stay when there is more to read, and when there is not.
fn compare<T: Debug + PartialEq, E: Debug + PartialEq>(
    octets: &[u8],
    piece: usize,
    mut read: impl FnMut(&[u8]) -> Result<Option<T>, E>,
    reference: impl Fn(&[u8]) -> Result<Option<T>, E>,
) -> Option<T> {
    let ends = (0..octets.len()).step_by(piece).chain([octets.len()]);
    for end in ends {
        let verdict = read(&octets[..end]);
        assert_eq!(verdict, reference(&octets[..end]), "after {end} bytes");
        if let Err(error) = &verdict {
            assert_eq!(read(&octets[..end]).as_ref(), Err(error));
            assert!(read(octets).is_err());
        }
        match verdict {
            Ok(None) => {}
            verdict => return verdict.ok().flatten(),
        }
    }
    None
}

fn pairs(fields: &Fields) -> Pairs {
    fields.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect()
}

fn check_size(len: usize, pairs: &Pairs, octets: &[u8], limits: Limits) {
    let size: usize = pairs.iter().map(|(name, value)| name.len() + 1 + value.len() + 1).sum();
    assert!(size <= len && len <= octets.len() && len <= limits.head);
}

fn read_request(octets: &[u8], limits: Limits, piece: usize, is_strict: bool) {
    let mut handshake = ServerHandshake::new(limits, is_strict);
    let read = |octets: &[u8]| {
        let request = handshake.receive(octets)?;
        Ok(request.map(|request| (request.target, pairs(&request.fields), request.len)))
    };
    let request = compare(octets, piece, read, |octets| heads::request(octets, limits, is_strict));
    if let Some((_, pairs, len)) = request {
        check_size(len, &pairs, octets, limits);
    }
}

fn read_response(octets: &[u8], limits: Limits, piece: usize, expected: &Expected) {
    let mut handshake = ClientHandshake::new(limits, expected.clone());
    let reference = |octets: &[u8]| heads::response(octets, limits, expected);
    let answer = compare(octets, piece, |octets| handshake.receive(octets), reference);
    if let Some(answer) = answer {
        check_size(answer.len, &vec![], octets, limits);
    }
}

fn read_a_refusal(octets: &[u8], limits: Limits, piece: usize) {
    let mut handshake = ClientHandshake::new(limits, Expected::default());
    let read = |octets: &[u8]| {
        let refusal = handshake.receive_refusal(octets)?;
        Ok(refusal.map(|refusal| (refusal.status, refusal.reason, pairs(&refusal.fields), refusal.len)))
    };
    let refusal = compare(octets, piece, read, |octets| heads::refusal(octets, limits));
    if let Some((_, _, pairs, len)) = refusal {
        check_size(len, &pairs, octets, limits);
    }
}

/// Returns a value that a field may have.
fn value(octets: &[u8]) -> &[u8] {
    let end = octets.iter().position(|&octet| octet == 0x7f || octet < b' ').unwrap_or(octets.len());
    octets[..end].trim_ascii()
}

/// Lines of the input become values, which both ends must understand.
fn round_trip(octets: &[u8], is_strict: bool) {
    let limits = Limits { head: 8192, line: 4096 };
    let mut lines = octets.split(|&octet| octet == b'\n');
    let raw: [&[u8]; 5] = std::array::from_fn(|_| lines.next().unwrap_or_default());
    let [path, host, origin, subprotocol, extensions] = raw.map(value);
    let path = path.iter().copied().filter(|octet| octet.is_ascii_graphic() && *octet != b'#').collect::<Vec<u8>>();
    let target = [&b"/"[..], &path].concat();
    let host = [&b"h"[..], host].concat();
    let more: Vec<(&[u8], &[u8])> = lines.map(|line| (&b"X-More"[..], value(line))).collect();
    let subprotocols = raw[3].first().map(|_| subprotocol);
    let opening = Opening {
        target: &target,
        host: &host,
        origin,
        subprotocols,
        key: KEY,
        is_draft: false,
        more,
        replaces: false,
    };
    let encoded = opening.encode();
    let request = ServerHandshake::new(limits, is_strict).receive(&encoded).expect("valid").expect("complete");
    assert_eq!((&request.target, request.key(), request.len), (&target, KEY, encoded.len()));
    assert_eq!(request.fields.last("host"), Some(&host[..]));
    assert_eq!(request.fields.last("origin"), Some(origin));
    assert_eq!(request.fields.last("sec-websocket-protocol"), subprotocols);
    assert_eq!(
        request.fields.all("x-more").collect::<Vec<_>>(),
        opening.more.iter().map(|pair| pair.1).collect::<Vec<_>>()
    );

    let extensions = if parse_extensions(extensions).is_ok() { extensions } else { b"" };
    let acceptance = Acceptance {
        key: request.key(),
        subprotocol: subprotocols,
        extensions: Some(extensions).filter(|one| !one.is_empty()),
    };
    let encoded = acceptance.encode();
    let expected = Expected {
        accept: Some(AcceptKey::of(KEY)),
        extensions: extensions.to_vec(),
        subprotocols: subprotocols.map(|one| vec![one.to_vec()]),
        has_other_subprotocols: false,
        is_strict,
    };
    let answer = ClientHandshake::new(limits, expected).receive(&encoded).expect("valid").expect("complete");
    assert_eq!((answer.subprotocol.as_deref(), answer.extensions.as_deref()), (subprotocols, acceptance.extensions));
    assert_eq!(answer.len, encoded.len());
}
