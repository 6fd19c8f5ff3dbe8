//! Properties that hold for every frame, stream and split, tested with random ones.

mod support;

use anyevent_websocket::engine::{
    Config, DeflateConfig, FrameHeader, MAX_HEADER_LEN, MaskKey, Opcode, Utf8Validator, apply_mask, encode_frame,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use std::rc::Rc;
use support::{Endpoint, KEY, Seen, peer_of};

/// Failures are printed, not stored in files, because Miri has no files. Miri also takes a thousand times as long.
fn cases(count: u32) -> ProptestConfig {
    let cases = if cfg!(miri) { count / 64 } else { count };
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// Payloads whose length has any of the three forms, often at its limits.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    let edges = select(vec![0_usize, 1, 124, 125, 126, 127, 0xffff, 0x1_0000]);
    let longest: usize = if cfg!(miri) { 300 } else { 70_000 };
    let len = prop_oneof![edges, 0..126_usize, 126..longest];
    (any::<u8>(), len).prop_map(|(first, len)| {
        let mut payload = (0..251).map(|i| first.wrapping_add(i)).collect::<Vec<u8>>().repeat(len / 251 + 1);
        payload.truncate(len);
        payload
    })
}

fn short_payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![vec(any::<u8>(), 0..140), "\\PC{0,40}".prop_map(String::into_bytes)]
}

fn mask() -> impl Strategy<Value = Option<MaskKey>> {
    any::<Option<MaskKey>>()
}

/// Bytes that often are UTF-8, or almost.
fn almost_text() -> impl Strategy<Value = Vec<u8>> {
    let damaged = ("\\PC{1,30}", any::<prop::sample::Index>(), any::<u8>()).prop_map(|(text, at, octet)| {
        let mut octets = text.into_bytes();
        let at = at.index(octets.len());
        octets[at] = octet;
        octets
    });
    let characters = vec(any::<char>(), 0..12).prop_map(|c| c.into_iter().collect::<String>().into_bytes());
    prop_oneof![characters, damaged, vec(any::<u8>(), 0..20)]
}

/// The bytes of a frame, more often valid than not.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let first_byte = prop_oneof![
        8 => select(vec![0x00_u8, 0x01, 0x02, 0x80, 0x81, 0x82, 0x89, 0x8a]),
        1 => Just(0x88),
        1 => any::<u8>(),
    ];
    (first_byte, short_payload(), mask()).prop_map(|(first_byte, payload, mask)| {
        let mut wire = Vec::new();
        encode_frame(first_byte & 0x0f, &payload, mask, &mut wire);
        wire[0] = first_byte;
        wire
    })
}

fn config() -> impl Strategy<Value = Config> {
    let limits = (prop::option::of(select(vec![0, 60, 125, 1000])), select(vec![0, 1, 2, 128]));
    (any::<bool>(), any::<bool>(), limits).prop_map(|(masked, strict, (max_payload_size, max_fragments))| Config {
        masked,
        strict,
        max_payload_size,
        max_fragments,
        ..Config::DEFAULT
    })
}

/// Any parameters that a handshake may negotiate.
fn deflate() -> impl Strategy<Value = DeflateConfig> {
    let direction = || (8..=15_u8, any::<bool>());
    let effort = (1..=9_u8, 1..=9_u8, select(vec![0, 100]));
    (direction(), direction(), effort).prop_map(|(ours, theirs, (level, mem_level, threshold))| DeflateConfig {
        window_bits: ours.0,
        no_context_takeover: ours.1,
        peer_window_bits: theirs.0,
        peer_no_context_takeover: theirs.1,
        level,
        mem_level,
        threshold,
    })
}

/// Splits `octets` into pieces whose sizes cycle through `sizes`.
fn split<'a>(mut octets: &'a [u8], sizes: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let mut sizes = sizes.iter().cycle();
    std::iter::from_fn(move || {
        let size = *sizes.next()?;
        let (piece, rest) = octets.split_at_checked(size).unwrap_or((octets, b""));
        octets = rest;
        (!piece.is_empty()).then_some(piece)
    })
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![Just(vec![1]), vec(1..200_usize, 1..8)]
}

/// Returns the validator's verdict after each piece, up to the first error, and its verdict at the end.
fn verdicts(pieces: &[&[u8]]) -> Vec<bool> {
    let mut validator = Utf8Validator::default();
    let mut verdicts = Vec::new();
    for piece in pieces {
        verdicts.push(validator.feed(piece).is_ok());
        if verdicts.last() == Some(&false) {
            return verdicts;
        }
    }
    verdicts.push(validator.finish().is_ok());
    verdicts
}

/// Returns the same verdicts from the standard library, which validates the whole text so far after each piece.
fn standard_verdicts(pieces: &[&[u8]]) -> Vec<bool> {
    let mut text = Vec::new();
    let mut verdicts = Vec::new();
    for piece in pieces {
        text.extend_from_slice(piece);
        verdicts.push(std::str::from_utf8(&text).err().is_none_or(|error| error.error_len().is_none()));
        if verdicts.last() == Some(&false) {
            return verdicts;
        }
    }
    verdicts.push(std::str::from_utf8(&text).is_ok());
    verdicts
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn what_is_encoded_is_parsed_and_its_payload_unmasked(
        opcode in select(vec![Opcode::Continuation, Opcode::Text, Opcode::Binary]),
        payload in payload(),
        mask in mask(),
    ) {
        let mut wire = Vec::new();
        encode_frame(opcode as u8, &payload, mask, &mut wire);
        let (header, at) = FrameHeader::parse(&wire).expect("lawful").expect("whole");
        let payload_len = payload.len() as u64;
        prop_assert_eq!(header, FrameHeader { fin: true, opcode, is_compressed: false, mask, payload_len });
        apply_mask(&mut wire[at..], mask.unwrap_or_default(), 0);
        prop_assert_eq!(&wire[at..], payload);
    }

    #[test]
    fn a_header_cut_anywhere_asks_for_more(payload in payload(), mask in mask()) {
        let mut wire = Vec::new();
        encode_frame(2, &payload, mask, &mut wire);
        let (_, len) = FrameHeader::parse(&wire).expect("lawful").expect("whole");
        prop_assert!(len <= MAX_HEADER_LEN);
        for cut in 0..len {
            prop_assert_eq!(FrameHeader::parse(&wire[..cut]), Ok(None));
        }
    }

    #[test]
    fn messages_of_every_length_arrive_in_any_pieces(
        messages in vec((any::<bool>(), payload()), 0..4),
        from_client in any::<bool>(),
        sizes in vec(1..30_000_usize, 1..8),
    ) {
        let mut wire = Vec::new();
        let mut expected = Vec::new();
        for (is_text, payload) in messages {
            let opcode = if is_text { Opcode::Text } else { Opcode::Binary };
            encode_frame(opcode as u8, &payload, from_client.then_some(KEY), &mut wire);
            expected.push(Seen::Message(opcode, payload));
        }
        let config = Config { masked: !from_client, max_fragments: 1, ..Config::DEFAULT };
        let mut endpoint = Endpoint::new(config, None);
        split(&wire, &sizes).for_each(|piece| endpoint.receive(piece));
        prop_assert_eq!(endpoint.seen, expected);
    }

    #[test]
    fn a_mask_applied_twice_at_any_offset_is_none(
        octets in vec(any::<u8>(), 0..200), key in any::<MaskKey>(), offset in any::<u64>(),
    ) {
        let mut masked = octets.clone();
        apply_mask(&mut masked, key, offset);
        let by_definition: Vec<u8> =
            octets.iter().zip(0_u64..).map(|(octet, i)| octet ^ key[((offset % 4 + i) % 4) as usize]).collect();
        prop_assert_eq!(&masked, &by_definition);
        apply_mask(&mut masked, key, offset);
        prop_assert_eq!(masked, octets);
    }

    #[test]
    fn a_mask_applied_in_pieces_is_the_mask(
        octets in vec(any::<u8>(), 0..200), key in any::<MaskKey>(), sizes in vec(1..20_usize, 1..6),
    ) {
        let mut whole = octets.clone();
        apply_mask(&mut whole, key, 0);
        let mut joined = Vec::new();
        for piece in split(&octets, &sizes) {
            let offset = joined.len();
            joined.extend_from_slice(piece);
            apply_mask(&mut joined[offset..], key, offset as u64);
        }
        prop_assert_eq!(joined, whole);
    }
}

proptest! {
    #![proptest_config(cases(1024))]

    #[test]
    fn text_in_any_pieces_is_judged_as_early_as_the_standard_library_would(
        text in almost_text(), sizes in vec(1..6_usize, 1..6),
    ) {
        let pieces: Vec<&[u8]> = split(&text, &sizes).collect();
        prop_assert_eq!(verdicts(&pieces), standard_verdicts(&pieces));
    }

    #[test]
    fn a_stream_in_any_pieces_by_any_way_has_the_same_events_and_answers(
        frames in vec(frame(), 0..8),
        config in config(),
        sizes in sizes(),
        closes_after in prop::option::of(1..4_usize),
    ) {
        let wire = frames.concat();
        let [mut whole, mut pieces, mut direct, mut short] = [(); 4].map(|()| Endpoint::new(config, closes_after));
        whole.receive(&wire);
        split(&wire, &sizes).for_each(|piece| short.receive_shortly(piece));
        prop_assert_eq!((&short.seen, &short.sent), (&whole.seen, &whole.sent));
        split(&wire, &sizes).for_each(|piece| pieces.receive(piece));
        split(&wire, &sizes).for_each(|piece| direct.receive_directly(piece));
        prop_assert_eq!((&pieces.seen, &pieces.sent), (&whole.seen, &whole.sent));
        prop_assert_eq!((direct.seen, direct.sent), (whole.seen, whole.sent));
    }
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn what_is_compressed_arrives_in_any_pieces_and_so_does_the_answer(
        messages in vec((any::<bool>(), prop_oneof![payload(), short_payload()]), 0..6),
        from_client in any::<bool>(),
        deflate in deflate(),
        sizes in vec(1..2000_usize, 1..8),
    ) {
        let end = |masked, deflate| {
            let config = Config { masked, max_fragments: 1, ..Config::DEFAULT };
            Endpoint::compressing(config, deflate, &Rc::default())
        };
        let [mut here, mut there] = [end(from_client, deflate), end(!from_client, peer_of(deflate))];
        let mut expected = Vec::new();
        for (is_text, payload) in messages {
            let opcode = if is_text { Opcode::Text } else { Opcode::Binary };
            here.send(opcode, &payload);
            expected.push(Seen::Message(opcode, payload));
        }
        split(&here.sent, &sizes).for_each(|piece| there.receive(piece));
        prop_assert_eq!(&there.seen, &expected);
        split(&there.sent, &sizes).for_each(|piece| here.receive(piece));
        prop_assert_eq!(here.seen, expected);
    }
}
